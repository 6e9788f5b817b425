"""Checkpoints: one safetensors file, tensors plus a JSON state in its header. Plain data; loading executes nothing.

The header holds a SHA-256 of all tensors and of the state, compared whenever the file is read: one flipped bit of a weight
would change every number that is measured with it, without a word.
"""

import hashlib
import json
import os
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from cgro._check import BadRequest, bad, one_line
from cgro.reading import open_regular, parse_json, require_room
from cgro.runs import Run, write_atomic
from cgro.seal import digest_in_header
from cgro.training.extensions.base import Extension

LAST, SELECTED = "last.safetensors", "best_validation.safetensors"
EVALUATED = "evaluated.safetensors"
"""The network that an extension has evaluated in place of the trained one; it has the weights that `LAST` would have."""
KEPT = re.compile(r"epoch-([0-9]{4,})\.safetensors")
MOST_PICKLE = 16 << 20
"""Bytes of the index of a .pt file: names, shapes and places of its tensors, some 200 each. A choice."""


def epoch_file(epoch: int) -> str:
    """The name of a checkpoint that is kept after an epoch: weights only."""
    return f"epoch-{epoch:04d}.safetensors"


def kept_epochs(run: Run) -> dict[int, Path]:
    """The checkpoints that a run kept, by epoch, in order; files of other names are not its own."""
    found = {}
    for path in (run.path / "checkpoints").glob("epoch-*.safetensors"):
        if match := KEPT.fullmatch(path.name):
            found[int(match[1])] = path
    return dict(sorted(found.items()))


def digest_of(tensors: Mapping[str, Tensor], state: str) -> str:
    """SHA-256 of tensors (name, type, shape, bytes, in the order of the names) and of the text of the state.

    Args:
        tensors: on the CPU, contiguous.
        state: the JSON of the state, without the digest.
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
    state: Mapping[str, Any],
    extensions: Sequence[Extension] = (),
) -> None:
    """Write model, optimizer and state as one file, whole or not at all.

    Args:
        path: of the file.
        model: its state dict becomes `model/KEY`.
        optimizer: its tensors become `optimizer/INDEX/KEY`; None for weights alone.
        state: plain values.
        extensions: tensors of their states become `extension/NAME/KEY`; plain values stand in the JSON under `extensions`.

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
    plain: dict[str, dict[str, Any]] = {}
    for extension in extensions:
        values = extension.state()
        plain[extension.name] = {k: v for k, v in values.items() if not isinstance(v, Tensor)}
        tensors |= {f"extension/{extension.name}/{k}": v for k, v in values.items() if isinstance(v, Tensor)}
    tensors = {k: v.detach().cpu().clone(memory_format=torch.contiguous_format) for k, v in tensors.items()}
    whole = {**state, "optimizer_groups": groups}
    if plain:
        whole["extensions"] = plain
    # One entry: with two the library writes them in an order of its own, and equal checkpoints would differ in their bytes.
    text = json.dumps({**whole, "sha256": digest_of(tensors, json.dumps(whole))})
    write_atomic(path, save(tensors, metadata={"state": text}))


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
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
) -> dict[str, Any]:
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
    load_weights(model, {k[6:]: v for k, v in tensors.items() if k.startswith("model/")}, path)
    if optimizer is not None:
        try:
            _load_optimizer(optimizer, tensors, state)
        except (KeyError, IndexError, ValueError, TypeError, AttributeError, RuntimeError) as error:
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
        raise bad(str(path), expected=f"a checkpoint of extensions {', '.join(names) or 'none'}",
                  got=", ".join(map(str, stored)) or "none", remedy="resume with those it was begun with")  # fmt: skip
    for extension in extensions:
        prefix = f"extension/{extension.name}/"
        own = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        try:
            extension.load({**stored[extension.name], **own})
        except (KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
            why = f"the state of extension {extension.name} does not fit: {one_line(str(error), 120)}"
            raise _damaged(path, why) from None


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    slots: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer/"):
            _, index, name = key.split("/", 2)
            slots.setdefault(int(index), {})[name] = value
    current = optimizer.state_dict()
    groups = []
    for old, new in zip(current["param_groups"], state["optimizer_groups"], strict=True):
        groups.append({**new, "params": old["params"]})
    optimizer.load_state_dict({"state": slots, "param_groups": groups})


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


def read_run_weights(run: Run, path: Path) -> dict[str, Tensor]:
    """The weights of a checkpoint of a run, which must be the one that its summary names.

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

    Raises:
        BadRequest: no regular file, a damaged one, one that holds or stands for more than the memory, keys that are no
            names, or a pickle that holds more than tensors (refused, never executed).
    """
    if path.suffix == ".safetensors":
        tensors, _ = _read(path)
        own = {k[6:]: v for k, v in tensors.items() if k.startswith("model/")}
        return own or tensors
    if not os.path.exists(path):
        raise BadRequest(f"{path}: expected a checkpoint, found none")
    value, size = _unpickled(path)
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(value, dict) and isinstance(value.get(key), dict):
            value = value[key]
    if not (isinstance(value, dict) and value and all(isinstance(v, Tensor) for v in value.values())):
        raise bad(str(path), expected="a state dict of tensors", got=type(value).__name__)
    for key, tensor in value.items():
        if not isinstance(key, str):
            raise bad(str(path), expected="names of tensors as keys", got=f"{key!r}")
        if tensor.device.type != "cpu" or tensor.layout != torch.strided or tensor.is_quantized:
            kind = f"{tensor.dtype} on {tensor.device}, {tensor.layout}"
            raise bad(f"{path}: {key}", expected="a tensor of plain numbers", got=kind)
    # A tensor may stand for more values than are stored, as by `expand`; whoever copies it allocates them all.
    require_room(sum(v.numel() * v.element_size() for v in value.values()), size, str(path))
    return {k.removeprefix("module."): v for k, v in value.items()}


def _unpickled(path: Path) -> tuple[Any, int]:
    """What a file of `torch.save` holds, as far as it is tensors and plain containers, and the file's size."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        require_room(size, size, str(path))
        try:
            if zipfile.is_zipfile(file):
                with zipfile.ZipFile(file) as archive:
                    members = archive.infolist()
                if any(m.filename.endswith(".pkl") and m.file_size > MOST_PICKLE for m in members):
                    raise ValueError(f"an index of more than {MOST_PICKLE:,} bytes")
                require_room(sum(m.file_size for m in members), size, str(path))
            file.seek(0)
            with warnings.catch_warnings(
                action="ignore"
            ):  # of storage types and tar files: the user cannot act on them
                return torch.load(file, map_location="cpu", weights_only=True), size
        except BadRequest:
            raise
        except Exception as error:  # torch raises many types here; each means the same to the caller
            raise bad(str(path), expected="tensors only", got=f"a file that is refused ({_why(error)})",
                      remedy="save model.state_dict() alone, with torch.save or as safetensors") from None  # fmt: skip


def _why(error: Exception) -> str:
    """What was in the way. Torch's own text goes on to advise to unpickle the file, which would execute what it holds."""
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
    path = folder / (SELECTED if selected else LAST)
    if not selected and (folder / EVALUATED).exists():
        path = folder / EVALUATED
    if not path.exists():
        raise bad(str(run.path), expected=f"checkpoints/{path.name}", got="none", remedy="is it a training run?")
    return path
