"""One training by several processes, for `tests.training.test_together`: what each process does, and what it writes.

Every process of a group runs all cases, one after another: a start of Python costs more than a training.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import TorchElasticEnvironment
from lightning_fabric.strategies import DDPStrategy
from safetensors.torch import save_file
from torch import Tensor, nn

from cgro.data import Dataset, load
from cgro.definitions import PGD, Attack, ThreatModel
from cgro.ranks import Ranks
from cgro.runs import Run
from cgro.training import Evaluation, Extension, Recipe, Step, fit
from cgro.training.extensions.extra import Extra
from cgro.training.objectives.kd import KD
from cgro.training.registry import extension_by_name, objective_by_name

ATTACK = PGD(ThreatModel("inf", 0.1), n_steps=2)
ONE_STEP = PGD(ThreatModel("inf", 0.1), n_steps=1)
EVALUATION = Evaluation(ATTACK, n=30)
RECIPE = Recipe(epochs=2, batch_size=26, optimizer="sgd", lr=0.2, augment="crop1-flip")
"""60 - 3 examples: batches of 26, 26 and 5; two processes have 13 each, four 7, 7, 6, 6; of 5 all have the whole."""


@dataclass(frozen=True)
class Case:
    """A training."""

    name: str
    objective: str = "adversarial"
    extensions: tuple[str, ...] = ()
    batch_norm: str = ""
    craft_mode: str = "eval"
    accumulate: int = 1
    clip: float = 0.0


OBJECTIVES = ("adversarial", "trades:beta=2", "mart:beta=2", "kd", "free:replays=2")
ALL_EXTENSIONS = (
    "ema:decay=0.9", "swa:start=1", "awp:gamma=0.01", "mlcat-wp:n_steps=2", "mlcat-ls", "dom:start=0,mean=kept,threshold=2.2",
    "adr", "label-smoothing", "mixup", "cutmix", "same-class-boxes", "extra", "grad-align",
)  # fmt: skip
CASES = (
    *(Case(text.partition(":")[0], text) for text in OBJECTIVES),
    Case("half clean", "adversarial:robust_weight=0.5", clip=0.5),
    *(Case(text.partition(":")[0], extensions=(text,)) for text in ALL_EXTENSIONS),
    Case("several", "trades:beta=2", ("awp:gamma=0.01", "mixup", "ema:decay=0.9")),
    Case("synchronized", "trades:beta=2", ("swa:start=1",), batch_norm="synchronized"),
    Case("synchronized attack", batch_norm="synchronized", craft_mode="train_update_bn"),
    Case("synchronized twice", extensions=("grad-align", "awp:gamma=0.01"), batch_norm="synchronized"),
    Case("accumulated", "trades:beta=2", ("awp:gamma=0.01", "dom:start=0,mean=kept,threshold=2.2", "grad-align"), accumulate=3),
    Case("accumulated mixes", extensions=("extra", "mixup", "adr"), accumulate=2),
    Case("accumulated free", "free:replays=2", accumulate=2),
)  # fmt: skip
LOCAL = Case("local", "trades:beta=2", batch_norm="local")


def digits() -> Dataset:
    return load("digits", n_train=60, n_test=40, validation=0.05)


def network(case: Case) -> nn.Module:
    """Smooth: rounding moves no example across a kink, so that a difference is one of rounding alone."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        norm: list[nn.Module] = [nn.BatchNorm2d(4)] if case.batch_norm else []
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, stride=2, padding=1), *norm, nn.Tanh(), nn.Flatten(), nn.Linear(64, 10)
        )


def teacher() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def parts_of(case: Case) -> tuple[object, tuple[Extension, ...]]:
    """Objective and extensions, new ones."""
    attack: Attack = ONE_STEP if "grad-align" in case.extensions else ATTACK
    objective: object = KD(attack, teacher(), teacher())
    if case.objective != "kd":
        objective = objective_by_name(case.objective, attack)
    extensions: list[Extension] = []
    for text in case.extensions:
        if text == "extra":
            extensions.append(Extra(second(), ratio=0.4))
        else:
            extensions.append(extension_by_name(text))
    return objective, tuple(extensions)


def second() -> Dataset:
    """Other images than those of `digits`."""
    data = load("digits", n_train=60, n_test=40, validation=0.05, seed=0)
    return replace(data, train=replace(data.train, raw=1.0 - data.train.batch(torch.arange(len(data.train)))[0]))


def fabric_of(ranks: Ranks) -> Fabric | None:
    """Of the processes that are connected already."""
    if not ranks.shared:
        return None
    os.environ.update(LOCAL_RANK=str(ranks.number), RANK=str(ranks.number), WORLD_SIZE=str(ranks.size), GROUP_RANK="0")
    os.environ.update(LOCAL_WORLD_SIZE=str(ranks.size), MASTER_ADDR="127.0.0.1", MASTER_PORT="1")
    strategy = DDPStrategy(process_group_backend="gloo")
    fabric = Fabric(accelerator="cpu", devices=ranks.size, strategy=strategy, plugins=[TorchElasticEnvironment()])
    fabric.launch()
    return fabric


class Noted(Extension):
    """Keeps what was crafted in the first step, and how often its examples were drawn."""

    def __init__(self) -> None:
        self.first: Step | None = None
        self.crafted = torch.zeros(0)

    def around(self, step: Step, compute: Callable[[], Tensor]) -> Tensor:
        loss = compute()
        if self.first is None:
            self.first = step
            self.crafted = torch.cat([value.reshape(len(value), -1) for value in [step.x, *step.crafted]], 1)
        return loss


def train(case: Case, ranks: Ranks, folder: Path, *, recipe: Recipe = RECIPE, run: Run | None = None) -> None:
    """Train, and write weights, rows and what was crafted first; every process says its own."""
    objective, extensions = parts_of(case)
    noted = Noted()
    more = {"batch_norm": case.batch_norm or "local", "craft_mode": case.craft_mode}
    recipe = replace(recipe, accumulate=case.accumulate, clip=case.clip, **more)
    model = network(case)
    trajectory = fit(
        model, digits(), objective, recipe, extensions=(*extensions, noted), evaluation=EVALUATION, seed=1,
        run=run, fabric=fabric_of(ranks),
    )  # fmt: skip
    assert trajectory.end.kind in ("completed", "collapsed"), trajectory.end
    assert noted.first is not None
    tensors = {f"weight {key}": value.clone() for key, value in model.state_dict().items()}
    for extension in extensions:
        for key, value in extension.state().items():
            if isinstance(value, Tensor):
                tensors[f"{extension.name} {key}"] = value.clone()
    n = noted.first.n_batch
    places = torch.arange(n)[noted.first.part.rows]
    tensors["crafted first"] = ranks.in_order(noted.crafted, places, n)
    for key in ("clean_error/train", "robust_error/train", "clean_error/test", "robust_error/test", "train_loss"):
        tensors[f"row {key}"] = torch.tensor(trajectory[key].tolist(), dtype=torch.float64)
    save_file(tensors, folder / f"{case.name}-{ranks.size}-{ranks.number}.safetensors")


def all_cases(ranks: Ranks, folder: Path) -> None:
    """Of a group."""
    for case in (*CASES, LOCAL):
        train(case, ranks, folder)
