"""Counted memory: of layers by hand, and beside the one measurement there is."""

from dataclasses import replace

import torch
from tools.gpu.memory import counted, saved_bytes
from torch import nn

from cgro.experiments import networks


def test_what_a_pass_saves_is_counted_once() -> None:
    """A linear layer saves its input, a ReLU its output, the next layer that output again."""
    model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 2))
    assert saved_bytes(model, torch.zeros(3, 5), bfloat16=False) == 4 * (3 * 5 + 3 * 7)


def test_the_count_is_near_what_was_measured() -> None:
    """The captured step of WRN-34-10 at a batch of 128 in bfloat16: 2.5 GiB on an H100."""
    config = networks.configuration(networks.cifar("paper", 10)[0])
    found = counted(replace(config, train_precision="bfloat16"))
    assert 0.6 < (found.weights + found.activations) / 2**30 / 2.5 < 1.2
    assert found.data == 60_000 * (4 * 3 * 32 * 32 + 8)
