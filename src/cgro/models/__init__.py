"""Networks by name, and any module of the user's.

build          the front door: a network by its name, or of the user's code, freshly initialized
NETWORKS       the networks that have a name
fast_layout    the same module in the memory layout in which it is fast
n_parameters   the number of parameters, trainable and frozen
"""

from cgro.models.layout import fast_layout, n_parameters
from cgro.models.lenet import lenet, lenet5, mlp
from cgro.models.networks import KINDS, NETWORKS, Network, build
from cgro.models.other import Logits
from cgro.models.resnet import preactresnet, resnet9, wide_resnet

__all__ = [
    "KINDS",
    "NETWORKS",
    "Logits",
    "Network",
    "build",
    "fast_layout",
    "lenet",
    "lenet5",
    "mlp",
    "n_parameters",
    "preactresnet",
    "resnet9",
    "wide_resnet",
]
