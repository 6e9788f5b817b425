"""Figure 3: flatness of the loss against the radius, training and test images: flat inside, sharp outside?"""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from cgro.experiments import networks
from cgro.experiments.artifact import Findings, Table
from cgro.experiments.claims import Claim, Sample, above, unjudged
from cgro.experiments.jobs import HERE, Home, Job, Scale
from cgro.report.flatness import by_radius
from cgro.report.reproduction import cell
from cgro.results import FlatnessRecord, read_value

NAME = "figure3"
TITLE = "Figure 3: flatness against the radius"
PAPER: dict[str, Any] = {"inside": "flat", "outside": "sharp", "kink": 1.25, "corner": "at the radius"}
CAPTIONS = {
    "cifar10": "CIFAR-10: gradient norm and rise of the loss in the ball against its radius, training and test images.",
    "mnist": "MNIST, LeNet-5 trained at 0.1: the same.",
}
MEASURES = {"gradient": "max gradient norm", "rise": "max rise of the loss"}
NO_CORNER = (
    "the slope grows as much a quarter of the radius away: training images are flatter than test images inside the radius and the "
    "difference closes outside, but no corner sets the radius itself apart"
)
SEARCH: dict[Scale, dict[str, Any]] = {
    "smoke": {"n": 16, "n_steps": 3, "n_loss_steps": 2}, "cpu": {"n": 256}, "gpu": {"n": 1024}, "paper": {"n": 1024},
}  # fmt: skip


def _by_radius(scale: Scale, name: str, trained: list[Job]) -> list[Job]:
    return [Job(f"flatness-{name}/seed-{job.settings['seed']}", "flatness", {"targets": [HERE + job.name], **SEARCH[scale]},
                150.0 if scale == "cpu" else 5.0) for job in trained]  # fmt: skip


def measured(scale: Scale) -> dict[str, list[Job]]:
    """Radii from a quarter to three times the training radius, at the end of training, by seed."""
    return {
        "cifar10": _by_radius(scale, "cifar10", networks.widest(scale)),
        "mnist": _by_radius(scale, "mnist", networks.lenet5(scale)),
    }


def jobs(scale: Scale) -> list[Job]:
    """Networks and their flatness."""
    own = [job for part in measured(scale).values() for job in part]
    return [*networks.widest(scale), *networks.lenet5(scale), *own]


def last_curves(home: Home, jobs: list[Job]) -> list[dict[str, Any]]:
    """The curves of each run at its last checkpoint."""
    curves = [run.summary["flatness"] for run in home.finished(jobs).values()]
    return [{**{k: c[k] for k in ("radii", "names", "training_radius", "seed", "data", "search")},
             "parts": {part: {"loss": p["loss"], **{m: [v["value"] for v in p[m]] for m in MEASURES}}
                       for part, p in c["checkpoints"][-1]["parts"].items()},
             "bound": c.get("bound"), "first_order": c.get("first_order")} for c in curves]  # fmt: skip


def run(scale: Scale, home: Home) -> Findings:
    """Curves of every seed."""
    return {"scale": scale, "data": {k: last_curves(home, own) for k, own in measured(scale).items()}}


def _at(curve: Mapping[str, Any], part: str, measure: str, times: float) -> float:
    """A measure at a multiple of the training radius; radius 0 is where nothing has risen."""
    radii, values = [0.0, *curve["radii"]], curve["parts"][part][measure]
    values = [0.0 if measure == "rise" else values[0], *values]
    near = min(range(len(radii)), key=lambda i: abs(radii[i] - times * curve["training_radius"]))
    return values[near]


def check(findings: Findings, paper: Mapping[str, Any] = PAPER) -> list[Claim]:
    """Inside: training images flatter than test images; outside: steeper than inside by a visible factor."""
    claims, sign = [], 1.0 if paper["corner"] == "at the radius" else -1.0
    for data, curves in findings["data"].items():
        for measure, words in MEASURES.items():
            ratio = [_at(c, "test", measure, 1.0) / max(_at(c, "train", measure, 1.0), 1e-12) for c in curves]
            claims.append(above(
                f"figure3/{data}_{measure}_train", f"{data}: at the training radius the loss is flatter around training than around test "
                f"images ({words}, test over train)", Sample.of(ratio), limit=1.0, paper="flatter", unit=" times",
            ))  # fmt: skip
            kink = [_kink(c, measure) for c in curves]
            claims.append(above(
                f"figure3/{data}_{measure}_kink", f"{data}: {paper['inside']} inside the training radius, {paper['outside']} outside (read "
                f"as: slope of the {words} on training images from 1 to 1.5 radii over that from 0.5 to 1, above {paper['kink']:g}; a "
                "parabola, which has no corner, gives 1.67)",
                Sample.of(kink), limit=paper["kink"], paper="flat inside, sharp outside", unit=" times",
            ))  # fmt: skip
            corner = [sign * _corner(c, measure) for c in curves]
            claims.append(above(
                f"figure3/{data}_{measure}_corner", f"{data}: the change is at the training radius (read as: the slope of the {words} on "
                "training images grows by a larger factor there than a quarter of the radius before or behind it, by more than 0.1; the difference "
                "of the factors)", Sample.of(corner), limit=0.1, paper=paper["corner"], unit="", why=NO_CORNER,
            ))  # fmt: skip
    return unjudged(claims, networks.STAND_IN) if findings["scale"] == "smoke" else claims


def _kink(curve: Mapping[str, Any], measure: str) -> float:
    inside, at, outside = (_at(curve, "train", measure, t) for t in (0.5, 1.0, 1.5))
    return (outside - at) / max(at - inside, 1e-12)


def _corner(curve: Mapping[str, Any], measure: str) -> float:
    """How much more the slope grows at the radius than at 0.75 or 1.25 of it."""
    values = [_at(curve, "train", measure, t) for t in (0.5, 0.75, 1.0, 1.25, 1.5)]
    slopes = [b - a for a, b in pairwise(values)]
    before, here, behind = (b / max(a, 1e-12) for a, b in pairwise(slopes))
    return here - max(before, behind)


def tables(findings: Findings) -> list[Table]:
    """Both measures at multiples of the radius."""
    rows = []
    for data, curves in findings["data"].items():
        for measure, words in MEASURES.items():
            for part in ("train", "test"):
                cells = [cell([_at(c, part, measure, t) for c in curves], 3) for t in (0.5, 1.0, 1.5, 2.0, 3.0)]
                rows.append([data, words, part, *cells])
    columns = ["data", "measure", "part", *(f"{t:g} radii" for t in (0.5, 1.0, 1.5, 2.0, 3.0))]
    caption = "Mean (sd) over seeds; lower bounds: maxima found by a search."
    return [{"name": "flatness", "caption": caption, "columns": columns, "rows": rows}]


def draw(findings: Findings, folder: Path, home: Home) -> None:
    """The figure of `cgro flatness`, over seeds."""
    for data, own in measured(findings["scale"]).items():
        runs = [run for run in map(home.found, own) if run is not None]
        if runs:
            curves = [run.summary["flatness"] for run in runs]
            by_radius(folder / data, read_value(curves, "flatness", list[FlatnessRecord]))
