"""The one loader of weights: whatever file they are in, they are read, chosen and fitted to a network here.

foreign   files that are no weights: what they are, and the way out
formats   a file -> state dicts by the name of their entry; one line of a table for each format
fit       state dicts -> the one that is a network's, by its keys and shapes; what was chosen is said, or asked
same      two networks -> in what they are built otherwise, so that weights of one are another function in the other
series    a folder of checkpoints -> its files in the order of their epochs
"""

from cgro.training.weights.fit import Loaded, load_file, load_weights, read_weights
from cgro.training.weights.formats import Format, entries_of, is_weights, suffixes, weights_inside
from cgro.training.weights.series import Series, checkpoint_at, checkpoint_files, checkpoint_series

__all__ = [
    "Format",
    "Loaded",
    "Series",
    "checkpoint_at",
    "checkpoint_files",
    "checkpoint_series",
    "entries_of",
    "is_weights",
    "load_file",
    "load_weights",
    "read_weights",
    "suffixes",
    "weights_inside",
]
