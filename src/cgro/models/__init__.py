"""Networks by name, and any module of the user's."""

from cgro.models.networks import KINDS, NETWORKS, build, fast_layout, lenet, lenet5, mlp, n_parameters
from cgro.models.other import Logits
from cgro.models.resnet import preactresnet, resnet9, wide_resnet

__all__ = [
    "KINDS",
    "NETWORKS",
    "Logits",
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
