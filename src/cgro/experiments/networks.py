"""The trained networks of Section 6, named once: Figures 1, 3, 4, the bound and Table 1 read the same runs.

The paper does not print its training recipes beyond attack and radius; those here are ours, or Rice, Wong and Kolter's
(ICML 2020), from whom Figure 1 is drawn. `smoke` puts mnist5k in the place of MNIST and CIFAR-10: it runs the
machinery.
"""

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import replace
from typing import NamedTuple

from cgro.commands import train
from cgro.commands.train import RECIPES
from cgro.jobs.plan import Job, Scale

SEEDS: dict[Scale, range] = {"smoke": range(2), "cpu": range(3), "gpu": range(3), "paper": range(3)}
_asked: ContextVar[int | None] = ContextVar("seeds", default=None)
"""How many of these seeds are planned; None for all. Every artifact plans by these functions, and none passes it on."""

Settings = dict[str, object]
_MNIST_WHOLE: Settings = {
    "data": "mnist",
    "epochs": 100,
    "attack": "pgd40",
    "step_size": "0.01",
    "eval_attack": "pgd50",
    "eval_every": 5,
    "eval_n": 1000,
    "lr_drops": "75",
}
"""All 60,000 images: what the paper says, attack and radius, and epochs of ours."""
_MNIST: dict[Scale, Settings] = {
    "smoke": {
        "data": "mnist5k",
        "n_train": 200,
        "n_test": 200,
        "epochs": 2,
        "attack": "pgd2",
        "eval_attack": "pgd2",
        "eval_n": 50,
        "final_n": 100,
    },
    # 1,000 images, 40 epochs and batches of 50 for every width: equal steps (760), so that only the width differs.
    "cpu": {
        "data": "mnist",
        "n_train": 1000,
        "epochs": 40,
        "batch_size": 50,
        "attack": "pgd10",
        "step_size": "0.05",
        "eval_attack": "pgd20",
        "eval_every": 10,
        "eval_n": 250,
        "final_n": 2000,
    },
    "gpu": _MNIST_WHOLE,
    "paper": _MNIST_WHOLE,
}
MNIST_WIDTHS: dict[Scale, tuple[int, ...]] = {
    "smoke": (1, 2),
    "cpu": (1, 4, 8, 12, 16),
    "gpu": (1, 2, 4, 8, 12, 16),
    "paper": (1, 8, 12, 16),
}
_MNIST_SECONDS = {1: 45, 2: 50, 4: 70, 8: 130, 12: 220, 16: 350}


class Variant(NamedTuple):
    """Another start of a LeNet.

    Attributes:
        warm: epochs over which the radius is warmed up, half of all where there are fewer; 0 for none.
        sgd: whether SGD takes the place of Adam.
        times: as many epochs.
        images: training images in the place of a scale's own, over `epochs`; 0 for its own.
        epochs: with these images.
    """

    warm: float = 0.0
    sgd: bool = False
    times: int = 1
    images: int = 0
    epochs: int = 0


VARIANTS = {
    "": Variant(),
    "-warm": Variant(warm=10.0),
    "-sgd": Variant(sgd=True),
    "-sgd-warm": Variant(warm=10.0, sgd=True),
    "-long": Variant(times=3),
    # Six times the images, seen 12 times each instead of 40 times: 1.8 times the steps, as time was short.
    "-warm-6000": Variant(warm=3.0, images=6000, epochs=12),
    "-sgd-warm-6000": Variant(warm=3.0, sgd=True, images=6000, epochs=12),
}
SIZES: dict[Scale, tuple[int, ...]] = {
    "smoke": (60, 120),
    "cpu": (250, 500, 1000, 2000, 4000, 8000),
    "gpu": (250, 500, 1000, 2000, 4000, 8000, 16_000, 57_000),
    "paper": (250, 500, 1000, 2000, 4000, 8000, 16_000, 57_000),
}
"""Training images of the networks that differ in their number; 57,000 are MNIST's without those for validation."""
SIZE_RADII: dict[Scale, tuple[str, ...]] = {
    "smoke": ("0.1", "0.3"),
    "cpu": ("0.1", "0.2", "0.3"),
    "gpu": ("0.1", "0.2", "0.3"),
    "paper": ("0.1", "0.2", "0.3"),
}
"""Of l_inf."""
_SIZE_STEPS = 1000
"""Steps at 1,000 images; they grow with the root of the number of images, so that large sets are fitted as well."""

_SMALL: Mapping[str, object] = RECIPES["small-cifar10"]
_RICE: Mapping[str, object] = RECIPES["rice2020"]
_CIFAR: dict[Scale, Settings] = {
    "smoke": {
        **_SMALL,
        "data": "mnist5k",
        "n_train": 120,
        "n_test": 150,
        "radius": "0.1",
        "attack": "pgd2",
        "step_size": "0.05",
        "epochs": 4,
        "lr_drops": "2",
        "batch_size": 40,
        "eval_attack": "pgd2",
        "eval_n": 40,
        "final_n": 100,
        "keep_every": 1,
    },
    # The recipe's two phases, 12 epochs each instead of 15: nine networks in an afternoon.
    "cpu": {**_SMALL, "epochs": 24, "lr_drops": "12", "keep_every": 2, "eval_every": 2, "final_n": 4000},
    # One GPU: the whole mirror and Rice et al.'s recipe, compressed from 200 epochs to as many as a slice carries, at
    # most these; the drops at 0.4 and 0.8 of them leave the phase in which robust overfitting shows twice as long.
    "gpu": {
        **_RICE,
        "epochs": 60,
        "lr_drops": "24,48",
        "craft_mode": "eval",
        "keep_every": 12,
        "eval_every": 2,
        "eval_n": 2000,
        "train_precision": "bfloat16",
    },
    "paper": {**_RICE, "model": "", "width": None, "keep_every": 10, "eval_every": 5, "eval_n": 2000},
}
CIFAR_WIDTHS: dict[Scale, tuple[int, ...]] = {
    "smoke": (1, 2, 3),
    "cpu": (4, 8, 16),
    "gpu": (4, 8, 16, 32, 64, 128),
    "paper": (1, 5, 10),
}
WRN_WIDTHS: dict[Scale, tuple[int, ...]] = {"smoke": (), "cpu": (), "gpu": (1, 5), "paper": ()}
"""The paper's own networks beside narrower ones; at `paper` they are `CIFAR_WIDTHS`."""
FIGURES_WIDTH: dict[Scale, int] = {"smoke": 3, "cpu": 16, "gpu": 64, "paper": 10}
"""Of the networks that figures look at. At `gpu` the published network, which one slice trains."""
REMEDIES: Mapping[str, tuple[str, ...]] = {"awp": ("awp",), "ema": ("ema",), "awp-ema": ("awp", "ema")}
"""Name -> extensions, with their own defaults."""
FREE: dict[Scale, tuple[str, ...]] = {"smoke": (), "cpu": (), "gpu": ("epochs", "lr_drops", "keep_every"), "paper": ()}
"""Settings of trainings that the time of a slice decides; see `compressed`."""
_CIFAR_SECONDS = {4: 200, 8: 350, 16: 720}
_QUICK = 4.0
"""Seconds of a training at scale smoke; at gpu and paper, where costs are measured beforehand, a stand-in."""
N_JUDGED_TWICE: dict[Scale, int] = {"smoke": 10, "cpu": 100, "gpu": 1000, "paper": 1000}
"""Test images that PGD and the ensemble are compared on."""


@contextlib.contextmanager
def first_seeds(n: int) -> Iterator[None]:
    """Plan fewer networks: the first seeds alone, such as those that slices of a GPU have made so far.

    Args:
        n: seeds of each network at most.

    Yields:
        Nothing; jobs that are planned inside the block have these seeds.

    Example:
        >>> with first_seeds(1):
        ...     len(cifar("gpu", 64))
        1
    """
    token = _asked.set(n)
    try:
        yield
    finally:
        _asked.reset(token)


def configuration(job: Job) -> train.Config:
    """All options of a training, defaults among them.

    Args:
        job: a training.

    Returns:
        The options of `cgro train`.
    """
    return train.Config(**job.settings)  # checked by the command itself


def compressed(job: Job, epochs: int) -> Job:
    """A training in fewer epochs: the learning rate drops, and checkpoints are kept, at the same shares of them.

    Args:
        job: a training.
        epochs: of the new one.

    Returns:
        The training with other settings; what its plan leaves free may differ.

    Example:
        >>> compressed(cifar("gpu", 64)[0], 45).settings["lr_drops"]
        '18,36'
    """
    config = configuration(job)
    share = epochs / config.epochs
    settings = {**job.settings, "epochs": epochs}
    if config.lr_drops:
        settings |= {"lr_drops": ",".join(str(round(share * drop)) for drop in drops(config))}
    if config.keep_every:
        settings |= {"keep_every": max(1, round(share * config.keep_every))}
    return replace(job, settings=settings)


def drops(config: train.Config) -> list[int]:
    """Epochs after which the learning rate drops.

    Args:
        config: of a training.

    Returns:
        Them, in order.
    """
    return list(config.recipe().lr_drops)


def mnist(scale: Scale, width: int, variant: str = "") -> list[Job]:
    """LeNet of a width against l_inf 0.3, every seed.

    Args:
        scale: of the reproduction.
        width: multiplies the channels.
        variant: one of `VARIANTS`; -long is thrice as long, at one learning rate.

    Returns:
        One training per seed.
    """
    start = VARIANTS[variant]
    settings: Settings = {**_MNIST[scale], "model": "lenet", "width": width, "radius": "0.3"}
    epochs = configuration(Job("", "train", settings)).epochs
    if start.sgd:
        settings |= {"optimizer": "sgd", "lr": 0.05}
    if start.warm:
        settings |= {"radius_warmup": min(start.warm, epochs / 2)}
    if start.times > 1:
        settings = _longer(settings, start.times)
    if start.images:
        settings |= {"n_train": start.images, "epochs": start.epochs, "eval_every": start.epochs // 4}
    return _seeds(scale, f"mnist-x{width}{variant}", settings, _MNIST_SECONDS[width])


def _longer(settings: Settings, times: int) -> Settings:
    """As many epochs times, evaluated as often, at one learning rate."""
    found: Settings = {}
    for name, value in settings.items():
        if name in ("epochs", "eval_every"):
            assert isinstance(value, int)
            found[name] = times * value
        elif name != "lr_drops":
            found[name] = value
    return found


def lenet5(scale: Scale) -> list[Job]:
    """LeNet-5 against l_inf 0.1 for 20 epochs, the network of Figure 3 on MNIST (v1).

    Args:
        scale: of the reproduction.

    Returns:
        One training per seed.
    """
    settings = _without(_MNIST[scale], "step_size", "lr_drops")
    if scale != "smoke":
        settings |= {"epochs": 20}
    return _seeds(scale, "mnist-lenet5", settings | {"model": "lenet5", "radius": "0.1"}, 40)


def few(scale: Scale) -> list[Job]:
    """LeNet x4 on 600 MNIST images against l_inf 0.1: it memorizes within a minute, so it can be trained many times.

    Args:
        scale: of the reproduction.

    Returns:
        One training per seed.
    """
    settings = _MNIST["smoke"]
    if scale != "smoke":
        settings = _MNIST["cpu"]
    settings = settings | {"model": "lenet", "width": 4, "radius": "0.1"}
    if scale != "smoke":
        settings |= {"n_train": 600, "attack": "pgd7", "step_size": "0.03", "epochs": 32, "eval_every": 2}
    return _seeds(scale, "mnist-few", settings, 60)


def sized(scale: Scale, radius: str, n_train: int) -> list[Job]:
    """LeNet x4 on so many MNIST images against an l_inf radius, by SGD with the radius warmed up.

    A start from which every width of `mnist` that was tried learns. Evaluated at the end only.

    Args:
        scale: of the reproduction.
        radius: of the attack.
        n_train: number of training images.

    Returns:
        One training per seed.
    """
    settings = _MNIST["smoke" if scale == "smoke" else "cpu"] | {"n_train": n_train, "optimizer": "sgd", "lr": 0.05}
    epochs = 2
    if scale != "smoke":
        epochs = round(50 * _SIZE_STEPS / math.sqrt(1000 * n_train))
        settings |= {"attack": "pgd7", "step_size": f"{float(radius) / 4:g}"}
    settings |= {
        "model": "lenet",
        "width": 4,
        "radius": radius,
        "epochs": epochs,
        "eval_every": epochs,
        "radius_warmup": epochs / 4,
    }
    return _seeds(scale, f"mnist-sizes/radius-{radius}-n-{n_train}", settings, 0.045 * epochs * n_train / 50)


def standard(jobs: Sequence[Job]) -> list[Job]:
    """The same networks on the same examples, trained without an attack.

    Args:
        jobs: adversarial trainings.

    Returns:
        One training per network.
    """
    found = []
    for job in jobs:
        settings = _without(job.settings, "step_size", "keep_every")
        epochs = configuration(job).epochs
        settings |= {"attack": "none", "eval_every": epochs, "eval_n": 200, "final_n": 500}
        found.append(Job(f"standard/{job.name}", "train", settings, job.seconds / 6, job.free, job.name))
    return found


def cifar(scale: Scale, width: int) -> list[Job]:
    """PreActResNet-18 (paper: WRN-34) of a width against l_inf 8/255, every seed, with kept checkpoints.

    Args:
        scale: of the reproduction.
        width: of the first stage; multiplies it in a WRN.

    Returns:
        One training per seed.
    """
    seconds = _CIFAR_SECONDS.get(width, 60)
    if scale == "paper":
        settings = _CIFAR[scale] | {"model": f"wrn-34-{width}"}
        return _seeds(scale, f"cifar10-wrn-34-{width}", settings, seconds)
    return _seeds(scale, f"cifar10-w{width}", _CIFAR[scale] | {"width": width}, seconds)


def wrn(scale: Scale, width: int) -> list[Job]:
    """The paper's own WRN-34 of a width by the recipe of the scale, every seed.

    Args:
        scale: of the reproduction.
        width: multiplies the channels.

    Returns:
        One training per seed.
    """
    settings = {**_without(_CIFAR[scale], "width"), "model": f"wrn-34-{width}"}
    return _seeds(scale, f"cifar10-wrn-34-{width}", settings, _QUICK)


def remedied(scale: Scale, remedy: str) -> list[Job]:
    """The networks of the figures with a remedy.

    Args:
        scale: of the reproduction.
        remedy: one of `REMEDIES`.

    Returns:
        One training per seed.
    """
    width = FIGURES_WIDTH[scale]
    settings = _CIFAR[scale] | {"width": width, "extension": list(REMEDIES[remedy])}
    return _seeds(scale, f"cifar10-w{width}-{remedy}", settings, _QUICK)


def widest(scale: Scale) -> list[Job]:
    """The networks that Figures 1, 3, 4 and the bound look at.

    Args:
        scale: of the reproduction.

    Returns:
        One training per seed.
    """
    return cifar(scale, FIGURES_WIDTH[scale])


def at_cpu(scale: Scale, seconds: float, *, otherwise: float) -> float:
    """The time of a job, which is known at scale cpu alone.

    Args:
        scale: of the reproduction.
        seconds: at scale cpu.
        otherwise: seconds at another.

    Returns:
        Seconds.
    """
    if scale == "cpu":
        return seconds
    return otherwise


def _without(settings: Mapping[str, object], *names: str) -> Settings:
    return {name: value for name, value in settings.items() if name not in names}


def _seeds(scale: Scale, name: str, settings: Settings, seconds: float) -> list[Job]:
    seconds = at_cpu(scale, seconds, otherwise=_QUICK)
    found = []
    for seed in SEEDS[scale][: _asked.get()]:
        found.append(Job(f"{name}/seed-{seed}", "train", {**settings, "seed": seed}, seconds, FREE[scale]))
    return found
