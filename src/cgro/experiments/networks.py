"""The trained networks of Section 6, named once: Figures 1, 3, 4, the bound and Table 1 read the same runs.

The paper does not print its training recipes beyond attack and radius; those here are ours, or Rice, Wong and Kolter's
(ICML 2020), from whom Figure 1 is drawn. `smoke` puts mnist5k in the place of MNIST and CIFAR-10: it runs the machinery.
"""

from typing import Any

from cgro.commands.train import RECIPES
from cgro.experiments.jobs import HERE, Job, Scale

STAND_IN = "stand-in data and tiny networks: smoke tests the machinery"
SEEDS: dict[Scale, range] = {"smoke": range(2), "cpu": range(3), "gpu": range(3), "paper": range(3)}

_MNIST: dict[Scale, dict[str, Any]] = {
    "smoke": {
        "data": "mnist5k", "n_train": 200, "n_test": 200, "epochs": 2, "attack": "pgd2", "eval_attack": "pgd2",
        "eval_n": 50, "final_n": 100,
    },
    # 1,000 images, 40 epochs and batches of 50 for every width: equal steps (760), so that only the width differs.
    "cpu": {
        "data": "mnist", "n_train": 1000, "epochs": 40, "batch_size": 50, "attack": "pgd10", "step_size": "0.05",
        "eval_attack": "pgd20", "eval_every": 10, "eval_n": 250, "final_n": 2000,
    },
    "gpu": {
        "data": "mnist", "epochs": 60, "attack": "pgd20", "step_size": "0.03", "eval_attack": "pgd50",
        "eval_every": 5, "eval_n": 1000, "lr_drops": "45",
    },
    "paper": {
        "data": "mnist", "epochs": 100, "attack": "pgd40", "step_size": "0.01", "eval_attack": "pgd50",
        "eval_every": 5, "eval_n": 1000, "lr_drops": "75",
    },
}  # fmt: skip
MNIST_WIDTHS: dict[Scale, tuple[int, ...]] = {
    "smoke": (1, 2), "cpu": (1, 4, 8, 12, 16), "gpu": (1, 2, 4, 8, 12, 16), "paper": (1, 8, 12, 16),
}  # fmt: skip
_MNIST_SECONDS = {1: 45, 2: 50, 4: 70, 8: 130, 12: 220, 16: 350}
_VARIANTS: dict[str, dict[str, Any]] = {
    "": {}, "-warm": {"radius_warmup": 10.0}, "-sgd": {"optimizer": "sgd", "lr": 0.05},
    "-sgd-warm": {"optimizer": "sgd", "lr": 0.05, "radius_warmup": 10.0}, "-long": {},
}  # fmt: skip

_SMALL = RECIPES["small-cifar10"]
_CIFAR: dict[Scale, dict[str, Any]] = {
    "smoke": _SMALL | {
        "data": "mnist5k", "n_train": 120, "n_test": 150, "radius": "0.1", "attack": "pgd2", "step_size": "0.05",
        "epochs": 4, "lr_drops": "2", "batch_size": 40, "eval_attack": "pgd2", "eval_n": 40, "final_n": 100,
        "keep_every": 1,
    },
    # The recipe's two phases, 12 epochs each instead of 15: nine networks in an afternoon.
    "cpu": _SMALL | {"epochs": 24, "lr_drops": "12", "keep_every": 2, "eval_every": 2, "final_n": 4000},
    # One GPU: the whole mirror, 60 epochs with the drops at half and three quarters, as Rice et al. have them.
    "gpu": RECIPES["rice2020"] | {
        "epochs": 60, "lr_drops": "30,45", "craft_mode": "eval", "keep_every": 3, "eval_every": 3, "eval_n": 2000,
        "train_precision": "bfloat16",
    },
    "paper": RECIPES["rice2020"] | {"model": "", "width": None, "keep_every": 10, "eval_every": 5, "eval_n": 2000},
}  # fmt: skip
CIFAR_WIDTHS: dict[Scale, tuple[int, ...]] = {
    "smoke": (1, 2, 3), "cpu": (4, 8, 16), "gpu": (16, 32, 64), "paper": (1, 5, 10),
}  # fmt: skip
_CIFAR_SECONDS = {4: 200, 8: 350, 16: 720}


def mnist(scale: Scale, width: int, variant: str = "") -> list[Job]:
    """LeNet of a width against l_inf 0.3, every seed; a variant is "", "-warm", "-sgd", "-sgd-warm", or "-long": thrice so, at one rate."""
    own = _MNIST[scale] | {"model": "lenet", "width": width, "radius": "0.3"} | _VARIANTS[variant]
    if "radius_warmup" in own:
        own["radius_warmup"] = min(own["radius_warmup"], own["epochs"] / 2)
    if variant == "-long":
        own |= {k: 3 * own[k] for k in ("epochs", "eval_every") if k in own}
        own.pop("lr_drops", None)
    return _seeds(scale, f"mnist-x{width}{variant}", own, _MNIST_SECONDS[width])


def lenet5(scale: Scale) -> list[Job]:
    """LeNet-5 against l_inf 0.1 for 20 epochs, the network of Figure 3 on MNIST (v1)."""
    epochs = {"epochs": _MNIST["smoke"]["epochs"] if scale == "smoke" else 20}
    own = {k: v for k, v in _MNIST[scale].items() if k not in ("step_size", "lr_drops")}
    return _seeds(scale, "mnist-lenet5", own | epochs | {"model": "lenet5", "radius": "0.1"}, 40)


def few(scale: Scale) -> list[Job]:
    """LeNet x4 on 600 MNIST images against l_inf 0.1: it memorizes within a minute, so it can be trained many times."""
    own = _MNIST["smoke" if scale == "smoke" else "cpu"] | {"model": "lenet", "width": 4, "radius": "0.1"}
    if scale != "smoke":
        own |= {"n_train": 600, "attack": "pgd7", "step_size": "0.03", "epochs": 32, "eval_every": 2}
    return _seeds(scale, "mnist-few", own, 60)


def standard(jobs: list[Job]) -> list[Job]:
    """The same networks on the same examples, trained without an attack."""
    return [Job(f"standard/{j.name}", "train",
                {**{k: v for k, v in j.settings.items() if k not in ("step_size", "keep_every")}, "attack": "none",
                 "eval_every": j.settings["epochs"], "eval_n": 200, "final_n": 500}, j.seconds / 6)
            for j in jobs]  # fmt: skip


def cifar(scale: Scale, width: int) -> list[Job]:
    """PreActResNet-18 (paper: WRN-34) of a width against l_inf 8/255, every seed, with kept checkpoints."""
    own = _CIFAR[scale] | ({"model": f"wrn-34-{width}"} if scale == "paper" else {"width": width})
    return _seeds(scale, f"cifar10-{'wrn-34-' if scale == 'paper' else 'w'}{width}", own, _CIFAR_SECONDS.get(width, 60))


def widest(scale: Scale) -> list[Job]:
    """The networks that Figures 1, 3, 4 and the bound look at."""
    return cifar(scale, CIFAR_WIDTHS[scale][-1])


def first_drop(scale: Scale) -> int:
    """The epoch after which the learning rate first drops."""
    return int(str(_CIFAR[scale]["lr_drops"]).split(",")[0])


def after_drop(scale: Scale) -> int:
    """The first kept epoch after the drop."""
    keep = _CIFAR[scale]["keep_every"]
    return (first_drop(scale) // keep + 1) * keep


def at_epoch(scale: Scale, job: Job, epoch: int) -> Job:
    """The test errors of a kept checkpoint, on as many images as at the end."""
    file, n = f"epoch-{epoch:04d}", job.settings.get("final_n", 10000)
    return _evaluation(job, file, f"epoch-{epoch}", job.settings["eval_attack"], n, 40 if scale == "cpu" else 5)


def beside(scale: Scale, job: Job) -> dict[str, Job]:
    """PGD and the strong ensemble on the same test images, few of them: the ensemble costs a hundred times as much."""
    n = {"smoke": 10, "cpu": 100, "gpu": 1000, "paper": 1000}[scale]
    strong = "apgd" if scale == "smoke" else "ensemble"
    return {
        "pgd": _evaluation(job, "last", "pgd", job.settings["eval_attack"], n, 3),
        "ensemble": _evaluation(job, "last", "ensemble", strong, n, job.seconds / 4 if scale == "cpu" else 5),
    }


def _evaluation(job: Job, checkpoint: str, label: str, attack: str, n: int, seconds: float) -> Job:
    """Of a checkpoint and not of its run: the run keeps the numbers it ended with."""
    s = job.settings
    settings = {
        "target": f"{HERE}{job.name}/checkpoints/{checkpoint}.safetensors", "attack": attack, "parts": "test", "n": n,
        **{k: s[k] for k in ("data", "model", "width", "radius", "seed") if k in s},
    }  # fmt: skip
    return Job(f"evaluations/{job.name.replace('/', '-')}-{label}", "evaluate", settings, seconds)


def _seeds(scale: Scale, name: str, settings: dict[str, Any], seconds: float) -> list[Job]:
    seconds = seconds if scale == "cpu" else 4.0
    return [Job(f"{name}/seed-{seed}", "train", {**settings, "seed": seed}, seconds) for seed in SEEDS[scale]]
