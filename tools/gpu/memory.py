"""The device memory that a training needs, counted without a device: python -m tools.gpu.memory.

Counted are the data set, weights with gradients and momentum and what extensions keep of them, and the tensors that a
forward pass saves for the backward pass; a training step has one such pass at a time. Left out are temporary tensors,
workspaces of convolutions and what the allocator holds in reserve; on an H100 the whole captured step of WRN-34-10 at a
batch of 128 was measured at 2.5 GiB.
"""

from dataclasses import dataclass

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from cgro.commands.train import Config
from cgro.data import SOURCES
from cgro.experiments import networks
from cgro.experiments.scaling import GIB, saved_bytes
from cgro.models import build

COPIES = {"ema": 1, "swa": 1, "awp": 1}
"""Further copies of the weights that extensions hold."""


@dataclass(frozen=True)
class Memory:
    """Bytes.

    Args:
        data: images and labels of all parts, on the device.
        weights: parameters and buffers, gradients, momentum, and copies of extensions.
        activations: saved by one forward pass with gradients to the weights.
    """

    data: int
    weights: int
    activations: int

    @property
    def total(self) -> int:
        """Their sum."""
        return self.data + self.weights + self.activations


def counted(config: Config) -> Memory:
    """Count the memory of a training.

    Args:
        config: of the training, on one of the data sets whose sizes are known.

    Returns:
        Bytes by purpose.
    """
    source = SOURCES[config.data]
    channels, height, width = source.shape
    n_images = (config.n_train or source.n_train) + (source.n_test or 0)
    model = build(config.model, source.shape, source.n_classes, width=config.width)
    n_bytes = sum(value.nbytes for value in model.state_dict().values())
    with FakeTensorMode(allow_non_fake_inputs=True):
        x = torch.zeros(config.batch_size, *source.shape)
        activations = saved_bytes(model, x, bfloat16=config.train_precision == "bfloat16")
    copies = 3 + sum(COPIES.get(name.partition(":")[0], 0) for name in config.extension)
    return Memory(n_images * (4 * channels * height * width + 8), copies * n_bytes, activations)


def main() -> None:
    """Print the table of README.md."""
    for job in (
        networks.cifar("gpu", 64)[0],
        networks.remedied("gpu", "awp-ema")[0],
        networks.cifar("gpu", 128)[0],
        networks.wrn("gpu", 5)[0],
        networks.cifar("paper", 10)[0],
        networks.mnist("gpu", 16)[0],
    ):
        found = counted(networks.configuration(job))
        parts = [f"{value / GIB:.2f}" for value in (found.data, found.weights, found.activations, found.total)]
        print(f"| {job.name.partition('/')[0]} | {' | '.join(parts)} |")


if __name__ == "__main__":
    main()
