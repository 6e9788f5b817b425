"""Writers of what importers must survive: the field's text log with every trap, and learning curves of known truth."""

import itertools
from collections.abc import Iterable, Mapping

import numpy as np

from cgro.diagnosis import Curves
from cgro.diagnosis.importers import Told, parse_map
from cgro.diagnosis.importers.base import Text
from cgro.diagnosis.importers.delimited import Delimited

Row = Mapping[str, object]

HEADERS = (
    "Epoch \t Train Time \t Test Time \t LR \t \t Train Loss \t Train Acc \t Train Robust Loss \t Train Robust Acc "
    "\t Test Loss \t Test Acc \t Test Robust Loss \t Test Robust Acc",
    "Epoch   Train Time   Test Time   LR   Train Loss   Train Acc   Train Robust Loss   Train Robust Acc   ||   "
    "Test Loss   Test Acc   Test Robust Loss   Test Robust Acc",
)
STAMP = "[2020/03/01 12:34:56] - "


def learning_curve(
    n: int, onset: int, gap: float, *, sd: float = 0.0, rho: float = 0.0, rng: np.random.Generator | None = None,
    drop: bool = True, ramp: float | None = None, df: float | None = None,
) -> tuple[np.ndarray, float]:  # fmt: skip
    """A robust test error that falls to epoch `onset` and then rises by `gap`; and the true rise without noise."""
    t = np.arange(n)
    f = 0.50 + 0.3 * np.exp(-t / (n / 12))
    start = max(0, onset - 3)
    if drop:
        f = np.where(t >= start, f - 0.07 * (1 - np.exp(-(t - start + 1.0) / 0.8)), f)
    width = ramp if ramp is not None else (n - onset) / 4
    f = f + np.where(t > onset, gap * (1 - np.exp(-np.maximum(t - onset, 0) / width)), 0.0)
    truth = float(f[-5:].mean() - f.min())
    if sd:
        assert rng is not None
        z = rng.standard_normal(n) if df is None else rng.standard_t(df, n) / np.sqrt(df / (df - 2))
        for i in range(1, n):
            z[i] = rho * z[i - 1] + np.sqrt(1 - rho**2) * z[i]
        f = f + sd * np.where(drop & (t < start), 2.0, 1.0) * z
    return f.clip(0, 1), truth


def w_shape(rise: float, back: float, *, seed: int, sd: float = 0.005, rho: float = 0.0) -> np.ndarray:
    """A fall, a drop at 100, a rise to 150, and a drop that takes a share of the rise back."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal(200)
    for k in range(1, 200):
        z[k] = rho * z[k - 1] + np.sqrt(1 - rho**2) * z[k]
    t = np.arange(200)
    f = 0.42 + 0.3 * np.exp(-t / 15) + 0.08 * np.where(t < 100, 1, np.exp(-np.maximum(t - 99.0, 0)))
    end = rise * (1 - back * (1 - np.exp(-np.maximum(t - 149.0, 0))))
    return f + np.where(t < 150, rise * np.clip((t - 103) / 46, 0, 1), end) + sd * z


def accuracies(errors: dict[str, np.ndarray]) -> list[list[float]]:
    """Rows (train loss, acc, robust loss, robust acc, then test) from error curves; losses follow the errors."""
    keys = ("clean_error/train", "robust_error/train", "clean_error/test", "robust_error/test")
    return [[v for k in keys for v in (3 * errors[k][t], 1 - errors[k][t])] for t in range(len(errors[keys[0]]))]


def write_log(
    errors: dict[str, np.ndarray], *, attack: str = "pgd", header: int = 0, rng: np.random.Generator,
    validation: bool = True, restarts: tuple[int, ...] = (), drops: tuple[int, ...] = (), missing: tuple[int, ...] = (),
) -> str:  # fmt: skip
    """The log with its traps: mixed blanks, restarts that repeat header and rows, -1, validation lines, LR a row early."""
    table, n = accuracies(errors), len(errors["robust_error/test"])
    lines: list[str] = []

    def begin() -> None:
        lines.append(
            f"{STAMP}Namespace(attack='{attack}', attack_iters=10, batch_size=128, epochs={n}, fname='a(b)_c')"
        )
        lines.append(STAMP + HEADERS[header])

    def row(t: int, wrong: float = 0.0) -> None:
        rate = 0.1 * 0.1 ** sum(t + 1 >= d for d in drops)  # of the last minibatch: already the next epoch's
        values = [
            f"{t}",
            f"{rng.uniform(100, 200):.1f}",
            "-1.0",
            f"{rate:.4f}",
            *(f"{v + wrong:.4f}" for v in table[t]),
        ]
        if t in missing:
            values[8:] = ["-1.0000"] * 4
        blanks = rng.choice([" \t ", " \t \t ", "\t", "   "], len(values))
        lines.append(STAMP + "".join(v + b for v, b in zip(values, blanks, strict=True)))
        if validation and t not in missing:
            val = [3 * table[t][2], table[t][5] + 0.002, 2.0, table[t][7] + 0.001]
            lines.append(STAMP + "validation " + " \t ".join(f"{v:.4f}" for v in val))

    begin()
    for t in range(n):
        row(t)
        if t in restarts:  # the run went on from an older checkpoint and repeats three rows
            begin()
            lines.append(STAMP + f"Resuming at epoch {max(0, t - 2)}")
            for back in range(max(0, t - 2), t + 1):
                row(back)
    first = next(k for k, line in enumerate(lines) if line.startswith(STAMP + "0"))
    stale = lines[first].split()
    stale[-1] = "0.0001"
    lines.insert(first, " \t ".join([*lines[first].split()[:3], *stale[3:]]))  # an older record of epoch 0
    return "\n".join(lines) + "\n"


def four(n: int, onset: int = 50, gap: float = 0.06, seed: int = 0, sd: float = 0.004) -> dict[str, np.ndarray]:
    """Four errors of an overfitting training: clean error keeps falling, robust training error goes to 0.15."""
    t, rng = np.arange(n), np.random.default_rng(seed)
    test, _ = learning_curve(n, onset, gap, sd=sd, rng=rng)
    noise = lambda: 0.003 * rng.standard_normal(n)  # noqa: E731
    return {
        "clean_error/train": (0.02 + 0.4 * np.exp(-t / (n / 6)) + noise()).clip(0, 1),
        "robust_error/train": (0.15 + 0.6 * np.exp(-t / (n / 4)) + noise()).clip(0, 1),
        "clean_error/test": (0.09 + 0.3 * np.exp(-t / (n / 6)) + noise()).clip(0, 1),
        "robust_error/test": test,
    }


def csv_of(*epochs: object) -> str:
    """A table of one robust accuracy, 0.4 at every epoch."""
    return "epoch,test_robust_acc\n" + "".join(f"{epoch},0.4\n" for epoch in epochs)


def columns_of(errors: dict[str, np.ndarray], names: dict[str, str], percent: bool = False) -> dict[str, np.ndarray]:
    """Column -> values: accuracies of the curves that the names stand for, `epoch` first."""
    one = 100 if percent else 1
    columns: dict[str, np.ndarray] = {"epoch": np.arange(len(errors["robust_error/test"]))}
    for name, key in names.items():
        columns[name] = one * (1 - errors[key])
    return columns


def table_of(columns: dict[str, np.ndarray], delimiter: str = ",") -> str:
    """Columns as the text of a table; NaN as an empty cell, integers as such."""

    def cell(value: object) -> str:
        if isinstance(value, str | int | np.integer):
            return str(value)
        return "" if value != value else f"{value:.6f}"

    lines = [delimiter.join(columns)]
    for values in zip(*columns.values(), strict=True):
        lines.append(delimiter.join(map(cell, values)))
    return "\n".join(lines) + "\n"


def measured(e: int, k: int = 0) -> Row:
    """A clean and a robust accuracy of an epoch; `k` moves them a little."""
    return {"test_acc": 0.5 + e / 100 + k / 10_000, "test_robust_acc": 0.3 + e / 200 + k / 10_000}


def read_rows(rows: Iterable[Row], columns: str = "") -> Curves:
    """What is read of a CSV with these rows, whose cells are empty where a row lacks a column."""
    rows = list(rows)
    names = list(dict.fromkeys(itertools.chain.from_iterable(rows)))
    lines = [",".join(str(row.get(name, "")) for name in names) for row in rows]
    text = "\n".join([",".join(names), *lines]) + "\n"
    (found,) = Delimited().read(Text(text, "x"), Told.of(parse_map(columns)))
    return found
