"""Checkpoints: one safetensors file, tensors plus a JSON state in its header. Plain data; loading executes nothing."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from cgro._check import BadRequest, bad
from cgro.runs import Run, write_atomic

LAST, SELECTED = "last.safetensors", "best_validation.safetensors"


def epoch_file(epoch: int) -> str:
    """The name of a checkpoint that is kept after an epoch: weights only."""
    return f"epoch-{epoch:04d}.safetensors"


def kept_epochs(run: Run) -> dict[int, Path]:
    """The checkpoints that a run kept, by epoch, in order."""
    found = sorted((run.path / "checkpoints").glob("epoch-*.safetensors"))
    return {int(path.stem.removeprefix("epoch-")): path for path in found}


def save_checkpoint(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer | None, state: Mapping[str, Any]
) -> None:
    """Write model, optimiser and state as one file, whole or not at all.

    Raises:
        BadRequest: the disk is full; the previous checkpoint is intact.
    """
    tensors = {f"model/{k}": v for k, v in model.state_dict().items()}
    groups = []
    if optimizer is not None:
        values = optimizer.state_dict()
        groups = [{k: v for k, v in g.items() if k != "params"} for g in values["param_groups"]]
        for index, slots in values["state"].items():
            tensors |= {f"optimizer/{index}/{k}": v for k, v in slots.items() if isinstance(v, Tensor)}
    tensors = {k: v.detach().cpu().clone(memory_format=torch.contiguous_format) for k, v in tensors.items()}
    header = {"state": json.dumps({**state, "optimizer_groups": groups})}
    write_atomic(path, save(tensors, metadata=header))


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    from safetensors import safe_open

    try:
        with safe_open(path, "pt") as file:
            state = json.loads((file.metadata() or {}).get("state", "{}"))
        return load_file(path), state
    except FileNotFoundError:
        raise BadRequest(f"{path}: expected a checkpoint, found none") from None
    except (SafetensorError, json.JSONDecodeError, OSError) as error:
        raise BadRequest(f"{path}: damaged or truncated checkpoint ({error}); delete it to start again") from None


def load_checkpoint(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> dict[str, Any]:
    """Load what `save_checkpoint` wrote into a model (and an optimiser), and return the JSON state.

    Raises:
        BadRequest: a damaged file, or a checkpoint of another network (says which keys differ).
    """
    tensors, state = _read(path)
    load_weights(model, {k[6:]: v for k, v in tensors.items() if k.startswith("model/")}, path)
    if optimizer is not None:
        slots: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith("optimizer/"):
                _, index, name = key.split("/", 2)
                slots.setdefault(int(index), {})[name] = value
        current = optimizer.state_dict()
        groups = [
            {**new, "params": old["params"]}
            for old, new in zip(current["param_groups"], state["optimizer_groups"], strict=True)
        ]
        optimizer.load_state_dict({"state": slots, "param_groups": groups})
    return state


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Copy a state dict into a model, or say which keys or shapes do not fit."""
    own = model.state_dict()
    missing, unknown = sorted(set(own) - set(weights)), sorted(set(weights) - set(own))
    shapes = [k for k in own if k in weights and own[k].shape != weights[k].shape]
    for what, keys in (("missing", missing), ("unknown", unknown), ("other shape:", shapes)):
        if keys:
            more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
            raise BadRequest(f"{path}: a checkpoint of another network; {what} {', '.join(keys[:3])}{more}")
    model.load_state_dict(dict(weights))


def read_weights(path: Path) -> dict[str, Tensor]:
    """A state dict from a cgro checkpoint, a plain safetensors file, or a .pt file read with weights_only=True.

    Raises:
        BadRequest: a damaged file, or a pickle that holds more than tensors (refused, never executed).
    """
    if path.suffix == ".safetensors":
        tensors, _ = _read(path)
        own = {k[6:]: v for k, v in tensors.items() if k.startswith("model/")}
        return own or tensors
    if not path.exists():
        raise BadRequest(f"{path}: expected a checkpoint, found none")
    try:
        value = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types here; each means the same to the caller
        line = str(error).splitlines()[0]
        raise BadRequest(f"{path}: expected tensors only (weights_only=True), refused: {line}") from None
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(value, dict) and isinstance(value.get(key), dict):
            value = value[key]
    if not (isinstance(value, dict) and value and all(isinstance(v, Tensor) for v in value.values())):
        raise bad(str(path), expected="a state dict of tensors", got=type(value).__name__)
    return {k.removeprefix("module."): v for k, v in value.items()}


def checkpoint_of(run: Run, *, selected: bool = False) -> Path:
    """The last checkpoint of a training run, or the one selected on validation robust error."""
    path = run.path / "checkpoints" / (SELECTED if selected else LAST)
    if not path.exists():
        raise bad(str(run.path), expected=f"checkpoints/{path.name}", got="none", remedy="is it a training run?")
    return path
