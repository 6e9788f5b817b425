"""Adversarial training of the patch network, simulated exactly: Setting in, Simulation out."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass
from functools import partial

import numpy as np

from cgro._check import bad, count, one_of
from cgro.dynamics.backends import Backend, place
from cgro.dynamics.batch import Batch, Direct
from cgro.dynamics.recording import Record, columns, observe, record_steps
from cgro.dynamics.rule import Array
from cgro.dynamics.setting import Setting
from cgro.dynamics.spaces import rule_of
from cgro.dynamics.stopping import STOP_RULES, StopName, StopRule, all_diverged, outcomes_of
from cgro.dynamics.unseen import UnseenExamples, draw_unseen, unseen_margins
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
    if not len(seeds):
        raise bad("seeds", expected="at least one", got=0)
    for value, what in ((n_steps, "n_steps"), (n_records, "n_records"), (n_test, "n_test"), (threads, "threads")):
        count(value, what)
    rule = stop_when
    if isinstance(rule, str):
        rule = STOP_RULES[one_of(rule, "stop_when", STOP_RULES)]
    batch, placed = place(setting, seeds, backend)
    unseen = [draw_unseen(setting, seed, n_test, stream=ALONG_THE_WAY) for seed in seeds]
    grid = record_steps(n_steps, n_records)
    records: list[Record] = []
    stopped = ""
    with _pool(threads) as pool, np.errstate(all="ignore"):
        advance = partial(batch.advance, compiled=compiled and not setting.full_ball, pool=pool)
        for record in _observed(batch, unseen, grid, advance):
            records.append(record)
            if progress is not None:
                progress(int(grid[len(records) - 1]), f"signal margin {record.signal_margin.mean():.2f}")
            stopped = _stopped(records, grid[: len(records)], rule)
            if stopped:
                break
        steps = grid[: len(records)]
        values = columns(records)
        outcomes = outcomes_of(setting, seeds, steps, values["clean_margin"], stopped=stopped)
    return Simulation(
        steps,
        values,
        outcomes,
        setting=setting,
        seeds=tuple(seeds),
        n_test=n_test,
        backend=placed,
        batch=batch,
        covariance=batch.covariance(),
    )


def _observed(
    batch: Batch, unseen: Sequence[UnseenExamples], steps: Array, advance: Callable[[int], None]
) -> Iterator[Record]:
    """A record of the batch at each of the steps, as training reaches it."""
    done = 0
    for step in steps.tolist():
        if step > done:
            advance(step - done)
        done = step
        yield observe(batch, unseen)


def _stopped(records: Sequence[Record], steps: Array, rule: StopRule) -> str:
    """Why to stop here, or nothing."""
    if all_diverged(records, steps):
        return "all seeds diverged"
    return rule(records)


@contextlib.contextmanager
def _pool(threads: int) -> Iterator[ThreadPoolExecutor | None]:
    if threads == 1:
        yield None
        return
    with ThreadPoolExecutor(threads) as pool:
        yield pool


def unseen_errors(run: Simulation, n_test: int = 20_000) -> dict[str, Array]:
    """Clean and robust test error at the end of a run, adversary along w*, on fresh examples.

    Args:
        run: from `simulate`.
        n_test: examples per seed; the standard error of one seed's rate is below 0.5 / sqrt(n_test).

    Returns:
        `clean` and `robust`, (S,) each. The robust error counts a clean mistake as one.
    """
    rule = rule_of(run.setting)
    clean, robust = [], []
    for s, seed in enumerate(run.seeds):
        examples = draw_unseen(run.setting, seed, n_test, stream=AT_THE_END)
        wrong = ~(unseen_margins(rule, run.signal[s], run.covariance[s], examples) > 0)
        clean.append(wrong[0].mean())
        robust.append(wrong.any(0).mean())
    return {"clean": np.array(clean), "robust": np.array(robust)}
