"""What commands share: option groups, parsing from one schema (flags and YAML), seeds, and text on the terminal."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cgro._check import count
from cgro.commands._options import (
    NOT_STORED,
    Computing,
    Option,
    Output,
    Seeded,
    Trusting,
    admit,
    option,
    options_of,
    parse,
)
from cgro.results import commonest
from cgro.runs import Run, over_seeds, plain, summary

__all__ = [
    "Computing",
    "Option",
    "Output",
    "Seeded",
    "Trusting",
    "admit",
    "begin",
    "for_seeds",
    "lines_of",
    "option",
    "options_of",
    "parse",
    "set_up",
    "stored",
]


def stored(config: Any) -> dict[str, Any]:
    """The settings that make the result, without those that say where it goes and what was trusted."""
    return {k: v for k, v in asdict(config).items() if k not in NOT_STORED}


def begin(command: str, config: Any, path: str | Path | None = None) -> AbstractContextManager[Run]:
    """The run of a command, begun or taken up; held until the block ends.

    Args:
        command: its name.
        config: its options, `Output` among them.
        path: the directory; None means --out.

    Raises:
        BadRequest: see `Run.start`.
    """
    defaults = stored(type(config)())
    return Run.start(
        config.out if path is None else path, command, stored(config), overwrite=config.overwrite, defaults=defaults
    )


def for_seeds(
    command: str, config: Any, one: Callable[[Any, Path | None], Run], draw: Callable[[Path], object] | None = None
) -> Run:
    """Run one seed in DIR, or several in DIR/seed-S with their mean and spread in DIR/summary.json.

    Seeds that are already finished are not run again, so an interrupted call goes on where it was. `draw` makes the
    figures over seeds.
    """
    if count(config.seeds, "--seeds") == 1:
        return one(config, config.out)
    with begin(command, config) as run:
        parts = []
        for seed in range(config.seed, config.seed + config.seeds):
            path = run.part(f"seed-{seed}")
            done = Run(path)
            if not done.finished:
                done = one(replace(config, seed=seed, seeds=1, overwrite=False), path)
            parts.append(done.summary)
        run.finish(_over_seeds(command, config, parts), draw)
    return run


def _over_seeds(command: str, config: Any, parts: list[dict[str, Any]]) -> dict[str, Any]:
    """The summary of several seeds."""
    verdicts = [p["verdict"]["label"] for p in parts if p["verdict"]]
    verdict = None
    if verdicts:
        label, reason = commonest(verdicts)
        verdict = {"label": label, "reason": reason, "per_seed": verdicts}
    outcomes = [p["outcome"]["kind"] for p in parts]
    worst = next((o for o in outcomes if o != "completed"), "completed")
    return summary(
        command, seed=config.seed, threat=parts[0]["threat"],
        outcome={"kind": worst, "reason": f"{config.seeds} seeds", "per_seed": outcomes},
        verdict=verdict, metrics=over_seeds(parts), n_seeds=config.seeds,
    )  # fmt: skip


def lines_of(result: Mapping[str, Any]) -> str:
    """The verdict and every metric of a summary, for the terminal."""
    lines = []
    if result.get("verdict"):
        lines += [f"{result['verdict']['label']}: {result['verdict']['reason']}", ""]
    for key, m in result["metrics"].items():
        if "mean" in m:
            mean, sd = (("  n/a" if m[k] is None else f"{m[k]:.4f}") for k in ("mean", "sd"))
            lines.append(f"  {key:34} {mean}  sd {sd}  ({len(m['per_seed'])} seeds)")
        elif m.get("interval") and m.get("n"):
            low, high = m["interval"]
            lines.append(f"  {key:34} {m['value']:.4f}  [{low:.4f}, {high:.4f}]  n={m['n']}  {m['bound']}")
        else:
            lines.append(f"  {key:34} {plain(m.get('value'))}")
    return "\n".join(lines)


def set_up(config: Computing) -> None:
    """Apply --threads to this process. Commands call it once; no library function touches global settings."""
    import torch

    if config.threads is not None:
        torch.set_num_threads(count(config.threads, "--threads"))
