"""Data sets by name. `load` is the front door; `sources` says where each comes from."""

from cgro.data.sets import Dataset, Split, load
from cgro.data.sources import SOURCES

__all__ = ["SOURCES", "Dataset", "Split", "load"]
