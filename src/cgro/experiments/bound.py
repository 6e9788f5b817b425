"""The robust generalization bound (v1, Theorem 6.3) and Proposition 6.4 beside what is measured."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cgro.experiments import figure3, networks
from cgro.experiments.artifact import Findings, Table
from cgro.experiments.claims import PARTLY, REPRODUCED, Claim, Sample, above, holds, unjudged
from cgro.experiments.jobs import Home, Job, Scale
from cgro.report.experiments import bound_bars
from cgro.report.reproduction import cell

NAME = "bound"
TITLE = "The robust generalization bound"
PAPER: dict[str, Any] = {"side": "above the gap", "ratio": 0.5}
CAPTIONS = {"bound": "The measured robust gap of the loss, the largest gap there could be, and what the bound allows."}
VACUOUS = (
    "it holds and is vacuous: for images N^(-1/(D+2)) is near 1, so the right side exceeds the whole robust test loss, which "
    "no gap can; the constants C and the hidden one, unknown, are taken in the bound's favour (0 and 1)"
)


def jobs(scale: Scale) -> list[Job]:
    """Those of Figure 3."""
    return figure3.jobs(scale)


def run(scale: Scale, home: Home) -> Findings:
    """Both sides of the bound and of the proposition, every seed."""
    found: Findings = {"scale": scale, "data": {}}
    for data, own in figure3.measured(scale).items():
        curves = [c for c in figure3.last_curves(home, own) if c["bound"]]
        found["data"][data] = {
            **{k: [c["bound"][k] for c in curves] for k in ("bound", "gap", "robust_loss", "factor", "vacuous")},
            **{k: [c["first_order"][k] for c in curves] for k in ("product", "rise", "ratio")},
        }  # fmt: skip
    return found


def check(findings: Findings, paper: Mapping[str, Any] = PAPER) -> list[Claim]:
    """The bound holds (and says how much), the proposition's constant is away from 0."""
    claims = []
    for data, part in findings["data"].items():
        right = {f"seed {i}": (b >= g) == (paper["side"] == "above the gap")
                 for i, (b, g) in enumerate(zip(part["bound"], part["gap"], strict=True))}  # fmt: skip
        claim = holds(f"bound/{data}", f"{data}: the robust gap of the loss is at most N^(-1/(D+2)) times global flatness", right,
                      paper="gap <~ bound", ours=f"gap {cell(part['gap'], 3)}, bound {cell(part['bound'], 3)}",
                      rule="true in every seed; partly where the bound also exceeds the whole robust test loss")  # fmt: skip
        if claim.verdict == REPRODUCED and any(part["vacuous"]):
            claim = Claim(**{**vars(claim), "verdict": PARTLY, "reason": VACUOUS})
        claims.append(claim)
        claims.append(above(
            f"bound/{data}_first_order", f"{data}: robust minus clean loss is Omega(radius E ||grad||_1) (Proposition 6.4; read as: at least "
            f"{paper['ratio']:g} of it)", Sample.of(part["ratio"]), limit=paper["ratio"], paper="Omega(1) ratio", unit=" times",
        ))  # fmt: skip
    return unjudged(claims, networks.STAND_IN) if findings["scale"] == "smoke" else claims


def tables(findings: Findings) -> list[Table]:
    """Both inequalities."""
    keys = ("gap", "bound", "robust_loss", "factor", "rise", "product", "ratio")
    rows = [[data, *(cell(part[k], 3) for k in keys)] for data, part in findings["data"].items()]
    columns = ["data", "gap of the loss", "bound", "robust test loss", "N^(-1/(D+2))", "robust - clean loss", "radius E||grad||",
               "their ratio"]  # fmt: skip
    return [
        {
            "name": "bound",
            "caption": "Mean (sd) over seeds; both sides are searched, so lower bounds.",
            "columns": columns,
            "rows": rows,
        }
    ]


def draw(findings: Findings, folder: Path, home: Home) -> None:
    """Both sides."""
    bound_bars(folder / "bound", findings["data"])
