"""The options of a training: its data, network, threat, objective and recipe, as flags, files and runs spell them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, make_dataclass, replace
from typing import ClassVar

from cgro._check import bad, number
from cgro.commands._effect import Effects, Only, beside
from cgro.commands._options import Computing, Output, Seeded, Spreading, Trusting, flag_of, option
from cgro.commands._said import given, remarks_of
from cgro.data import Dataset, load
from cgro.data.sources import kind_of
from cgro.data.storage import StreamChoice
from cgro.definitions import Attack, Model, NoAttack, ThreatModel, attack_by_name
from cgro.definitions.attacks import attack_choices
from cgro.models import NETWORK_NAMES
from cgro.training import Adversarial, Extension, Objective, Recipe
from cgro.training.extensions import require_extensions
from cgro.training.fabric import TRACKERS
from cgro.training.recipe import SCHEDULES
from cgro.training.registry import EXTENSIONS, OBJECTIVES, extension_by_name, listed, objective_by_name, takes
from cgro.trust import Received

Defaults = Mapping[str, str | int | float]
"""Options and their values."""
CIFAR10: Defaults = {
    "data": "cifar10",
    "model": "preactresnet",
    "radius": "8/255",
    "optimizer": "sgd",
    "weight_decay": 5e-4,
    "eval_attack": "pgd10",
}
RICE2020: Defaults = {
    **CIFAR10,
    "width": 64,
    "attack": "pgd10",
    "step_size": "2/255",
    "epochs": 200,
    "batch_size": 128,
    "lr": 0.1,
    "lr_drops": "100,150",
    "augment": "crop-flip",
    "craft_mode": "train_update_bn",
}
"""Rice, Wong and Kolter, "Overfitting in adversarially robust deep learning" (ICML 2020), as published."""
FAST2020: Defaults = {
    **CIFAR10,
    "width": 64,
    "attack": "fgsm-rs",
    "epochs": 15,
    "batch_size": 128,
    "lr": 0.2,
    "schedule": "cyclic",
    "augment": "crop-flip",
    "craft_mode": "train_update_bn",
}
"""Wong, Rice and Kolter, "Fast is better than free" (ICLR 2020), as published."""
SMALL_CIFAR10: Defaults = {
    **CIFAR10,
    "n_train": 5000,
    "width": 16,
    "attack": "pgd7",
    "step_size": "2/255",
    "epochs": 30,
    "batch_size": 64,
    "lr": 0.05,
    "lr_drops": "15",
}
"""Ours: robust overfitting on two CPU cores within half an hour."""
RECIPES: Mapping[str, Defaults] = {"rice2020": RICE2020, "fast2020": FAST2020, "small-cifar10": SMALL_CIFAR10}

RECIPE_HELP = {
    "epochs": "passes over the training set",
    "batch_size": "examples per step, those of all processes together",
    "optimizer": "sgd, adam or adamw",
    "lr": "learning rate at the start, or at the peak of a cycle",
    "momentum": "momentum of sgd",
    "weight_decay": "of the optimizer, as torch defines it",
    "schedule": "of lr: " + ", ".join(SCHEDULES),
    "lr_drops": "epochs after which lr drops, such as 15,25",
    "lr_factor": "factor of each drop",
    "clip": "largest l2 norm of the weights' gradient; 0 for none",
    "patience": "stop after so many evaluations without a lower validation robust error; 0 for never",
    "augment": "of training images: none, idbh-weak, idbh-strong, or parts such as crop-flip, flip, crop4-flip-cutout8",
    "radius_warmup": "epochs over which the radius grows from 0",
    "craft_mode": "BatchNorm while attacking: eval, train or train_update_bn",
    "accumulate": "pieces in which each batch is taken, gradients added: less memory; BatchNorm sees single pieces",
    "batch_norm": "statistics under torchrun: local (of each process) or synchronized (of all)",
}
"""Help of the options that are the fields of `Recipe`; their types and defaults are those of the fields."""


def _recipe_options() -> type:
    """The fields of `Recipe` as options. Not nested: flags, files and runs spell them flat."""
    found = []
    for f in fields(Recipe):
        kind, default = (str, "") if f.name == "lr_drops" else (f.type, f.default)
        found.append((f.name, kind, option(default, RECIPE_HELP[f.name], group="training loop")))
    options = make_dataclass("RecipeOptions", found, kw_only=True)
    options.__module__ = __name__
    return options


RecipeOptions = _recipe_options()


@dataclass(kw_only=True)
class Task:
    """Which network learns what, against which threat.

    `received` says of settings that they were read from a run, and from which; None: they are the caller's own.
    """

    data: str = option("mnist5k", "data set; see cgro data", names="data", group="data, network, threat")
    classes: str | None = option(
        None, "task: all classes, or 3,8 (binary, first = -1), or even,odd", group="data, network, threat"
    )
    n_train: int | None = option(None, "training examples; default all", group="data, network, threat", low=1)
    n_test: int | None = option(None, "test examples; default all", group="data, network, threat", low=1)
    validation: float = option(0.05, "share of the training set kept for selection", group="data, network, threat")
    stream: StreamChoice = option(
        "auto",
        "images of a folder or of parquet files: no: hold them; yes: decode them when needed; auto: if memory is short",
        group="data, network, threat",
    )
    image_size: int | None = option(
        None, "side in pixels to which images of any size are cut and scaled", group="data, network, threat", low=1
    )
    model: str = option("lenet", NETWORK_NAMES, names="network", group="data, network, threat")
    width: int | None = option(
        None, "width of lenet, mlp, preactresnet or resnet9 (base width)", group="data, network, threat", low=1
    )
    p: str = option("inf", "norm of the threat: 1, 2 or inf", group="data, network, threat")
    radius: str = option(
        "0.1", "radius of the threat, in units of the input, such as 0.1 or 8/255", group="data, network, threat"
    )

    seed: int = option(0, "first seed", group="seeds", low=0)
    received: Received | None = field(default=None, metadata={"hidden": True})

    def threat(self) -> ThreatModel:
        """Norm, radius and the box of images.

        Returns:
            The threat model.

        Raises:
            BadRequest: another norm, or a radius that is no positive number.
        """
        return ThreatModel(self.p, self.radius)


@dataclass(kw_only=True)
class Config(Trusting, Output, Seeded, Spreading, Computing, RecipeOptions, Task):
    """Options of `cgro train`."""

    attack: str = option("pgd10", "attack in training: " + attack_choices(), names="attack")
    step_size: str | None = option(None, "its step; default 2.5 * radius / steps")
    robust_weight: float = option(1.0, "lambda: weight of the robust against the clean loss")
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
    eval_attack: str = option("pgd20", "attack of the evaluation; see cgro evaluate", names="attack")
    eval_every: int = option(1, "epochs between evaluations", low=1)
    eval_n: int = option(1000, "examples of each part evaluated after an epoch", low=1)
    keep_every: int = option(0, "epochs between checkpoints that are kept; 0 for none", low=0)
    final_n: int = option(10000, "examples of each part evaluated at the end", low=1)
    train_precision: str = option(
        "auto", "of the training step: float32, bfloat16, or auto: bfloat16 where a CPU and a large network gain by it"
    )
    compile: str = option(
        "auto",
        "the network before the steps, by torch.compile: yes, no, or auto: on a GPU where the training is long enough; "
        "decided once, kept when the run is resumed",
    )
    track: str = option("none", "send the curves to: " + ", ".join(TRACKERS))
    resume: str | None = option(None, "an unfinished run to continue with its own settings")
    max_seconds: float = option(
        0.0, "stop after the step in which so long is over, everything saved, exit 130; 0 for never", low=0.0
    )

    HAS_EFFECT: ClassVar[Effects] = {
        "overwrite": beside("--out", lambda c: c.out is not None or c.resume is not None),  # --resume refuses it itself
        "patience": Only(
            "(patience + 1) * --eval-every below --epochs, or the training never stops early",
            lambda c: c.resume is not None or (c.patience + 1) * c.eval_every < c.epochs,
            remedy="lower it, or leave it out",
        ),
        "keep_every": Only(
            "at most --epochs, or no checkpoint is kept",
            lambda c: c.resume is not None or c.keep_every <= c.epochs,
            remedy="lower it, or leave it out",
        ),
        "radius_warmup": beside("an attack in training", lambda c: _may_use_radius(c)),
        "craft_mode": beside("an attack in training", lambda c: _may_craft(c)),
    }

    def recipe(self) -> Recipe:
        """The loop.

        Returns:
            Its settings.

        Raises:
            BadRequest: a value out of its range; see `Recipe`.
        """
        drops = str(self.lr_drops).replace(",", " ").split()
        if not all(re.fullmatch(r"[0-9]{1,9}", drop) for drop in drops):
            raise bad("--lr-drops", expected="epochs such as 15,25", got=self.lr_drops)
        values = {f.name: getattr(self, f.name) for f in fields(Recipe)}
        values["lr_drops"] = tuple(int(drop) for drop in drops)
        return Recipe(**values)

    def without_effect(self) -> list[str]:
        """Options that were given and change nothing beside the others; a plan or a recipe may set them for all.

        Returns:
            A remark for each.
        """
        asked = given(self)
        remarks: list[str] = []
        if "momentum" in asked and self.optimizer != "sgd":
            remarks.append(f"--momentum has no effect with --optimizer {self.optimizer}: it is that of sgd")
        if "lr_factor" in asked and not self.lr_drops:
            remarks.append("--lr-factor has no effect without --lr-drops")
        if self.objective.partition(":")[0] == "free":
            for name in ("attack", "step_size"):
                if name in asked:
                    remarks.append(f"{flag_of(name)} has no effect with --objective free, which takes the radius alone")
        if self.objective == "adversarial" and self.attack != "none" and self.robust_weight == 0:
            for name in ("attack", "step_size"):
                if name in asked:
                    remarks.append(f"{flag_of(name)} has no effect with --robust-weight 0: nothing is attacked")
        return remarks + remarks_of(self)

    def build_objective(self) -> Objective:
        """What training minimizes. Runs the caller's own code where `objective` names it.

        Returns:
            The objective with its attack; standard training has none.

        Raises:
            Untrusted: a run names it, which is code that is not trusted.
            BadRequest: see `objective_by_name`; a robust weight for an objective that has none.
        """
        self._admit("objective", self.objective)
        attack = self.crafting()
        weight = 0.0 if self.attack == "none" else self.robust_weight
        if self.attack == "none" and self.robust_weight not in (0.0, 1.0):
            remedy = "leave it out: nothing is attacked"
            raise bad("--robust-weight", expected="none with --attack none", got=self.robust_weight, remedy=remedy)
        if self.robust_weight != 1.0 and not takes(self.objective, "robust_weight"):
            raise bad("--robust-weight", expected=f"none with --objective {self.objective}", got=self.robust_weight)
        objective = objective_by_name(self.objective, attack, teacher=self._teacher, robust_weight=weight)
        if not isinstance(objective, Adversarial):
            return objective
        self._require_one_weight(objective.robust_weight)
        if self.attack == "none" or objective.robust_weight == 0:
            return replace(objective, attack=NoAttack(attack.threat.at(0.0)), robust_weight=0.0)
        return objective

    def _require_one_weight(self, used: float) -> None:
        """Refuse two weights of the robust loss of which one would be left out."""
        remedy = f"--objective {self.objective} says it: leave one of them out"
        if self.attack == "none" and used not in (0.0, 1.0):
            raise bad("--objective", expected="no robust_weight with --attack none", got=used, remedy=remedy)
        if self.robust_weight not in (1.0, used):
            raise bad("--robust-weight", expected=f"{used:g} or none", got=self.robust_weight, remedy=remedy)

    def build_extensions(self) -> tuple[Extension, ...]:
        """New extensions, in their order. Runs the caller's own code where `extension` names it.

        Returns:
            One per name.

        Raises:
            Untrusted: a run names one that is code and not trusted.
            BadRequest: see `extension_by_name`; the same extension twice.
        """
        # A file of settings may name a single one without a list.
        names = [self.extension] if isinstance(self.extension, str) else self.extension
        for name in names:
            self._admit("extension", name)
        extensions = tuple(extension_by_name(text, second=self._second, teacher=self._teacher) for text in names)
        require_extensions(extensions)
        return extensions

    def _teacher(self, run: str, what: str) -> Model:
        """The network of a run that is to teach."""
        # Here: that module imports this one.
        from cgro.commands._target import load_teacher

        return load_teacher(run, self, what)

    def _second(self, name: str, has_labels: bool) -> Dataset:
        """A second data set: with the task of this training, where its own labels count."""
        classes = self.classes if has_labels else None
        if kind_of(name) in ("named", "code") or name.endswith(".npz"):
            return load(name, classes=classes, seed=self.seed)
        return load(name, classes=classes, seed=self.seed, stream=self.stream, image_size=self.image_size)

    def _admit(self, key: str, name: str) -> None:
        """Ask for trust where code of a training is used, which an evaluation of its network never does."""
        if self.received is not None:
            self.received.admit(key, name, key)

    def crafting(self) -> Attack:
        """The attack in training.

        Returns:
            It, at the full radius.

        Raises:
            BadRequest: no such attack, or a step size for one that has none.
        """
        attack = attack_by_name(self.attack, self.threat(), precision=self.precision)
        if self.step_size is None:
            return attack
        if not any(f.name == "step_size" for f in fields(attack)):
            raise bad("--step-size", expected="none for this attack", got=self.step_size)
        return replace(attack, step_size=number(self.step_size, "--step-size", low=0.0))


def _may_use_radius(config: Config) -> bool:
    """Whether anything in a training may depend on the radius; of code of the caller's that is not known."""
    if config.resume is not None or config.extension or config.objective.partition(":")[0] != "adversarial":
        return True
    return config.attack != "none" and config.robust_weight != 0


def _may_craft(config: Config) -> bool:
    """Whether a pass in a training may be made in the attack's mode: the objective free has none."""
    if config.resume is not None or config.extension:
        return True
    return config.objective.partition(":")[0] != "free" and _may_use_radius(config)
