"""Networks by name, and any module of the user's."""

from cgro.models.networks import NETWORKS, build, lenet, lenet5, mlp, n_parameters, require_outputs
from cgro.models.resnet import preactresnet

__all__ = ["NETWORKS", "build", "lenet", "lenet5", "mlp", "n_parameters", "preactresnet", "require_outputs"]
