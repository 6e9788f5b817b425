"""What is measured after an epoch: clean and robust errors of each part, and what probes see."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
import torch
from torch import Tensor, nn

from cgro._check import bad, count_field, listed
from cgro._progress import Update, progress
from cgro.data import Dataset, Split
from cgro.definitions import Attack, Draws, ErrorRate, NoAttack, predicted_shares
from cgro.definitions.attacks.reads import FINITE
from cgro.definitions.inputs import describe
from cgro.definitions.metrics import NotFinite, WrongExamples, wrong_examples
from cgro.ranks import ALONE, Ranks
from cgro.training.history import PREDICTION_SHARE

PIECE = 1024
"""Examples that are held as float32 at once: a multiple of the batches of `wrong_examples` and `predicted_shares`, so
that a network sees the batches that it would see if all were held. At 224 pixels 0.6 GB."""


@dataclass(frozen=True)
class Evaluation:
    """The separate evaluation after an epoch, on the first examples of each part (fixed and recorded).

    Args:
        attack: the robust errors are lower bounds by this attack.
        n: at most so many examples of each part.
        every: epochs between evaluations; the last epoch is always evaluated.
        keep_every: epochs between checkpoints that are kept (`checkpoints/epoch-0012.safetensors`); 0 for none.

    Raises:
        BadRequest: a number below 1, or `keep_every` below 0.
    """

    attack: Attack
    n: int = 1000
    every: int = 1
    keep_every: int = 0

    def __post_init__(self) -> None:
        count_field(self, "n")
        count_field(self, "every")
        count_field(self, "keep_every", low=0)


@dataclass(frozen=True)
class Snapshot:
    """What a probe sees after an epoch.

    Args:
        model: the network that is evaluated, in evaluation mode; not to be changed.
        data: all parts.
        epoch: epochs that are over.
    """

    model: nn.Module
    data: Dataset
    epoch: int


def errors_on(
    model: nn.Module, split: Split, attack: Attack, n: int, part: str, *, show: bool = True, ranks: Ranks = ALONE
) -> dict[str, ErrorRate]:
    """Clean and robust error on the first examples of a part, from one clean pass and one attack.

    Several processes have a contiguous piece of the examples each, and add their counts.

    Args:
        model: in evaluation mode; the same in all processes.
        split: the part's examples, on the network's device.
        attack: searches for adversarial examples of those that are correctly classified; its random starts are those
            of seed 0.
        n: at most so many examples.
        part: such as test, for the keys.
        show: draw a progress bar; training, which has its own, does not.
        ranks: the processes that evaluate together.

    Returns:
        `clean_error/PART` and `robust_error/PART`, the keys of `summary.json`.

    Raises:
        BadRequest: see `cgro.definitions.robust_error`; another process failed.
    """
    head = split.head(n)
    generator = torch.Generator(head.device).manual_seed(0)
    bar: contextlib.AbstractContextManager[Update | None] = contextlib.nullcontext()
    if show:
        bar = progress(len(head), f"attacking {part}")
    with bar as update:
        if ranks.shared:
            wrong = _wrong_together(model, head, attack, ranks)
        else:
            wrong = _wrong_in_pieces(model, head, attack, generator, update)
    return {f"clean_error/{part}": wrong.clean_error, f"robust_error/{part}": wrong.robust_error}


def own_numbers(seen: object, known: Mapping[str, object]) -> dict[str, float]:
    """What a probe saw, as numbers under names of their own: they would stand in place of what was measured.

    Args:
        seen: what a probe returned; a number may be a tensor or array of no dimension. NaN is one that is not defined.
        known: the row of the epoch so far.

    Returns:
        Numbers of Python by name.

    Raises:
        BadRequest: no mapping, a name that is taken or no text, a value that is no number.

    Example:
        >>> own_numbers({"norm": torch.tensor(1.5), "count": 3}, {"epoch": 1})
        {'norm': 1.5, 'count': 3}
    """
    if not isinstance(seen, Mapping):
        raise bad("probe", expected="numbers by name, such as {}", got=describe(seen))
    found: dict[str, float] = {}
    for name, value in seen.items():
        if not isinstance(name, str):
            raise bad("probe", expected="numbers by name", got=f"the name {name!r}", remedy="names are text")
        found[name] = _number(name, value)
    taken = sorted(name for name in found if name in known)
    if taken:
        raise bad("probe", expected="names of its own", got=listed(taken), remedy="these are measured already")
    return found


def _number(name: str, value: object) -> float:
    if isinstance(value, Tensor | np.ndarray | np.generic) and not value.ndim:
        value = value.item()
    if not isinstance(value, int | float):
        remedy = "record several numbers under several names"
        raise bad(f"probe: {name}", expected="a number", got=describe(value), remedy=remedy)
    return value


def _wrong_in_pieces(
    model: nn.Module, split: Split, attack: Attack, generator: torch.Generator, update: Update | None = None
) -> WrongExamples:
    """Which examples are wrong, found piece by piece."""
    pieces: list[WrongExamples] = []
    n_done = 0
    for x, y in in_pieces(split):
        here = _behind(n_done, update)
        pieces.append(wrong_examples(model, x, y, attack, generator=generator, progress=here))
        n_done += len(y)
    clean = torch.cat([piece.clean for piece in pieces])
    robust = torch.cat([piece.robust for piece in pieces])
    return WrongExamples(clean, robust, attack.exact)


def _behind(n_before: int, update: Update | None) -> Callable[[int], None] | None:
    """The bar for a piece that comes behind others."""
    if update is None:
        return None

    def moved(n_done: int) -> None:
        update(n_before + n_done)

    return moved


def in_pieces(split: Split) -> Iterator[tuple[Tensor, Tensor]]:
    """The examples in their order, `PIECE` at a time as float32: no more of them need room.

    Args:
        split: any.

    Yields:
        x, (B, C, H, W), and y, (B,); of an empty split once, with no example.
    """
    batches = torch.arange(len(split), device=split.rows_on).split(PIECE)
    split.expect(batches)
    for rows in batches:
        yield split.batch(rows)


def _wrong_together(model: nn.Module, split: Split, attack: Attack, ranks: Ranks) -> WrongExamples:
    """Which examples are wrong, each found by the process that has it; all processes know of all."""
    mine = split.part(ranks.piece(len(split)))
    generator = torch.Generator(split.device).manual_seed(0)
    clean = _wrong_of(model, mine, NoAttack(), generator, ranks).clean
    # One process draws a stream for each example that is right, in their order; those of the pieces before are skipped.
    n_right = [0] * ranks.size
    n_right[ranks.number] = int((~clean).sum())
    n_before = sum(ranks.sums(n_right)[: ranks.number])
    Draws.from_generator(generator, n_before)
    found = _wrong_of(model, mine, attack, generator, ranks)
    places = torch.arange(len(split), device=split.device)[ranks.piece(len(split))]
    both = ranks.in_order(torch.stack([found.clean, found.robust], 1), places, len(split))
    return WrongExamples(both[:, 0], both[:, 1], attack.exact)


def _wrong_of(
    model: nn.Module, split: Split, attack: Attack, generator: torch.Generator, ranks: Ranks
) -> WrongExamples:
    """What one process finds; what goes wrong in one goes wrong in all."""
    none = torch.zeros(0, dtype=torch.bool, device=split.device)
    found = WrongExamples(none, none, attack.exact)
    not_finite = False
    with ranks.failing_together("the evaluation"):
        try:
            if len(split):
                found = _wrong_in_pieces(model, split, attack, generator)
        except NotFinite:
            not_finite = True
    if ranks.largest([int(not_finite)]) == [1]:
        raise NotFinite(f"model output: expected finite values, got NaN or inf; {FINITE}")
    return found


def evaluate(
    model: nn.Module, parts: Mapping[str, Split], evaluation: Evaluation, ranks: Ranks = ALONE
) -> dict[str, float]:
    """The row of an evaluated epoch.

    Args:
        model: set to evaluation mode.
        parts: name -> examples on the network's device; empty parts are left out.
        evaluation: attack and number of examples.
        ranks: the processes that evaluate together; all of them get the row.

    Returns:
        `clean_error/PART` and `robust_error/PART` as fractions, and `prediction_share`, the largest share of the
        predictions on the test part that one class takes.
    """
    model.eval()
    row: dict[str, float] = {}
    for part, split in parts.items():
        if len(split):
            found = errors_on(model, split, evaluation.attack, evaluation.n, part, show=False, ranks=ranks)
            row |= {key: error.value for key, error in found.items()}
    row[PREDICTION_SHARE] = max(shares_on(model, parts["test"], evaluation.n))
    return row


def shares_on(model: nn.Module, split: Split, n: int) -> list[float]:
    """The share of predictions that each class takes.

    Args:
        model: in evaluation mode.
        split: examples on the network's device.
        n: at most so many, the first ones.

    Returns:
        One fraction per class, in the order of the classes; of labels -1 and +1 for scores.
    """
    head = split.head(n)
    counts: list[float] = []
    for x, _ in in_pieces(head):
        of_piece = [share * len(x) for share in predicted_shares(model, x)]
        counts = [before + count for before, count in zip_longest(counts, of_piece, fillvalue=0.0)]
    return [round(count) / len(head) for count in counts]
