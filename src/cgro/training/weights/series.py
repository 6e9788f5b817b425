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
STAMP = (
    r"(?<![0-9])(?:19|20)[0-9]{2}[-_.]?(?:0[1-9]|1[0-2])[-_.]?(?:0[1-9]|[12][0-9]|3[01])"
    r"(?:[-_t ]?(?:[01][0-9]|2[0-3])[-_.:]?[0-5][0-9][-_.:]?[0-5][0-9])?(?![0-9])"
)
"""A date, and the time of day behind it."""
NUMBER = re.compile(rf"{STAMP}|[0-9]+(?:\.[0-9]+)?(?:e-[0-9]+)?", re.IGNORECASE)
"""A number in a name. One with a point or a negative exponent is one number, not two, and so is a date with a time."""
SAYS_EPOCH = re.compile(r"(?:^|[^a-z])(?:epochs?|ep|e)[^a-z0-9]*$")
SAYS_ONE_EPOCH = re.compile(r"(?:^|[^a-z])(?:epoch|ep|e)[^a-z0-9]*$")
"""Not epochs200, which may be how many there are in all."""
SAYS_STEP = re.compile(r"(?:^|[^a-z])(?:iter|iteration|iters|step|steps|global_step)[^a-z0-9]*$")
SAYS_CHECKPOINT = re.compile(r"(?:^|[^a-z])(?:checkpoint|ckpt)[^a-z0-9]*$")
SAYS_OTHER = re.compile(
    r"(?:(?:acc|accuracy|err|error|loss)|(?:^|[^a-z])(?:score|metric|best|val|top|rob|robust|clean|adv|pgd|aa|prec|"
    r"precision|seed|lr|eps|epsilon|wd|cifar|v|width|depth|fold|split|beta|gamma|alpha|trial|resnet|wrn|vgg|bs|rank|"
    r"gpu|worker|run|exp|member|replica))[^a-z0-9]*$"
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
        is_told: whether the caller said which number is the epoch.
    """

    files: list[tuple[int, Path]]
    name: str
    aside: tuple[str, ...] = ()
    is_told: bool = False

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

    def require_order(self, stored: Sequence[int | None]) -> None:
        """Refuse an order of names that is not that of the epochs which the files store, unless the caller told it.

        Args:
            stored: of each file, None where it stores none. Epochs count from 0 or 1, and stand still where the names
                say steps.

        Raises:
            BadRequest: they go back, or all are the same and the names say no steps: seeds or parts of one network.
        """
        known = [(epoch, path) for epoch, (_, path) in zip(stored, self.files, strict=True) if epoch is not None]
        epochs = [epoch for epoch, _ in known]
        in_order = epochs == sorted(epochs)
        if len(known) > 1 and len(set(epochs)) == 1:
            in_order = SAYS_STEP.search(self.name.lower().partition(EPOCH)[0]) is not None
        if self.is_told or in_order:
            return
        example = f"{self.name.partition(EPOCH)[0]}{EPOCH}*"
        raise bad(
            str(known[0][1].parent),
            expected="names in the order of the epochs that the files store",
            got=listed((f"epoch {epoch} in {path.name}" for epoch, path in known), 4),
            remedy=f"if the number in the names counts, say so with --pattern '{example}'",
        )


def checkpoint_at(path: Path) -> Path | None:
    """The weights of one checkpoint.

    Args:
        path: of anything.

    Returns:
        The file itself; that in a folder of Hugging Face's, or the only one in a folder whose name says an epoch or a
        step, such as epoch_1/model.pt; else None.
    """
    if not path.is_dir() and _is_checkpoint(path):
        return path
    inside = weights_inside(path)
    numbers = list(NUMBER.finditer(path.name))
    if inside is not None or not numbers:
        return inside
    before = path.name[: numbers[-1].start()].lower()
    files = list(filter(_is_checkpoint, path.glob("*")))  # none of a folder that cannot be looked into
    if len(files) == 1 and any(says.search(before) for says in (SAYS_EPOCH, SAYS_STEP, SAYS_CHECKPOINT)):
        return files[0]
    return None


def _is_checkpoint(path: Path) -> bool:
    return is_weights(path) and not path.name.startswith("opt") and SHARD.fullmatch(path.name) is None


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
    number = list(NUMBER.finditer(chosen[0]))[place]
    return Series(_sorted(folder, epochs, _told_by(chosen[0], number.span())), _with_epoch(chosen[0], place), aside)


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
        # one star for the number and those beside it: two are no pattern
        found = sorted(folder.glob(re.sub(rf"\*?{re.escape(EPOCH)}\*?", "*", pattern)))
    except (ValueError, NotImplementedError, OSError) as error:  # no pattern; an absolute one; a folder out of reach
        raise bad("--pattern", expected=expected, got=f"{pattern!r} ({error})") from None
    _require_indices(folder, found)
    files: dict[str, Path] = {}
    for path in found:
        weights = checkpoint_at(path)
        if weights is not None:
            name = path.relative_to(folder).as_posix()
            if weights == path:
                name = _stem(name, files)
            files[name] = weights
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
    whole = list(filter(_is_whole, NUMBER.findall(name)))
    return int(whole[-1]) if whole else 1


def _place(folder: Path, names: Sequence[str]) -> int:
    """Which of the numbers of the names is the epoch."""
    columns = list(zip(*(NUMBER.findall(name) for name in names), strict=True))
    before = [names[0][: match.start()].lower() for match in NUMBER.finditer(names[0])]
    whole = [k for k, column in enumerate(columns) if all(map(_is_whole, column))]
    varying = [k for k in whole if len(set(columns[k])) > 1]
    for says in (SAYS_EPOCH, SAYS_STEP, SAYS_CHECKPOINT):
        said = [k for k in whole if says.search(before[k])]
        if len(said) == 1 and (len(names) == 1 or said[0] in varying):
            return said[0]
    one_epoch = [k for k in whole if SAYS_ONE_EPOCH.search(before[k])]
    if one_epoch:  # what runs are ranks or seeds of this epoch, which is then refused
        return one_epoch[0]
    running = [k for k in varying if not SAYS_OTHER.search(before[k])]
    if len(running) == 1:
        return running[0]
    if len(names) == 1 and whole:
        return whole[-1]
    expected = "one whole number of the names that runs, the epoch"
    if not running:
        remedy = "name one file, or put the epochs into the names"
        raise bad(str(folder), expected=expected, got=f"none in {listed(names, 3)}", remedy=remedy)
    example = list(NUMBER.finditer(names[0]))[running[0]]
    remedy = _remedy(_told_by(names[0], example.span(), others="*"))
    raise bad(str(folder), expected=expected, got=f"{len(running)} in {listed(names, 3)}", remedy=remedy)


def _is_whole(number: str) -> bool:
    """Whether a number of a name may count: a date never does."""
    return number.isdecimal() and re.fullmatch(STAMP, number) is None


def _told_by(name: str, span: tuple[int, int], *, others: str | None = None) -> str:
    """A name with {epoch} in place of some of its letters, and perhaps something in place of its other numbers."""
    before, after = name[: span[0]], name[span[1] :]
    if others is not None:
        before, after = NUMBER.sub(others, before), NUMBER.sub(others, after)
    return before + EPOCH + after


def _remedy(example: str) -> str:
    return f"say which with {EPOCH} in --pattern, such as --pattern '{example.removesuffix('*')}*'"


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
    example = pattern
    for name, path in files.items():
        whole = path.relative_to(folder).as_posix()
        match = re.match(expression, whole) or re.match(expression, name)
        if match is not None:
            epochs.append((int(match[1]), path))
            example = _told_by(match.string, match.span(1))
    if not epochs:
        raise bad("--pattern", expected=f"a number at {EPOCH}", got=f"{pattern!r} for {listed(files, 3)}")
    return Series(_sorted(folder, epochs, example), pattern, is_told=True)


def _sorted(folder: Path, epochs: list[tuple[int, Path]], example: str) -> list[tuple[int, Path]]:
    times = Counter(epoch for epoch, _ in epochs)
    for epoch, n in times.items():
        if n > 1:
            same = listed(path.name for other, path in epochs if other == epoch)
            text = f"{folder}: several checkpoints of epoch {epoch}: {same}; {_remedy(example)}"
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
