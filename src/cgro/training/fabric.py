"""Where training runs: device, precision of its forward passes, and trackers of its curves. All through Fabric.

Lightning is imported where one is made: that takes two seconds, mostly torch._dynamo's, and whoever reads a run or
attacks its network has no use for it."""

import importlib.util
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from cgro._check import bad, one_of
from cgro.definitions.attacks.precision import uses_bfloat16
from cgro.ranks import ALONE, Ranks, launched, local_number, together

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.loggers.logger import Logger
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment
    from lightning_fabric.plugins.precision import Precision

PRECISIONS = ("auto", "float32", "bfloat16")
SHARDED = ("FullyShardedDataParallel", "DTensor")
"""Names of types of sharded modules and weights: importing them takes a second."""
TRACKERS = ("none", "tensorboard", "wandb")
BACKENDS = {"cpu": "gloo", "cuda": "cpu:gloo,cuda:nccl"}
"""What exchanges tensors between processes; those on the host always by gloo, which has a time-out."""


def make_fabric(
    device: str, *, precision: str = "float32", track: str = "none", folder: Path | None = None
) -> "Fabric":
    """Fabric on one device, or, in a process that torchrun started with others, on one device of each process.

    Args:
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        precision: of the training step; `bfloat16` casts its products, weights and their updates stay float32.
            `auto` is float32 here, where no network is known; see `step_precision`.
        track: none, tensorboard or wandb.
        folder: of the run, where trackers write; None for the current one.

    Returns:
        Not launched.

    Raises:
        BadRequest: a device that is not here, a tracker that is not installed.

    Example:
        >>> make_fabric("cpu").device
        device(type='cpu')
    """
    from lightning_fabric import Fabric
    from lightning_fabric.plugins import MixedPrecision
    from lightning_fabric.plugins.precision import Precision

    kind, number = _device(device)
    casts = Precision()
    if step_precision(precision, kind) == "bfloat16":
        casts = MixedPrecision("bf16-mixed", device=kind)
    n_processes = launched()
    if n_processes > 1:
        return _of_several(kind, n_processes, casts, _trackers(track, folder))
    devices: list[int] | int = 1
    if kind == "cuda":
        devices = [number]
    return Fabric(accelerator=kind, devices=devices, plugins=[casts, alone()], loggers=_trackers(track, folder))


def _of_several(kind: str, n_processes: int, casts: "Precision", loggers: list["Logger"]) -> "Fabric":
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
    from lightning_fabric.strategies.ddp import DDPStrategy

    local = int(os.environ.get("LOCAL_WORLD_SIZE", n_processes))
    if kind == "cuda" and local_number() >= torch.cuda.device_count():
        expected = f"a GPU for each of the {local} processes of this machine"
        raise bad("--device", expected=expected, got=torch.cuda.device_count(), remedy="start fewer, or --device cpu")
    strategy = DDPStrategy(process_group_backend=BACKENDS[kind])
    return Fabric(
        accelerator=kind,
        strategy=strategy,
        devices=local,
        num_nodes=max(1, n_processes // local),
        plugins=[casts, TorchElasticEnvironment()],
        loggers=loggers,
    )


def ranks_of(fabric: "Fabric") -> Ranks:
    """The processes that train together.

    Args:
        fabric: of the training. With one process it is alone, also where `torch.distributed` is in use.

    Returns:
        Themselves, seen from this one.

    Raises:
        BadRequest: a strategy under which a process does not have all weights, or `fabric.launch()` was not called.
    """
    if fabric.world_size == 1:
        return ALONE
    from lightning_fabric.strategies.ddp import DDPStrategy

    if not isinstance(fabric.strategy, DDPStrategy):
        got = type(fabric.strategy).__name__
        raise bad("fabric", expected="one process, or strategy ddp", got=got, remedy='use Fabric(strategy="ddp")')
    ranks = together()
    if ranks.size != fabric.world_size:
        expected = f"{fabric.world_size} processes that are connected"
        raise bad("fabric", expected=expected, got=ranks.size, remedy="call fabric.launch() first")
    return ranks


def is_sharded(network: nn.Module) -> bool:
    """Whether weights of a network lie in pieces in several processes.

    Args:
        network: any.

    Returns:
        True for FSDP, of one module or more.
    """
    parts = (*network.modules(), *network.parameters())
    return any(type(part).__name__ in SHARDED for part in parts)


def require_whole(network: nn.Module) -> None:
    """Refuse weights that no process has as a whole.

    Attacks and gradients go through them (tests/training/sharded.py), but they can neither be copied nor differentiated
    twice, and every process would have to make as many passes in evaluations as well.

    Args:
        network: to be trained by `fit`.

    Raises:
        BadRequest: some are sharded.
    """
    if is_sharded(network):
        remedy = "train with strategy ddp, or write a loop of your own: see FSDP2 in docs/distributed.md"
        raise bad("model", expected="whole weights in every process", got="sharded ones (FSDP)", remedy=remedy)


def own_fabric(fabric: "Fabric", ranks: Ranks) -> "Fabric":
    """Fabric of one process among several: device and precision of the given one, without a wrapper of networks.

    Args:
        fabric: of all.
        ranks: the processes.

    Returns:
        `fabric` itself for one process. Only the first process has trackers.
    """
    if not ranks.shared:
        return fabric
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.single_device import SingleDeviceStrategy

    loggers: list[Logger] = []
    if ranks.writes:
        loggers = list(fabric.loggers)
    strategy = SingleDeviceStrategy(device=fabric.device, precision=fabric.strategy.precision)
    return Fabric(strategy=strategy, plugins=[alone()], loggers=loggers)


def alone() -> "LightningEnvironment":
    """The surroundings of one process, said outright: else Fabric looks for a scheduler, and takes the number of tasks
    of a Slurm job, or an `srun` that is installed, for a word about this process.

    Returns:
        For `Fabric(plugins=...)`.
    """
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment

    return LightningEnvironment()


def step_precision(precision: str, device: str, network: nn.Module | None = None) -> str:
    """The precision of a training's steps, decided once, before the first.

    `auto` takes bfloat16 on a CPU with matrix instructions for it, for networks that are large enough, as attacks do.
    On a GPU it takes float32: what bfloat16 brings there has not been measured with a step captured as a whole.

    Args:
        precision: auto, float32 or bfloat16.
        device: see `make_fabric`.
        network: that is trained; None means that nothing is known of it.

    Returns:
        float32 or bfloat16.

    Raises:
        BadRequest: another precision, or a device that is not here.

    Example:
        >>> step_precision("auto", "cpu", nn.Linear(3, 2)), step_precision("bfloat16", "cpu")
        ('float32', 'bfloat16')
    """
    if one_of(precision, "--train-precision", PRECISIONS) != "auto":
        return precision
    kind, _ = _device(device)
    if network is None or kind != "cpu" or not uses_bfloat16("auto", network, torch.empty(0)):
        return "float32"
    return "bfloat16"


def _device(name: str) -> tuple[str, int]:
    """The kind of a device that is here, and its number among those of its kind."""
    kind, _, number = name.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (number and not re.fullmatch("[0-9]{1,4}", number)):
        raise bad("--device", expected="auto, cpu, cuda or cuda:N", got=repr(name))
    available = torch.cuda.device_count()
    if kind == "cuda" and int(number or 0) >= available:
        raise bad("--device", expected=f"one of {available} CUDA devices", got=repr(name), remedy="use --device auto")
    if number and launched() > 1:
        raise bad("--device", expected="auto, cpu or cuda with several processes", got=repr(name))
    if kind == "auto":
        kind = "cuda" if available else "cpu"
    return kind, int(number or 0)


def _trackers(name: str, folder: Path | None) -> list["Logger"]:
    if one_of(name, "--track", TRACKERS) == "none":
        return []
    packages = ("wandb",)
    if name == "tensorboard":
        packages = ("tensorboard", "tensorboardX")
    if not any(importlib.util.find_spec(package) for package in packages):
        raise bad(f"--track {name}", expected=f"package {name}", got="none", remedy="pip install 'cgro[track]'")
    folder = folder or Path(".")
    if name == "tensorboard":
        from lightning_fabric.loggers.tensorboard import TensorBoardLogger

        return [TensorBoardLogger(folder, name="tensorboard", version="")]
    from cgro.training.wandb import WandbLogger

    return [WandbLogger(folder)]
