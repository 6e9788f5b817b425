"""clean poly(D) <~ CGRO poly(D) + O~(N D) << robust Omega(exp D): the first view of the paper in one picture."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cgro.experiments.artifact import Findings, Table, copied
from cgro.experiments.claims import Claim, holds
from cgro.experiments.jobs import Home, Job, Scale
from cgro.experiments.theorem47 import OURS, lower_bound

NAME = "hierarchy"
TITLE = "The hierarchy of sizes (Remark 4.8)"
PAPER: dict[str, Any] = {"order": ("clean", "memorizer", "floor")}
CAPTIONS = {"hierarchy": "Parameters against D at radius 0.1: clean, CGRO by memory of N = 1,000 points, robust."}


def jobs(scale: Scale) -> list[Job]:
    """The floor at radius 0.1, up to D = 100 so that the crossing is seen."""
    job = lower_bound(scale, "0.1")
    return [
        Job(
            "lower-bound-0.1-short",
            "lower-bound",
            {**job.settings, "dims": "2:30" if scale == "smoke" else "2:100"},
            10,
        )
    ]


def run(scale: Scale, home: Home) -> Findings:
    """Sizes by D and where the floor passes the memorizer."""
    (done,) = home.finished(jobs(scale)).values()
    rows, result = done.rows(), done.summary
    names = {
        "clean": "log2_clean",
        "memorizer": "log2_memorizer",
        "floor": "log2_floor",
        "construction": "log2_construction",
    }
    sizes = {name: [r[key] for r in rows] for name, key in names.items()}
    return {"scale": scale, "dims": [r["dim"] for r in rows], **sizes, "crossing": result["crossing"],
            "n_points": result["n_points"]}  # fmt: skip


def check(findings: Findings, paper: Mapping[str, Any] = PAPER) -> list[Claim]:
    """The order beyond the crossing, and the gap that widens."""
    low, middle, high = (findings[k] for k in paper["order"])
    at = findings["crossing"]
    beyond = [i for i, d in enumerate(findings["dims"]) if at is not None and d >= at]
    order = {f"D = {findings['dims'][i]}": _less(low[i], middle[i]) and _less(middle[i], high[i]) for i in beyond}
    order = order or {"no D at which the floor passes the memoriser": False}
    gaps = [(high[i] or 0) - (middle[i] or 0) for i in beyond]
    wider = {f"D = {findings['dims'][i]}": b > a for i, a, b in zip(beyond[1:], gaps, gaps[1:])}
    last = f"at D = {findings['dims'][-1]}: 2^{low[-1]:.0f} < 2^{middle[-1]:.1f} < 2^{high[-1] or 0:.1f}"
    return [
        holds("hierarchy/order", "clean <~ CGRO << robust, in parameters", order, paper="clean <~ CGRO << robust",
              ours=f"from D = {at} on; {last}", rule="in this order at every D from the crossing on", why=OURS),
        holds("hierarchy/widens", "the distance between CGRO and robust grows with D", wider, paper="N D against exp D",
              ours=last, rule="log2 floor - log2 memoriser increases at every step of D beyond the crossing", why=OURS),
    ]  # fmt: skip


def _less(a: float | None, b: float | None) -> bool:
    return a is not None and b is not None and a < b


def tables(findings: Findings) -> list[Table]:
    """Where the floor passes the memorizer."""
    keys, dims = ("clean", "memorizer", "floor", "construction"), findings["dims"]
    rows = [[d, *("vacuous" if findings[k][i] is None else f"{findings[k][i]:.1f}" for k in keys)]
            for i, d in enumerate(dims) if d in (5, 10, 12, 15, 20, 30, 50, 75, 100)]  # fmt: skip
    caption = (
        f"log2 of non-zero parameters at radius 0.1; the floor passes the memoriser at D = {findings['crossing']}."
    )
    return [{"name": "hierarchy", "caption": caption, "columns": ["D", *keys], "rows": rows}]


def draw(findings: Findings, folder: Path, home: Home) -> None:
    """The figure of `cgro lower-bound`."""
    copied(home, "lower-bound-0.1-short", "hierarchy", folder, "hierarchy")
