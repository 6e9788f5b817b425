"""The evaluation of an attack, example by example: what broke it and when. It can be stopped and taken up again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cgro._check import BadRequest, bad
from cgro.definitions.attacks import Attack, preserve_state, require_attack
from cgro.definitions.draws import Draws
from cgro.definitions.inputs import ordinary_tensors
from cgro.definitions.losses import Model, margin
from cgro.definitions.metrics import Bound, ErrorRate, check_set, judged
from cgro.definitions.threat import ThreatModel

GIVEN, STANDING, CLEAN = -2, -1, 0


@dataclass
class Record:
    """What is known of each example, on the CPU. Plain tensors, so that it can be stored at any moment.

    Args:
        attacks: names in the order tried.
        index: (N,) int64 positions in the data set; they name the random streams.
        tried: (N,) int64, how many of the attacks an example has been through; -1 before the clean one.
        by: (N,) int64, -1 for an example that stands, 0 for one that is wrong when clean, k for one that the k-th
            attack broke, -2 for one that a given point broke. step: (N,) int64, the step of that attack (steps of all restarts, counted on), else -1.
        margin: (N,) float32, of x_adv. x_adv: (N, *S) the point of lowest margin found, or the first wrong one.
    """

    attacks: tuple[str, ...]
    index: Tensor
    tried: Tensor
    by: Tensor
    step: Tensor
    margin: Tensor
    x_adv: Tensor

    @classmethod
    def fresh(cls, attack: Attack, x: Tensor, index: Tensor) -> "Record":
        """Nothing is known yet."""
        names, minus = tuple(part.name for part in attack.parts), torch.full((len(x),), -1)
        stored = torch.full((len(x),), torch.inf)
        return cls(names, index.cpu(), minus, minus.clone(), minus.clone(), stored, x.detach().cpu().clone())

    @property
    def wrong(self) -> Tensor:
        """(N,) bool."""
        return self.by != STANDING

    @property
    def complete(self) -> bool:
        """Whether every example is wrong or has been through every attack."""
        return bool((self.wrong | (self.tried >= len(self.attacks))).all())

    @property
    def so_far(self) -> ErrorRate:
        """What is proved at this moment: examples that were not tried yet count as right, so it is a lower bound."""
        return ErrorRate(int(self.wrong.sum()), len(self.by), "lower")

    def error(self, bound: Bound = "lower") -> ErrorRate:
        """The robust error that the record proves.

        Raises:
            BadRequest: the evaluation is unfinished.
        """
        if not self.complete:
            raise bad("record", expected="a complete evaluation", got="an unfinished one", remedy="call survey again")
        return ErrorRate(int(self.wrong.sum()), len(self.by), bound)

    def broken_by(self) -> dict[str, int]:
        """How many examples each attack broke, `clean` first; `given` counts points that came from elsewhere."""
        counts = {name: int((self.by == k).sum()) for k, name in enumerate(("clean", *self.attacks))}
        given = int((self.by == GIVEN).sum())
        return counts | ({"given": given} if given else {})


@ordinary_tensors
def survey(
    model: Model,
    x: Tensor,
    y: Tensor,
    attack: Attack,
    *,
    batch: int = 256,
    seed: int = 0,
    index: Tensor | None = None,
    record: Record | None = None,
    saved: Callable[[Record], object] | None = None,
    given: Sequence[Tensor] = (),
    stages: int | None = None,
    stop: Callable[[], bool] | None = None,
) -> Record:
    """Robust error example by example: each attack of an ensemble meets the examples that still stand, and no others.

    An example is done at the first wrong point. Its random numbers come from (seed, attack, index) alone, so neither
    the batch nor an interruption changes them; results are equal up to the rounding of the model's own sums.

    Args:
        model: in eval mode. x: (N, *S) inputs in the box. y: (N,) labels.
        attack: any; an ensemble is taken apart.
        batch: examples at a time; affects speed and memory only. seed: of the random streams.
        index: (N,) positions in the data set; None means 0 .. N-1.
        record: an unfinished record to go on with. saved: called with the record after every batch.
        given: (N, *S) points each, judged before any attack: those that broke a similar model, say.
        stages: go no further than the clean inputs (0) or the first so many attacks; None means all.
        stop: asked before every batch; True ends the survey where it is, to be gone on with later.

    Returns:
        The record, complete unless it was stopped. A lower bound: what is not broken may still be breakable.

    Raises:
        BadRequest: see `robust_error`; a record of other attacks or examples.

    Example:
        >>> from cgro.definitions import PGD, ThreatModel
        >>> x, y = torch.tensor([[0.30], [0.45], [0.60], [0.80]]), torch.tensor([-1, -1, 1, 1])
        >>> record = survey(lambda v: v[:, 0] - 0.5, x, y, PGD(ThreatModel("inf", 0.11), n_steps=5))
        >>> record.error().value, record.broken_by()
        (0.5, {'clean': 0, 'pgd5': 2})
    """
    require_attack(attack)
    x, y = check_set(model, x, y, batch)
    attack.threat.check_input(x)
    index = torch.arange(len(x)) if index is None else index.cpu()
    if len(index) != len(x):
        raise bad("index", expected=f"{len(x)} positions, one per example", got=len(index))
    record = Record.fresh(attack, x, index) if record is None else record
    if record.attacks != tuple(a.name for a in attack.parts) or not torch.equal(record.index, index):
        raise bad("record", expected=f"one of {[a.name for a in attack.parts]} on these examples", got=record.attacks)
    last = len(attack.parts) if stages is None else min(stages, len(attack.parts))
    with preserve_state(model, x.device):
        for k in range(last + 1):
            rows = torch.nonzero(~record.wrong & (record.tried < k)).squeeze(1)
            for some in rows.split(batch):
                if stop is not None and stop():
                    return record
                here = some.to(x.device)
                if k == 0:
                    clean = margin(judged(model, x[here], y[here]), y[here])
                    _note(record, 0, some, clean, x[here], torch.zeros(len(some)))
                elif attack.threat.radius > 0:
                    _judge_given(model, x, y, given, attack.threat, record, some)
                    standing = some[~record.wrong[some]]
                    if len(standing):
                        here = standing.to(x.device)
                        _try(model, x[here], y[here], attack.parts[k - 1], seed, record, k, standing)
                record.tried[some] = k
                if saved:
                    saved(record)
    return record


def _judge_given(
    model: Model, x: Tensor, y: Tensor, given: Sequence[Tensor], threat: ThreatModel, record: Record, rows: Tensor
) -> None:
    """Points of others on the examples that stand. Those outside the threat model are passed over."""
    for points in given:
        rows = rows[~record.wrong[rows]]
        if len(rows):
            here, x_adv = rows.to(x.device), points[rows].to(x)
            margins = margin(judged(model, x_adv, y[here]), y[here])
            margins = torch.where(threat.contains(x_adv, x[here]), margins, torch.inf)
            _note(record, GIVEN, rows, margins, x_adv, torch.zeros(len(rows)))


def _try(model: Model, x: Tensor, y: Tensor, part: Attack, seed: int, record: Record, k: int, rows: Tensor) -> None:
    """One attack on one batch. Its output is not trusted: it is checked and judged anew."""
    found = part.find(model, x, y, generator=Draws.of(seed, part.name, record.index[rows]), until_wrong=True)
    if not bool(part.threat.contains(found.x, x).all()):
        raise BadRequest(f"{part!r} returned points outside its own threat model; project them first")
    _note(record, k, rows, margin(judged(model, found.x, y), y), found.x, found.step)


def _note(record: Record, k: int, rows: Tensor, margins: Tensor, x_adv: Tensor, step: Tensor) -> None:
    margins = margins.cpu().float()
    lower, broken = margins < record.margin[rows], ~(margins > 0)
    taken = lower | broken
    record.margin[rows[taken]], record.x_adv[rows[taken]] = margins[taken], x_adv.cpu()[taken]
    record.by[rows[broken]], record.step[rows[broken]] = k, step.cpu()[broken].long()
