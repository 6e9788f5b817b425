"""The phenomenon on real digits, in three minutes and in pictures: low robust training error, high robust test error.

examples:
  cgro quickstart
  cgro quickstart --seed 3 --out runs/first
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cgro.commands import train
from cgro.commands._common import Computing, Output, Seeded, for_seeds, lines_of, set_up, stored
from cgro.runs import Run, summary

# Few images, many epochs and a radius warm-up: chosen, over seeds 0-4, to show robust overfitting on two cores. It is
# a demonstration of the phenomenon, not evidence of how often it occurs.
DEMONSTRATION: dict[str, Any] = {
    "data": "mnist5k", "n_train": 500, "model": "lenet", "width": 4, "p": "inf", "radius": "0.2", "attack": "pgd7",
    "epochs": 60, "lr_drops": "50", "batch_size": 50, "lr": 0.002, "radius_warmup": 10.0,
    "eval_attack": "pgd20", "eval_n": 300, "eval_every": 4,
}  # fmt: skip


@dataclass(kw_only=True)
class Config(Output, Seeded, Computing):
    """Options of `cgro quickstart`."""


def run(config: Config) -> Run:
    """Run every part; each has its own directory below the whole."""
    set_up(config)
    return for_seeds("quickstart", config, _one)


def _one(config: Config, path: str | Path | None) -> Run:
    whole = Run.start(path, "quickstart", stored(config), overwrite=config.overwrite)
    images = _images(config, whole)
    whole.finish(
        summary(
            "quickstart", seed=config.seed, threat=images["threat"], outcome=images["outcome"],
            verdict=images["verdict"], metrics=images["metrics"], parts=["images"],
        )
    )  # fmt: skip
    return whole


def _images(config: Config, whole: Run) -> dict[str, Any]:
    """Adversarial training on real digits."""
    part = Run(whole.part("images"))
    if not part.finished:
        own = {"seed": config.seed, "device": config.device, "precision": config.precision}
        train.run(train.Config(**{**DEMONSTRATION, **own}, out=str(part.path)))
    return part.summary


def describe(result: dict[str, Any]) -> str:
    """The verdict first, then the numbers and what to look at."""
    figures = (
        "Look at images/figures/learning_curves.png and images/figures/adversarial_examples.png in the directory below."
    )
    return f"{lines_of(result)}\n\n{figures}"
