"""What is looked at after an epoch: clean and robust errors of each part, and what probes see."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from cgro._check import count
from cgro._progress import progress
from cgro.data import Dataset, Split
from cgro.definitions import Attack, ErrorRate, clean_error, predicted_shares, wrong_under


@dataclass(frozen=True)
class Evaluation:
    """The separate evaluation after an epoch, on the first examples of each part (fixed and recorded).

    Args:
        attack: judged errors are lower bounds by this attack. n: at most so many examples of each part.
        every: epochs between evaluations; the last epoch is always evaluated.
        keep_every: epochs between checkpoints that are kept (`checkpoints/epoch-0012.safetensors`); 0 for none.
    """

    attack: Attack
    n: int = 1000
    every: int = 1
    keep_every: int = 0

    def __post_init__(self) -> None:
        count(self.n, "n")
        count(self.every, "every")
        count(self.keep_every, "keep_every", low=0)


@dataclass(frozen=True)
class Snapshot:
    """What a probe sees after an epoch."""

    model: nn.Module
    data: Dataset
    epoch: int


def errors_on(
    model: nn.Module, split: Split, attack: Attack, n: int, part: str, *, show: bool = True
) -> dict[str, ErrorRate]:
    """Clean and robust error on the first n examples of a part, under the keys of `summary.json`.

    `show` draws a progress bar; training, which has its own, switches it off.
    """
    x, y = split.head(n).x, split.y[:n]
    generator = torch.Generator(x.device).manual_seed(0)
    bar = progress(len(x), f"attacking {part}") if show else contextlib.nullcontext()
    with bar as update:
        wrong = wrong_under(model, x, y, attack, generator=generator, progress=update)
    bound = "exact" if attack.exact else "lower"
    return {
        f"clean_error/{part}": clean_error(model, x, y),
        f"robust_error/{part}": ErrorRate(int(wrong.sum()), len(x), bound),
    }


def evaluate(model: nn.Module, parts: Mapping[str, Split], evaluation: Evaluation) -> dict[str, float]:
    """The row of an evaluated epoch.

    Args:
        model: set to evaluation mode.
        parts: name -> examples on the network's device; empty parts are left out.
        evaluation: attack and number of examples.

    Returns:
        `clean_error/PART` and `robust_error/PART` as fractions, and `prediction_share`, the largest share of the
        predictions on the test part that one class takes.
    """
    model.eval()
    row: dict[str, float] = {}
    for part, split in parts.items():
        if len(split):
            errors = errors_on(model, split, evaluation.attack, evaluation.n, part, show=False)
            row |= {key: error.value for key, error in errors.items()}
    row["prediction_share"] = max(shares_on(model, parts["test"], evaluation.n))
    return row


def shares_on(model: nn.Module, split: Split, n: int) -> list[float]:
    """The share of predictions that each class takes on the first n examples."""
    return predicted_shares(model, split.head(n).x)
