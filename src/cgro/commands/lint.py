"""Can the robust errors of a network be believed? Checks of its evaluation: each says what it found and what to do.

The network is attacked on some test examples; the summary of a run stays as it is. A PASS is no proof: this sign of a
bad evaluation did not show on these examples. --strict makes a WARN exit 1, for CI.

examples:
  cgro lint runs/mnist5k
  cgro lint weights.pt --data mnist --model my_package.networks:Net --radius 0.1
  cgro lint runs/mine --model my_package.networks:Net --strict
  torchrun --nproc-per-node 2 -m -- cgro lint runs/mnist5k

A run is data: what it names is imported, read or fetched only if --model and --data name it too, or with --trust.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from cgro._check import CheckFailed, bad, count
from cgro.commands._common import Computing, Output, Trusting, begin, option, set_up
from cgro.commands._effect import Effects, Only
from cgro.commands._target import CheckpointOptions, load_target
from cgro.commands._together import Beside, begun_by_first, device_for, in_processes
from cgro.definitions.rounds import alike
from cgro.diagnosis import lint
from cgro.models import n_parameters
from cgro.ranks import Ranks
from cgro.results import CheckRecord, DatasetRecord, LintSummary, ModelRecord, OutcomeRecord, ThreatRecord
from cgro.runs import Run, Unsaved


@dataclass(kw_only=True)
class Config(Trusting, Output, Computing, CheckpointOptions):
    """Options of `cgro lint`."""

    target: str | None = option(None, "a run of cgro train, or a checkpoint (.safetensors, .pt)", positional=True)
    n: int = option(128, "test examples, at most", low=1)
    strict: bool = option(False, "exit 1 if a check warns")
    p: str | None = option(None, "norm; default: that of the run, or inf")
    radius: str | None = option(None, "radius; default: that of the run")
    seed: int = option(0, "of the attacks, and of the cut of a bare checkpoint's data", low=0)

    HAS_EFFECT: ClassVar[Effects] = {
        "precision": Only("float32, in which the lint attacks", lambda c: c.precision == "float32")
    }


def run(config: Config) -> Run | Unsaved | Beside:
    """Run the lint on a run or a checkpoint, in this process or by the share that it has among several.

    Args:
        config: the options.

    Returns:
        A run with --out, else `Unsaved`; beside the first of several processes an exit code.

    Raises:
        BadRequest: options that do not fit, or weights, data and network that do not.
    """
    set_up(config)
    return in_processes(config, _linted, check)


def _linted(config: Config, ranks: Ranks) -> Run | Unsaved:
    with alike(ranks):
        count(config.n, "--n")
        if config.target is None:
            raise bad("TARGET", expected="a run directory or a checkpoint", got="none", remedy="see cgro lint --help")
        target = load_target(config.target, config, p=config.p, radius=config.radius, trust=config.trust)
        target = target.require_own(config).at(config.p, config.radius)
        data, model = target.load()
        device = device_for(config.device, ranks)
        test = data.test.head(config.n).to(device)
        model = model.to(device).eval()
    found = lint(model, test.x, test.y, target.threat, n=config.n, seed=config.seed, ranks=ranks)
    checks = [CheckRecord.of(one.to_dict()) for one in found]
    result = LintSummary(
        command="lint",
        seed=config.seed,
        threat=ThreatRecord.of(target.threat.to_dict()),
        outcome=OutcomeRecord(kind="completed", reason=f"{_tally(checks)} on {len(test)} test examples"),
        verdict=None,
        metrics={},
        data=DatasetRecord.of(data.describe()),
        model=ModelRecord(name=target.settings.model, width=target.settings.width, n_parameters=n_parameters(model)),
        checks=checks,
    )
    if config.out is None:
        return Unsaved(result)
    with begun_by_first(begin("lint", config), ranks) as kept, alike(ranks):
        if kept is not None:
            kept.finish(result)
    return kept or Unsaved(result)


def check(config: Config, result: LintSummary) -> None:
    """Hold a finished lint against `--strict`.

    Args:
        config: the options.
        result: of `run`.

    Raises:
        CheckFailed: --strict, and a check that warns.
    """
    warned = warned_names(result.checks)
    if config.strict and warned:
        raise CheckFailed(f"{len(warned)} of {len(result.checks)} checks warn (--strict): {', '.join(warned)}")


def warned_names(checks: Sequence[CheckRecord]) -> list[str]:
    """Which checks warn.

    Args:
        checks: of one lint.

    Returns:
        Their names, in their order.
    """
    return [one.name for one in checks if one.status == "WARN"]


def _tally(checks: Sequence[CheckRecord]) -> str:
    n_warned = len(warned_names(checks))
    return f"{len(checks) - n_warned} PASS, {n_warned} WARN"


def describe(result: LintSummary) -> str:
    """Every check with its finding; for a WARN also what it means and what to do.

    Args:
        result: of `run`.

    Returns:
        Lines for the terminal.
    """
    lines = [f"Evaluation lint: {result.outcome.reason}", ""]
    width = max((len(one.name) for one in result.checks), default=0)
    for one in result.checks:
        lines.append(f"{one.status}  {one.name:{width}} {one.finding}")
        if one.status == "WARN":
            lines.append(f"      {one.meaning} To do: {one.remedy}.")
    return "\n".join(lines)
