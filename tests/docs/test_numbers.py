"""Numbers that documents quote by hand are still those of the stored results."""

import csv
import json
from pathlib import Path

import pytest

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
        "quarter stands under attack {0:.0f} points more often in training than in test, the farther ones by {1:.0f}, {2:.0f} and {3:.0f}",
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
