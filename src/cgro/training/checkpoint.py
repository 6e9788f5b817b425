"""Checkpoints: one safetensors file, tensors plus a JSON state in its header. Plain data; loading executes nothing.

The header holds a SHA-256 of all tensors and of the state, compared whenever the file is read: one flipped bit of a
weight would change every number that is measured with it, without a word.
"""

import hashlib
import json
import os
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from cgro._check import BadRequest, bad, one_line
from cgro.reading import open_regular, parse_json, require_room
from cgro.runs import Run, write_atomic
from cgro.seal import digest_in_header
from cgro.training.extensions.base import Extension

LAST = "last.safetensors"
SELECTED = "best_validation.safetensors"
EVALUATED = "evaluated.safetensors"
"""The network that an extension has evaluated in place of the trained one: a file of weights alone."""
KEPT = re.compile(r"epoch-([0-9]{4,})\.safetensors")
MOST_PICKLE = 16 << 20
"""Bytes of the index of a .pt file: names, shapes and places of its tensors, some 200 each. A choice."""

JSON = dict[str, Any]
"""A mapping as JSON has it: the state in the header of a checkpoint."""
MODEL = "model/"
OPTIMIZER = "optimizer/"
EXTENSION = "extension/"
"""What the names of a checkpoint's tensors begin with."""
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


def digest_of(tensors: Mapping[str, Tensor], state: str) -> str:
    """SHA-256 of tensors (name, type, shape, bytes, in the order of the names) and of the text of the state.

    Args:
        tensors: on the CPU, contiguous.
        state: the JSON of the state, without the digest.

    Returns:
        64 hexadecimal digits.
    """
    total = hashlib.sha256(state.encode())
    for name, tensor in sorted(tensors.items()):
        total.update(f"\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


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
        BadRequest: the disk is full; the previous checkpoint is intact.
    """
    tensors = _prefixed(MODEL, model.state_dict())
    groups: list[JSON] = []
    if optimizer is not None:
        found, groups = _of_optimizer(optimizer)
        tensors |= found
    plain: dict[str, JSON] = {}
    for extension in extensions:
        values = extension.state()
        plain[extension.name] = {key: value for key, value in values.items() if not isinstance(value, Tensor)}
        tensors |= _prefixed(f"{EXTENSION}{extension.name}/", values)
    for key, value in tensors.items():
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


def _without(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, without it."""
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


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


def _read(path: Path) -> tuple[dict[str, Tensor], JSON]:
    """Tensors and state of a safetensors file; a digest in its header must be theirs."""
    open_regular(path).close()  # a named pipe would hang the library
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise _damaged(path, one_line(str(error), 120)) from None
    state = parse_json(header.get("state", "{}"), str(path))
    if not isinstance(state, dict):
        raise _damaged(path, "its state is no mapping")
    digest = state.pop("sha256", None)
    if digest is not None and digest != digest_of(tensors, json.dumps(state)):
        raise _damaged(path, "its tensors or its state are not those that were written")
    return tensors, state


def _damaged(path: Path, why: str) -> BadRequest:
    return BadRequest(f"{path}: damaged or truncated checkpoint ({why}); restore it, or delete it to go on without it")


def check_checkpoints(run: Run) -> None:
    """Read every checkpoint of a run once, so that damage to one that is only kept is noticed before more work.

    Args:
        run: its directory.

    Raises:
        BadRequest: names the damaged file.
    """
    for path in sorted((run.path / "checkpoints").glob("*.safetensors")):
        _read(path)


def load_checkpoint(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    extensions: Sequence[Extension] | None = None,
) -> JSON:
    """Load what `save_checkpoint` wrote.

    Args:
        path: of the file.
        model: takes the weights.
        optimizer: takes its state; None leaves it out.
        extensions: take their states, and must be those that the file was written with; None leaves them out.

    Returns:
        The JSON state.

    Raises:
        BadRequest: a damaged file, a checkpoint of another network (says which keys differ), or of other extensions.
    """
    tensors, state = _read(path)
    load_weights(model, _without(MODEL, tensors), path)
    if optimizer is not None:
        try:
            _load_optimizer(optimizer, tensors, state)
        except DOES_NOT_FIT as error:
            raise _damaged(path, f"its optimizer state does not fit: {one_line(str(error), 120)}") from None
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
            extension.load({**stored[extension.name], **_without(f"{EXTENSION}{extension.name}/", tensors)})
        except DOES_NOT_FIT as error:
            why = f"the state of extension {extension.name} does not fit: {one_line(str(error), 120)}"
            raise _damaged(path, why) from None


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    slots: dict[int, dict[str, Tensor]] = {}
    for key, value in _without(OPTIMIZER, tensors).items():
        index, name = key.split("/", 1)
        slots.setdefault(int(index), {})[name] = value
    current = optimizer.state_dict()
    groups: list[JSON] = []
    for old, new in zip(current["param_groups"], state["optimizer_groups"], strict=True):
        groups.append({**new, "params": old["params"]})
    optimizer.load_state_dict({"state": slots, "param_groups": groups})


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Copy a state dict into a model.

    Args:
        model: takes the weights.
        weights: its state dict, of the same keys and shapes.
        path: whence they come, for the message.

    Raises:
        BadRequest: says which keys or shapes do not fit.
    """
    own = model.state_dict()
    differences = {
        "missing": sorted(set(own) - set(weights)),
        "unknown": sorted(set(weights) - set(own)),
        "other shape:": [key for key in own if key in weights and own[key].shape != weights[key].shape],
    }
    for what, keys in differences.items():
        if keys:
            named = ", ".join(keys[:3])
            if len(keys) > 3:
                named += f" and {len(keys) - 3} more"
            raise BadRequest(f"{path}: a checkpoint of another network; {what} {named}")
    model.load_state_dict(dict(weights))


def read_run_weights(run: Run, path: Path) -> dict[str, Tensor]:
    """The weights of a checkpoint of a run, which must be the one that its summary names.

    Args:
        run: its directory.
        path: of the checkpoint.

    Returns:
        A state dict.

    Raises:
        BadRequest: see `read_weights`; another checkpoint lies in its place.
    """
    weights = read_weights(path)
    recorded = run.digest_of(path)
    if recorded is not None and recorded != digest_in_header(path):
        raise BadRequest(f"{path}: not the checkpoint that the run was finished with; restore it")
    return weights


def read_weights(path: Path) -> dict[str, Tensor]:
    """A state dict from a cgro checkpoint, a plain safetensors file, or a .pt file read with weights_only=True.

    Args:
        path: what does not end in .safetensors is read as a .pt file: a state dict, or a mapping that has one under
            `state_dict`, `model_state_dict` or `model`.

    Returns:
        Tensors by name; the prefix `module.` of a parallel network is taken off.

    Raises:
        BadRequest: no regular file, a damaged one, one that holds or stands for more than the memory, keys that are no
            names, or a pickle that holds more than tensors (refused, never executed).
    """
    if path.suffix == ".safetensors":
        tensors, _ = _read(path)
        return _without(MODEL, tensors) or tensors
    if not os.path.exists(path):
        raise BadRequest(f"{path}: expected a checkpoint, found none")
    value, size = _unpickled(path)
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(value, dict) and isinstance(value.get(key), dict):
            value = value[key]
    if not (isinstance(value, dict) and value and all(isinstance(v, Tensor) for v in value.values())):
        raise bad(str(path), expected="a state dict of tensors", got=type(value).__name__)
    n_bytes = 0
    for key, tensor in value.items():
        if not isinstance(key, str):
            raise bad(str(path), expected="names of tensors as keys", got=f"{key!r}")
        if tensor.device.type != "cpu" or tensor.layout != torch.strided or tensor.is_quantized:
            kind = f"{tensor.dtype} on {tensor.device}, {tensor.layout}"
            raise bad(f"{path}: {key}", expected="a tensor of plain numbers", got=kind)
        n_bytes += tensor.numel() * tensor.element_size()
    # A tensor may stand for more values than are stored, as by `expand`; whoever copies it allocates them all.
    require_room(n_bytes, size, str(path))
    return {key.removeprefix("module."): tensor for key, tensor in value.items()}


def _unpickled(path: Path) -> tuple[Any, int]:
    """What a file of `torch.save` holds, as far as it is tensors and plain containers, and the file's size."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        require_room(size, size, str(path))
        try:
            if zipfile.is_zipfile(file):
                _require_harmless_archive(file, size, path)
            file.seek(0)
            # Warnings are of storage types and of tar files, and the user cannot act on them.
            with warnings.catch_warnings(action="ignore"):
                return torch.load(file, map_location="cpu", weights_only=True), size
        except BadRequest:
            raise
        except Exception as error:  # torch raises many types here; each means the same to the caller
            got = f"a file that is refused ({_why(error)})"
            remedy = "save model.state_dict() alone, with torch.save or as safetensors"
            raise bad(str(path), expected="tensors only", got=got, remedy=remedy) from None


def _require_harmless_archive(file: IO[bytes], size: int, path: Path) -> None:
    """Refuse an archive that unpacks to more than the memory holds, or whose index alone does not end."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
    for member in members:
        if member.filename.endswith(".pkl") and member.file_size > MOST_PICKLE:
            raise ValueError(f"an index of more than {MOST_PICKLE:,} bytes")
    require_room(sum(member.file_size for member in members), size, str(path))


def _why(error: Exception) -> str:
    """What was in the way. Torch's own text advises to unpickle the file, which would execute what it holds."""
    text = str(error)
    if (name := re.search(r"GLOBAL ([\w.]{1,150})", text)) is not None:
        return f"to unpickle it would run {name[1]}"
    if "WeightsUnpickler error: " in text:
        text = text.split("WeightsUnpickler error: ", 1)[1]
        text = text.replace("Unsupported operand", "a pickle that torch.save does not write, operand")
    elif "weights_only" in text:
        text = "a pickle of more than tensors"
    return one_line(text.strip().split("\n")[0], 120) or type(error).__name__


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
