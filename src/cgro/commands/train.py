"""Train a network, clean or adversarially, and judge it: the four errors over the epochs and the verdict.

examples:
  cgro train --data mnist5k --radius 0.2 --epochs 20 --out runs/mnist5k
  cgro train --data mnist --model lenet --width 4 --radius 0.1 --attack pgd10 --epochs 2 --out runs/mnist
  cgro train --data mnist5k --classes 3,8 --p 2 --radius 1.5 --seeds 3 --out runs/three-eight
  cgro train --data digits --attack none --model my_package.networks:Net
  cgro train --recipe small-cifar10 --seeds 3 --out runs/cifar10
  cgro train --data mnist5k --objective trades:beta=6 --extension ema:decay=0.999
  cgro train --data digits --objective my_package.remedies:Mart:beta=5
  cgro train --resume runs/mnist
  cgro train --resume runs/mine --model my_package.networks:Net

What a run that is resumed, or the file of --config, names is not imported, read or fetched unless you name it as well, or
add --trust: it may be of others.

recipes, as defaults for every option that is not given: rice2020 and fast2020 (CIFAR-10, as published: Rice, Wong, Kolter,
ICML 2020; Wong, Rice, Kolter, ICLR 2020), small-cifar10 (robust overfitting on two CPU cores within half an hour).
"""

import re
import time
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cgro._check import BadRequest, bad, number
from cgro.commands._common import (
    Computing,
    Output,
    Seeded,
    Trusting,
    admit,
    begin,
    for_seeds,
    lines_of,
    option,
    set_up,
)
from cgro.data import Dataset, load
from cgro.data.hub import NotCached
from cgro.definitions import (
    DEFAULT_RULE,
    FOUR,
    PGD,
    Attack,
    ErrorRate,
    NoAttack,
    ThreatModel,
    attack_by_name,
    cgro_verdict,
    predict,
)
from cgro.definitions.attacks import ATTACK_NAMES
from cgro.models import KINDS, build, fast_layout, n_parameters
from cgro.report.training import adversarial_grid, learning_curves
from cgro.runs import Run, dump_json, read_json, say, summary, write_arrays, write_atomic
from cgro.training import (
    Adversarial,
    Evaluation,
    Extension,
    Objective,
    Recipe,
    errors_on,
    evaluated,
    fit,
    make_fabric,
    shares_on,
)
from cgro.training.checkpoint import LAST, SELECTED, checkpoint_of, load_checkpoint
from cgro.training.extensions import require_extensions
from cgro.training.fabric import TRACKERS
from cgro.training.recipe import SCHEDULES
from cgro.training.registry import EXTENSIONS, OBJECTIVES, extension_by_name, listed, objective_by_name, takes
from cgro.training.steps import Steps
from cgro.trajectory import Trajectory
from cgro.trust import Received, Trust

_CIFAR10: dict[str, Any] = {
    "data": "cifar10", "model": "preactresnet", "radius": "8/255", "optimizer": "sgd", "weight_decay": 5e-4,
    "eval_attack": "pgd10",
}  # fmt: skip
RECIPES: dict[str, dict[str, Any]] = {
    "rice2020": _CIFAR10 | {
        "width": 64, "attack": "pgd10", "step_size": "2/255", "epochs": 200, "batch_size": 128, "lr": 0.1,
        "lr_drops": "100,150", "augment": "crop-flip", "craft_mode": "train_update_bn",
    },
    "fast2020": _CIFAR10 | {
        "width": 64, "attack": "fgsm-rs", "epochs": 15, "batch_size": 128, "lr": 0.2, "schedule": "cyclic",
        "augment": "crop-flip", "craft_mode": "train_update_bn",
    },
    "small-cifar10": _CIFAR10 | {
        "n_train": 5000, "width": 16, "attack": "pgd7", "step_size": "2/255", "epochs": 30, "batch_size": 64,
        "lr": 0.05, "lr_drops": "15",
    },
}  # fmt: skip


@dataclass(kw_only=True)
class Config(Trusting, Output, Seeded, Computing):
    """Options of `cgro train`.

    `received` says of settings that they were read from a run, and from which; None: they are the caller's own.
    """

    received: Received | None = field(default=None, metadata={"hidden": True})
    data: str = option("mnist5k", "data set; see cgro data", names="data")
    classes: str | None = option(None, "task: all classes, or 3,8 (binary, first = -1), or even,odd")
    n_train: int | None = option(None, "training examples; default all")
    n_test: int | None = option(None, "test examples; default all")
    validation: float = option(0.05, "share of the training set kept for selection")
    model: str = option("lenet", KINDS, names="network")
    width: int | None = option(None, "width of lenet, mlp, preactresnet or resnet9 (base width)")
    p: str = option("inf", "norm of the threat: 1, 2 or inf")
    radius: str = option("0.1", "radius of the threat, in units of the input, such as 0.1 or 8/255")
    attack: str = option("pgd10", "attack in training: " + ", ".join(ATTACK_NAMES))
    step_size: str | None = option(None, "its step; default 2.5 * radius / steps")
    robust_weight: float = option(1.0, "lambda: weight of the robust against the clean loss")
    epochs: int = option(20, "passes over the training set")
    batch_size: int = option(100, "examples a step")
    optimizer: str = option("adam", "sgd, adam or adamw")
    lr: float = option(0.001, "learning rate at the start, or at the peak of a cycle")
    schedule: str = option("steps", "of lr: " + ", ".join(SCHEDULES))
    momentum: float = option(0.9, "momentum of sgd")
    weight_decay: float = option(0.0, "weight decay")
    lr_drops: str = option("", "epochs after which lr drops, such as 15,25")
    lr_factor: float = option(0.1, "factor of each drop")
    clip: float = option(0.0, "largest l2 norm of the weights' gradient; 0 for none")
    patience: int = option(0, "stop after so many evaluations without a lower validation robust error; 0 for never")
    objective: str = option(
        "adversarial",
        f"what training minimizes: {listed(OBJECTIVES, skip=1)}, or your own package.module:name",
        names="objective",
    )
    extension: list[str] = option(
        [],
        f"beside the objective, may be repeated: {listed(EXTENSIONS, skip=0)}, or your own package.module:name",
        names="extension",
    )
    augment: str = option("none", "of training images: none, or parts such as crop-flip, flip, crop4-flip-cutout8")
    radius_warmup: float = option(0.0, "epochs over which the radius grows from 0")
    craft_mode: str = option("eval", "BatchNorm while attacking: eval, train or train_update_bn")
    eval_attack: str = option("pgd20", "attack of the evaluation")
    eval_every: int = option(1, "epochs between evaluations")
    eval_n: int = option(1000, "examples of each part evaluated after an epoch")
    keep_every: int = option(0, "epochs between checkpoints that are kept; 0 for none")
    final_n: int = option(10000, "examples of each part evaluated at the end")
    train_precision: str = option("float32", "of the training step: float32 or bfloat16")
    track: str = option("none", "send the curves to: " + ", ".join(TRACKERS))
    resume: str | None = option(None, "an unfinished run to continue with its own settings")

    def recipe(self) -> Recipe:
        """The loop."""
        drops = str(self.lr_drops).replace(",", " ").split()
        if not all(re.fullmatch(r"[0-9]{1,9}", d) for d in drops):
            raise bad("--lr-drops", expected="epochs such as 15,25", got=self.lr_drops)
        own = {f.name: getattr(self, f.name) for f in fields(Recipe) if f.name != "lr_drops"}
        return Recipe(**{**own, "lr_drops": tuple(int(d) for d in drops)})

    def build_objective(self) -> Objective:
        """What training minimizes. Runs the caller's own code where `objective` names it.

        Returns:
            The objective with its attack; standard training has none.

        Raises:
            BadRequest: see `objective_by_name`; a robust weight for an objective that has none.
        """
        attack = self.crafting()
        weight = 0.0 if self.attack == "none" else self.robust_weight
        if self.robust_weight != 1.0 and not takes(self.objective, "robust_weight"):
            raise bad("--robust-weight", expected=f"none with --objective {self.objective}", got=self.robust_weight)
        objective = objective_by_name(self.objective, attack, robust_weight=weight)
        if isinstance(objective, Adversarial) and objective.robust_weight == 0:
            return replace(objective, attack=NoAttack(attack.threat.at(0.0)))
        return objective

    def build_extensions(self) -> tuple[Extension, ...]:
        """New extensions, in their order. Runs the caller's own code where `extension` names it.

        Raises:
            BadRequest: see `extension_by_name`; the same extension twice.
        """
        # A file of settings may name a single one without a list.
        names = [self.extension] if isinstance(self.extension, str) else self.extension
        extensions = tuple(extension_by_name(text) for text in names)
        require_extensions(extensions)
        return extensions

    def threat(self) -> ThreatModel:
        """Norm, radius and the box of images."""
        return ThreatModel(self.p, self.radius)

    def crafting(self) -> Attack:
        """The attack in training."""
        attack = attack_by_name(self.attack, self.threat(), precision=self.precision)
        if self.step_size is None:
            return attack
        if not isinstance(attack, PGD):
            raise bad("--step-size", expected="none for this attack", got=self.step_size)
        return replace(attack, step_size=number(self.step_size, "--step-size", low=0.0))


def run(config: Config) -> Run:
    """Train and judge; one seed or several."""
    if config.resume is not None:
        config = _as_before(config)
    set_up(config)
    return for_seeds("train", config, _one, learning_curves)


def _as_before(config: Config) -> Config:
    """The settings of the run to resume; only where it computes may differ, and that is not changed either."""
    before = Run.open(config.resume or "")
    if before.finished:
        raise BadRequest(f"{before.path}: nothing to resume, it is finished")
    settings = before.config
    if settings.pop("command") != "train":
        raise bad("--resume", expected="a run of cgro train", got=before.path)
    before.check_known(settings, (f.name for f in fields(Config)))
    received = _received(before, config.trust)
    admit(received, settings, Config, fetch=False)
    return Config(**{**settings, "out": str(before.path), "json": config.json, "trust": config.trust,
                     "received": received})  # fmt: skip


def trained(path: str | Path, name: str | None = None, *, trust: Trust = False) -> tuple[Run, Config]:
    """One finished run of this command, and its settings.

    Args:
        path: of the run.
        name: what the path was given as, for the message.
        trust: see `settings_of`.

    Returns:
        The run, and settings that `prepare` takes.

    Raises:
        BadRequest: no run, one of another command, or a folder of several seeds.
        Untrusted: see `settings_of`.
    """
    run = Run.open(path)
    found = run.summary
    if found["command"] != "train" or "data" not in found:
        raise bad(name or str(run.path), expected="one run of cgro train", got=f"{run.path} of cgro {found['command']}",
                  remedy="of several seeds name one, DIR/seed-S")  # fmt: skip
    if run.unchecked:
        say(f"{run.path}: written before runs had digests; its files are read unchecked")
    return run, settings_of(run, trust=trust)


def settings_of(run: Run, *, trust: Trust = False) -> Config:
    """The settings of a run of this command, of this version or of an older one with fewer or more options.

    A run is data: code that it names is imported later only if the caller trusts it, a path that it names read, and a data
    set of the hub that the cache does not have fetched.

    Args:
        run: finished or not.
        trust: True for all that the run names, or the names that are trusted. A command passes on what its own command
            line says.

    Returns:
        Settings that `prepare` takes.

    Raises:
        Untrusted: the run names code, or a path of data, that is not trusted.
    """
    known = {f.name for f in fields(Config)} - {"trust", "received"}
    settings, received = {k: v for k, v in run.config.items() if k in known}, _received(run, trust)
    admit(received, settings, Config, fetch=False)
    return Config(**settings, received=received)


def _received(run: Run, trust: Trust) -> Received:
    file = run.path / "checkpoints" / LAST
    return Received(str(run.path), trust, file.stat().st_size if file.is_file() else None, run.renamed)


def prepare(config: Config) -> tuple[Dataset, torch.nn.Module]:
    """Data and network, checked against each other before any work.

    Of settings that came with a run the data are taken from the cache of the hub, unless they are trusted.

    Args:
        config: of the caller's own, or as `settings_of` gives them.

    Returns:
        The data set, and a network with its initial weights.

    Raises:
        Untrusted: the cache of the hub does not have what the run names.
        BadRequest: see `cgro.data.load` and `cgro.models.build`.
    """
    data = _data(config)
    model = fast_layout(network(config, data))
    if config.received is not None and config.received.renamed:
        say(f"{config.received.where}: its config.yaml was changed: {config.received.renamed}")
    return data, model


def _data(config: Config) -> Dataset:
    received = config.received
    try:
        return load(
            config.data, classes=config.classes, n_train=config.n_train, n_test=config.n_test,
            validation=config.validation, seed=config.seed,
            download=received is None or received.trusts(config.data),
        )  # fmt: skip
    except NotCached:
        assert received is not None, "what the caller names is fetched"
        raise received.untrusted("data", config.data, "data", "hub") from None


def network(config: Config, data: Dataset) -> torch.nn.Module:
    """The network that the settings name, with its initial weights, for these data.

    One that came with a run is not allocated if it is hundreds of times as large as the run's own checkpoint.

    Raises:
        BadRequest: see `cgro.models.build`.
    """
    stored = None if config.received is None else config.received.stored
    return build(config.model, data.shape, data.n_outputs, width=config.width, seed=config.seed, stored=stored)


def _one(config: Config, path: str | Path | None) -> Run:
    recipe, objective, extensions = config.recipe(), config.build_objective(), config.build_extensions()
    judged_by = attack_by_name(config.eval_attack, config.threat(), precision=config.precision)
    evaluation = Evaluation(judged_by, config.eval_n, config.eval_every, config.keep_every)
    make_fabric(config.device, precision=config.train_precision, track=config.track)
    data, model = prepare(config)
    with begin("train", config, path) as run:
        fabric = make_fabric(config.device, precision=config.train_precision, track=config.track, folder=run.path)
        keep_examples(data, run)
        trajectory = fit(
            model, data, objective, recipe,
            extensions=extensions, evaluation=evaluation, seed=config.seed, run=run, fabric=fabric,
        )  # fmt: skip
        if trajectory.end.kind == "interrupted":
            raise KeyboardInterrupt(f"everything is saved; cgro train --resume {run.path}")
        network = evaluated(model, extensions).eval()
        result = judge(config, data, network, judged_by, trajectory, run)
        learning_curves(run.path)
        adversarial_grid(run.path)
        run.finish(result)
    return run


def keep_examples(data: Dataset, run: Run) -> None:
    """Record which examples are used; a resumed run must find the same ones.

    Raises:
        BadRequest: the data have changed since the run was started.
    """
    used: dict[str, Any] = {k: getattr(data, k).index.tolist() for k in ("train", "validation", "test")}
    used["sha256"] = data.source["sha256"]
    path = run.file("index_sets.json")
    if path.exists() and read_json(path) != used:
        raise bad("--data", expected=f"{data.name} as it was when {run.path} was started", got="other contents",
                  remedy="restore the data, or start anew with --overwrite")  # fmt: skip
    write_atomic(path, dump_json(used))


def judge(
    config: Config, data: Dataset, model: torch.nn.Module, attack: Attack, trajectory: Trajectory, run: Run
) -> dict[str, Any]:
    """The final evaluation, the verdict and the example images."""
    device = next(model.parameters()).device
    parts = {k: getattr(data, k).to(device) for k in ("train", "test")}
    outcome, verdict, metrics = trajectory.end, None, {}
    if outcome.ok or outcome.kind == "collapsed":
        errors = {
            k: e for part, s in parts.items() for k, e in errors_on(model, s, attack, config.final_n, part).items()
        }
        shares = shares_on(model, parts["test"], config.final_n)
        attacked = config.attack != "none" and config.robust_weight != 0
        verdict = cgro_verdict(errors, prediction_share=shares, rule=rule_for(data), attacked=attacked).to_dict()
        metrics = metrics_of(errors, attack, config.eval_attack)
        save_examples(model, data, attack, run)
        metrics |= _selected(config, data, model, attack, run)
    return summary(
        "train", seed=config.seed, threat=config.threat().to_dict(), outcome=vars(outcome), verdict=verdict,
        metrics=metrics, data=data.describe(), selected=trajectory.meta["selected"],
        model={"name": config.model, "width": config.width, "n_parameters": n_parameters(model)},
    )  # fmt: skip


def rule_for(data: Dataset):
    """The default rule with the number of classes of the task."""
    return replace(DEFAULT_RULE, n_classes=max(2, data.n_outputs))


def metrics_of(errors: dict[str, ErrorRate], attack: Attack, name: str) -> dict[str, Any]:
    """Entries of `summary.json`: the strongest bound under the plain key, and each under its attack's name."""
    metrics = {}
    for key in FOUR:
        if key in errors:
            used = attack if key.startswith("robust") else None
            metrics[key] = errors[key].to_dict(used)
            if used is not None:
                metrics[f"{key}@{name}"] = errors[key].to_dict(used)
    return metrics


def _selected(config: Config, data: Dataset, model: torch.nn.Module, attack: Attack, run: Run) -> dict[str, Any]:
    """Test errors of the checkpoint that was selected on validation robust error, beside those of the last one."""
    path = run.path / "checkpoints" / SELECTED
    if not path.exists():
        return {}
    load_checkpoint(path, model)
    test = data.test.to(next(model.parameters()).device)
    errors = errors_on(model, test, attack, config.final_n, "test")
    load_checkpoint(checkpoint_of(run), model)
    return {f"{k}@selected_on_validation": e.to_dict(attack if "robust" in k else None) for k, e in errors.items()}


def save_examples(model: torch.nn.Module, data: Dataset, attack: Attack, run: Run, n: int = 8) -> None:
    """Keep some test images, their adversarial versions and the predictions, for the figures.

    Args:
        model: the trained network, in eval mode.
        data: whose first test images are taken.
        attack: makes the adversarial versions.
        run: takes `examples.npz`, written whole or not at all.
        n: how many images, or all test images if there are fewer.

    Raises:
        BadRequest: the disk is full or not writable; an old file is intact.
    """
    device = next(model.parameters()).device
    x, y = data.test.head(n).x.to(device), data.test.y[:n].to(device)
    x_adv = attack(model, x, y)
    with torch.no_grad():
        before, after = predict(model(x)), predict(model(x_adv))
    tensors = {"x": x, "x_adv": x_adv, "y": y, "prediction": before, "prediction_adv": after}
    arrays = {"classes": np.array(data.classes), "binary": np.array(data.n_outputs == 1)}
    arrays |= {key: values.cpu().numpy() for key, values in tensors.items()}
    write_arrays(run.path / "examples.npz", arrays)


def describe(result: dict[str, Any]) -> str:
    """Outcome, verdict and the numbers."""
    head = (
        ""
        if result["outcome"]["kind"] == "completed"
        else f"{result['outcome']['kind']}: {result['outcome']['reason']}\n"
    )
    return head + lines_of(result)


def seconds_per_example(config: Config, batch: int | None = None) -> float:
    """What one training example costs in one epoch on this machine, measured on one step: crafting included.

    A forward and a backward pass of one batch, after one to warm up, times the attack's steps and the step itself.
    Evaluations come on top.

    Args:
        batch: examples in the measured step; default the recipe's.
    """
    fabric = make_fabric(config.device, precision=config.train_precision)
    data, model = prepare(replace(config, n_train=config.n_train or 500, n_test=10))
    part = data.train.head(batch or config.batch_size).to(fabric.device)
    recipe = replace(config.recipe(), augment="none")
    objective, standard = config.build_objective(), Adversarial(NoAttack(), robust_weight=0.0)
    steps = Steps(model.to(fabric.device), part, standard, recipe, (), config.seed, fabric)
    started = 0.0
    for _ in range(2):
        started = time.perf_counter()
        float(steps.take(steps.make(0, 0, torch.arange(len(part))), 0, 0))  # waits for the device
    return (time.perf_counter() - started) * (1 + objective.n_gradients) / len(part)


def gradient_steps(config: Config) -> int:
    """Gradients with respect to the input that one training example takes in a step, over all starts.

    >>> [gradient_steps(Config(attack=a)) for a in ("none", "fgsm", "pgd7", "pgd5x2")]
    [0, 1, 7, 10]
    """
    return config.build_objective().n_gradients
