"""A folder of checkpoints -> its files in the order of their epochs.

A name may hold several numbers: epoch, accuracy, depth of the network, data set, seed. The epoch is the number that
says so, else the one whole number that runs from file to file; an accuracy never is. What is not decided by that is
asked, since a curve over shuffled epochs looks like one.
"""

import fnmatch
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cgro._check import BadRequest, bad, listed, one_line
from cgro.training.weights.formats import SHARD, is_weights, suffixes, weights_inside

EPOCH = "{epoch}"
"""What stands for the number of the epoch in a pattern."""
NTH = "\0"
"""What stands for a number in the form of a name; no name has it."""
NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
"""A number in a name. One with a point is one number, not two."""
SAYS_EPOCH = re.compile(r"(?:^|[^a-z])(?:epochs?|ep|e)[^a-z0-9]*$")
SAYS_STEP = re.compile(r"(?:^|[^a-z])(?:iter|iteration|iters|step|steps|global_step|checkpoint|ckpt)[^a-z0-9]*$")
SAYS_OTHER = re.compile(
    r"(?:(?:acc|accuracy|err|error|loss)|(?:^|[^a-z])(?:score|metric|best|val|top|rob|robust|clean|adv|pgd|aa|prec|"
    r"precision|seed|lr|eps|epsilon|wd|cifar|v|width|depth|fold|split|beta|gamma|alpha|trial|resnet|wrn|vgg|bs))"
    r"[^a-z0-9]*$"
)
"""How the text before a number ends, in lower case. Words of the field; a choice."""
NO_EPOCH = frozenset(
    {"best", "last", "latest", "final", "ema", "swa", "avg", "average", "averaged", "teacher", "init", "pretrained"}
)
"""Words of a name that say which network it is, not when it was."""
AVERAGES = frozenset({"ema", "swa", "avg", "average", "averaged", "teacher"})
"""Those of them that may stand for a second series, of averaged weights, beside the raw one."""
INDEX = ".index.json"


@dataclass(frozen=True)
class Series:
    """Checkpoints of one training in order.

    Args:
        files: (epoch, file), sorted by epoch.
        name: of the files, with {epoch} where the number stands; "" where one file has none.
        aside: names of weights that are no epochs, such as best.pth.
    """

    files: list[tuple[int, Path]]
    name: str
    aside: tuple[str, ...] = ()

    def sentence(self) -> str:
        """How the folder was read.

        Returns:
            One sentence.
        """
        first, last = self.files[0][0], self.files[-1][0]
        text = f"{len(self.files)} checkpoints {self.name}, epochs {first} to {last}"
        if len(self.files) == 1:
            text = f"1 checkpoint, {self.files[0][1].name}"
        if self.aside:
            text += f"; no epochs, left out: {listed(self.aside, 4)}"
        return text


def checkpoint_files(folder: Path, pattern: str = "*") -> list[tuple[int, Path]]:
    """(epoch, file) of a folder of checkpoints, see `checkpoint_series`.

    Args:
        folder: that holds them.
        pattern: of the names that are checkpoints.

    Returns:
        Epochs and files, sorted by epoch.

    Raises:
        BadRequest: see `checkpoint_series`.
    """
    return checkpoint_series(folder, pattern).files


def checkpoint_series(folder: Path, pattern: str = "*") -> Series:
    """The checkpoints of a folder, in the order of their epochs.

    Optimizer states (`opt...`) are left out. Names with best, last, ema and the like are no epochs unless all names
    have them. Sharded weights are one checkpoint, the file of their index; a folder checkpoint-500 is one of epoch 500.

    Args:
        folder: that holds them.
        pattern: of the names that are checkpoints, such as model_*.pth; `{epoch}` in it stands for the number of the
            epoch.

    Returns:
        Files with their epochs, how the names were read, and what was left out.

    Raises:
        BadRequest: no checkpoint in it, two of one epoch, several series of names, several numbers that run, none.
    """
    files = _found(folder, pattern)
    if EPOCH in pattern:
        return _told(folder, files, pattern)
    names = {name: path for name, path in files.items() if not _says_no_epoch(name)}
    if not names:
        names = files
    if len(names) == 1 and len(files) == 1:
        name, path = next(iter(names.items()))
        return Series([(_only_epoch(name), path)], "")
    series = _forms(names)
    averages = _forms(name for name in files if name not in names and not AVERAGES.isdisjoint(_words(name)))
    numbered = [form for form in series if NTH in form]
    numbered += [form for form, members in averages.items() if NTH in form and len(members) > 1]
    if len(numbered) != 1:
        raise _several(folder, numbered, names)
    chosen = series[numbered[0]]
    place = _place(folder, chosen)
    epochs: list[tuple[int, Path]] = []
    for name in chosen:
        epochs.append((int(NUMBER.findall(name)[place]), files[name]))
    aside = tuple(sorted(set(files) - set(chosen)))
    return Series(_sorted(folder, epochs), _with_epoch(chosen[0], place), aside)


def _forms(names: Iterable[str]) -> dict[str, list[str]]:
    """Names that differ in their numbers alone, by what they have in common."""
    forms: dict[str, list[str]] = {}
    for name in names:
        forms.setdefault(NUMBER.sub(NTH, name), []).append(name)
    return forms


def _found(folder: Path, pattern: str) -> dict[str, Path]:
    """Names of checkpoints without their suffixes -> files."""
    expected = "a pattern of names, such as model_*.pth"
    try:
        found = sorted(folder.glob(pattern.replace(EPOCH, "*")))
    except (ValueError, NotImplementedError, OSError) as error:  # no pattern; an absolute one; a folder out of reach
        raise bad("--pattern", expected=expected, got=f"{pattern!r} ({error})") from None
    _require_indices(folder, found)
    files: dict[str, Path] = {}
    for path in found:
        inside = weights_inside(path)
        if inside is not None:
            files[path.name] = inside
        elif is_weights(path) and not path.name.startswith("opt") and SHARD.fullmatch(path.name) is None:
            files[_stem(path.name, files)] = path
    if not files:
        there = ", ".join(sorted(path.name for path in folder.iterdir())[:5]) or "nothing"
        raise bad(str(folder), expected=f"checkpoints ({suffixes()})", got=there)
    return files


def _require_indices(folder: Path, found: Sequence[Path]) -> None:
    """Refuse parts of one network without the file that says what they are parts of: they are no epochs."""
    indexed = [path.name.removesuffix(INDEX).rpartition(".")[0] for path in folder.glob(f"*{INDEX}")]
    for path in found:
        match = SHARD.fullmatch(path.name)
        if match is not None and is_weights(path) and match.group("stem") not in indexed:
            expected = f"the index of its shards beside it, {match.group(1)}{path.suffix}{INDEX}"
            raise bad(str(path), expected=expected, got="none")


def _stem(name: str, taken: Mapping[str, Path]) -> str:
    """A name without the suffixes of its format; whole where two files differ in them alone."""
    stem = re.sub(r"(\.(pth|pt|bin|safetensors|ckpt|t7|tar|index|json))+$", "", name, flags=re.IGNORECASE)
    return name if stem in taken else stem


def _says_no_epoch(name: str) -> bool:
    return not NO_EPOCH.isdisjoint(_words(name))


def _words(name: str) -> list[str]:
    return re.split(r"[^a-z]+", name.lower())


def _only_epoch(name: str) -> int:
    """Of a single checkpoint: it makes no curve, and its number is a label."""
    whole = [number for number in NUMBER.findall(name) if number.isdecimal()]
    return int(whole[-1]) if whole else 1


def _place(folder: Path, names: Sequence[str]) -> int:
    """Which of the numbers of the names is the epoch."""
    columns = list(zip(*(NUMBER.findall(name) for name in names), strict=True))
    before = [names[0][: match.start()].lower() for match in NUMBER.finditer(names[0])]
    whole = [k for k, column in enumerate(columns) if all(number.isdecimal() for number in column)]
    for says in (SAYS_EPOCH, SAYS_STEP):
        said = [k for k in whole if says.search(before[k])]
        if len(said) == 1 and (len(names) == 1 or len(set(columns[said[0]])) > 1):
            return said[0]
    running = [k for k in whole if len(set(columns[k])) > 1 and not SAYS_OTHER.search(before[k])]
    if len(running) == 1:
        return running[0]
    if len(names) == 1 and whole:
        return whole[-1]
    got = f"none in {listed(names, 3)}"
    if running:
        got = f"{len(running)} in {listed(names, 3)}"
    raise bad(
        str(folder), expected="one whole number of the names that runs, the epoch", got=got, remedy=_remedy(names[0])
    )


def _remedy(name: str) -> str:
    """A pattern that tells which number it is, made from a name of the folder."""
    example = NUMBER.sub("*", name).replace("*", EPOCH, 1)
    return f"say which with {EPOCH} in --pattern, such as --pattern '{example}*'"


def _with_epoch(name: str, place: int) -> str:
    """A name with {epoch} for the number at a place, and N for the others that may run."""
    match = list(NUMBER.finditer(name))[place]
    return name[: match.start()] + EPOCH + NUMBER.sub("N", name[match.end() :])


def _told(folder: Path, files: Mapping[str, Path], pattern: str) -> Series:
    """The epochs by a pattern that says where they stand."""
    if pattern.count(EPOCH) != 1:
        raise bad("--pattern", expected=f"{EPOCH} once", got=repr(pattern))
    before, _, after = pattern.partition(EPOCH)
    expression = fnmatch.translate(before + NTH + after).replace(NTH, "([0-9]+)")
    epochs: list[tuple[int, Path]] = []
    for name, path in files.items():
        whole = name if path.parent != folder else path.name
        match = re.match(expression, whole)
        if match is not None:
            epochs.append((int(match[1]), path))
    if not epochs:
        raise bad("--pattern", expected=f"a number at {EPOCH}", got=f"{pattern!r} for {listed(files, 3)}")
    return Series(_sorted(folder, epochs), pattern)


def _sorted(folder: Path, epochs: list[tuple[int, Path]]) -> list[tuple[int, Path]]:
    times = Counter(epoch for epoch, _ in epochs)
    for epoch, n in times.items():
        if n > 1:
            same = listed(path.name for other, path in epochs if other == epoch)
            text = f"{folder}: several checkpoints of epoch {epoch}: {same}; {_remedy(epochs[0][1].name)}"
            raise BadRequest(one_line(text))
    return sorted(epochs)


def _several(folder: Path, templates: Sequence[str], names: Mapping[str, Path]) -> BadRequest:
    """Names without numbers, or of several forms."""
    if not templates:
        remedy = "name one file, or put the epochs into the names"
        return bad(str(folder), expected="numbers of epochs in the names", got=listed(names, 4), remedy=remedy)
    forms = listed((template.replace(NTH, "N") for template in templates), 4)
    example = one_line(templates[0].replace(NTH, "*"), 100)
    remedy = f"choose with --pattern, such as --pattern '{example}.*'"
    return bad(str(folder), expected="names of one form", got=f"several: {forms}", remedy=remedy)
