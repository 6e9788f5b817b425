"""The evaluation of an attack, example by example: what broke it and when. It can be stopped and taken up again."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cgro._check import bad, count, seed_number
from cgro.definitions.attacks import Attack, preserve_state, require_attack
from cgro.definitions.attacks.captured import find_captured
from cgro.definitions.draws import Draws
from cgro.definitions.inputs import ordinary_tensors
from cgro.definitions.losses import Model, margin
from cgro.definitions.metrics import check_set, checked_outputs, require_inside
from cgro.definitions.rounds import Round, alike, require_same_task, rounds, stopping_alike
from cgro.ranks import ALONE, Ranks
from cgro.results import Bound, ErrorRate

GIVEN = -2
"""Value of `Record.by`: broken by a point that came from elsewhere."""
CORRECT = -1
"""Value of `Record.by`: still correctly classified."""
CLEAN = 0
"""Value of `Record.by`: wrong without an attack."""


@dataclass
class Record:
    """What is known of each example, on the CPU. Plain tensors and words, so that it can be stored at any moment.

    Args:
        attacks: names in the order tried.
        index: (N,) int64 positions in the data set; they name the random streams.
        tried: (N,) int64, how many of the attacks an example has been through; -1 before the clean one.
        by: (N,) int64, -1 for an example that is still right, 0 for one that is wrong when clean, k for one that the
            k-th attack broke, -2 for one that a given point broke.
        step: (N,) int64, the step of that attack (steps of all restarts, counted on), else -1.
        margin: (N,) float32, of x_adv.
        x_adv: (N, *S) the point of lowest margin found, or the first wrong one.
        threat: that the attacks keep to, in words; "" where it is not known.
        labels: (N,) of the examples; None before an evaluation has seen them.
    """

    attacks: tuple[str, ...]
    index: Tensor
    tried: Tensor
    by: Tensor
    step: Tensor
    margin: Tensor
    x_adv: Tensor
    threat: str = ""
    labels: Tensor | None = None

    @classmethod
    def fresh(cls, attack: Attack, x: Tensor, index: Tensor) -> "Record":
        """Begin where nothing is known yet.

        Args:
            attack: that will be tried.
            x: (N, *S) clean inputs.
            index: (N,) int64 positions in the data set.

        Returns:
            A new record.
        """
        minus = torch.full((len(x),), -1, device="cpu")
        return cls(
            attacks=names_of(attack),
            index=index.cpu(),
            tried=minus,
            by=minus.clone(),
            step=minus.clone(),
            margin=torch.full((len(x),), torch.inf, dtype=torch.float32, device="cpu"),
            x_adv=x.detach().cpu().clone(),
            threat=repr(attack.threat),
        )

    @property
    def wrong(self) -> Tensor:
        """(N,) bool."""
        return self.by != CORRECT

    @property
    def complete(self) -> bool:
        """Whether every example is wrong or has been through every attack."""
        return bool((self.wrong | (self.tried >= len(self.attacks))).all())

    @property
    def clean_so_far(self) -> ErrorRate:
        """The clean error: exact once the clean inputs have had their turn, before that a lower bound."""
        bound: Bound = "lower"
        if bool((self.tried >= 0).all()):
            bound = "exact"
        return ErrorRate(int((self.by == CLEAN).sum()), len(self.by), bound)

    @property
    def so_far(self) -> ErrorRate:
        """What is proved at this moment: examples that were not tried yet count as right, so it is a lower bound."""
        return ErrorRate(int(self.wrong.sum()), len(self.by), "lower")

    def error(self, bound: Bound = "lower") -> ErrorRate:
        """The robust error that the record proves.

        Args:
            bound: `exact` where the attacks were.

        Returns:
            The share of wrong examples.

        Raises:
            BadRequest: the evaluation is unfinished.
        """
        if not self.complete:
            raise bad("record", expected="a complete evaluation", got="an unfinished one", remedy="call survey again")
        return ErrorRate(int(self.wrong.sum()), len(self.by), bound)

    def broken_by(self) -> dict[str, int]:
        """Count how many examples each attack broke.

        Returns:
            `clean` first, then the attacks in order; `given` counts points that came from elsewhere, if there are any.
        """
        counts: dict[str, int] = {}
        for k, name in enumerate(("clean", *self.attacks)):
            counts[name] = int((self.by == k).sum())
        given = int((self.by == GIVEN).sum())
        if given:
            counts["given"] = given
        return counts

    def note(self, k: int, rows: Tensor, margins: Tensor, x_adv: Tensor, step: Tensor) -> None:
        """Take over what was found at some examples.

        Args:
            k: what found it: `GIVEN`, `CLEAN`, or the number of an attack from 1 on.
            rows: (R,) int64, the examples.
            margins: (R,) evaluated in float32; NaN counts as wrong.
            x_adv: (R, *S) the points.
            step: (R,) int64, steps at which they were found.
        """
        margins = margins.cpu().float()
        lower = margins < self.margin[rows]
        broken = ~(margins > 0)
        taken = lower | broken
        self.margin[rows[taken]] = margins[taken]
        self.x_adv[rows[taken]] = x_adv.cpu()[taken]
        self.by[rows[broken]] = k
        self.step[rows[broken]] = step.cpu()[broken].long()

    def known(self, rows: Tensor) -> list[Tensor]:
        """What is known of some examples.

        Args:
            rows: (R,) int64.

        Returns:
            by, step, margin and x_adv of these.
        """
        return [self.by[rows], self.step[rows], self.margin[rows], self.x_adv[rows]]

    def put(self, rows: Tensor, known: Sequence[Tensor]) -> None:
        """Write down what is known of some examples, in place of what was.

        Args:
            rows: (R,) int64.
            known: as `known` gives it, of this process or another.
        """
        self.by[rows], self.step[rows], self.margin[rows], self.x_adv[rows] = known


def names_of(attack: Attack) -> tuple[str, ...]:
    """The names of the attacks that an attack is made of.

    Args:
        attack: any; an ensemble is taken apart.

    Returns:
        The names, in the order in which the attacks are tried.
    """
    return tuple(part.name for part in attack.parts)


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
    ranks: Ranks = ALONE,
) -> Record:
    """Robust error example by example: each attack of an ensemble meets the examples that are still right, no others.

    An example is done at the first wrong point. Its random numbers come from (seed, attack, index) alone, so neither
    the batch nor an interruption changes them; results are equal up to the rounding of the model's own sums.

    Several processes, each called with the same arguments, have a batch each: the record is that of one process, to the
    bit on equal machines.

    Args:
        model: in eval mode if it is a module.
        x: (N, *S) inputs in the box.
        y: (N,) labels.
        attack: any; an ensemble is taken apart.
        batch: examples at a time; affects speed and memory only.
        seed: of the random streams.
        index: (N,) positions in the data set; None means 0 .. N-1.
        record: an unfinished record to go on with, of the same model and labels; it is written in place.
        saved: called with the record after every batch, in the first process.
        given: (N, *S) points each, evaluated before any attack: those that broke a similar model, say.
        stages: go no further than the clean inputs (0) or the first so many attacks; None means all.
        stop: asked before every batch, in the first process; True ends the evaluation where it is, to be gone on with
            later.
        ranks: the processes that evaluate together; see `cgro.ranks.together`.

    Returns:
        The record, complete unless it was stopped. A lower bound: what is not broken may still be breakable.

    Raises:
        BadRequest: see `robust_error`; a record of other attacks, another threat model, other examples or labels;
            another process failed.

    Example:
        >>> from cgro.definitions import PGD, ThreatModel
        >>> x, y = torch.tensor([[0.30], [0.45], [0.60], [0.80]]), torch.tensor([-1, -1, 1, 1])
        >>> record = survey(lambda v: v[:, 0] - 0.5, x, y, PGD(ThreatModel("inf", 0.11), n_steps=5))
        >>> record.error().value, record.broken_by()
        (0.5, {'clean': 0, 'pgd5': 2})
    """
    with alike(ranks):
        require_attack(attack)
        batch = count(batch, "batch")
        seed = seed_number(seed)
        model, x, y = check_set(model, x, y)
        attack.threat.check_input(x)
        record = _begun(record, attack, x, index)
        _keep_labels(record, y)
    last = len(attack.parts) if stages is None else min(stages, len(attack.parts))
    what = repr((attack.threat, record.attacks, batch, seed, last, len(given)))
    require_same_task(ranks, model, what, y, record.index, record.tried, record.by)
    stage = _Stage(model, x, y, attack, record, seed, given, batch)
    with preserve_state(model, x.device), stopping_alike(ranks):
        for k in range(last + 1):
            rows = torch.nonzero(~record.wrong & (record.tried < k)).squeeze(1)
            for some in rounds(rows, batch, ranks):
                if stop is not None and some.decided(stop):
                    return record
                stage.run_together(k, some)
                _save(record, saved, ranks)
    return record


def _save(record: Record, saved: Callable[[Record], object] | None, ranks: Ranks) -> None:
    """Let the first process keep the record; all end alike where it cannot."""
    if not ranks.shared and saved is None:
        return
    with alike(ranks):
        if saved is not None and ranks.writes:
            saved(record)


def _begun(record: Record | None, attack: Attack, x: Tensor, index: Tensor | None) -> Record:
    """The record to go on with; a new one for None."""
    index = torch.arange(len(x), device="cpu") if index is None else index.cpu()
    if len(index) != len(x):
        raise bad("index", expected=f"{len(x)} positions, one per example", got=len(index))
    if record is None:
        return Record.fresh(attack, x, index)
    if record.attacks != names_of(attack) or not torch.equal(record.index, index):
        expected = f"one of {list(names_of(attack))} on these examples"
        raise bad("record", expected=expected, got=record.attacks)
    remedy = "leave record out: a new evaluation begins"
    if record.threat not in ("", repr(attack.threat)):
        raise bad("record", expected=f"one under {attack.threat}", got=f"one under {record.threat}", remedy=remedy)
    expected = "points in the balls around these examples"
    if record.x_adv.shape != x.shape:
        raise bad("record", expected=expected, got=f"points of shape {tuple(record.x_adv.shape)}", remedy=remedy)
    # Of the inputs that are searched: those of a float64 network are float64, whatever the record was made of.
    record.x_adv = record.x_adv.to(x.dtype)
    outside = int((~attack.threat.contains(record.x_adv.to(x), x)).sum())
    if outside:
        raise bad("record", expected=expected, got=f"{outside} of {len(x)} outside", remedy=remedy)
    if record.x_adv.untyped_storage().data_ptr() == x.untyped_storage().data_ptr():
        record.x_adv = record.x_adv.clone()  # it is written in place: the clean inputs would be, too
    return record


def _keep_labels(record: Record, y: Tensor) -> None:
    """Refuse a record of other labels: its examples are wrong or right by these."""
    y = y.cpu()
    if record.labels is None:
        record.labels = y
    n_other = int((record.labels != y).sum())
    if n_other:
        got = f"others at {n_other} of {len(y)} examples"
        raise bad("record", expected="one of these labels", got=got, remedy="leave record out: a new evaluation begins")


@dataclass(frozen=True)
class Visit:
    """One stage of an attack on one of a series of networks.

    Args:
        stage: 0 for the clean inputs, k for the k-th attack.
        position: of the network in the series.
        neighbors: positions of the networks whose points it is shown first: the one before it and the one behind it.
    """

    stage: int
    position: int
    neighbors: tuple[int, ...]


def series_visits(n: int, n_stages: int) -> Iterator[Visit]:
    """The order in which a series of networks is attacked: all by one attack, then all by the next.

    The direction alternates, so that a point that breaks one network can travel through all of them.

    Args:
        n: networks.
        n_stages: attacks.

    Yields:
        Each stage of each network once; n_stages + 1 visits of each in all.

    Example:
        >>> [(visit.stage, visit.position, visit.neighbors) for visit in series_visits(3, 1)]
        [(0, 0, ()), (0, 1, ()), (0, 2, ()), (1, 2, (1,)), (1, 1, (2, 0)), (1, 0, (1,))]
    """
    for stage in range(n_stages + 1):
        step = 1
        order = range(n)
        if stage % 2:
            step = -1
            order = reversed(order)
        for position in order:
            neighbors = ()
            if stage:  # the clean inputs need no points of others
                near = (position - step, position + step)
                neighbors = tuple(other for other in near if 0 <= other < n)
            yield Visit(stage, position, neighbors)


def survey_series(
    networks: Callable[[int], Model],
    n_networks: int,
    x: Tensor,
    y: Tensor,
    attack: Attack,
    *,
    batch: int = 256,
    seed: int = 0,
    ranks: Ranks = ALONE,
) -> list[Record]:
    """Robust error example by example of similar networks, such as the checkpoints of one training.

    A network is shown the lowest points of its neighbors before each attack, which costs a forward pass a neighbor; an
    example that one of them breaks is broken, as float32 on this network decides. All others go through every attack,
    with the random numbers that they have alone, so no verdict is weaker than that of `survey` (up to the rounding of
    the model's own sums). It saves searches on examples that can be broken; the others cost as much as alone.

    Args:
        networks: position -> network in eval mode, asked for once per attack; may be one object with other weights.
        n_networks: positions 0 .. n_networks - 1, neighbors being similar.
        x: (N, *S) inputs in the box.
        y: (N,) labels.
        attack: any; an ensemble is taken apart.
        batch: examples at a time; affects speed and memory only.
        seed: of the random streams.
        ranks: the processes that evaluate together.

    Returns:
        One record per network; `Record.broken_by` counts what neighbors' points broke as `given`.

    Raises:
        BadRequest: see `survey`.

    Example:
        >>> from cgro.definitions import PGD, ThreatModel
        >>> x, y = torch.tensor([[0.30], [0.45], [0.60], [0.80]]), torch.tensor([-1, -1, 1, 1])
        >>> at = lambda k: lambda v: v[:, 0] - 0.5 - 0.01 * k
        >>> records = survey_series(at, 3, x, y, PGD(ThreatModel("inf", 0.11), n_steps=5))
        >>> [record.error().value for record in records], records[1].broken_by()
        ([0.5, 0.5, 0.5], {'clean': 0, 'pgd5': 0, 'given': 2})
    """
    count(n_networks, "n_networks")
    require_attack(attack)
    records: list[Record | None] = [None] * n_networks
    for visit in series_visits(n_networks, len(attack.parts)):
        given: list[Tensor] = []
        for neighbor in visit.neighbors:
            known = records[neighbor]
            if known is not None:
                given.append(known.x_adv)
        records[visit.position] = survey(
            networks(visit.position),
            x,
            y,
            attack,
            batch=batch,
            seed=seed,
            record=records[visit.position],
            given=given,
            stages=visit.stage,
            ranks=ranks,
        )
    return [record for record in records if record is not None]


@dataclass(frozen=True)
class _Stage:
    """The clean inputs, or one attack, on a batch of examples that are still right."""

    model: Model
    x: Tensor
    y: Tensor
    attack: Attack
    record: Record
    seed: int
    given: Sequence[Tensor]
    batch: int

    def run_together(self, k: int, some: Round) -> None:
        """Number k on the chunks of a round, each by its process; all of them or none."""
        before = self.record.known(some.rows)
        try:
            found = some.found(lambda chunk: self.run(k, chunk))
        except BaseException:
            self.record.put(some.rows, before)
            raise
        self.record.put(some.rows, found)
        self.record.tried[some.rows] = k

    def run(self, k: int, rows: Tensor) -> list[Tensor]:
        """Number k: 0 for the clean inputs, 1 for the first attack. Gives what the record knows of them then."""
        if k == CLEAN:
            x = self.x[rows.to(self.x.device)]
            self.record.note(CLEAN, rows, self._margins(x, rows), x, torch.zeros(len(rows), device="cpu"))
        elif self.attack.threat.radius > 0:
            self._attacked(k, rows)
        return self.record.known(rows)

    def _attacked(self, k: int, rows: Tensor) -> None:
        for points in self.given:
            rows = self._still_right(rows)
            if len(rows):
                self._evaluate_given(points, rows)
        rows = self._still_right(rows)
        if len(rows):
            self._try(k, rows)

    def _still_right(self, rows: Tensor) -> Tensor:
        return rows[~self.record.wrong[rows]]

    def _margins(self, points: Tensor, rows: Tensor) -> Tensor:
        y = self.y[rows.to(self.y.device)]
        return margin(checked_outputs(self.model, points, y), y)

    def _evaluate_given(self, points: Tensor, rows: Tensor) -> None:
        """Points of others. Those outside the threat model are passed over."""
        x = self.x[rows.to(self.x.device)]
        x_adv = points[rows].to(x)
        allowed = self.attack.threat.contains(x_adv, x)
        margins = torch.where(allowed, self._margins(x_adv, rows), torch.inf)
        self.record.note(GIVEN, rows, margins, x_adv, torch.zeros(len(rows), device="cpu"))

    def _try(self, k: int, rows: Tensor) -> None:
        """One attack. Its output is not trusted: it is checked and evaluated anew."""
        here = rows.to(self.x.device)
        part = self.attack.parts[k - 1]
        draws = Draws.of(self.seed, part.name, self.record.index[rows])
        x, y = self.x[here], self.y[here]
        found = find_captured(part, self.model, x, y, size=self.batch, generator=draws, until_wrong=True)
        if found is None:
            reached = self.record.margin[rows] if k > 1 else None
            found = part.find(self.model, x, y, generator=draws, until_wrong=True, reached=reached)
        require_inside(part, found.x, x)
        self.record.note(k, rows, self._margins(found.x, rows), found.x, found.step)
