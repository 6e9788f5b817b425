"""One training by several processes, for `tests.training.test_together`: what each process does, and what it writes.

Every process of a group runs all cases, one after another: a start of Python costs more than a training.
"""

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import TorchElasticEnvironment
from lightning_fabric.strategies import DDPStrategy
from safetensors.torch import save_file
from tests.data.samples import class_folders
from torch import Tensor, nn

from cgro._check import BadRequest
from cgro.data import Dataset, load
from cgro.data.images import Images
from cgro.definitions import PGD, Attack, ThreatModel
from cgro.models import build
from cgro.ranks import Ranks, piece_of
from cgro.runs import Run
from cgro.training import Evaluation, Extension, Recipe, Step, fit, make_fabric
from cgro.training.extensions.extra import Extra
from cgro.training.objectives.kd import KD
from cgro.training.part import Part, add_gradients, average_statistics, require_same_weights
from cgro.training.registry import extension_by_name, objective_by_name

ATTACK = PGD(ThreatModel(2, 0.5), n_steps=2)
"""Along the gradient and not its sign, which rounding turns where a gradient is all but 0."""
ONE_STEP = PGD(ThreatModel(2, 0.5), n_steps=1)
SIGNS = PGD(ThreatModel("inf", 0.1), n_steps=2)
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


class Wide(nn.Sequential):
    """Computes in the type of its weights, from inputs in float32."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.to(self[0].weight.dtype))


def network(case: Case) -> nn.Module:
    """Smooth and in float64: a difference that is not one of a mistake is tiny."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        norm: list[nn.Module] = [nn.BatchNorm2d(4)] if case.batch_norm else []
        convolution = nn.Conv2d(1, 4, 3, stride=2, padding=1)
        return Wide(convolution, *norm, nn.Tanh(), nn.Flatten(), nn.Linear(64, 10)).double()


def teacher() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def parts_of(case: Case) -> tuple[object, tuple[Extension, ...]]:
    """Objective and extensions, new ones."""
    attack: Attack = ONE_STEP if "grad-align" in case.extensions else ATTACK
    if case.name == "chunks":
        attack = SIGNS
    if case.objective.startswith("free"):
        attack = SIGNS
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
    return replace(data, train=replace(data.train, stored=1.0 - data.train.batch(torch.arange(len(data.train)))[0]))


def as_launched(ranks: Ranks) -> None:
    """What torchrun would have told this process."""
    os.environ.update(LOCAL_RANK=str(ranks.number), RANK=str(ranks.number), WORLD_SIZE=str(ranks.size), GROUP_RANK="0")
    os.environ.update(LOCAL_WORLD_SIZE=str(ranks.size), MASTER_ADDR="127.0.0.1", MASTER_PORT="1")


def fabric_of(ranks: Ranks) -> Fabric | None:
    """Of the processes that are connected already."""
    if not ranks.shared:
        return None
    as_launched(ranks)
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
    halves(ranks, folder)
    if ranks.shared:
        crafted(ranks, folder)
        refusals(ranks, folder)
        streamed(ranks, folder)


HALVES = ("bfloat16", "float32", "bfloat16, another seed", "bfloat16, wrong")
"""Trainings by the precision of their steps; `wrong` leaves the first half of each batch out of the gradients."""


def halves(ranks: Ranks, folder: Path) -> None:
    """Steps in bfloat16, by the fabric that `cgro train --train-precision` makes."""
    for name in HALVES:
        if ranks.shared:
            as_launched(ranks)
        fabric = make_fabric("cpu", precision=name.partition(",")[0])
        if ranks.shared:
            fabric.launch()
        model = network(Case("halves")).float()
        start = {f"start {key}": value.clone() for key, value in model.state_dict().items()}
        seed = 2 if name.endswith("seed") else 1
        extensions = (LeavesOut(),) if name.endswith("wrong") else ()
        objective = objective_by_name("adversarial", ATTACK)
        fit(model, digits(), objective, RECIPE, extensions=extensions, seed=seed, fabric=fabric)
        save_file({**start, **model.state_dict()}, folder / f"{name}-{ranks.size}-{ranks.number}.safetensors")


class LeavesOut(Extension):
    """A planted mistake: the losses of the first half of the batch count for nothing."""

    def around(self, step: Step, compute: Callable[[], Tensor]) -> Tensor:
        places = torch.arange(step.n_batch)[step.part.rows]
        kept = (places >= step.n_batch // 2).float()
        step.reweigh.append(lambda losses: losses * kept[step.rows])
        return compute()


def crafted(ranks: Ranks, folder: Path) -> None:
    """The first adversarial examples, along signs, as a part of each batch."""
    train(replace(CHUNKS, accumulate=1), ranks, folder, recipe=replace(RECIPE, epochs=1))


def streamed(ranks: Ranks, folder: Path) -> None:
    """A process decodes its own examples, ahead of their step, and none of the others."""
    source = class_folders(folder / f"streamed-{ranks.size}-{ranks.number}")
    data = load(source, stream="yes")
    whole = Images.decode
    decoded: list[int] = []

    def counted(images: Images, row: int) -> Tensor:
        decoded.append(row)
        return whole(images, row)

    model = build("mlp", data.shape, data.n_outputs, width=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Images, "decode", counted)
        fit(model, data, parts_of(LOCAL)[0], Recipe(epochs=1, batch_size=8), seed=1, fabric=fabric_of(ranks))
    sizes = [len(batch) for batch in torch.arange(len(data.train)).split(8)]
    rows = [Part.of(size, ranks).rows for size in sizes]
    assert len(decoded) == sum(piece.stop - piece.start for piece in rows), (sizes, decoded)


CHUNKS = Case("chunks", "trades:beta=2")
RESUMED = Case("resumed", "trades:beta=2", ("ema:decay=0.9",))
EPOCHS_AVERAGED = Case("epochs averaged", "trades:beta=2", ("swa:start=1",))
FREE = Case("resumed free", "free:replays=2")
HALF = 4
"""Steps before a training is cut: one of the second epoch."""


class Signals(Extension):
    """Sends a signal to its own process after a step, if it is the last one."""

    def __init__(self, ranks: Ranks, number: signal.Signals, at: int = HALF) -> None:
        self.ranks, self.number, self.at = ranks, number, at

    def after_step(self, model: nn.Module, k: int) -> None:
        if k == self.at and self.ranks.number == self.ranks.size - 1:
            signal.raise_signal(self.number)


class Order(Extension):
    """Writes down which examples a step has, by their random streams."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def around(self, step: Step, compute: Callable[[], Tensor]) -> Tensor:
        keys = step.streams("order").keys
        mine = torch.arange(step.n_batch)[step.part.rows]
        whole = step.part.ranks.in_order(keys, mine, step.n_batch) if step.part.copies == 1 else keys
        if step.part.ranks.writes:
            with self.path.open("a") as file:
                file.write(json.dumps(whole.tolist()) + "\n")
        return compute()


def begin(case: Case, ranks: Ranks, folder: Path, *, cut: bool, name: str) -> str:
    """Train in a run directory, until SIGINT comes to one process or to the end; the kind of the end."""
    objective, extensions = parts_of(case)
    model = network(case)
    more = (Signals(ranks, signal.SIGINT),) if cut else (Signals(ranks, signal.SIGINT, at=0),)
    with contextlib.ExitStack() as stack:
        run = None
        if ranks.writes:
            run = stack.enter_context(Run.start(folder / name, "train", {"seed": 0}))
        trajectory = fit(
            model, digits(), objective, RECIPE, extensions=(*extensions, *more, Order(folder / f"{name}.order")),
            evaluation=EVALUATION, seed=1, run=run, fabric=fabric_of(ranks),
        )  # fmt: skip
    if ranks.writes:
        save_file({key: value.clone() for key, value in model.state_dict().items()}, folder / f"{name}.safetensors")
    return f"{trajectory.end.kind} {len(trajectory.steps)}"


def cut_in_two(ranks: Ranks, folder: Path) -> None:
    """Begun by these processes, to be resumed by another number."""
    pairs = {(1, 2), (2, 1), (2, 4)}
    for case in (RESUMED, EPOCHS_AVERAGED, FREE):
        for _, then in sorted(pair for pair in pairs if pair[0] == ranks.size):
            assert begin(case, ranks, folder, cut=True, name=f"{case.name} {ranks.size} {then}") == "interrupted 1"


def resumed(ranks: Ranks, folder: Path) -> None:
    """Gone on with by these processes."""
    for case in (RESUMED, EPOCHS_AVERAGED, FREE):
        for before in (1, 2, 4):
            name = f"{case.name} {before} {ranks.size}"
            if (folder / name).exists():
                assert begin(case, ranks, folder, cut=False, name=name).startswith("co"), name


def killed(ranks: Ranks, folder: Path) -> None:
    """The last process is killed in the second epoch; the others say so and end."""
    try:
        more = (Signals(ranks, signal.SIGKILL),)
        with contextlib.ExitStack() as stack:
            run = stack.enter_context(Run.start(folder / "killed", "train", {})) if ranks.writes else None
            fit(
                network(LOCAL), digits(), parts_of(LOCAL)[0], RECIPE, extensions=more, evaluation=EVALUATION, run=run,
                fabric=fabric_of(ranks),
            )  # fmt: skip
    except BadRequest as error:
        print(error, file=sys.stderr)
        os._exit(2)


def refusals(ranks: Ranks, folder: Path) -> None:
    """What processes must not do otherwise than the others."""
    with pytest.raises(BadRequest, match="what the processes train: expected the same"):
        fit(network(LOCAL), digits(), parts_of(LOCAL)[0], RECIPE, seed=ranks.number, fabric=fabric_of(ranks))
    weights = [torch.tensor([1.0, 2.0])]
    require_same_weights(weights, ranks)
    with pytest.raises(BadRequest, match="not the same any more"):
        require_same_weights([weights[0] + (ranks.number == 1) * 1e-7], ranks)
    means_of_means(ranks)
    statistics(ranks)


def means_of_means(ranks: Ranks) -> None:
    """A planted mistake: the mean over processes of their means is not the mean over 9 examples."""
    values = torch.arange(9.0) ** 2
    part = Part.of(9, ranks)
    planted = values[part.rows].mean() / ranks.size
    ranks.add(planted)
    weight = nn.Parameter(torch.ones(1))
    loss = (weight * values[part.rows]).sum() / (part.n * part.copies)
    loss.backward()
    total = add_gradients([weight], loss, ranks)
    assert abs(total.item() - values.mean().item()) < 1e-5 < abs(planted.item() - values.mean().item())
    assert weight.grad is not None
    assert abs(weight.grad.item() - values.mean().item()) < 1e-5
    only, nobody = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    only.grad = torch.ones(2) if ranks.number == 1 else None
    add_gradients([only, nobody], torch.zeros(()), ranks)
    assert only.grad is not None
    assert only.grad.tolist() == [1.0, 1.0]
    assert nobody.grad is None


def statistics(ranks: Ranks) -> None:
    """Running averages: the mean over processes, weighted by examples; constants stay."""
    layer = nn.BatchNorm1d(1)
    layer.running_mean.fill_(float(ranks.number))
    average_statistics(layer, Part.of(9, ranks))
    sizes = [len(range(9)[piece_of(9, ranks.size, k)]) for k in range(ranks.size)]
    expected = sum(k * size for k, size in enumerate(sizes)) / 9
    assert abs(layer.running_mean.item() - expected) < 1e-6
