"""What is said of a table that is not understood: which column, why, and the option for what it most likely is."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from cgro._check import listed
from cgro.diagnosis.columns import ERRORS, map_option
from cgro.diagnosis.importers.refusals import refusal
from cgro.diagnosis.importers.table.layout import Layout, well_filled
from cgro.diagnosis.importers.told import Rows
from cgro.diagnosis.keys import is_step
from cgro.diagnosis.vocabulary import is_known, kinds_of, parts_of, strength_of, word_set, words_of
from cgro.diagnosis.words import SEVERAL, Unknown

_NO_COUNT = word_set(
    "best last max total time seconds sec s minutes duration eta warmup patience bad since left remaining"
)
"""Words of a column that speaks of epochs and does not count them."""
_HELD_OUT = ("robust_error/test", "robust_error/validation")


def require_understood(
    layout: Layout, names: Sequence[str], source: str, *, standard: bool, rows: Rows = tuple
) -> None:
    """Refuse a table of which the verdict would not rest on what was measured.

    Args:
        layout: of its columns.
        names: of all of them.
        source: the file, for messages.
        standard: whether the file says that nothing was attacked in training.
        rows: gives the rows, see `layout_of`.

    Raises:
        BadRequest: no epoch; no error; an unknown error or accuracy where none is robust on held-out data.
    """
    measured = layout.measures(ERRORS)
    if not layout.has_epoch:
        counter = next((name for name in names if is_step(name)), None) or _says_epoch(names, rows)
        if counter is not None or not (measured or layout.unknown):
            option = map_option("epoch", counter or "COLUMN").replace("'epoch=COLUMN'", "epoch=COLUMN")
            raise refusal(source, f"no column for epoch; there are: {listed(names, 20)}; use {option}")
    doubtful = layout.unknown and not layout.measures(_HELD_OUT) and not standard
    if doubtful and not (layout.told and measured):
        raise refusal(source, _doubt(layout, rows))
    if not measured and not standard:
        what = f"no column could be mapped to an error or accuracy; there are: {listed(names, 20)}"
        raise refusal(source, f"{what}; use --map robust_accuracy/test=COLUMN,...")


def _says_epoch(names: Sequence[str], rows: Rows) -> str | None:
    """The first column that varies and speaks of epochs, but not of the best one, their number or their time."""
    for name in names:
        if "epoch" not in name.lower() or not _NO_COUNT.isdisjoint(words_of(name)):
            continue
        seen = ""
        for row in rows():
            cell = str(row.get(name, "")).strip()
            if cell and seen and cell != seen:
                return name
            seen = cell or seen
    return None


def _closeness(name: str, doubt: Unknown) -> tuple[bool, bool, bool, bool, tuple[int, int]]:
    """How close a column comes to the robust error on held-out data, the better the larger; of several the one under
    the strongest attack."""
    words = words_of(name)
    is_curve = not {SEVERAL, "current", "batch"} & set(words) and not doubt.words < frozenset(words)
    if not all(is_known(word, robust=True) for word in words):
        strength = (0, 0)  # "robust accuracy after APGD": of another evaluation perhaps
    else:
        strength = strength_of(words)
    is_held_out = "train" not in parts_of(words)
    return kinds_of(words) == {"robust"}, is_curve, "robust" in doubt.kinds, is_held_out, strength


def _doubt(layout: Layout, rows: Rows) -> str:
    """Which column is not understood, why, and the option for what it most likely is."""
    unknown = layout.unknown
    filled = well_filled(list(unknown), rows)
    name = max(filled, key=lambda one: _closeness(one, unknown[one]))
    doubt = unknown[name]
    others = ""
    if len(unknown) > 1:
        others = f" (nor {listed(sorted(unknown.keys() - {name}), 5)})"
    if doubt.words < frozenset(words_of(name)):  # a best or smoothed value: mapping it would hide every rise
        return f"column {name!r} is no curve: {doubt.reason}{others}; log the value of every epoch beside it"
    text = f"column {name!r} is not understood: {doubt.reason}{others}"
    curves = doubt.curves
    if _has_twin(name, filled, unknown):
        curves = replace(doubt, kinds=("clean", "robust")).curves
    left = [one for one in curves if not layout.measures([one.replace("accuracy", "error")])] or list(curves)
    if len(left) > 1:
        which = f"{', '.join(left[:-1])} or {left[-1]}"
        return f"{text}; say what it is with {map_option('CURVE', name)}, where CURVE is {which}"
    (curve,) = left
    option, condition = map_option(curve, name), f"if it is the {curve.replace('_', ' ').replace('/', ' on ')}"
    clean = _clean_beside(doubt, unknown)
    if clean is not None:
        training = _training_beside(doubt, unknown)
        option = map_option(curve, name, (curve.replace("robust", "clean"), clean), *training)
        condition += f", and {clean!r} the clean one"
        if training:
            condition += f", and {listed([repr(column) for _, column in training], 2)} alike"
    return f"{text}; {condition}, add {option}"


def _has_twin(name: str, names: Sequence[str], unknown: Mapping[str, Unknown]) -> bool:
    """Whether a column that says neither clean nor robust has another one beside it that comes as close: one of the two
    may be clean."""
    doubt = unknown[name]
    if kinds_of(words_of(name)) or doubt.kinds != ("robust",):
        return False
    close = _closeness(name, doubt)
    for other in names:
        if other != name and unknown[other].curves == doubt.curves and _closeness(other, unknown[other]) == close:
            return True
    return False


def _clean_beside(doubt: Unknown, unknown: Mapping[str, Unknown]) -> str | None:
    """The one column that lacks what the robust one lacks, and says clean."""
    if doubt.kinds != ("robust",):
        return None
    clean = replace(doubt, kinds=("clean",)).curves
    found: list[str] = []
    for name, other in unknown.items():
        if other.reason == doubt.reason and other.curves == clean and kinds_of(words_of(name)) == {"clean"}:
            found.append(name)
    return found[0] if len(found) == 1 else None


def _training_beside(doubt: Unknown, unknown: Mapping[str, Unknown]) -> list[tuple[str, str]]:
    """The columns of training data that lack what the robust one lacks, with their curves; none where two are alike."""
    found: dict[str, str] = {}
    for name, other in unknown.items():
        if other.reason == doubt.reason and other.parts == ("train",) and len(kinds_of(words_of(name))) == 1:
            (curve, *more) = other.curves
            if more or curve in found:
                return []
            found[curve] = name
    return list(found.items())
