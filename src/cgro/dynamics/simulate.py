"""Adversarial training of the patch network, simulated exactly: Setting in, Simulation out."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass
from typing import Protocol

import numpy as np

from cgro._check import bad, count, count_field, one_of
from cgro.dynamics.backends import Backend, place
from cgro.dynamics.batch import Batch, Direct
from cgro.dynamics.recording import Record, columns, observe, record_steps
from cgro.dynamics.rule import Array
from cgro.dynamics.setting import Setting
from cgro.dynamics.spaces import rule_of, seeds_of
from cgro.dynamics.stopping import STOP_RULES, StopName, StopRule, all_diverged, outcomes_of
from cgro.dynamics.unseen import draw_unseen, unseen_margins
from cgro.trajectory import Trajectory

ALONG_THE_WAY = 0x7E57
AT_THE_END = 0xF17A1
"""Streams of the unseen examples during training, and of those that judge its end."""


@dataclass(frozen=True)
class Simulation(Trajectory):
    """A simulated training: its records and what stands at its end.

    Args:
        setting: what was trained.
        seeds: S of them.
        n_test: unseen examples per seed behind the test errors of the records.
        backend: the space that carried the filters: direct, gram or law.
        batch: the filters of all seeds after the last step.
        covariance: (S, m, m) <w_r, w_s> off the signal after the last step.
    """

    _: KW_ONLY
    setting: Setting
    seeds: tuple[int, ...]
    n_test: int
    backend: str
    batch: Batch
    covariance: Array

    def __post_init__(self) -> None:
        super().__post_init__()
        # The same by name, for scripts written before these had a type.
        meta = {
            "setting": self.setting.to_dict(),
            "seeds": list(self.seeds),
            "n_test": self.n_test,
            "backend": self.backend,
            "signal": self.signal,
            "covariance": self.covariance,
            "batch": self.batch,
        }
        object.__setattr__(self, "meta", meta)

    @property
    def signal(self) -> Array:
        """(S, K, m) <w_r, w*_k> after the last step."""
        return self.batch.u

    @property
    def vectors(self) -> Direct:
        """The filters as vectors, which an attack on every patch needs.

        Raises:
            BadRequest: a run of another back end than direct.
        """
        if not isinstance(self.batch, Direct):
            raise bad("backend", expected="direct", got=self.backend, remedy='simulate(..., backend="direct")')
        return self.batch


def simulate(
    setting: Setting,
    *,
    seeds: Sequence[int] = (0,),
    n_steps: int = 50_000,
    backend: Backend = "auto",
    compiled: bool = True,
    threads: int = 1,
    n_records: int = 240,
    n_test: int = 2_000,
    stop_when: StopName | StopRule = "never",
    progress: Callable[[int, str], object] | None = None,
) -> Simulation:
    """Gradient descent on the clean and robust logistic loss, all seeds as one batch, in float64.

    w_r <- w_r - eta grad (1/N) sum_i [ (1-lambda) loss(X_i) + lambda max_{X'} loss(X') ]; the inner maximum is a closed
    form for the adversary along w*, projected gradient for the full balls. What the numbers do not say: test errors
    along the way are means over `n_test` unseen examples per seed (the same ones at every record), not exact
    probabilities (`probability_correct` gives those); under "l2" and "linf" `robust_error/*` still speaks of the
    adversary along w*, exactly, and the full ball is attacked by `full_ball_errors`.

    Args:
        setting: data, network, adversary, step size.
        seeds: one run each; seed s gives the same run in every batch, and "direct" and "gram" the same up to rounding.
        n_steps: steps of gradient descent.
        backend: "direct" (vectors), "gram" (coefficients; cost independent of d), "law" (the Gram matrix drawn from
            its law; no vector of length d), or "auto" for the cheapest exact one.
        compiled: take steps in compiled loops; False for the slower numpy form of the same step, their oracle.
        threads: seeds run at once (compiled loops only).
        n_records: records, evenly in the logarithm of the step.
        n_test: unseen examples per seed for the test errors along the way.
        stop_when: "memorized" ends when, in all seeds, every training example resists the attack and noise learning
            has fallen below half of its highest rate; or a `StopRule` such as `LossBelow(0.1)`.
        progress: called after each record with the steps done and a short note.

    Returns:
        Records R over seeds S under the names of `recording.Record`, such as `signal_component` u (R, S),
        `signal_margin` alpha^q U (R, S) and `noise_learned` V_i (R, S, N); errors as `clean_error/train`, ....
        One Outcome per seed; a run that diverges is an outcome that names the largest stable step.

    Raises:
        BadRequest: a back end that cannot do this, no seeds, counts out of range.

    Example:
        >>> from cgro.dynamics import PRESETS
        >>> run = simulate(PRESETS["theorem"], n_steps=100, n_test=10)
        >>> bool(run.final("signal_margin")[0] > 1 > run.final("noise_learned").mean())  # stage I is over, III is not
        True
    """
    schedule = Schedule(seeds, n_steps=n_steps, n_records=n_records, n_test=n_test, stop_when=stop_when)
    n_threads = count(threads, "threads")
    batch, placed = place(setting, schedule.seeds, backend)
    with _pool(n_threads) as pool:
        training = _Plain(batch, compiled=compiled and not setting.full_ball, pool=pool)
        return train(setting, schedule, training, backend=placed, progress=progress)


@dataclass(frozen=True)
class _Plain:
    """Gradient descent without a remedy, in one space.

    Args:
        batch: its arrays change in place.
        compiled: whether the loops are.
        pool: of threads; None for one.
    """

    batch: Batch
    compiled: bool
    pool: ThreadPoolExecutor | None

    def advance(self, n_steps: int) -> None:
        self.batch.advance(n_steps, compiled=self.compiled, pool=self.pool)

    def evaluated(self) -> Batch:
        return self.batch


@contextlib.contextmanager
def _pool(threads: int) -> Iterator[ThreadPoolExecutor | None]:
    if threads == 1:
        yield None
        return
    with ThreadPoolExecutor(threads) as pool:
        yield pool


@dataclass(frozen=True)
class Schedule:
    """How long a training lasts, and what is recorded of it.

    Args:
        seeds: one run each.
        n_steps: steps of gradient descent, at most.
        n_records: records after step 0, evenly in the logarithm of the step.
        n_test: unseen examples per seed.
        stop_when: a name of `STOP_RULES`, or a rule.

    Raises:
        BadRequest: no seeds or no such, counts out of range, an unknown name.
    """

    seeds: Sequence[int]
    _: KW_ONLY
    n_steps: int
    n_records: int
    n_test: int
    stop_when: StopName | StopRule

    def __post_init__(self) -> None:
        object.__setattr__(self, "seeds", seeds_of(self.seeds))
        for name in ("n_steps", "n_records", "n_test"):
            count_field(self, name)
        if isinstance(self.stop_when, str):
            one_of(self.stop_when, "stop_when", STOP_RULES)

    def reason_to_stop(self, records: Sequence[Record], steps: Array) -> str:
        """Why training ends here, or nothing.

        Args:
            records: so far.
            steps: (R,) of these records.

        Returns:
            Words for the outcome.
        """
        if all_diverged(records, steps):
            return "all seeds diverged"
        rule = self.stop_when
        if isinstance(rule, str):
            rule = STOP_RULES[rule]
        return rule(records)


class Training(Protocol):
    """What moves the filters of all seeds."""

    def advance(self, n_steps: int) -> None:
        """Take steps.

        Args:
            n_steps: how many.
        """
        ...

    def evaluated(self) -> Batch:
        """What is recorded of them.

        Returns:
            The filters, which need not be those that are trained.
        """
        ...


def train(
    setting: Setting,
    schedule: Schedule,
    training: Training,
    *,
    backend: str,
    progress: Callable[[int, str], object] | None = None,
) -> Simulation:
    """Take the steps of a training, and record it.

    Args:
        setting: what is trained.
        schedule: seeds, steps and records.
        training: before its first step.
        backend: the space that carries the filters, for the record.
        progress: called after each record with the steps done and a short note.

    Returns:
        Records and the end.
    """
    unseen = [draw_unseen(setting, seed, schedule.n_test, stream=ALONG_THE_WAY) for seed in schedule.seeds]
    grid = record_steps(schedule.n_steps, schedule.n_records)
    records: list[Record] = []
    stopped = ""
    done = 0
    with np.errstate(all="ignore"):  # a divergence is an outcome
        for step in grid.tolist():
            if step > done:
                training.advance(step - done)
            done = step
            records.append(observe(training.evaluated(), unseen))
            if progress is not None:
                progress(step, f"signal margin {records[-1].signal_margin.mean():.2f}")
            stopped = schedule.reason_to_stop(records, grid[: len(records)])
            if stopped:
                break
        steps = grid[: len(records)]
        margins = np.stack([record.clean_margin for record in records])
        outcomes = outcomes_of(setting, schedule.seeds, steps, margins, stopped=stopped)
    end = training.evaluated()
    return Simulation(
        steps,
        columns(records),
        outcomes,
        setting=setting,
        seeds=tuple(schedule.seeds),
        n_test=schedule.n_test,
        backend=backend,
        batch=end,
        covariance=end.covariance(),
    )


def unseen_errors(run: Simulation, n_test: int = 20_000) -> dict[str, Array]:
    """Clean and robust test error at the end of a run, adversary along w*, on fresh examples.

    Args:
        run: from `simulate`.
        n_test: examples per seed; the standard error of one seed's rate is below 0.5 / sqrt(n_test).

    Returns:
        `clean` and `robust`, (S,) each. The robust error counts a clean mistake as one.

    Raises:
        BadRequest: no examples.
    """
    n_test = count(n_test, "n_test")
    rule = rule_of(run.setting)
    clean, robust = [], []
    for s, seed in enumerate(run.seeds):
        examples = draw_unseen(run.setting, seed, n_test, stream=AT_THE_END)
        wrong = ~(unseen_margins(rule, run.signal[s], run.covariance[s], examples) > 0)
        clean.append(wrong[0].mean())
        robust.append(wrong.any(0).mean())
    return {"clean": np.array(clean), "robust": np.array(robust)}
