"""The phenomenon on real digits, in three minutes and in pictures: low robust training error, high robust test error.

Four parts, each a run of its own below DIR: `images` (adversarial training on real digits), `theorem` and `table2` (the
paper's simulated training dynamics; table2 is calibrated to its Table 2), `memorize` (Theorem 4.4's network with its
certificate).

examples:
  cgro quickstart
  cgro quickstart --seed 3 --out runs/first
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from cgro.commands import dynamics, memorize, train
from cgro.commands._common import Computing, Output, Seeded, begin, for_seeds, lines_of, set_up
from cgro.runs import Run, summary

# Few images, many epochs and a radius warm-up: chosen, over seeds 0-4, to show robust overfitting on two cores. It is
# a demonstration of the phenomenon, not evidence of how often it occurs.
IMAGES: dict[str, Any] = {
    "data": "mnist5k", "n_train": 500, "model": "lenet", "width": 4, "p": "inf", "radius": "0.2", "attack": "pgd7",
    "epochs": 60, "lr_drops": "50", "batch_size": 50, "lr": 0.002, "radius_warmup": 10.0,
    "eval_attack": "pgd20", "eval_n": 300, "eval_every": 4,
}  # fmt: skip
STAGES: dict[str, Any] = {"seeds": 2}
MEMORIZE: dict[str, Any] = {"data": "mnist5k", "classes": "3,8", "p": "inf", "radius": "0.1"}


@dataclass(kw_only=True)
class Config(Output, Seeded, Computing):
    """Options of `cgro quickstart`."""


def run(config: Config) -> Run:
    """Run every part; each has its own directory below the whole."""
    set_up(config)
    return for_seeds("quickstart", config, _one)


def _one(config: Config, path: str | Path | None) -> Run:
    with begin("quickstart", config, path) as whole:
        whole.finish(_parts(config, whole))
    return whole


def _parts(config: Config, whole: Run) -> dict[str, Any]:
    """All parts, one after the other, and the summary of the whole."""
    where = {"device": config.device, "precision": config.precision}
    images = _part(whole, "images", train, {**IMAGES, **where, "seed": config.seed})
    told = {"images": images["verdict"]["reason"]}
    for preset in ("theorem", "table2"):
        own = {**STAGES, "preset": preset, "seed": config.seed, "threads": config.threads}
        told[preset] = _stages(_part(whole, preset, dynamics, own))
    told["memorize"] = _certificate(_part(whole, "memorize", memorize, {**MEMORIZE, **where, "seed": config.seed}))
    return summary(
        "quickstart", seed=config.seed, threat=images["threat"], outcome=images["outcome"],
        verdict=images["verdict"], metrics=images["metrics"], parts=told,
    )  # fmt: skip


def _part(whole: Run, name: str, command: ModuleType, settings: Mapping[str, Any]) -> dict[str, Any]:
    """A part's summary; a finished one is not computed again."""
    part = Run(whole.part(name))
    if not part.finished:
        command.run(command.Config(**settings, out=str(part.path)))
    return part.summary


def _percent(metric: Mapping[str, Any]) -> str:
    return f"{100 * metric.get('mean', metric.get('value')):.1f}%"


def _stages(result: Mapping[str, Any]) -> str:
    """What the simulated training shows, in a sentence."""
    clean, train_error, test_error = (
        _percent(result["metrics"][k]) for k in ("clean_error/test", "robust_error/train", "robust_error/test")
    )
    calibrated = " (settings calibrated to the paper's Table 2: no evidence for it)" if result["calibrated"] else ""
    found = [name for name, stage in result["stages"].items() if stage["mean"] is not None]
    return (
        f"Patch data{calibrated}: robust error {train_error} on the training set, "
        f"{test_error} on unseen examples, clean {clean}; "
        f"{len(found)} of {len(result['stages'])} stage boundaries found in every seed."
    )


def _certificate(result: Mapping[str, Any]) -> str:
    """What the memorizer proves, in a sentence."""
    certificate, metrics = result["certificate"], result["metrics"]
    low, high = (_percent(metrics[f"robust_error/test{suffix}"]) for suffix in ("", "@certified"))
    return (
        f"Theorem 4.4 on 3 against 8: a ReLU network of {result['parameters']['total']:,} parameters is "
        f"{'certified' if certificate['holds'] else 'NOT certified'} on all {certificate['n']} training balls; "
        f"clean test error {_percent(metrics['clean_error/test'])}, robust test error between {low} and {high}."
    )


def describe(result: dict[str, Any]) -> str:
    """The verdict first, then the numbers, the other parts, and what to look at."""
    if "parts" not in result:
        return lines_of(result)
    others = "\n".join(f"{name}: {text}" for name, text in result["parts"].items() if name != "images")
    pictures = (
        "images/figures/learning_curves.png", "images/figures/adversarial_examples.png", "theorem/figures/stages.png",
        "memorize/figures/decision_regions.png",
    )  # fmt: skip
    return f"{lines_of(result)}\n\n{others}\n\nLook at {', '.join(pictures)} in the directory below."
