"""Files of weights -> state dicts by the name of their entry. A format is one line of the table at the end.

What comes from outside is data: `torch.load(weights_only=True)` is the only reader of a pickle, and no reader executes
anything. Which entry is a network's is decided in `fit`, by the network's own keys.
"""

import glob
import hashlib
import json
import os
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from cgro._check import BadRequest, bad, listed, one_line
from cgro.reading import open_regular, parse_json, read_json_object, require_one_archive, require_room
from cgro.training.weights.foreign import foreign_kind

JSON = dict[str, Any]
"""A mapping as JSON has it: the state in the header of a checkpoint."""
Entries = dict[str, dict[str, Tensor]]
"""Name of an entry -> state dict. The name of the whole file is "", of a nested entry its path, such as ema.module."""
MODEL = "model/"
OPTIMIZER = "optimizer/"
OF_AN_OPTIMIZER = re.compile(
    r"optim(izer)?s?(_state(s|_dict)?)?|opt_state|(max_)?exp_avg(_sq)?s?|momentum_buffers?|square_avg"
)
"""Keys below which tensors by the names of weights are no weights: what an optimizer keeps of each."""
EXTENSION = "extension/"
"""What the names of the tensors of a checkpoint of ours begin with."""
ARCHIVE = b"PK\3\4"
"""What a zip archive begins with; torch reads other files as those of its first format."""
MOST_PICKLE = 16 << 20
"""Bytes of the index of a .pt file: names, shapes and places of its tensors, some 200 each. A choice."""
INSIDE = ("model.safetensors.index.json", "model.safetensors", "pytorch_model.bin.index.json", "pytorch_model.bin")
"""The weights in a folder such as checkpoint-500, as Hugging Face writes them; the first that is there is taken."""
SHARD = re.compile(r"(?P<stem>.*)-[0-9]+-of-[0-9]+\.[a-z]+")
"""The name of a part of one network."""
DEEPEST = 4
"""Levels of mappings in which entries are looked for. A choice: published checkpoints have two."""


@dataclass(frozen=True)
class Content:
    """What a file holds.

    Args:
        entries: at least one, none of them empty.
        epoch: that it stores beside them; None where it stores none.
    """

    entries: Entries
    epoch: int | None = None


@dataclass(frozen=True)
class Format:
    """A kind of file that holds weights.

    Args:
        about: what it is, for messages.
        suffixes: ends of its files' names, in lower case.
        read: of a file; refuses in one line what it cannot read.
    """

    about: str
    suffixes: tuple[str, ...]
    read: Callable[[Path], Content]


def entries_of(path: Path) -> Entries:
    """Read all state dicts of a file.

    Args:
        path: see `content_of`.

    Returns:
        Entries; at least one, none of them empty.

    Raises:
        BadRequest: see `content_of`.
    """
    return content_of(path).entries


def content_of(path: Path) -> Content:
    """Read all state dicts of a file, and the epoch that stands beside them.

    Args:
        path: of one of `FORMATS`, or a folder with one as in `INSIDE`; a file of another name is read as one of
            torch.save.

    Returns:
        The content.

    Raises:
        BadRequest: no regular file, one of several shards, something else than weights, a damaged one, one that holds
            or stands for more than the memory, keys that are no names, a pickle that holds more than tensors and plain
            values (refused, never executed), no state dict.
    """
    if not os.path.lexists(path):
        raise BadRequest(f"{path}: expected a checkpoint, found none")
    path = weights_inside(path) or path
    _require_whole(path)
    found = _format_of(path)
    if found is None:
        return _read_pickled(path)
    return found.read(path)


def weights_inside(path: Path) -> Path | None:
    """The weights in a folder of one checkpoint, as Hugging Face saves it.

    Args:
        path: of anything.

    Returns:
        The file, or its index; None for a file or another folder.
    """
    if not path.is_dir():
        return None
    for name in INSIDE:
        if (path / name).is_file():
            return path / name
    return None


def _require_whole(path: Path) -> None:
    """Refuse one of several shards that is named alone, where the index of all is beside it."""
    match = SHARD.fullmatch(path.name)
    if match is None or _format_of(path) is None:
        return
    for index in path.parent.glob(f"{glob.escape(match[1])}.*.index.json"):
        if index.is_file():
            raise bad(str(path), expected="all of a network", got="one of its shards", remedy=f"name {index.name}")


def is_weights(path: Path) -> bool:
    """Whether a file's name is that of a file of weights.

    Args:
        path: its content is not looked at.

    Returns:
        True for the suffixes of `FORMATS`.

    Example:
        >>> is_weights(Path("model_best.pth.tar")), is_weights(Path("training.log"))
        (True, False)
    """
    return _format_of(path) is not None


def suffixes() -> str:
    """The ends of names of files of weights, for messages.

    Returns:
        Such as `.safetensors, .pt`.
    """
    texts: list[str] = []
    for kind in FORMATS:
        texts += kind.suffixes
    return ", ".join(texts)


def _format_of(path: Path) -> Format | None:
    name = path.name.lower()
    for kind in FORMATS:
        if name.endswith(kind.suffixes):
            return kind
    return None


# ------------------------------------------------------------------------------------------------------- safetensors


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


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], JSON]:
    """Tensors and state of a safetensors file; a digest in its header must be theirs.

    Args:
        path: of the file.

    Returns:
        Tensors by name, and the JSON state of a checkpoint of ours, without the digest; {} in another file.

    Raises:
        BadRequest: no regular file, a damaged or truncated one.
    """
    with open_regular(path) as file:  # a named pipe would hang the library
        _refuse_foreign(file, path)
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise damaged(path, one_line(str(error), 120)) from None
    state = parse_json(header.get("state", "{}"), str(path))
    if not isinstance(state, dict):
        raise damaged(path, "its state is no mapping")
    digest = state.pop("sha256", None)
    if digest is not None and digest != digest_of(tensors, json.dumps(state)):
        raise damaged(path, "its tensors or its state are not those that were written")
    return tensors, state


def damaged(path: Path, why: str) -> BadRequest:
    """Build the error for a file that is not as it was written.

    Args:
        path: of the file.
        why: what was noticed.

    Returns:
        The error, to be raised.
    """
    return BadRequest(f"{path}: damaged or truncated checkpoint ({why}); restore it, or delete it to go on without it")


def without_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, without it.

    Args:
        prefix: such as `MODEL`.
        tensors: by name.

    Returns:
        Those that begin with it.
    """
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _read_safetensors(path: Path) -> Content:
    """One state dict; a checkpoint of ours has that of the network, and those of extensions such as an average."""
    tensors, _ = read_safetensors(path)
    model = without_prefix(MODEL, tensors)
    if not model:
        return Content(_nonempty({"": tensors}, path))
    found: Entries = {MODEL.removesuffix("/"): model}
    for key, tensor in without_prefix(EXTENSION, tensors).items():
        extension, _, name = key.partition("/")
        found.setdefault(EXTENSION + extension, {})[name] = tensor
    return Content(found)


def _read_shards(path: Path) -> Content:
    """Weights over several files, with an index that says which tensor lies where (Hugging Face's format)."""
    places = read_json_object(path).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise bad(str(path), expected="an index with a weight_map", got="none")
    tensors: dict[str, Tensor] = {}
    for name in sorted(set(map(str, places.values()))):
        if Path(name).name != name or name == path.name:
            raise bad(str(path), expected="names of files beside it", got=name)
        shard = path.parent / name
        entries = _shard(shard)
        if len(entries) != 1:
            raise bad(str(shard), expected="one set of tensors, as a shard has", got=f"several: {listed(entries, 3)}")
        (entry,) = entries.values()
        # What the index has elsewhere may be older here.
        tensors |= {key: tensor for key, tensor in entry.items() if str(places.get(key)) == name}
    missing = [key for key in places if key not in tensors]
    if missing:
        raise bad(str(path), expected="all tensors of its index in its files", got=f"none of {listed(missing, 3)}")
    return Content({"": tensors})


def _shard(path: Path) -> Entries:
    found = _format_of(path)
    if found is None or found.read == _read_shards:
        raise bad(str(path), expected="a file of weights in an index", got="another one")
    return found.read(path).entries


# ------------------------------------------------------------------------------------------------ files of torch.save


def _refuse_foreign(file: IO[bytes], path: Path) -> None:
    """Refuse what is no file of weights, with the way out."""
    kind = foreign_kind(file)
    if kind is not None:
        what, remedy = kind
        raise bad(str(path), expected="weights of torch.save or safetensors", got=what, remedy=remedy)


def _read_pickled(path: Path) -> Content:
    value, size = _unpickled(path)
    found: Entries = {}
    _collect(value, (), found, set(), path)
    if not found:
        raise bad(str(path), expected="a state dict of tensors", got=_content(value))
    n_bytes = 0
    for name, entry in found.items():
        for key, tensor in entry.items():
            if tensor.device.type != "cpu" or tensor.layout != torch.strided or tensor.is_quantized:
                kind = f"{tensor.dtype} on {tensor.device}, {tensor.layout}"
                what = f"{path}: {name} {key}" if name else f"{path}: {key}"
                raise bad(what, expected="a tensor of plain numbers", got=kind)
            n_bytes += tensor.numel() * tensor.element_size()
    # A tensor may stand for more values than are stored, as by `expand`; whoever copies it allocates them all.
    require_room(n_bytes, size, str(path))
    return Content(found, _stored_epoch(value))


def _stored_epoch(value: object) -> int | None:
    """The whole number under `epoch`, as checkpoints of most programs have it."""
    if not isinstance(value, Mapping):
        return None
    epoch = value.get("epoch")
    if not isinstance(epoch, int) or isinstance(epoch, bool):
        return None
    return epoch


def _collect(value: object, names: tuple[str, ...], found: Entries, seen: set[int], path: Path) -> None:
    """Add every mapping of names to tensors, at any key that is a name.

    Of a mapping that is mostly tensors and holds no other one of them, the tensors are taken.

    A mapping that two keys share is looked at once: a file of a few bytes can nest them so that they never end.
    """
    if not isinstance(value, Mapping) or not value or id(value) in seen or len(names) > DEEPEST:
        return
    seen.add(id(value))
    if all(isinstance(entry, Tensor) for entry in value.values()):
        odd = [key for key in value if not isinstance(key, str)]
        if not odd:
            found[".".join(names)] = dict(value)
        elif not names:
            raise bad(str(path), expected="names of tensors as keys", got=f"{odd[0]!r}")
        return
    n_before = len(found)
    for key, entry in value.items():
        if isinstance(key, str) and not OF_AN_OPTIMIZER.fullmatch(key):
            _collect(entry, (*names, key), found, seen, path)
    tensors = {key: entry for key, entry in value.items() if isinstance(key, str) and isinstance(entry, Tensor)}
    if len(found) == n_before and 2 * len(tensors) > len(value):  # a state dict with an epoch or an empty state in it
        found[".".join(names)] = tensors


def _content(value: object) -> str:
    """What a file without a state dict holds."""
    if isinstance(value, Mapping) and value:
        return f"a {type(value).__name__} with the keys {listed(value, 5)}"
    return type(value).__name__


def _nonempty(found: Entries, path: Path) -> Entries:
    if not any(found.values()):
        raise bad(str(path), expected="a state dict of tensors", got="no tensor")
    return found


def _unpickled(path: Path) -> tuple[object, int]:
    """What a file of `torch.save` holds, as far as it is tensors and plain containers, and the file's size."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        require_room(size, size, str(path))
        try:
            _refuse_foreign(file, path)
            file.seek(0)
            if file.read(len(ARCHIVE)) == ARCHIVE:  # what torch asks too
                require_one_archive(file, size)
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
    """Refuse an archive that unpacks to more than the memory holds, or whose index alone does not end.

    What is asked here of Python's reader counts for torch's as well only of a file that has one list of its members:
    see `require_one_archive`.
    """
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


FORMATS = (
    Format("an index of sharded weights", (".safetensors.index.json", ".bin.index.json"), _read_shards),
    Format("safetensors", (".safetensors",), _read_safetensors),
    Format("torch.save", (".pt", ".pth", ".bin", ".ckpt", ".pth.tar", ".pt.tar", ".t7"), _read_pickled),
)
"""Every format. The first whose suffix fits is taken; a single file of another name is read as one of torch.save."""
