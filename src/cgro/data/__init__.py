"""Data sets by name. `load` is the front door; `sources` says where each comes from; `augment` varies a batch."""

from cgro.data.augment import Augmentation, augmentation_by_name
from cgro.data.sets import Dataset, Split, load
from cgro.data.sources import SOURCES

__all__ = ["SOURCES", "Augmentation", "Dataset", "Split", "augmentation_by_name", "load"]
