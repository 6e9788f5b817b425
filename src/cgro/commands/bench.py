"""What this machine gives on your network: examples a second of an attack, of an epoch and of an evaluation.

Each is timed as it is called plainly, compiled and captured where that is to be had, beside the loop that everyone
writes and torchattacks if it is installed, and beside the bare passes that the work must do. All take turns; a ratio is
one within a repetition. The network has its initial weights, and the evaluation attacks the labels that it gives
itself, so that no example is left out as wrong.

examples:
  cgro bench --data mnist5k --model lenet --width 8 --radius 0.2
  cgro bench --data cifar10 --model my_package.networks:Net --radius 8/255 --batch-size 128 --device cuda
  cgro bench --data cifar10 --model preactresnet --width 16 --radius 8/255 --recipe small-cifar10 --compiled
  cgro bench --data mnist5k --out runs/speed
  cgro bench --data mnist5k --check runs/speed
  cgro bench --data mnist5k --check baselines/workstation.json

--check compares ratios, not times, with a stored baseline, and exits with 1 if one fell by more than 15%, in three
measurements one after another: a neighbor of the machine may make one fall once. A baseline is the folder of an earlier
run, or the summary.json of one, which may be kept anywhere under any name.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from cgro._check import CheckFailed, bad, one_of
from cgro._progress import progress
from cgro.commands import _training
from cgro.commands._common import Computing, Output, Trusting, begin, option, set_up
from cgro.commands._target import network, prepare
from cgro.commands._training import Config as TrainConfig
from cgro.data import Dataset
from cgro.definitions import attack_by_name, predict
from cgro.definitions.attacks import attack_choices, evaluated_outputs
from cgro.definitions.attacks.precision import proposing
from cgro.environment import DRIVER, accelerator_of
from cgro.models import NETWORK_NAMES, n_parameters
from cgro.reading import read_json_object
from cgro.report.speed import ratios_figure
from cgro.results import (
    BenchSummary,
    DatasetRecord,
    ModelRecord,
    OutcomeRecord,
    PassesRecord,
    RecipeTime,
    SpeedRow,
    Spread,
    ThreatRecord,
    read_summary,
)
from cgro.runs import Run, say
from cgro.speed import PASSES, Measurement, Subject, Ways, falls, measured, recipe_time, require_comparable, ways_of
from cgro.training import make_fabric

ATTEMPTS = 3
"""Measurements that must all show a fall. On a machine that other jobs kept busy one of three showed some: a choice."""
MINUTE = 60.0
WHERE = "data, network, threat"
ISA = "ONEDNN_MAX_CPU_ISA"
"""Environment variable that forbids instructions to torch's library of convolutions."""


@dataclass(kw_only=True)
class Config(Trusting, Output, Computing):
    """Options of `cgro bench`."""

    data: str = option("mnist5k", "data set; see cgro data", names="data", group=WHERE)
    classes: str | None = option(None, "task: all classes, or 3,8 (binary), or even,odd", group=WHERE)
    image_size: int | None = option(None, "side to which images are cut and scaled", low=1, group=WHERE)
    model: str = option("lenet", NETWORK_NAMES, names="network", group=WHERE)
    width: int | None = option(None, "width of the network", low=1, group=WHERE)
    p: str = option("inf", "norm of the threat: 1, 2 or inf", group=WHERE)
    radius: str = option("0.1", "radius of the threat, such as 0.1 or 8/255", group=WHERE)
    attack: str = option("pgd10", "attack in training: " + attack_choices(), names="attack")
    eval_attack: str = option("pgd20", "attack of the evaluation", names="attack")
    batch_size: int = option(128, "examples of an attack, and of a step of training", low=1)
    n: int = option(512, "examples of the epoch and of the evaluation, at most", low=1)
    repeats: int = option(5, "repetitions that count; one more is not counted", low=1)
    compiled: bool = option(False, "also with the network compiled: half a minute on a CPU; on a GPU always")
    recipe: str | None = option(None, "how long training takes by: " + ", ".join(_training.RECIPES))
    check: str | None = option(None, "an earlier run or its summary.json: exit 1 if a ratio fell by over 15%")
    seed: int = option(0, "of the weights, and of the cut of the data", low=0)

    def task(self) -> TrainConfig:
        """The network and its data, as a training would name them.

        Returns:
            Settings that `prepare` takes.
        """
        return TrainConfig(
            data=self.data,
            classes=self.classes,
            image_size=self.image_size,
            validation=0.0,
            model=self.model,
            width=self.width,
            p=self.p,
            radius=self.radius,
            seed=self.seed,
        )


def run(config: Config) -> Run:
    """Measure.

    Args:
        config: the options.

    Returns:
        The run.

    Raises:
        BadRequest: options that do not fit, a baseline that is none or of other settings, before any measurement.
    """
    set_up(config)
    before = None
    if config.check is not None:
        before = _baseline(config.check)
    recipe = _recipe(config)
    data, _ = prepare(config.task())
    subject = _subject(config, data)
    if before is not None:
        now = _summary(config, subject, before.passes, (), {}, None)  # its times are compared by `check`, afterwards
        require_comparable(now, before, str(config.check))
    on_gpu = subject.fabric.device.type == "cuda"
    with begin("bench", config) as done:
        ways = ways_of(subject, compiled=config.compiled or on_gpu, captured=on_gpu)
        found = _measured(config, subject, ways, before)
        estimate = None if recipe is None else _estimate(config, recipe, len(data.train), found)
        done.finish(_summary(config, subject, found.passes, found.rows, ways.left_out, estimate), ratios_figure)
    return done


def _measured(config: Config, subject: Subject, ways: Ways, before: BenchSummary | None) -> Measurement:
    """Once; again where ratios are lower than those of the baseline: what a busy neighbor takes does not last."""
    n_turns = (config.repeats + 1) * (len(ways.found) + len(PASSES))
    n_left = ATTEMPTS
    while True:
        with progress(n_turns, "timing") as update:
            found = measured(subject, ways.found, config.repeats, update=update)
        n_left -= 1
        if before is None or not n_left:
            return found
        fell = falls(_summary(config, subject, found.passes, found.rows, ways.left_out, None), before)
        if not fell:
            return found
        say(f"remark: slower than {config.check}: {'; '.join(fell)}; measured again, in case the machine was busy")


def _subject(config: Config, data: Dataset) -> Subject:
    """The network in the layout that its caller has, its data, and the labels that it gives."""
    task = config.task()
    fabric = make_fabric(config.device)
    threat = task.threat()
    attack = attack_by_name(config.attack, threat, precision=config.precision)
    eval_attack = attack_by_name(config.eval_attack, threat, precision=config.precision)
    # Built anew: `prepare` lays it out as commands have it, a caller from Python does not.
    model = network(task, data).to(fabric.device).eval()
    train, test = (part.head(config.n).to(fabric.device) for part in (data.train, data.test))
    on_device = replace(data, train=train, test=test)
    y = torch.cat([predict(evaluated_outputs(model, x)) for x in on_device.test.x.split(config.batch_size)])
    return Subject(model, on_device, y, attack, eval_attack, config.batch_size, fabric)


def _recipe(config: Config) -> TrainConfig | None:
    """The settings of the recipe with the threat, the network and the data of this call."""
    if config.recipe is None:
        return None
    settings = dict(_training.RECIPES[one_of(config.recipe, "--recipe", _training.RECIPES)])
    own = {"data": config.data, "model": config.model, "width": config.width, "radius": config.radius, "p": config.p}
    return TrainConfig(**{**settings, **own})


def _estimate(config: Config, recipe: TrainConfig, n_images: int, found: Measurement) -> RecipeTime:
    n_train = recipe.n_train
    if n_train is None:
        n_train = n_images - round(recipe.validation * n_images)
    cost = recipe.build_objective().cost
    return recipe_time(found, cost, recipe=str(config.recipe), epochs=recipe.epochs, n_train=n_train)


def _summary(
    config: Config,
    subject: Subject,
    passes: PassesRecord,
    rows: Sequence[SpeedRow],
    left_out: Mapping[str, str],
    estimate: RecipeTime | None,
) -> BenchSummary:
    data: Dataset = subject.data
    return BenchSummary(
        command="bench",
        seed=config.seed,
        threat=ThreatRecord.of(subject.attack.threat.to_dict()),
        outcome=OutcomeRecord(kind="completed", reason=f"{config.repeats} repetitions in turns"),
        verdict=None,
        metrics={},
        data=DatasetRecord.of(data.describe()),
        model=ModelRecord(name=config.model, width=config.width, n_parameters=n_parameters(subject.model)),
        attack=repr(subject.attack),
        eval_attack=repr(subject.eval_attack),
        batch_size=config.batch_size,
        repeats=config.repeats,
        device=_device(subject.fabric.device),
        threads=torch.get_num_threads(),
        flags=_flags(subject),
        passes=passes,
        rows=list(rows),
        left_out=dict(left_out),
        recipe=estimate,
    )


def _device(device: torch.device) -> str:
    if device.type == "cuda":
        return f"cuda, {torch.cuda.get_device_name(device)}"
    return f"{device.type}, {torch.backends.cpu.get_cpu_capability()}"


def _flags(subject: Subject) -> dict[str, str]:
    """What decides the speed beside device and threads."""
    x, _ = subject.batch
    searches = {"exactly": "float32", "folded": "float32, BatchNorm folded", "bfloat16": "bfloat16"}
    flags = {
        "searches": searches[proposing(subject.attack.search_precision, subject.model, x)],
        "torch": str(torch.__version__),
    }
    if x.device.type == "cuda":
        accelerator = accelerator_of(torch, DRIVER)
        convolutions = str(accelerator.tf32_convolutions)
        return {**flags, "cudnn.benchmark": str(accelerator.benchmark), "TF32 in convolutions": convolutions}
    allowed = os.environ.get(ISA)
    if allowed:
        return {**flags, ISA: allowed}
    return flags


def _baseline(path: str) -> BenchSummary:
    given = Path(path)
    if given.is_file():
        # Without its folder there is no record of who wrote it; it is read strictly and believed as far as its numbers.
        return read_summary(read_json_object(given), path, BenchSummary)
    if not (given / "summary.json").is_file():
        raise bad("--check", expected="the folder of an earlier cgro bench, or its summary.json", got=path)
    return Run.open(path).read(BenchSummary)


def check(config: Config, result: BenchSummary) -> None:
    """Hold the ratios against those of `--check`.

    Args:
        config: the options.
        result: of `run`.

    Raises:
        BadRequest: a baseline of other settings.
        CheckFailed: a ratio fell by more than `cgro.speed.FALL`.
    """
    if config.check is None:
        return
    before = _baseline(config.check)
    require_comparable(result, before, config.check)
    found = falls(result, before)
    if found:
        raise CheckFailed(f"slower than {config.check}: {'; '.join(found)}")


def describe(result: BenchSummary) -> str:
    """Every way with its rate, the share of the floor, and how much faster it is than the peers.

    Args:
        result: of `run`.

    Returns:
        Lines for the terminal.
    """
    model = result.model.name
    if result.model.width is not None:
        model += f" x{result.model.width}"
    flags = ", ".join(f"{name} {value}" for name, value in result.flags.items())
    repeats = f"medians over {result.repeats} repetitions [quartiles]"
    lines = [
        f"{model} on {result.data.name}, batch {result.batch_size}; {repeats}",
        f"{result.device}; {result.threads} threads; {flags}",
        f"attack in training: {result.attack}",
        f"attack of the evaluation: {result.eval_attack}",
        "",
        f"{'work':11} {'way':14} {'examples/s':>11}   time / bare passes    times as fast as the peer",
    ]
    lines += [_line(row) for row in result.rows]
    lines += [f"not measured: {way} ({reason})" for way, reason in result.left_out.items()]
    if result.recipe is not None:
        lines += ["", _sentence(result.recipe)]
    return "\n".join(lines)


def _line(row: SpeedRow) -> str:
    over = row.over_floor
    text = f"{row.work:11} {row.way:14} {row.examples_per_second.median:11.4g}   "
    text += f"{over.median:6.2f} [{over.low:.2f}, {over.high:.2f}]"
    for peer, spread in (row.faster_than or {}).items():
        text += f"   {spread.median:.2f} [{spread.low:.2f}, {spread.high:.2f}] x {peer}"
    return text


def _sentence(found: RecipeTime) -> str:
    """The estimate in words."""
    low, median, high, floor = (value / MINUTE for value in (*_edges(found.seconds), found.floor_seconds))
    work = f"{found.epochs} epochs of {found.n_train:,} examples"
    time = f"{median:.3g} minutes [{low:.3g}, {high:.3g}] without evaluations"
    return f"{found.recipe}: {work} take about {time}; its bare passes {floor:.3g}"


def _edges(spread: Spread) -> tuple[float, float, float]:
    return spread.low, spread.median, spread.high
