"""`Monitor`: the four errors after every epoch of a training loop of one's own."""

import contextlib
import shlex
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from torch import nn
from torch.nn.parameter import is_lazy

from cgro._check import BadRequest, bad, count, number
from cgro.definitions import FOUR, Attack, ErrorRate, ThreatModel
from cgro.definitions.metrics import NotFinite
from cgro.diagnosis.headline import with_caveats
from cgro.diagnosis.importers.run import read_run
from cgro.diagnosis.monitor.journal import MONITOR_SECONDS, SECONDS, Journal, row_of
from cgro.diagnosis.monitor.measure import Measurement, measure, wait_for
from cgro.diagnosis.monitor.onset import alarm_of
from cgro.diagnosis.monitor.parts import TEST, TRAIN, VALIDATION, parts_of
from cgro.diagnosis.monitor.ranks import Ranks, rank
from cgro.diagnosis.monitor.settings import UNKNOWN, Keep, Settings, Statistics, name_of, named_strong, two_names
from cgro.diagnosis.monitor.surroundings import is_distributed, is_finite, unwrap
from cgro.diagnosis.remedies import remedies_for
from cgro.diagnosis.strength import too_low
from cgro.diagnosis.verdict import Diagnosis, diagnose
from cgro.runs import say
from cgro.training.history import EPOCH, Row

REFUSED, SKIPPED, CHEAP, THOROUGH = range(4)
"""What process 0 decides about an epoch, and tells the others."""


class Monitor:
    """Watch any PyTorch training: clean and robust error on training and test examples after each epoch.

    Three lines: make one, call it after every epoch, ask for the verdict. Each call evaluates fixed examples in passes
    of its own and leaves the loop as it was: parameters, buffers, modes, gradients, random numbers, autocast and
    compiled code. The numbers are those of `cgro evaluate` on the same weights and examples. Another thing than
    `cgro.flatness.FlatnessMonitor`, a probe inside `cgro.training.fit` that measures flatness.

    Under DistributedDataParallel every process calls it with the wrapped model; they share the examples, and process 0
    writes. With a plain module process 0 alone evaluates.

    Args:
        train: examples that are trained on: (x, y), a dictionary, a DataLoader, a Dataset or a `Split`; images in
            [0, 1]. At most `n` of them are used, the same in every epoch.
        test: examples that are not.
        threat: the adversary, in units of images in [0, 1].
        validation: a third part, on which `keep="best"` selects; None for none.
        out: the run directory. One that is there is taken up, if settings and examples are the same. None: a new one.
        overwrite: delete the run of a monitor that is in `out`, and begin anew.
        attack: name of the attack after every epoch, such as pgd10; see `cgro evaluate --help`. An attack on `threat`
            is taken by its name, which the run records.
        n: examples of each part, at most.
        strong: (a stronger attack, every how many evaluations); None for none.
        budget: what an epoch may cost on average, such as "30s" or 50_000 (forward passes of one example); epochs are
            left out until it is kept. None: every epoch is evaluated.
        keep: the weights that are kept: "none", "last", "best" (on validation, and the last) or every k-th and these.
        normalize: (mean, std) per channel, where the loop normalizes outside the network.
        names: what the run calls the data and the network.
        seed: of the samples.

    Raises:
        BadRequest: settings or examples that do not fit; a directory that holds something else.

    Example:
        A loop that learns nothing: the classes overlap, and the network answers by one threshold.

        >>> import tempfile, torch
        >>> x, y = torch.rand(60, 1, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 2
        >>> net = torch.nn.Linear(1, 2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     monitor = Monitor((x[:30], y[:30]), (x[30:], y[30:]), ThreatModel("inf", 0.1), out=folder + "/run")
        ...     rows = [monitor(net, epoch) for epoch in range(2)]
        >>> rows[0]["robust_error/test"] == rows[1]["robust_error/test"] >= rows[0]["clean_error/test"]
        True
    """

    def __init__(
        self,
        train: object,
        test: object,
        threat: ThreatModel,
        *,
        validation: object | None = None,
        out: str | Path | None = None,
        overwrite: bool = False,
        attack: str | Attack = "pgd10",
        n: int = 1000,
        strong: tuple[str | Attack, int] | None = None,
        budget: str | int | None = None,
        keep: Keep = "last",
        normalize: Statistics | None = None,
        names: tuple[str, str] = (UNKNOWN, UNKNOWN),
        seed: int = 0,
    ) -> None:
        names = two_names(names)
        self.settings = Settings(
            threat, name_of(attack, threat), n, named_strong(strong, threat), budget, keep, normalize, seed
        )
        given = {TRAIN: train, TEST: test}
        if validation is not None:
            given[VALIDATION] = validation
        if keep == "best" and validation is None:
            raise bad("keep", expected='"last", or validation=(x, y) to select on', got='"best" without validation')
        self.parts = parts_of(given, self.settings)
        self._journal: Journal | None = None
        if not rank():
            self._journal = Journal.begin(out, self.settings, self.parts, names=names, overwrite=overwrite)
            for remark in self.parts.remarks:
                say(f"cgro.Monitor, {remark}")
        self._since = time.perf_counter()
        self._trained = 0.0
        self._credit = 0.0
        self._told_cost = False
        self._not_finite: list[int] = []
        self._shapes: list[tuple[int, ...]] = []

    @property
    def path(self) -> Path | None:
        """The run directory; None in a process that writes none."""
        if self._journal is None:
            return None
        return self._journal.run.path

    def __call__(self, model: object, epoch: int, *, lr: float | None = None) -> Mapping[str, float] | None:
        """Evaluate the network after an epoch, unless the budget says to wait.

        Args:
            model: the network, however it is wrapped and in whatever mode.
            epoch: its number, as the loop counts from 0 or 1. One that was evaluated before must come out the same.
            lr: the learning rate of the epoch; with it the verdict sees drops.

        Returns:
            The row of `metrics.jsonl`, errors as fractions; None if the epoch was left out, as one is whose weights or
            outputs are not finite, and in processes other than the first.

        Raises:
            BadRequest: an epoch before the last one that was not evaluated, or that comes out otherwise; examples that
                the network does not take. What the network raises comes through; the loop is as it was.
        """
        epoch = count(epoch, "epoch", low=0)
        if lr is not None:
            lr = number(lr, "lr", low=0.0)
        network = unwrap(model)
        ranks = Ranks(is_distributed(model))
        if rank() and not ranks.shared:
            return None
        wait_for(network)
        started = time.perf_counter()
        self._trained += started - self._since  # added up over epochs that are left out
        try:
            with self._held() as rows:
                decision = self._agreed(ranks, network, rows, epoch)
                if decision == SKIPPED:
                    return None
                attacks = self._attacks(decision)
                try:
                    found = measure(network, self.parts.samples, attacks, ranks, self.settings.normalize)
                except NotFinite:  # in every process
                    self._leave_out(epoch, "the network's outputs are not finite, though its weights are")
                    return None
                if self._journal is None:
                    return None
                row = row_of(epoch, found, self._trained, lr)
                self._trained = 0.0
                return self._recorded(self._journal, network, rows, row, found, started)
        finally:
            self._since = time.perf_counter()

    def verdict(self) -> Diagnosis | None:
        """Does this training overfit robustly? Finishes the run, says the answer and how to see more.

        Returns:
            The diagnosis of the curves, as `cgro diagnose` gives it; None in processes other than the first. Where the
            network was not finite after any epoch there are no curves: it says so, and what helps.

        Raises:
            BadRequest: it was called after no epoch.
        """
        if self._journal is None:
            return None
        run = self._journal.run
        with run.locked():
            measured = bool(self._journal.rows())
            if measured:
                self._journal.finish()
        if not measured and self._not_finite:
            found = _never_finite(self._not_finite)
            say(f"{found.label}: {found.reason}")
            return found
        if not measured:
            raise bad("monitor", expected="at least one evaluated epoch", got="none", remedy="call it in the loop")
        errors: dict[str, ErrorRate] = {}
        caveats: list[str] = []
        if run.finished:
            metrics = run.read().metrics
            caveats = too_low(metrics)
            for key in FOUR:
                error = metrics[key].error
                if error is not None:
                    errors[key] = error
        (curves,) = read_run(run.path)
        if self._not_finite:
            caveats.append(f"the network was not finite after epoch {self._not_finite[0]}, where nothing was measured")
        found = with_caveats(diagnose(curves, errors=errors), caveats)
        say(f"{found.label}: {found.reason}")
        say(f"next: cgro report {shlex.quote(str(run.path))}")
        return found

    def rewind(self, epoch: int) -> None:
        """Forget the epochs behind one, before a loop goes on from a checkpoint of it.

        Args:
            epoch: the last one that stays; -1 forgets all, for a loop that begins anew.

        Raises:
            BadRequest: no integer, or one below -1.
        """
        epoch = count(epoch, "epoch", low=-1)
        self._not_finite = [left_out for left_out in self._not_finite if left_out <= epoch]
        if self._journal is None:
            return
        with self._journal.run.locked():
            self._journal.rewind(epoch)

    @contextlib.contextmanager
    def _held(self) -> Iterator[list[Row]]:
        """The rows so far, and the directory for this process alone."""
        if self._journal is None:
            yield []
            return
        with self._journal.run.locked():
            yield self._journal.rows()

    def _agreed(self, ranks: Ranks, network: nn.Module, rows: list[Row], epoch: int) -> int:
        """What all processes do with this epoch."""
        refusal: BadRequest | None = None
        decision = REFUSED
        if self._journal is not None:
            try:
                decision = self._decision(network, rows, epoch)
            except BadRequest as error:
                refusal = error
        (agreed,) = ranks.agree([decision])
        if refusal is not None:
            raise refusal
        if agreed == REFUSED:
            raise BadRequest("monitor: refused by process 0; see its message")
        return agreed

    def _decision(self, network: nn.Module, rows: list[Row], epoch: int) -> int:
        epochs = [int(row[EPOCH]) for row in rows]
        position = len(rows)
        if epoch in epochs:
            position = epochs.index(epoch)
        elif epochs and epoch < epochs[-1]:
            begins = f"after loading a checkpoint of epoch {epoch - 1}"
            if not epoch:
                begins = "to begin anew"
            remedy = f"{begins} call monitor.rewind({epoch - 1})"
            raise bad("epoch", expected=f"one after {epochs[-1]}, or one of before", got=epoch, remedy=remedy)
        elif not self._affords() and rows:
            return SKIPPED
        if not is_finite(network):
            self._leave_out(epoch, "the weights are not finite")
            return SKIPPED
        self._tell_of_another(network, epoch)
        strong = self.settings.strong
        if strong is not None and (position + 1) % strong[1] == 0:
            return THOROUGH
        return CHEAP

    def _leave_out(self, epoch: int, reason: str) -> None:
        """A training that diverged is no bad request: whether it goes on is for the loop to say."""
        self._not_finite.append(epoch)
        if self._journal is not None:
            say(f"cgro.Monitor, epoch {epoch}: not evaluated, {reason}; lower the learning rate")

    def _tell_of_another(self, network: nn.Module, epoch: int) -> None:
        """Say it where the weights have other shapes than before: the rows would be the curve of two networks.

        Not refused: pruning and growing change shapes within one training.
        """
        if any(is_lazy(parameter) for parameter in network.parameters()):
            return
        shapes = sorted(tuple(parameter.shape) for parameter in network.parameters())
        if self._shapes and shapes != self._shapes:
            say(f"cgro.Monitor, epoch {epoch}: another architecture than before (other weights by number or shape)")
        self._shapes = shapes

    def _affords(self) -> bool:
        """Whether the evaluations so far are paid for by the budgets of the epochs so far."""
        limit = self.settings.limit
        if limit is None:
            return True
        self._credit += limit.amount
        return self._credit > 0

    def _pay(self, passes: int, seconds: float) -> None:
        limit = self.settings.limit
        if limit is None:
            return
        spent = seconds
        if limit.unit == "passes":
            spent = passes
        self._credit = min(0.0, self._credit - spent)

    def _attacks(self, decision: int) -> dict[str, Attack]:
        attacks = {"": self.settings.cheap}
        strong, thorough = self.settings.strong, self.settings.thorough
        if decision == THOROUGH and strong is not None and thorough is not None:
            attacks[f"@{strong[0]}"] = thorough
        return attacks

    def _recorded(
        self, journal: Journal, network: nn.Module, rows: list[Row], row: Row, found: Measurement, started: float
    ) -> Row:
        """The row, written and told of; one that is there already is only compared."""
        for known in rows:
            if known[EPOCH] == row[EPOCH]:
                journal.same(known, row)
                if known is rows[-1]:
                    journal.complete(network, rows, found)
                return known
        rows.append(row)
        alarm = alarm_of(rows, max(2, len(found.shares)))
        if alarm is not None:
            row |= alarm.entries
            say(alarm.text)
        journal.write(network, rows, found, started)
        self._pay(journal.passes(found.attacks), row[MONITOR_SECONDS])
        if not self._told_cost:
            self._told_cost = True
            say(self._cost(journal, row))
        return row

    def _cost(self, journal: Journal, row: Row) -> str:
        n = sum(len(sample) for sample in self.parts.samples.values())
        trained, spent = row[SECONDS], row[MONITOR_SECONDS]
        text = f"cgro.Monitor: {n:,} examples by {self.settings.attack} took {spent:.2g} s"
        if trained > 0:
            text += f", {spent / trained:.0%} of the {trained:.2g} s of training before"
        return f"{text}; written to {journal.run.path}"


def _never_finite(epochs: list[int]) -> Diagnosis:
    """The diagnosis of a training of which nothing could be measured."""
    first, n = min(epochs), len(set(epochs))
    times = f"epoch {first}"
    if n > 1:
        times = f"any of {n} epochs, the first of them {first}"
    reason = f"No verdict, training diverged: the network was not finite after {times}; nothing was measured."
    advice = remedies_for("collapsed")[:1]  # on losses that are NaN
    evidence = {"n_epochs": 0, "caveats": []}
    return Diagnosis("too_little_evidence", "curve", reason, "unknown", remedies=advice, evidence=evidence)
