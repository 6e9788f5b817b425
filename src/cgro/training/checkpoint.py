"""Checkpoints of ours: one safetensors file, tensors plus a JSON state in its header. Loading executes nothing.

Weights of others, and of ours without their run, are read by `cgro.training.weights`.

The header holds a SHA-256 of all tensors and of the state, compared whenever the file is read: one flipped bit of a
weight would change every number that is measured with it, without a word.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from cgro._check import BadRequest, bad, one_line
from cgro.runs import Run, write_atomic
from cgro.seal import digest_in_header
from cgro.training.extensions.base import Extension, state_of
from cgro.training.weights.fit import load_weights
from cgro.training.weights.fit import read_weights as read_weights  # this module had it: scripts import it from here
from cgro.training.weights.formats import (
    EXTENSION,
    JSON,
    MODEL,
    OPTIMIZER,
    damaged,
    digest_of,
    read_safetensors,
    without_prefix,
)

LAST = "last.safetensors"
SELECTED = "best_validation.safetensors"
EVALUATED = "evaluated.safetensors"
"""The network that an extension has evaluated in place of the trained one: a file of weights alone."""
KEPT = re.compile(r"epoch-([0-9]{4,})\.safetensors")
DOES_NOT_FIT = (KeyError, IndexError, ValueError, TypeError, AttributeError, RuntimeError)
"""What torch raises when it is given a state of another optimizer, or of other parameters."""


def epoch_file(epoch: int) -> str:
    """The name of a checkpoint that is kept after an epoch: weights only.

    Args:
        epoch: number of epochs that are over.

    Returns:
        Such as epoch-0012.safetensors.
    """
    return f"epoch-{epoch:04d}.safetensors"


def kept_epochs(run: Run) -> dict[int, Path]:
    """The checkpoints that a run kept; files of other names are not its own.

    Args:
        run: of `cgro train`.

    Returns:
        Epoch -> file, in order.
    """
    found: dict[int, Path] = {}
    for path in (run.path / "checkpoints").glob("epoch-*.safetensors"):
        match = KEPT.fullmatch(path.name)
        if match is not None:
            found[int(match[1])] = path
    return dict(sorted(found.items()))


def save_checkpoint(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    state: Mapping[str, object],
    extensions: Sequence[Extension] = (),
) -> None:
    """Write model, optimizer and state as one file, whole or not at all.

    Args:
        path: of the file.
        model: its state dict becomes `model/KEY`.
        optimizer: its tensors become `optimizer/INDEX/KEY`; None for weights alone.
        state: plain values.
        extensions: tensors of their states become `extension/NAME/KEY`; plain values stand in the JSON under
            `extensions`.

    Raises:
        BadRequest: the disk is full, or a tensor is sparse, which the format does not have; the previous checkpoint is
            intact.
    """
    tensors = _prefixed(MODEL, model.state_dict())
    groups: list[JSON] = []
    if optimizer is not None:
        found, groups = _of_optimizer(optimizer)
        tensors |= found
    plain: dict[str, dict[str, object]] = {}
    for extension in extensions:
        found, plain[extension.name] = state_of(extension)
        tensors |= _prefixed(f"{EXTENSION}{extension.name}/", found)
    for key, value in tensors.items():
        if value.layout is not torch.strided:
            remedy = "a buffer may be registered with persistent=False; a monitor may have keep='none'"
            raise bad(f"weights {key}", expected="dense tensors", got=value.layout, remedy=remedy)
        tensors[key] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
    whole: JSON = {**state, "optimizer_groups": groups}
    if plain:
        whole |= {"extensions": plain}
    # One entry: with two the library writes them in an order of its own, and equal checkpoints would differ in their
    # bytes.
    text = json.dumps({**whole, "sha256": digest_of(tensors, json.dumps(whole))})
    write_atomic(path, save(tensors, metadata={"state": text}))


def _prefixed(prefix: str, values: Mapping[str, object]) -> dict[str, Tensor]:
    """The tensors among some values, under names of their own."""
    return {prefix + key: value for key, value in values.items() if isinstance(value, Tensor)}


def _of_optimizer(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], list[JSON]]:
    """The tensors of an optimizer, and the settings of its groups."""
    values = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    for index, slots in values["state"].items():
        tensors |= _prefixed(f"{OPTIMIZER}{index}/", slots)
    groups: list[JSON] = []
    for group in values["param_groups"]:
        groups.append({key: value for key, value in group.items() if key != "params"})
    return tensors, groups


def check_checkpoints(run: Run) -> None:
    """Read every checkpoint of a run once, so that damage to one that is only kept is noticed before more work.

    Args:
        run: its directory.

    Raises:
        BadRequest: names the damaged file.
    """
    for path in sorted((run.path / "checkpoints").glob("*.safetensors")):
        read_safetensors(path)


def load_checkpoint(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    extensions: Sequence[Extension] | None = None,
    *,
    check: Callable[[JSON], None] | None = None,
) -> JSON:
    """Load what `save_checkpoint` wrote.

    Args:
        path: of the file.
        model: takes the weights.
        optimizer: takes its state; None leaves it out.
        extensions: take their states, and must be those that the file was written with; None leaves them out.
        check: called with the JSON state before anything is taken over; it may refuse.

    Returns:
        The JSON state.

    Raises:
        BadRequest: a damaged file, a checkpoint of another network (says which keys differ), or of other extensions.
    """
    tensors, state = read_safetensors(path)
    if check is not None:
        check(state)
    load_weights(model, without_prefix(MODEL, tensors), path)
    if optimizer is not None:
        try:
            _load_optimizer(optimizer, tensors, state)
        except DOES_NOT_FIT as error:
            raise damaged(path, f"its optimizer state does not fit: {one_line(str(error), 120)}") from None
    if extensions is not None:
        _load_extensions(extensions, tensors, state, path)
    return state


def _load_extensions(
    extensions: Sequence[Extension], tensors: Mapping[str, Tensor], state: Mapping[str, Any], path: Path
) -> None:
    stored = state.get("extensions", {})
    names = [extension.name for extension in extensions]
    if not isinstance(stored, dict) or sorted(stored) != sorted(names):
        expected = f"a checkpoint of extensions {', '.join(names) or 'none'}"
        got = ", ".join(map(str, stored)) or "none"
        raise bad(str(path), expected=expected, got=got, remedy="resume with those it was begun with")
    for extension in extensions:
        try:
            extension.load({**stored[extension.name], **without_prefix(f"{EXTENSION}{extension.name}/", tensors)})
        except DOES_NOT_FIT as error:
            why = f"the state of extension {extension.name} does not fit: {one_line(str(error), 120)}"
            raise damaged(path, why) from None


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    slots: dict[int, dict[str, Tensor]] = {}
    for key, value in without_prefix(OPTIMIZER, tensors).items():
        index, name = key.split("/", 1)
        slots.setdefault(int(index), {})[name] = value
    current = optimizer.state_dict()
    groups: list[JSON] = []
    for old, new in zip(current["param_groups"], state["optimizer_groups"], strict=True):
        groups.append({**new, "params": old["params"]})
    optimizer.load_state_dict({"state": slots, "param_groups": groups})


def read_run_weights(run: Run, path: Path) -> dict[str, Tensor]:
    """The weights of a checkpoint of a run, which must be the one that its summary names.

    Args:
        run: its directory.
        path: of the checkpoint.

    Returns:
        A state dict.

    Raises:
        BadRequest: a damaged file, or another checkpoint lies in its place.
    """
    tensors, _ = read_safetensors(path)
    weights = without_prefix(MODEL, tensors) or tensors
    recorded = run.digest_of(path)
    if recorded is not None and recorded != digest_in_header(path):
        raise BadRequest(f"{path}: not the checkpoint that the run was finished with; restore it")
    return weights


def checkpoint_of(run: Run, *, selected: bool = False) -> Path:
    """The last network of a training run that counts, or the one selected on validation robust error.

    Args:
        run: of `cgro train`.
        selected: on validation robust error.

    Returns:
        The file. Without `selected` that of the network which extensions had evaluated, if they did, such as averaged
        weights.

    Raises:
        BadRequest: there is none.
    """
    folder = run.path / "checkpoints"
    path = folder / LAST
    if selected:
        path = folder / SELECTED
    elif (folder / EVALUATED).exists():
        path = folder / EVALUATED
    if not path.exists():
        raise bad(str(run.path), expected=f"checkpoints/{path.name}", got="none", remedy="is it a training run?")
    return path
