"""From the state dicts of a file to the one that is a network's: by its keys and shapes, not by the entry's name.

A file may hold raw weights beside averaged ones, a student beside its teacher, the best beside the last. Where more
than one fits the network, none is taken in silence: the caller is asked to name one.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from cgro._check import BadRequest, bad, listed
from cgro.training.weights.formats import MODEL, Entries, content_of, entries_of

WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""Parts of keys that torch's wrappers add: DataParallel and averages, compile, sharding, activation checkpoints. They
stand in front of a key or, where a part of the network was wrapped, inside it: features.module.0.weight."""
COUNTERS = ("num_batches_tracked", "n_averaged", "total_ops", "total_params")
"""Last parts of keys of numbers that change no output in evaluation mode: of BatchNorm (absent before PyTorch 0.4.1),
of torch's averages, and of profilers that leave their counts in the network."""
NORMALIZES = re.compile(r"normali[sz]|(?:^|[._])(?:new_)?(?:mean|std|mu|sigma)$")
"""Keys of what subtracts a mean from the images: without it every number is another."""
PLAIN = "plain"
"""What `--weights` calls the state dict that is the file itself, without a prefix."""


@dataclass(frozen=True)
class Loaded:
    """Which weights of a file a network was given.

    Args:
        path: of the file.
        entry: name of the nested entry; "" for the file itself.
        key: one key of the network.
        source: the key of the file that was taken for it.
        left_out: keys of the entry that were not used; only where the caller named what to use.
        epoch: that the file stores; None where it stores none.
    """

    path: Path
    entry: str
    key: str
    source: str
    left_out: tuple[str, ...] = ()
    epoch: int | None = None

    def sentence(self) -> str:
        """What a person should know of the choice.

        Returns:
            One sentence; "" where there was nothing to choose: one state dict with the network's own keys.
        """
        parts: list[str] = []
        if self.entry:
            parts.append(f"the weights under {self.entry} are used")
        if self.source != self.key:
            parts.append(f"its {self.source} is taken for {self.key}, and so on")
        if self.left_out:
            parts.append(f"left out: {listed(self.left_out, 3)}")
        if not parts:
            return ""
        return f"{self.path.name}: {'; '.join(parts)}"


@dataclass(frozen=True)
class _Match:
    """A state dict whose keys behind a prefix are those of the network.

    Args:
        entry: name of the entry.
        prefix: of its keys, without the names of wrappers.
        sources: key of the network -> key of the entry.
        weights: key of the network -> tensor; what the entry does not say of counters is the network's own.
        rest: keys of the entry that are not used.
    """

    entry: str
    prefix: str
    sources: dict[str, str]
    weights: dict[str, Tensor]
    rest: tuple[str, ...]

    @property
    def name(self) -> str:
        """What `--weights` calls it."""
        if not self.prefix:
            return self.entry or PLAIN
        return f"{self.entry}:{self.prefix}".removeprefix(":")

    def is_called(self, name: str) -> bool:
        """Whether a caller may mean it: the whole name, the entry or the prefix, with or without its dot."""
        return name in (self.name, self.entry or PLAIN, self.prefix, self.prefix.removesuffix("."))


def load_file(model: nn.Module, path: Path, *, entry: str | None = None) -> Loaded:
    """Give a network the weights of a file.

    Args:
        model: takes the weights; its keys and shapes decide which of the file's state dicts they are.
        path: of any format of `formats`.
        entry: which ones, where several fit or some keys are no weights of this network: the name of an entry such as
            state_dict_ema, a prefix such as student., or both as ENTRY:PREFIX.

    Returns:
        What was used.

    Raises:
        BadRequest: see `entries_of`; none fits (says which keys), or several do and none is named.
    """
    content = content_of(path)
    return replace(_load(model, content.entries, path, entry), epoch=content.epoch)


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], path: Path, *, inside: bool = False) -> Loaded:
    """Copy a state dict into a model.

    Args:
        model: takes the weights.
        weights: its state dict; parts of keys that torch's wrappers add may stand in either, see `WRAPPERS`.
        path: whence they come, for the message.
        inside: whether the model may be a part of the network that was saved, whose keys then begin with its name: what
            the rest of that network computes is lost, which has to be said.

    Returns:
        What was used.

    Raises:
        BadRequest: says which keys or shapes do not fit.

    Example:
        >>> model = nn.Linear(2, 1)
        >>> weights = {"module.weight": torch.ones(1, 2), "module.bias": torch.zeros(1)}
        >>> load_weights(model, weights, Path("w.pt")).sentence()
        'w.pt: its module.weight is taken for weight, and so on'
    """
    return _load(model, {"": dict(weights)}, path, None, inside=inside)


def read_weights(path: Path, *, entry: str | None = None) -> dict[str, Tensor]:
    """Read the state dict of a file without a network to fit it to. With one, `load_file` decides more safely.

    Args:
        path: of any format of `formats`.
        entry: name of the entry; None for the only one, or the trained network's in a checkpoint of ours.

    Returns:
        Tensors by name, with the keys of the file.

    Raises:
        BadRequest: see `entries_of`; several state dicts and none named, or none of this name.
    """
    entries = entries_of(path)
    name = entry
    if name is None and len(entries) == 1:
        name = next(iter(entries))
    elif name is None and path.suffix == ".safetensors":
        name = MODEL.removesuffix("/")
    if name not in entries:
        got = "none named" if entry is None else repr(entry)
        raise bad(str(path), expected=f"one of its state dicts, {listed(entries)}", got=got)
    return entries[name]


def _load(model: nn.Module, entries: Entries, path: Path, name: str | None, *, inside: bool = True) -> Loaded:
    own = model.state_dict()
    matches: list[_Match] = []
    for entry, weights in entries.items():
        matches += _matches(own, entry, weights, inside=inside)
    if not matches:
        raise BadRequest(f"{path}: a checkpoint of another network; {_difference(own, entries, inside=inside)}")
    chosen = _chosen(matches, path, name)
    _require_kinds(own, chosen, path)
    model.load_state_dict(chosen.weights)
    key, source = _example(chosen.sources)
    same = [match for match in matches if match.entry == chosen.entry and _equal([chosen, match])]
    return Loaded(path, chosen.entry, key, source, tuple(_left([chosen, *same])))


def _require_kinds(own: Mapping[str, Tensor], chosen: _Match, path: Path) -> None:
    """Refuse numbers of another kind, which a copy would turn into the network's without a word.

    Floating point of one byte is quantized too: what it stands for is that times a scale, which lies elsewhere.
    """
    for key, source in chosen.sources.items():
        there = chosen.weights[key]
        fits = there.is_floating_point() == own[key].is_floating_point() and there.is_complex() == own[key].is_complex()
        is_quantized = there.is_floating_point() and there.element_size() == 1
        if (is_quantized or not fits) and not _counts(key):
            raise bad(
                f"{path}: {source}",
                expected=f"numbers such as {own[key].dtype}, which the network has",
                got=str(there.dtype),
                remedy="quantized weights have to be saved as what they stand for",
            )


def _example(sources: Mapping[str, str]) -> tuple[str, str]:
    """A key of the network and the key that was taken for it; a pair that differs if there is one."""
    for key, source in sources.items():
        if key != source:
            return key, source
    return "", ""


def _chosen(matches: Sequence[_Match], path: Path, name: str | None) -> _Match:
    """The one match, or the one that is named.

    Raises:
        BadRequest: several and none named; keys that the network does not have; no match of that name.
    """
    names = listed(match.name for match in matches)
    if name is not None:
        named = [match for match in matches if match.is_called(name)]
        exact = [match for match in named if match.name == name]
        if len(exact) == 1:
            return exact[0]
        if len(named) == 1:
            return named[0]
        raise bad(f"{path}: --weights", expected=f"one that fits the network: {names}", got=repr(name))
    first = matches[0]
    rest = _left(matches)
    if rest and (len(matches) == 1 or _equal(matches)):
        raise BadRequest(
            f"{path}: a checkpoint of another network; unknown {listed(rest, 3)}; {_hint(rest)}"
            f"if they do not matter, --weights {first.name} leaves them out"
        )
    if len(matches) > 1 and not _equal(matches):
        raise bad(
            str(path),
            expected="one set of weights for this network",
            got=f"{len(matches)} that differ: {names}",
            remedy=f"name one, such as --weights {matches[-1].name}",
        )
    return first


def _left(matches: Sequence[_Match]) -> list[str]:
    """Keys of the entries that no match uses: an entry may hold the network twice, as Madry's do."""
    used: set[tuple[str, str]] = set()
    for match in matches:
        for source in match.sources.values():
            used.add((match.entry, source))
    left: dict[str, None] = {}
    for match in matches:
        for key in match.rest:
            if (match.entry, key) not in used:
                left[key] = None
    return list(left)


def _hint(keys: Iterable[str]) -> str:
    """What keys beside the network's most likely are."""
    if any(map(NORMALIZES.search, map(str.lower, keys))):
        return "it normalizes its inputs: build the network with that normalization inside; "
    return ""


def _equal(matches: Sequence[_Match]) -> bool:
    """Whether all hold the same bits for the network, so that the choice does not matter."""
    first = matches[0]
    for match in matches:
        for key, tensor in match.weights.items():
            if not same_bits(tensor, first.weights[key]):
                return False
    return True


def same_bits(tensor: Tensor, other: Tensor) -> bool:
    """Compare as bytes: torch compares no floating point of one byte; here NaN is itself, and -0.0 is not 0.0.

    Args:
        tensor: of any type.
        other: likewise.

    Returns:
        False for other types or shapes.
    """
    if tensor.dtype != other.dtype or tensor.shape != other.shape:
        return False
    bits, others = (one.detach().contiguous().reshape(-1).view(torch.uint8) for one in (tensor, other))
    return torch.equal(bits, others)


def _matches(own: Mapping[str, Tensor], entry: str, weights: Mapping[str, Tensor], *, inside: bool) -> list[_Match]:
    """All prefixes behind which an entry has the keys of the network; none but "" unless it may be a part of another.

    Keys are compared as they are; only where that gives nothing are wrappers passed over, on both sides: a network that
    is itself wrapped has its own keys.
    """
    for names in (_as_they_are, _unwrapped):
        found: list[_Match] = []
        known = names(weights)
        for prefix in _prefixes(names(own), known, inside=inside):
            match = _match(own, names(own), entry, weights, known, prefix)
            if match is not None:
                found.append(match)
        if found:
            return found
    return []


def _prefixes(own: Mapping[str, str], known: Mapping[str, str], *, inside: bool) -> list[str]:
    """What may stand before the network's keys: before its longest one, which is the least likely to end another."""
    names = [name for name in own if not _counts(name)]
    if not (names and inside):
        return [""]
    longest = max(names, key=len)
    found: set[str] = set()
    for name in known:
        prefix = name.removesuffix(longest)
        if prefix != name and (not prefix or prefix.endswith((".", "/"))):  # our own checkpoints have model/
            found.add(prefix)
    return sorted(found)


def _match(
    own: Mapping[str, Tensor],
    own_names: Mapping[str, str],
    entry: str,
    weights: Mapping[str, Tensor],
    known: Mapping[str, str],
    prefix: str,
) -> _Match | None:
    sources: dict[str, str] = {}
    taken: dict[str, Tensor] = {}
    for name, key in own_names.items():
        source = known.get(prefix + name)
        if source is None and _counts(name):
            taken[key] = own[key]
            continue
        if source is None or weights[source].shape != own[key].shape:
            return None
        sources[key] = source
        taken[key] = weights[source]
    used = set(sources.values())
    rest = tuple(key for key in weights if key not in used and not _counts(key))
    return _Match(entry, prefix, sources, taken, rest)


def _counts(key: str) -> bool:
    return key.rpartition(".")[2] in COUNTERS


def _as_they_are(keys: Iterable[str]) -> dict[str, str]:
    return {key: key for key in keys}


def without_wrappers(key: str) -> str:
    """A key, or the name of a part, without what torch's wrappers add to it.

    Args:
        key: such as module.features.0.weight.

    Returns:
        Such as features.0.weight.
    """
    return ".".join(part for part in key.split(".") if part not in WRAPPERS)


def _unwrapped(keys: Iterable[str]) -> dict[str, str]:
    """Key without the parts of wrappers -> key; as they are where two would become one."""
    found: dict[str, str] = {}
    originals = list(keys)
    for key in originals:
        found[without_wrappers(key)] = key
    if len(found) < len(originals):
        return _as_they_are(originals)
    return found


def _common_prefix(keys: Iterable[str]) -> str:
    """The whole parts, each with its dot, that all keys begin with."""
    originals = list(keys)
    prefix = ""
    if not originals:
        return prefix
    for part in originals[0].split(".")[:-1]:
        longer = f"{prefix}{part}."
        if not all(key.startswith(longer) for key in originals):
            break
        prefix = longer
    return prefix


def _difference(own: Mapping[str, Tensor], entries: Entries, *, inside: bool) -> str:
    """What does not fit, in the entry and behind the prefix that have most keys in common with the network."""
    own_names = _unwrapped(own)
    best = ("", "")
    most = -1
    for entry, weights in entries.items():
        known = _unwrapped(weights)
        prefixes = [""]
        if inside:
            prefixes.append(_common_prefix(known))
        for prefix in prefixes:
            n = sum(prefix + name in known for name in own_names)
            if n > most:
                most = n
                best = (entry, prefix)
    entry, prefix = best
    weights = entries[entry]
    known = {name.removeprefix(prefix): key for name, key in _unwrapped(weights).items()}
    both = [name for name in own_names if name in known]
    differences = {
        "missing": sorted(own_names[name] for name in own_names if name not in known and not _counts(name)),
        "unknown": sorted(known[name] for name in known if name not in own_names),
        "other shape:": [own_names[name] for name in both if own[own_names[name]].shape != weights[known[name]].shape],
    }
    texts = [f"{what} {listed(keys, 3)}" for what, keys in differences.items() if keys]
    text = texts[0] if texts else "its keys differ by the names of wrappers"
    where = f"under {entry}, " if entry else ""
    behind = f"behind the prefix {prefix}, " if prefix else ""
    return f"{where}{behind}{text}"
