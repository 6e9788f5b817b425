"""Phase diagrams of `cgro dynamics`: the values of a sweep, and the row of one of its cells."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from cgro._check import bad, count, number, one_of
from cgro.dynamics import (
    RACE_ENDS,
    Setting,
    Simulation,
    extinction_ratio,
    noise_limit,
    onset_ratio,
    sample_threshold,
)
from cgro.dynamics.spaces import cheapest
from cgro.results.keys import CLEAN_TEST, CLEAN_TRAIN, ROBUST_TEST, ROBUST_TRAIN

DATA = ("patch_dim", "n_patches", "signal_strength", "noise_std", "n_signals")
"""Options that are fields of `PatchData`."""
NUMBERS = (
    "n_train",
    "n_filters",
    "activation_power",
    "init_std",
    "radius_ratio",
    "robust_weight",
    "lr",
    "batch_size",
)
"""Options that are numbers among the fields of `Setting`."""
SWEEPABLE = (*DATA, *NUMBERS)
MOST_TESTED = 2000
"""Unseen examples of each cell and seed, at most."""
WHOLE = ("patch_dim", "n_patches", "n_signals", "n_train", "n_filters", "batch_size")
CELL = ("signal_margin", CLEAN_TRAIN, CLEAN_TEST, ROBUST_TRAIN, ROBUST_TEST)
"""Measurements at the end of training that the row of a cell holds."""
MOST_CELLS = 100_000
"""Of a sweep. A choice: at the fastest settings, a second a cell, they take a day."""


def parse_sweep(text: str) -> dict[str, list[float]]:
    """Read name=low:high:count[:log], one or two.

    Args:
        text: of --sweep.

    Returns:
        Parameter -> its values; one that is met twice, as on an axis of whole numbers, once.

    Raises:
        BadRequest: an unknown parameter, another form, or more than 100,000 cells.

    Example:
        >>> parse_sweep("radius_ratio=0.5:2:4,n_train=10:40:3:log")
        {'radius_ratio': [0.5, 1.0, 1.5, 2.0], 'n_train': [10, 20, 40]}
    """
    axes: dict[str, list[float]] = {}
    for part in text.split(","):
        name, _, span = part.partition("=")
        name = name.strip().replace("-", "_")
        one_of(name, "--sweep", SWEEPABLE)
        if name in axes:
            raise bad("--sweep", expected="each parameter once", got=f"{name} twice", remedy="leave one out")
        axes[name] = _axis(name, span.split(":"), part)
    if len(axes) > 2:
        raise bad("--sweep", expected="one or two parameters", got=", ".join(axes))
    n_cells = math.prod(len(values) for values in axes.values())
    if n_cells > MOST_CELLS:
        raise bad("--sweep", expected=f"at most {MOST_CELLS:,} cells", got=f"{n_cells:,}")
    return axes


def parse_cells(text: str, n: int) -> range:
    """Read first:end, a part of the cells of a sweep.

    Args:
        text: of --cells; "" for all.
        n: number of cells.

    Returns:
        Their numbers, counted from 0.

    Raises:
        BadRequest: another form, or none of the cells.

    Example:
        >>> parse_cells("2:4", 6), parse_cells("", 6)
        (range(2, 4), range(0, 6))
    """
    if not text:
        return range(n)
    first, colon, end = text.partition(":")
    if colon and first.isdecimal() and end.isdecimal() and len(text) < 20 and int(first) < int(end) <= n:
        return range(int(first), int(end))
    raise bad("--cells", expected=f"first:end within 0:{n}", got=repr(text))


def _axis(name: str, words: Sequence[str], text: str) -> list[float]:
    """The values from low to high; whole numbers where the parameter is one."""
    is_log = len(words) == 4
    if len(words) not in (3, 4) or (is_log and words[3] != "log"):
        raise bad("--sweep", expected="name=low:high:count[:log]", got=repr(text))
    low, high = number(words[0], name), number(words[1], name)
    n = count(number(words[2], "--sweep: count"), "--sweep: count", low=2)
    if n > MOST_CELLS:
        raise bad("--sweep", expected=f"at most {MOST_CELLS:,} cells", got=repr(text))
    if is_log and min(low, high) <= 0:
        raise bad("--sweep", expected="positive ends with :log", got=repr(text))
    values = np.geomspace(low, high, n) if is_log else np.linspace(low, high, n)
    if name in WHOLE:
        return sorted({round(value) for value in values.tolist()})
    # 0.3, not 0.30000000000000004; what ten decimals do not say, as on a fine axis of lr, is kept as it is.
    rounded = values.round(10)
    zero = 0.0 if is_log else 1e-12 * np.abs(values).max()
    found = np.where(np.isclose(rounded, values, rtol=1e-6, atol=zero), rounded, values).tolist()
    return list(dict.fromkeys(found))


def rows_by_cell(
    rows: Sequence[Mapping[str, object]], cells: Sequence[Mapping[str, float]], what: str
) -> dict[int, dict[str, object]]:
    """Which cell each row of an interrupted sweep belongs to, by the values of its parameters.

    Args:
        rows: of `metrics.jsonl`, in any order.
        cells: parameter -> value, all different.
        what: how the message calls the rows.

    Returns:
        Number of the cell -> its row; of rows of the same cell the first.

    Raises:
        BadRequest: a row of none of the cells.

    Example:
        >>> rows_by_cell([{"lr": 0.2, "steps": 7}], [{"lr": 0.1}, {"lr": 0.2}], "rows")
        {1: {'lr': 0.2, 'steps': 7}}
    """
    places: dict[tuple[object, ...], int] = {tuple(cell.values()): k for k, cell in enumerate(cells)}
    found: dict[int, dict[str, object]] = {}
    for row in rows:
        values = {name: row.get(name) for name in cells[0]}
        place = None
        if all(isinstance(value, int | float) for value in values.values()):  # a list of a damaged row has no hash
            place = places.get(tuple(values.values()))
        if place is None:
            expected = "rows of the cells of --sweep"
            raise bad(what, expected=expected, got=f"one of {values}", remedy="choose another --out or add --overwrite")
        found.setdefault(place, dict(row))
    return found


def row_of_cell(setting: Setting, trained: Simulation, cell: Mapping[str, float]) -> dict[str, object]:
    """The end of training in one cell, and what is predicted of it.

    Args:
        setting: of the cell.
        trained: as simulated.
        cell: parameter -> value.

    Returns:
        A row of `metrics.jsonl`, with lists over seeds. `memorized` is the share of training examples with V_i above 1,
        `noise_component` the largest activation of any example's noise by any filter.
    """
    onset, extinction, limit = None, None, None
    if not setting.full_ball and setting.activation == "odd":
        onset = onset_ratio(setting, trained.seeds)
        extinction = extinction_ratio(setting.robust_weight, setting.activation_power)
    if setting.robust_weight == 0 and cheapest(setting) != "law":  # of patches that were never formed nothing is known
        limit = noise_limit(setting, trained.seeds)
    threshold = sample_threshold(setting)
    noise = trained.final("noise_learned")
    return {
        **cell,
        "radius_over_strength": setting.radius_ratio,
        **{name: trained.final(name) for name in CELL},
        "signal_learned": trained.final("signal_learned"),
        "noise_learned": noise.mean(1),
        "memorized": (noise > RACE_ENDS).mean(1),
        "noise_component": trained.final("noise_component").max((1, 2)),
        "onset_ratio": onset,
        "extinction_ratio": extinction,
        "sample_threshold": None if threshold is None else threshold.half,
        "noise_limit": limit,
        "steps": int(trained.steps[-1]),
    }


def course_of(trained: Simulation) -> dict[str, object]:
    """What a cell showed on its way, for remedies.

    Args:
        trained: as simulated.

    Returns:
        Lists over seeds: `half_memorized_at`, the first recorded step at which half of the training examples have V_i
        above 1, None if none has; `best_robust_test`, the least robust test error of any record, and
        `best_step`, the first with it.
    """
    records = range(len(trained.steps))
    memorized = np.stack([(trained.at("noise_learned", k) > RACE_ENDS).mean(1) >= 0.5 for k in records])
    errors = np.stack([trained.at(ROBUST_TEST, k) for k in records])
    first: list[int | None] = []
    for s in range(len(trained.seeds)):
        steps = trained.steps[memorized[:, s]]
        first.append(int(steps[0]) if len(steps) else None)
    best = errors.argmin(0)
    return {
        "half_memorized_at": first,
        "best_robust_test": errors.min(0),
        "best_step": trained.steps[best],
    }
