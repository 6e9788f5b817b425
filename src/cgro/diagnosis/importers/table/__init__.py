"""From named columns to curves, the same for every format.

table     `curves_of`, the front door, in this order: rows regrouped, columns understood, cells read, rows merged, units
groups    groups of rows that are trainings, seeds, or parts of one training
layout    what each column is: by what the caller says, else by its name (`cgro.diagnosis.words`)
doubts    the refusal of a table that is not understood
counting  whether a column counts steps, by its values
unread    columns that give no curve and tell rows apart, as methods and radii do
comments  what the file says of an attack beside its columns
seeds     the rows of one training, those without an epoch too; what repeats is merged in `cgro.diagnosis.rows`
"""

from cgro.diagnosis.importers.table.table import Table, curves_of

__all__ = ["Table", "curves_of"]
