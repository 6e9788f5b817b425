"""Figure 2(a, b): the effect of capacity on MNIST and CIFAR-10. Table 1 as curves, from the same runs."""

from collections.abc import Mapping
from typing import Any

from cgro.experiments import table1
from cgro.experiments.artifact import Findings, Table
from cgro.experiments.claims import Claim
from cgro.experiments.jobs import Home, Scale
from cgro.report.reproduction import cell

NAME = "figure2ab"
TITLE = "Figure 2(a, b): the effect of capacity"
PAPER = table1.PAPER
CAPTIONS = table1.CAPTIONS
SHAPES = ("_rises", "_opens", "_closes")
jobs, draw = table1.jobs, table1.draw


def run(scale: Scale, home: Home) -> Findings:
    """As Table 1."""
    return table1.run(scale, home)


def check(findings: Findings, paper: Mapping[str, Any] = PAPER) -> list[Claim]:
    """What the curves are said to show: the claims of Table 1 about orders."""
    own = [c for c in table1.check(findings, paper) if c.name.endswith(SHAPES)]
    return [Claim(**{**vars(c), "name": c.name.replace("table1", NAME)}) for c in own]


def tables(findings: Findings) -> list[Table]:
    """The robust gap by width."""
    rows = []
    for family in ("mnist", "cifar10"):
        for w, (_, test, train) in PAPER[family].items():
            rows.append([family, f"x{w}", "paper", f"{train:.2f}", f"{train - test:.2f}"])
        for w, p in table1.judged_widths(findings[family]).items():
            gaps = [a - b for a, b in zip(p["robust_train"], p["robust_test"], strict=True)]
            rows.append([p["data"], f"x{w}", "ours", cell(p["robust_train"]), cell(gaps)])
    columns = ["data", "width", "whose", "robust train %", "robust gap, points"]
    return [{"name": "gaps", "caption": "Mean (sd) over seeds.", "columns": columns, "rows": rows}]
