"""Which column of a file is what: by what the caller says, then by the names."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from cgro._check import listed
from cgro.diagnosis.columns import ERRORS, Unit, map_option
from cgro.diagnosis.curves import NOT_MEASURED
from cgro.diagnosis.importers.refusals import refusal
from cgro.diagnosis.importers.told import Rows, Told
from cgro.diagnosis.keys import is_epoch, is_group, is_step
from cgro.diagnosis.run_names import eval_beside_test, keras_training, norms_beside, without_run_names
from cgro.diagnosis.vocabulary import has_measure, kinds_of, parts_of, strength_of, words_of
from cgro.diagnosis.words import Meaning, Unknown, closest, is_error, meaning_of

FEWEST_OF_CURVE = 3
"""Values of a column beside which one with a single value in the last row is no curve. A choice."""


@dataclass(frozen=True)
class Layout:
    """What each column was understood as.

    Args:
        used: column -> meaning.
        told: columns that the caller named, with the unit if that was said too.
        unknown: columns that hold an error or accuracy, one cannot say which.
        group: the column that tells seeds apart, if there is one.
        steps: whether a column counts steps of the optimizer.
        run: what columns begin with and what is taken for a run's name; empty where there is none.
        evals: columns in use that say eval, which is taken for validation beside test.
        summaries: columns left out, of which another one has the whole curve.
    """

    used: Mapping[str, Meaning]
    told: Mapping[str, Unit | None]
    unknown: Mapping[str, Unknown]
    group: str | None
    steps: bool
    run: str = ""
    evals: tuple[str, ...] = ()
    summaries: tuple[str, ...] = ()

    @property
    def has_epoch(self) -> bool:
        """Whether a column counts epochs."""
        return self.measures(["epoch"])

    def measures(self, curves: Iterable[str]) -> bool:
        """Whether any of these curves has a column.

        Args:
            curves: names.

        Returns:
            False where none of them was understood or told.
        """
        return not set(curves).isdisjoint(meaning.curve for meaning in self.used.values())


def layout_of(
    names: Sequence[str], told: Told, source: str, known: Mapping[str, Meaning] | None = None, *, rows: Rows = tuple
) -> Layout:
    """Understand the columns of a file.

    Args:
        names: of all columns, in the file's order.
        told: what the caller says; it goes before what the names say.
        source: the file, for messages.
        known: column -> what it is, where the format and not its name says so.
        rows: gives the rows; of columns between which the caller has to choose, those with few values are not proposed.

    Returns:
        What each column is.

    Raises:
        BadRequest: a column that is not there, or two of one meaning.
    """
    used: dict[str, Meaning] = {}
    units: dict[str, Unit | None] = {}
    for curve, choice in told.choices.items():
        if choice.text not in names:
            hint = closest(choice.text, names)
            raise refusal(source, f"--map names {choice.text}{hint}; the columns are: {listed(names, 20)}")
        if names.count(choice.text) > 1:
            raise refusal(source, f"--map names {choice.text}, as {names.count(choice.text)} columns are called")
        used[choice.text] = Meaning(curve.replace("accuracy", "error"), "accuracy" in curve)
        units[choice.text] = choice.unit
    said = {meaning.curve for meaning in used.values()}
    short = without_run_names(names)
    summaries = _summaries(names, short, units, rows)
    unused = _runs_of(names, short, units, source) | _longer_epochs(short) | set(summaries)
    norms = norms_beside(short.values())
    renamed = keras_training(short.values()) | eval_beside_test(short.values()) | norms
    unknown: dict[str, Unknown] = {}
    found: dict[str, Meaning] = {}
    for name in names:
        meaning = (known or {}).get(name) or _success_rate(short[name])
        meaning = meaning or meaning_of(renamed.get(short[name], short[name]))
        if name in units or meaning is None or name in unused:
            continue
        if isinstance(meaning, Unknown):
            if short[name] in norms:
                meaning = replace(meaning, reason="1 stands for a norm, as 2 or inf does in the columns beside it")
            unknown[name] = meaning
        elif meaning.curve not in said:
            _require_single(name, meaning, names, found, source, rows)
            found[name] = meaning
    used |= _without_doubles(found)
    unknown = _with_parts_beside(_without_redundant(unknown, used), names)
    group = next((name for name in names if is_group(name) and name not in used), None)
    steps = any(is_step(name) for name in names if name not in used)
    cut = next((name for name in used if short[name] != name and name not in units), None)
    run = ""
    if cut is not None:
        run = cut.removesuffix(short[cut]).strip(" -/")
    evals = tuple(name for name in used if name not in units and "eval" in words_of(name) and short[name] in renamed)
    return Layout(used, units, unknown, group, steps, run, evals, summaries)


def _runs_of(names: Sequence[str], short: Mapping[str, str], told: Iterable[str], source: str) -> set[str]:
    """Columns of other runs than the one of which the caller named a column.

    Raises:
        BadRequest: columns of errors begin with the names of several runs, and none was named.
    """
    runs: dict[str, list[str]] = {}
    for name in names:
        if short[name] != name and is_error(short[name]):
            runs.setdefault(name.removesuffix(short[name]), []).append(name)
    if len(runs) < 2:
        return set()
    chosen = {run for run, columns in runs.items() if not set(columns).isdisjoint(told)}
    if len(chosen) != 1:
        shown = listed([repr(run.strip(" -/")) for run in runs], 4)
        of_robust = [name for columns in runs.values() for name in columns if kinds_of(words_of(short[name]))]
        example = (of_robust or next(iter(runs.values())))[0]
        meaning = meaning_of(short[example])
        curve = meaning.told if isinstance(meaning, Meaning) else "robust_accuracy/test"
        option = map_option(curve, example)
        raise refusal(source, f"columns begin with the names of several runs, {shown}; choose one, as with {option}")
    run = chosen.pop()
    return {name for other, columns in runs.items() if other != run for name in columns}


def _longer_epochs(short: Mapping[str, str]) -> set[str]:
    """Columns such as current_epoch, where another one is called epoch and no more."""
    longer: set[str] = set()
    n_alone = 0
    for name, own in short.items():
        n_alone += is_epoch(own, alone=True)
        if is_epoch(own) and not is_epoch(own, alone=True):
            longer.add(name)
    if n_alone:
        return longer
    return set()


def _summaries(names: Sequence[str], short: Mapping[str, str], told: Iterable[str], rows: Rows) -> tuple[str, ...]:
    """Columns with one value, in the last row, where another one of their meaning has the curve: what a logger sums up
    at the end, as Weights & Biases does."""
    alike: dict[Meaning, list[str]] = {}
    for name in dict.fromkeys(names):
        meaning = meaning_of(short[name])
        if isinstance(meaning, Meaning) and meaning.curve in ERRORS and name not in told:
            alike.setdefault(meaning, []).append(name)
    doubles = [group for group in alike.values() if len(group) > 1]
    if not doubles:
        return ()
    n_values = dict.fromkeys(itertools.chain.from_iterable(doubles), 0)
    last: set[str] = set()
    for row in rows():
        last = set(filter(lambda name, row=row: _is_measured(row.get(name, "")), n_values))
        for name in last:
            n_values[name] += 1
    found: list[str] = []
    for group in doubles:
        if max(map(n_values.__getitem__, group)) >= FEWEST_OF_CURVE:
            found += [name for name in group if n_values[name] == 1 and name in last]
    return tuple(found)


def _success_rate(name: str) -> Unknown | None:
    """A column such as test_asr: an error, but perhaps of fewer examples."""
    words = set(words_of(name)[:100])
    if "asr" not in words and not ("success" in words and kinds_of(words) == {"robust"}):
        return None
    reason = "the success rate of an attack is of all examples, or of those that were classified correctly before it"
    return Unknown(reason, ("robust",), ("error",), tuple(sorted(parts_of(words))), frozenset(words))


def _require_single(
    name: str, meaning: Meaning, names: Sequence[str], found: Mapping[str, Meaning], source: str, rows: Rows
) -> None:
    """Refuse a second column of the same meaning, where it matters."""
    if meaning.curve != "epoch" and meaning.curve not in ERRORS:
        return
    if names.count(name) > 1:
        raise refusal(source, f"{names.count(name)} columns are called {name}; rename all but one")
    for other, known in found.items():
        if (known.curve, known.accuracy) == (meaning.curve, meaning.accuracy):
            choice = name
            if meaning.curve == "epoch" and words_of(other) == ["epoch"]:
                choice = other  # beside it "epochs" is how many there will be
            elif meaning.curve.startswith("robust_"):
                alike = [one for one in names if meaning_of(one) == replace(meaning, attack=_attack_in(one))]
                choice = max(well_filled([other, name, *alike], rows), key=lambda one: strength_of(words_of(one)))
            option = map_option(meaning.told, choice)
            raise refusal(source, f"columns {other} and {name} both look like {meaning.told}; choose with {option}")


def well_filled(names: Sequence[str], rows: Rows) -> list[str]:
    """Those of some columns that have at least half as many values as the one with the most of them.

    Args:
        names: of the columns.
        rows: gives the rows.

    Returns:
        Names in their order.
    """
    n_values = dict.fromkeys(names, 0)
    for row in rows():
        for name in n_values:
            n_values[name] += _is_measured(row.get(name, ""))
    most = max(n_values.values(), default=0)
    return [name for name in names if 2 * n_values[name] >= most]


def _is_measured(cell: object) -> bool:
    try:
        value = float(str(cell).rstrip("%"))
    except ValueError:
        return False
    return math.isfinite(value) and value != NOT_MEASURED


def _attack_in(name: str) -> str:
    meaning = meaning_of(name)
    return meaning.attack if isinstance(meaning, Meaning) else ""


def _without_doubles(found: Mapping[str, Meaning]) -> dict[str, Meaning]:
    """Without losses, rates and the like that have several columns: no verdict needs them, so none is chosen."""
    times: dict[str, int] = {}
    for meaning in found.values():
        times[meaning.curve] = times.get(meaning.curve, 0) + 1
    return {name: m for name, m in found.items() if times[m.curve] == 1 or m.curve in ERRORS}


def _without_redundant(unknown: Mapping[str, Unknown], used: Mapping[str, Meaning]) -> dict[str, Unknown]:
    """Without best or smoothed values of curves that are there themselves, as best_test_acc beside test_acc."""
    there = [frozenset(words_of(name)) for name in used]
    kept: dict[str, Unknown] = {}
    for name, doubt in unknown.items():
        its_own = doubt.words < frozenset(words_of(name))
        if not (its_own and any(doubt.words <= words for words in there)):
            kept[name] = doubt
    return kept


def _with_parts_beside(unknown: Mapping[str, Unknown], names: Iterable[str]) -> dict[str, Unknown]:
    """Columns that say no part, with the held-out parts that other names say, first those that say clean or robust;
    beside names of training data alone they may be of these, or of the test set."""
    near: set[str] = set()
    said: set[str] = set()
    for words in map(words_of, names):
        if kinds_of(words):
            near |= parts_of(words)
        if kinds_of(words) or has_measure(words):
            said |= parts_of(words)
    parts = tuple(sorted(near - {"train"} or said - {"train"} or said | {"test"}))
    found = dict(unknown)
    for name, doubt in unknown.items():
        if not doubt.parts:
            found[name] = replace(doubt, parts=parts)
    return found
