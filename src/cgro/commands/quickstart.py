"""The phenomenon on real digits, in three minutes and in pictures: low robust training error, high robust test error.

Four parts, each a run of its own below DIR: `images` (adversarial training on real digits), `theorem` and `table2` (the
paper's simulated training dynamics; table2 is calibrated to its Table 2), `memorize` (Theorem 4.4's network with its
certificate).

examples:
  cgro quickstart
  cgro quickstart --seed 3 --out runs/first
"""

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from cgro.commands import dynamics, memorize, train
from cgro.commands._common import Computing, Output, Seeded, begin, for_seeds, lines_of, set_up
from cgro.results import (
    DynamicsSummary,
    MemorizeSummary,
    QuickstartSummary,
    SeedsSummary,
    Summary,
    TrainSummary,
)
from cgro.results.keys import CERTIFIED_TEST, ROBUST_TEST
from cgro.runs import Run

S = TypeVar("S", bound=Summary)

# Few images, many epochs and a radius warm-up: chosen, over seeds 0-4, to show robust overfitting on two cores. It is
# a demonstration of the phenomenon, not evidence of how often it occurs.
IMAGES = {
    "data": "mnist5k",
    "n_train": 500,
    "model": "lenet",
    "width": 4,
    "p": "inf",
    "radius": "0.2",
    "attack": "pgd7",
    "epochs": 60,
    "lr_drops": "50",
    "batch_size": 50,
    "lr": 0.002,
    "radius_warmup": 10.0,
    "eval_attack": "pgd20",
    "eval_n": 300,
    "eval_every": 4,
}
STAGES = {"seeds": 2}
MEMORIZE = {"data": "mnist5k", "classes": "3,8", "p": "inf", "radius": "0.1"}
PICTURES = (
    "images/figures/learning_curves.png",
    "images/figures/adversarial_examples.png",
    "theorem/figures/stages.png",
    "memorize/figures/decision_regions.png",
)


@dataclass(kw_only=True)
class Config(Output, Seeded, Computing):
    """Options of `cgro quickstart`."""


def run(config: Config) -> Run:
    """Run every part; each has its own directory below the whole.

    Args:
        config: the options.

    Returns:
        The finished run.
    """
    set_up(config)
    return for_seeds("quickstart", config, _one)


def _one(config: Config, path: str | Path | None) -> Run:
    with begin("quickstart", config, path) as whole:
        whole.finish(_parts(config, whole))
    return whole


def _parts(config: Config, whole: Run) -> QuickstartSummary:
    """All parts, one after the other, and the summary of the whole."""
    own = {"device": config.device, "precision": config.precision, "seed": config.seed}
    images = _part(whole, "images", train, {**IMAGES, **own}, TrainSummary)
    sentences = {"images": images.verdict.reason if images.verdict else images.outcome.reason}
    for preset in ("theorem", "table2"):
        settings = {**STAGES, "preset": preset, "seed": config.seed, "threads": config.threads}
        sentences[preset] = _stages(_part(whole, preset, dynamics, settings, DynamicsSummary))
    sentences["memorize"] = _certificate(_part(whole, "memorize", memorize, {**MEMORIZE, **own}, MemorizeSummary))
    return QuickstartSummary(
        command="quickstart",
        seed=config.seed,
        threat=images.threat,
        outcome=images.outcome,
        verdict=images.verdict,
        metrics=images.metrics,
        parts=sentences,
    )


def _part(whole: Run, name: str, command: ModuleType, settings: dict[str, object], kind: type[S]) -> S:
    """A part's summary; a finished one is not computed again."""
    part = Run(whole.part(name))
    if not part.finished:
        command.run(command.Config(**settings, out=str(part.path)))
    return part.read(kind)


def _percent(result: Summary, key: str) -> str:
    error = result.metrics[key].typical
    assert error is not None, "every part gives these errors"
    return f"{100 * error:.1f}%"


def _stages(result: DynamicsSummary) -> str:
    """What the simulated training shows, in a sentence."""
    stages = result.stages or {}
    found = [stage for stage in stages.values() if stage.mean is not None]
    note = ""
    if result.calibrated:
        note = " (settings calibrated to the paper's Table 2: no evidence for it)"
    return (
        f"Patch data{note}: robust error {_percent(result, 'robust_error/train')} on the training set, "
        f"{_percent(result, 'robust_error/test')} on unseen examples, clean {_percent(result, 'clean_error/test')}; "
        f"{len(found)} of {len(stages)} stage boundaries found in every seed."
    )


def _certificate(result: MemorizeSummary) -> str:
    """What the memorizer proves, in a sentence."""
    certificate = result.certificate
    state = "certified" if certificate.holds else "NOT certified"
    n_parameters = result.parameters.total or result.parameters.memorizer
    low, high = _percent(result, ROBUST_TEST), _percent(result, CERTIFIED_TEST)
    return (
        f"Theorem 4.4 on 3 against 8: a ReLU network of {n_parameters:,} parameters is {state} on all {certificate.n} "
        f"training balls; clean test error {_percent(result, 'clean_error/test')}, robust test error between {low} and "
        f"{high}."
    )


def describe(result: QuickstartSummary | SeedsSummary) -> str:
    """The verdict first, then the numbers, the other parts, and what to look at.

    Args:
        result: of one seed or of several.

    Returns:
        Text for the terminal.
    """
    if isinstance(result, SeedsSummary):
        return lines_of(result)
    others = [f"{name}: {text}" for name, text in result.parts.items() if name != "images"]
    look = f"Look at {', '.join(PICTURES)} in the directory below."
    return "\n".join([lines_of(result), "", *others, "", look])
