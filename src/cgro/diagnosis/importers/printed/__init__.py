"""Printed text: from lines to one row an epoch.

printed   `Printed`, the importer: the lines of a text in their order, and what is refused of them
counters  before: epochs that are printed without that word, as `[3/30]`
sections  the headings above lines, as `Test:`
blocks    the values between two epochs
"""

from cgro.diagnosis.importers.printed.printed import Printed

__all__ = ["Printed"]
