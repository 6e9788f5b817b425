"""Data sets by name.

load                 the front door: a task with its training, validation and test part
SOURCES              the data sets that have a name, with what is known of them without reading them
Augmentation         varies a batch on its device

`sources` says how other names are understood; `own`, `folders`, `parquet`, `hub` and `idx` read one format each;
`patches` is the patch data of Definition 5.1.
"""

from cgro.data.augment import Augmentation, augmentation_by_name
from cgro.data.named import SOURCES, ChannelStatistics, Source
from cgro.data.sets import Dataset, Split, load

__all__ = [
    "SOURCES",
    "Augmentation",
    "ChannelStatistics",
    "Dataset",
    "Source",
    "Split",
    "augmentation_by_name",
    "load",
]
