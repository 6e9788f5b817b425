"""Numbers that documents quote by hand are still those of the stored results."""

import csv
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from benchmarks import compare_ensemble

from cgro.experiments import table1

ROOT = Path(__file__).parents[2]
CPU = ROOT / "results" / "cpu"
CLAIMS = [
    ("README.md", "figure1/robust_train", -1, "falling by {mean:.1f} points (sd {sd:.1f})"),
    ("README.md", "figure1/robust_test", 1, "turns up by {mean:.1f} ({sd:.1f})"),
    ("README.md", "figure1/clean_test", 1, "({mean:.1f}, sd {sd:.1f})"),
    ("docs/flatness.md", "figure3/cifar10_gradient_train", 1, "are {mean:.2f} (sd {sd:.2f}) times as steep"),
    ("docs/flatness.md", "figure3/cifar10_rise_train", 1, "rises {mean:.2f} ({sd:.2f}) times as"),
    ("docs/flatness.md", "figure3/mnist_gradient_train", 1, "LeNet-5: {mean:.2f} ({sd:.2f})"),
    ("docs/flatness.md", "bound/cifar10_first_order", 1, "ratio is {mean:.2f} ({sd:.2f})"),
]
"""Document, claim, sign, and the words with its mean and spread over seeds."""
TABLES = [
    (
        "README.md",
        "mnist",
        "On MNIST it is {0:.0f} points higher on training than on test images in the nearest quarter, and {1:.0f}, {2:.0f} and {3:.0f} points higher",
    ),
    (
        "docs/flatness.md",
        "mnist",
        "{0:.0f} points of memory (sd 9); in the other quarters {1:.1f}, {2:.1f} and {3:.1f}",
    ),
    ("docs/flatness.md", "cifar10", "{0:.0f}, {1:.0f}, {2:.0f} and {3:.0f} points by quarter"),
]
"""Document, data, and the words with the memory of the four quarters."""


def words(document: str) -> str:
    return " ".join((ROOT / document).read_text().split())


@pytest.mark.parametrize(("document", "claim", "sign", "template"), CLAIMS)
def test_documents_quote_the_claims(document: str, claim: str, sign: int, template: str) -> None:
    summary = json.loads((CPU / claim.partition("/")[0] / "summary.json").read_text())
    (numbers,) = [c["numbers"] for c in summary["claims"] if c["name"] == claim]
    assert template.format(mean=sign * numbers["mean"], sd=numbers["sd"]) in words(document)
    assert template.format(mean=sign * numbers["mean"] + 0.1, sd=numbers["sd"]) not in words(document)


@pytest.mark.parametrize(("document", "data", "template"), TABLES)
def test_documents_quote_the_table_of_quarters(document: str, data: str, template: str) -> None:
    with open(CPU / "memory" / "tables" / "quarters.csv", newline="") as file:
        memory = [float(row["memory, points"].split()[0]) for row in csv.DictReader(file) if row["data"] == data]
    assert template.format(*memory) in words(document)


def test_training_quotes_table_1() -> None:
    mnist = json.loads((CPU / "table1" / "findings.json").read_text())["mnist"]
    lines = (ROOT / "docs" / "training.md").read_text().splitlines()
    widths = (1, 2, 4, 8, 12, 16)

    def line(name: str, cells: Iterable[str]) -> str:
        return " ".join(f"| {name} | {' | '.join(cells)} |".split())

    def left(start: str, width: int) -> str:
        clean = mnist.get(f"{width}{start}", {}).get("clean_test", [])
        return f"{sum(c > 2 * table1.CONSTANT for c in clean)} of {len(clean)}" if clean else ""

    starts = {"Adam": "", "Adam, radius warmed up over 10 of 40 epochs": "-warm", "Adam, 120 epochs": "-long", "SGD": "-sgd",
              "SGD, warmed up": "-sgd-warm"}  # fmt: skip
    for name, start in starts.items():
        assert line(name, (left(start, w) for w in widths)) in lines
    means = {
        w: {c: np.mean(mnist[f"{w}-warm"][c]) for c in ("clean_test", "robust_test", "robust_train")} for w in widths
    }
    assert line("clean test, %", (f"{m['clean_test']:.1f}" for m in means.values())) in lines
    assert line("robust training, %", (f"{m['robust_train']:.1f}" for m in means.values())) in lines
    gaps = {w: m["robust_train"] - m["robust_test"] for w, m in means.items()}
    assert line("robust gap, points", (f"{g:.1f}" for g in gaps.values())) in lines
    rise, opened = means[16]["robust_train"] - means[4]["robust_train"], gaps[16] - gaps[4]
    assert f"from x4 to x16 it rises by {rise:.1f} points and the gap by {opened:.1f}" in words("docs/training.md")


def test_documents_quote_memory_as_a_share_of_the_robust_test_error() -> None:
    found = json.loads((CPU / "memory" / "findings.json").read_text())["data"]
    said = []
    for data in ("mnist", "cifar10"):
        train, test = (np.mean(found[data]["quarters"][part], axis=0) for part in ("train", "test"))
        said.append([f"{share:.0f}" for share in 100 * (train - test) / (1 - test)])
    (a, b, c, d), (e, f, g, h) = said
    text = words("docs/flatness.md")
    assert f"memory is {a}, {b}, {c} and {d}% on MNIST and {e}, {f}, {g} and {h}% on CIFAR-10" in text


def test_flatness_quotes_figure_4() -> None:
    found = json.loads((CPU / "figure4" / "findings.json").read_text())
    local, after = np.mean(found["local"], axis=0), found["epochs"].index(found["after"])
    over_all = f"rises from {local[0]:.1f} to {local[-1]:.1f} over training"
    text = words("docs/flatness.md")
    assert f"{over_all}, from {local[after]:.1f} to {local[-1]:.1f} after the learning rate drops" in text
    assert over_all.replace(" over training", "") in words("docs/independent_check.md")
    claims = json.loads((CPU / "figure4" / "summary.json").read_text())["claims"]
    (numbers,) = [claim["numbers"] for claim in claims if claim["name"] == "figure4/correlation"]
    assert f"Without the mean of each epoch it is {numbers['within_epochs']:.2f}" in text


def test_training_quotes_what_width_gains_with_sgd() -> None:
    mnist = json.loads((CPU / "table1" / "findings.json").read_text())["mnist"]
    lines = (ROOT / "docs" / "training.md").read_text().splitlines()
    networks = [mnist[f"{width}-sgd-warm"] for width in (2, 4, 8, 16)]
    rows = {
        "clean test, %": [n["clean_test"] for n in networks],
        "robust training, %": [n["robust_train"] for n in networks],
        "robust test, %, PGD-20": [n["robust_test"] for n in networks],
        "robust test, %, ensemble, 100 images per seed": [n["beside"]["ensemble"] for n in networks],
        "robust gap, points, PGD-20": [np.subtract(n["robust_train"], n["robust_test"]) for n in networks],
    }
    for name, cells in rows.items():
        shown = " | ".join(f"{np.mean(seeds):.1f}" for seeds in cells)
        assert f"| {name} | {shown} |" in lines
    claims = json.loads((CPU / "table1" / "summary.json").read_text())["claims"]
    found = {claim["name"]: claim for claim in claims}
    weak, strong = found["table1/mnist_width_with_sgd"], found["table1/mnist_width_with_sgd_under_ensemble"]
    text = words("docs/training.md")
    assert f"rises by {weak['numbers']['mean']:.1f} (sd {weak['numbers']['sd']:.1f}), a quarter of the" in text
    assert f"rises by {strong['numbers']['mean']:.1f} ({strong['numbers']['sd']:.1f})." in text
    assert [claim["verdict"] for claim in (weak, strong)] == ["partly", "partly"]  # "exclude 0 in neither case"


def test_training_quotes_the_optimizers_that_widths_are_compared_in() -> None:
    mnist = json.loads((CPU / "table1" / "findings.json").read_text())["mnist"]
    narrow, wide = mnist["2-sgd-warm"], mnist["16-warm"]
    text = words("docs/training.md")
    mean = {key: np.mean(narrow[key]) for key in ("robust_test", "robust_train")}
    assert f"{mean['robust_test']:.1f}% robust test accuracy at x2 ({mean['robust_train']:.1f}% on training" in text
    mean = {key: np.mean(wide[key]) for key in ("robust_test", "robust_train")}
    assert f"has {mean['robust_test']:.1f}% ({mean['robust_train']:.1f}%)" in text


def test_diagnosis_quotes_what_calibrated_alarms_cost() -> None:
    rows = json.loads((ROOT / "benchmarks" / "results" / "alarm_calibration.json").read_text())["rows"]
    lines = (ROOT / "docs" / "diagnosis.md").read_text().splitlines()
    rules = {"as it is": "margin 0.5", "+ 1.5": "margin 1.5", "+ 2": "margin 2"}
    for name, rule in rules.items():
        cells = []
        for rise, digits in ((0.0, 1), (0.02, 0), (0.05, 0)):
            shares = []
            for rho in (0.0, 0.3, 0.6, 0.8, 0.9):
                of_cell = [row[rule] for row in rows if (row["rise"], row["correlation"]) == (rise, rho)]
                shares.append(f"{100 * np.mean(of_cell):.{digits}f}")
            cells.append(", ".join(shares))
        assert f"| {name} | {' | '.join(cells)} |" in lines


def cell_of(effect: dict) -> str:
    """A difference of robust test errors, in points, with its interval, as pages have it."""
    low, high = (100 * end for end in effect["interval"])
    return f"{100 * effect['mean']:+.1f} [{low:+.1f}, {high:+.1f}]".replace("[+-", "[-")


ENSEMBLE = ROOT / "benchmarks" / "results" / "ensemble-cifar10.json"


@pytest.mark.parametrize(("row", "mnist", "cifar10"), [
    ("boxes of other images of the same class, which the theory of Section 5 suggests", "same-class-boxes", "same-class-boxes"),
    ("CutMix", "", "cutmix"),
    ("AWP", "awp", "awp"),
    ("SWA", "", "swa"),
    ("TRADES with AWP", "", "trades-awp"),
    ("MART", "", "mart"),
    ("early stopping", "", "early-stop"),
    ("TRADES", "trades", "trades"),
    ("EMA that looks back over 11 epochs", "", "ema-slow"),
    ("EMA over 2 epochs", "ema", "ema"),
    ("label smoothing", "label-smoothing", "label-smoothing"),
    ("ADR", "", "adr"),
])  # fmt: skip
def test_the_readme_quotes_what_helps(row: str, mnist: str, cifar10: str) -> None:
    """On MNIST by the comparison's own attack, on CIFAR-10 by the ensemble."""
    cells = [""]
    if mnist:
        remedies = json.loads((CPU / "compare-mnist" / "summary.json").read_text())["remedies"]
        cells = [cell_of(remedies[mnist]["differences"]["robust_error/test"])]
    minus = json.loads(ENSEMBLE.read_text())["rows"][cifar10]["minus plain"]
    cells.append(f"{minus['mean']:+.1f} [{minus['interval'][0]:+.1f}, {minus['interval'][1]:+.1f}]")
    line = f"| {row} | {cells[0]} | {cells[1]} |".replace("|  |", "| |")
    assert line in (ROOT / "README.md").read_text().splitlines()


def test_the_readme_quotes_what_plain_training_ends_at() -> None:
    of_mnist, of_cifar10 = (
        json.loads((CPU / folder / "summary.json").read_text())["remedies"]["plain"]["metrics"]
        for folder in ("compare-mnist", "compare-cifar10-rest")
    )
    cells = [", ".join(f"{100 * of_mnist[f'robust_error/{part}']['mean']:.1f}%" for part in ("train", "test"))]
    judged = json.loads(ENSEMBLE.read_text())["rows"]["plain"]["robust test error"]["mean"]
    cells.append(f"{100 * of_cifar10['robust_error/train']['mean']:.1f}%, {judged:.1f}%")
    row = "| none: robust training error by targeted APGD, robust test error | "
    assert f"{row}{' | '.join(cells)} |" in words("README.md")


def test_what_now_has_the_table_of_the_ensemble() -> None:
    """It is written by the script that measured it."""
    page = (ROOT / "docs" / "what_now.md").read_text()
    assert compare_ensemble.filled(page, compare_ensemble.table_of(ENSEMBLE)) == page


def test_the_hours_of_a_reproduction_are_not_fewer_than_those_recorded() -> None:
    """The record has trainings, evaluations and flatness; simulations come on top."""
    recorded = sum(json.loads((CPU / "seconds.json").read_text()).values()) / 3600
    assert 0.7 * 10 < recorded <= 10
    assert "| 10 h; less where `results/` holds the runs |" in words("README.md")
    assert "about ten hours on two cores" in words("docs/reproduction.md")
    assert "about ten hours on two cores" in words("src/cgro/commands/help/reproduce.txt")


@pytest.mark.parametrize(("row", "start", "narrow", "wide"), [
    ("1,000, Adam", "-warm", 4, 16), ("1,000, SGD", "-sgd-warm", 2, 16),
    ("6,000, Adam", "-warm-6000", 2, 8), ("6,000, SGD", "-sgd-warm-6000", 2, 8),
])  # fmt: skip
def test_the_readme_quotes_what_width_buys(row: str, start: str, narrow: int, wide: int) -> None:
    mnist = json.loads((CPU / "table1" / "findings.json").read_text())["mnist"]
    ends = [mnist[f"{width}{start}"] for width in (narrow, wide)]
    cells = [
        " to ".join(f"{np.mean(end[key]):.1f}" for end in ends) for key in ("clean_test", "robust_train", "robust_test")
    ]
    cells.append(" to ".join(f"{np.mean(end['beside']['ensemble']):.1f}" for end in ends))
    text = words("README.md")
    assert f"| {row}, x{narrow} to x{wide} | {' | '.join(cells)} |" in text
    if row == "1,000, Adam":
        gaps = [np.mean(end["robust_train"]) - np.mean(end["robust_test"]) for end in ends]
        assert f"the robust gap opens by {gaps[1] - gaps[0]:.1f} points" in text
