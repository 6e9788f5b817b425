"""Table 1: adversarial training at several widths, MNIST and CIFAR-10, and why narrow LeNets are constant."""

import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cgro.experiments import networks
from cgro.experiments.artifact import Findings, Table, accuracy
from cgro.experiments.claims import Claim, Sample, above, below, unjudged, untested, value
from cgro.experiments.jobs import Home, Job, Scale
from cgro.report.experiments import width_curves
from cgro.report.reproduction import cell

NAME = "table1"
TITLE = "Table 1: adversarial training at several widths"
PAPER: dict[str, Any] = {
    "mnist": {1: (11.35, 11.35, 11.70), 8: (11.35, 11.35, 11.70), 12: (95.06, 77.96, 99.30), 16: (94.85, 83.43, 99.50)},
    "cifar10": {1: (82.56, 43.39, 64.19), 5: (85.83, 46.25, 97.37), 10: (86.05, 50.08, 99.57)},
}  # fmt: skip
CAPTIONS = {
    "mnist": "MNIST, LeNet by width, l_inf 0.3: the paper (open) and ours (filled, bars one standard deviation; "
    "at scales cpu and gpu with the radius warmed up).",
    "cifar10": "CIFAR-10 by width, l_inf 8/255: the paper's WRN-34 (open) and our networks (filled).",
}
COLUMNS = ("clean_test", "robust_test", "robust_train")
KEYS = {"clean_test": "clean_error/test", "robust_test": "robust_error/test", "robust_train": "robust_error/train"}
CONSTANT = 11.35
"""Percent of MNIST's test images that are ones: the accuracy of answering 1 always."""
BUDGET = (
    "the paper's recipe is unpublished and its networks and training sets are larger than this scale's: the numbers are not "
    "comparable, the orders are judged below"
)
PLATEAU = (
    "which networks are constant depends on the start: compare those whose radius was warmed up in the table of starts"
)
DEAR = 600
"""Seconds of training, as jobs estimate them, above which the ensemble judges the first seed only."""
BASE = 16
"""Channels of the first stage of WRN-d-1; a PreActResNet has as many there as its width says."""
FIXED = 2.0
"""Points of clean test accuracy within which networks count as equally accurate: a choice."""
STARTS = {1: ("-warm", "-sgd", "-sgd-warm", "-long"), 2: ("", "-warm", "-sgd", "-sgd-warm")}
"""Widths at which the constant solution is looked into, beside the table's own: is it capacity, or optimization?"""


def _mnist(scale: Scale) -> dict[str, list[Job]]:
    """The table's widths; at `cpu` and `gpu` all of them with the radius warmed up as well, and the further starts."""
    widths, more = networks.MNIST_WIDTHS[scale], scale in ("cpu", "gpu")
    starts = {w: STARTS.get(w, ("-warm",)) for w in (*widths, 2)} if more else {1: ("-warm",)}
    main = {f"{w}": networks.mnist(scale, w) for w in widths}
    return main | {f"{w}{v}": networks.mnist(scale, w, v) for w, own in starts.items() for v in own}


def _cifar(scale: Scale) -> dict[str, list[Job]]:
    return {f"{w}": networks.cifar(scale, w) for w in networks.CIFAR_WIDTHS[scale]}


def _families(scale: Scale) -> dict[str, dict[str, list[Job]]]:
    return {"cifar10": _cifar(scale), "mnist": _mnist(scale)}


def _judged_twice(scale: Scale, own: list[Job]) -> list[dict[str, Job]]:
    """By PGD and by the ensemble; the first seed only at `smoke`, and of `DEAR` networks."""
    first_only = scale == "smoke" or own[0].seconds > DEAR
    return [networks.beside(scale, job) for job in own[: 1 if first_only else None]]


def jobs(scale: Scale) -> list[Job]:
    """Both families and the starts of narrow LeNets; each width is judged twice while its networks are there: none is stored."""
    made: list[Job] = []
    for own in (own for parts in _families(scale).values() for own in parts.values()):
        made += [*own, *(job for pair in _judged_twice(scale, own) for job in pair.values())]
    return made


def run(scale: Scale, home: Home) -> Findings:
    """Accuracies in percent, per width and seed."""
    found: Findings = {"scale": scale, "data": {}}
    for family, parts in _families(scale).items():
        found[family] = {}
        for width, own in parts.items():
            results = [run.summary for run in home.finished(own).values()]
            found[family][width] = {
                **{c: [accuracy(r["metrics"][k]["value"]) for r in results] for c, k in KEYS.items()},
                "outcome": [r["outcome"]["kind"] for r in results], "n_test": results[0]["metrics"]["robust_error/test"]["n"],
                "verdict": [(r["verdict"] or {}).get("label") for r in results],
                "n_parameters": results[0]["model"]["n_parameters"], "data": results[0]["data"]["name"],
                "beside": _beside(home, _judged_twice(scale, own)),
            }  # fmt: skip
    return found


def _beside(home: Home, pairs: list[dict[str, Job]]) -> dict[str, Any]:
    """Robust test accuracy under PGD and under the ensemble, on the same images, by seed."""
    metrics = [{k: home.make(job).summary["metrics"]["robust_error/test"] for k, job in pair.items()} for pair in pairs]
    return {**{k: [accuracy(m[k]["value"]) for m in metrics] for k in ("pgd", "ensemble")},
            "n": metrics[0]["ensemble"]["n"]}  # fmt: skip


def check(findings: Findings, paper: Mapping[str, Any] = PAPER) -> list[Claim]:
    """The table's values where the recipe is the paper's, and its reading at every scale."""
    scale, claims = findings["scale"], []
    widths = {family: judged_widths(findings[family]) for family in ("mnist", "cifar10")}
    claims += _constant(findings, paper)
    for family, own in widths.items():
        claims += _values(family, own, paper[family], scale)
        claims += [*_reading(family, own), *_orders(family, own)]
    return unjudged(claims, networks.STAND_IN) if scale == "smoke" else claims


def judged_widths(parts: Mapping[str, Any]) -> dict[int, Any]:
    """Networks that are alike but for their width, narrowest first: with the radius warmed up if all are there so, else as trained.

    A network that sits in the constant solution says nothing of capacity, and which of them does is a matter of its start.
    """
    plain = {int(w): p for w, p in parts.items() if w.isdigit()}
    starts = {w.removesuffix("-warm"): p for w, p in parts.items() if w.endswith("-warm")}
    warm = {int(w): p for w, p in starts.items() if w.isdigit()}
    return dict(sorted((warm if set(plain) <= set(warm) else plain).items()))


def _constant(findings: Findings, paper: Mapping[str, Any]) -> list[Claim]:
    """Are narrow LeNets constant, and would they be with a warmed-up radius?"""
    claims = []
    for width in (1, 8):
        part = findings["mnist"].get(f"{width}")
        if part:
            share = CONSTANT / 100
            noise = 0 if part["n_test"] == 10000 else 196 * math.sqrt(share * (1 - share) / part["n_test"])
            claims.append(value(
                f"table1/mnist_x{width}_constant", f"LeNet x{width} ends in the constant solution ({paper['mnist'][width][0]}%)",
                paper["mnist"][width][0], Sample.of(part["clean_test"]), why=PLATEAU, noise=noise,
            ))  # fmt: skip
    warm = findings["mnist"].get("1-warm")
    if warm:
        claims.append(below(
            "table1/mnist_capacity", "the constant solution of LeNet x1 is a matter of capacity (read as: with the radius warmed up "
            "its clean accuracy stays below 50%)", Sample.of(warm["clean_test"]), limit=50.0, paper="too narrow to fit", unit="%",
            why=PLATEAU,
        ))  # fmt: skip
    return claims


def _values(family: str, own: Mapping[int, Any], paper: Mapping[int, Any], scale: str) -> list[Claim]:
    """The printed accuracies of networks that learned: judged one by one at the paper's scale only."""
    if scale != "paper":
        text, ours = " / ".join(COLUMNS).replace("_", " "), list(own)[-1]
        printed = " / ".join(f"{v:g}%" for v in list(paper.values())[-1])
        shown = f"{' / '.join(cell(own[ours][c]) for c in COLUMNS)}% at x{ours}"
        words = f"{family}: the accuracies of the table ({text} at x{max(paper)}; all of them in the table below)"
        return [untested(f"table1/{family}_values", words, paper=printed, ours=shown, why=BUDGET)]
    claims = []
    for (width, printed), (_, part) in zip(paper.items(), _partners(family, own, paper), strict=False):
        for column, number in zip(COLUMNS, printed, strict=True):
            if number > 12:  # the constant solutions have a claim of their own
                words = f"{family} x{width}: {column.replace('_', ' ')} accuracy is {number}%"
                name = f"table1/{family}_x{width}_{column}"
                claims.append(value(name, words, number, Sample.of(part[column]), resolution=0.005))
    return claims


def _partners(family: str, own: Mapping[int, Any], paper: Mapping[int, Any]) -> list[tuple[int, Any]]:
    """Ours beside each of the paper's widths: the same number for LeNet, the same place for CIFAR-10."""
    if family == "cifar10":
        return list(own.items())
    last = list(own)[-1]
    return [(w if w in own else last, own.get(w, own[last])) for w in paper]


def _learned(own: Mapping[int, Any]) -> dict[int, Any]:
    """Widths of which every seed learned."""
    return {w: p for w, p in own.items() if all(_left_it(p))}


def _left_it(part: Mapping[str, Any]) -> list[bool]:
    """By seed: is it away from the constant solution?"""
    return [clean > 2 * CONSTANT for clean in part["clean_test"]]


def _gaps(part: Mapping[str, Any]) -> list[float]:
    return [a - b for a, b in zip(part["robust_train"], part["robust_test"], strict=True)]


def _reading(family: str, own: Mapping[int, Any]) -> list[Claim]:
    """Robust training accuracy rises with width; the robust gap first opens, then closes."""
    narrow, wide = own[min(own)], own[max(own)]
    rise = [b - a for a, b in zip(narrow["robust_train"], wide["robust_train"], strict=True)]
    claims = [above(f"table1/{family}_rises", f"{family}: robust training accuracy rises with width (widest minus narrowest, "
                    "paired by seed)", Sample.of(rise), paper="rises")]  # fmt: skip
    mean = {w: Sample.of(_gaps(p)).mean for w, p in own.items()}
    top = max(mean, key=lambda w: mean[w])
    opened = [b - a for a, b in zip(_gaps(narrow), _gaps(own[top]), strict=True)]
    claims.append(above(f"table1/{family}_opens", f"{family}: the robust gap first opens with width (largest, at x{top}, minus "
                        "narrowest)", Sample.of(opened), paper="opens"))  # fmt: skip
    closed = [a - b for a, b in zip(_gaps(own[top]), _gaps(wide), strict=True)]
    name, words = f"table1/{family}_closes", f"{family}: and then slowly closes (largest minus widest)"
    if top == max(own):
        why = f"the gap still opens at the widest network, x{top}: the turn, if any, lies beyond"
        claims.append(untested(name, words, paper="closes", ours=f"largest gap at x{top}", why=why))
    else:
        claims.append(above(name, words, Sample.of(closed), paper="closes"))
    return claims


def _orders(family: str, own: Mapping[int, Any]) -> list[Claim]:
    """Does robust training error fall before the gap opens: over the first step of width, and at fixed clean accuracy?"""
    learned = list(_learned(own))
    clean = {w: Sample.of(own[w]["clean_test"]).mean for w in own}
    alike = [w for w in learned if abs(clean[w] - clean[max(own)]) <= FIXED]
    return [
        _order(f"table1/{family}_order", f"{family}: robust training accuracy rises before the robust gap opens (its rise over the "
               "first step of width between networks that learned exceeds the rise of the gap)", own, learned[:2], PLATEAU),
        _order(f"table1/{family}_order_at_fixed_clean", f"{family}: and at fixed clean accuracy (from the narrowest network within "
               f"{FIXED:g} points of the widest)", own, [*alike[:1], *alike[1:][-1:]], "no narrower network is as accurate"),
    ]  # fmt: skip


def _order(name: str, words: str, own: Mapping[int, Any], widths: list[int], lacking: str) -> Claim:
    paper = "first the one, then the other"
    if len(widths) < 2:
        return untested(name, words, paper=paper, ours="fewer than two widths", why=lacking)
    a, b = (own[w] for w in widths)
    rise = [v - u for u, v in zip(a["robust_train"], b["robust_train"], strict=True)]
    gap = [v - u for u, v in zip(_gaps(a), _gaps(b), strict=True)]
    clean = Sample.of([v - u for u, v in zip(a["clean_test"], b["clean_test"], strict=True)]).mean
    return above(name, f"{words}; from x{widths[0]} to x{widths[1]} it rises by {Sample.of(rise).mean:.1f} points, the gap by "
                 f"{Sample.of(gap).mean:.1f}, clean accuracy by {clean:.1f}", Sample.of([r - g for r, g in zip(rise, gap, strict=True)]),
                 paper=paper, why="the two rise together: what is gained on training images is not gained on test images")  # fmt: skip


def tables(findings: Findings) -> list[Table]:
    """The paper's rows and ours; LeNets from every start; the ensemble."""
    cifar10, mnist = ([(*_named(w), p) for w, p in _by_width(findings[family])] for family in ("cifar10", "mnist"))
    own = [*cifar10, *mnist]
    rows = [[family, f"x{w}", "paper", *(f"{v:.2f}" for v in p), "", "", ""]
            for family, part in PAPER.items() for w, p in part.items()]  # fmt: skip
    rows += [[p["data"], width, "ours, warm" if start else "ours", *(cell(p[c]) for c in COLUMNS), len(p["outcome"]), p["n_test"],
              f"{p['n_parameters']:,}"] for width, start, p in own if start in ("", "warm")]  # fmt: skip
    strong = [[p["data"], width, start, cell(b["pgd"]), cell(b["ensemble"]),
               cell([x - y for x, y in zip(b["pgd"], b["ensemble"], strict=True)]), len(b["pgd"]), b["n"]]
              for width, start, p in own for b in (p["beside"],)]  # fmt: skip
    accuracies = ["clean test %", "robust test %", "robust train %"]
    return [
        {"name": "table1", "caption": "Mean (sd) over seeds; robust accuracies under PGD, so upper bounds on the true ones. Warm: the "
         "radius was warmed up; orders by width are judged on these where all widths have them.",
         "columns": ["data", "width", "whose", *accuracies, "seeds", "test images", "parameters"], "rows": rows},
        {"name": "starts", "caption": "LeNets from every start: Adam unless SGD is said; the radius warmed up (warm) or not; three times as "
         "many epochs (long). How many seeds left the constant solution, and the accuracies of those, least to largest.",
         "columns": ["width", "parameters", "start", "left it", *accuracies],
         "rows": [_start(width, start, p) for width, start, p in mnist]},
        {"name": "ensemble", "caption": "Robust test accuracy (%) under PGD and under the strong ensemble, on the same first test "
         "images of every seed judged twice: what PGD flatters each network by.",
         "columns": ["data", "width", "start", "PGD", "ensemble", "difference", "seeds", "images"], "rows": strong},
    ]  # fmt: skip


def _by_width(parts: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return sorted(parts.items(), key=lambda part: int(part[0].partition("-")[0]))


def _named(network: str) -> tuple[str, str]:
    """Width and start.

    >>> _named("1-sgd-warm")
    ('x1', 'SGD, warm')
    """
    width, _, start = network.partition("-")
    return f"x{width}", start.replace("-", ", ").replace("sgd", "SGD")


def _start(width: str, start: str, part: Mapping[str, Any]) -> list[Any]:
    """How many seeds learned from it, and what those reached: means over both would be of neither."""
    learned = _left_it(part)
    reached = [list(itertools.compress(part[c], learned)) for c in COLUMNS]
    return [width, f"{part['n_parameters']:,}", start or "plain", f"{sum(learned)} of {len(learned)}",
            *(" to ".join(f"{v:.1f}" for v in dict.fromkeys((min(r), max(r)))) if r else "" for r in reached)]  # fmt: skip


def draw(findings: Findings, folder: Path, home: Home) -> None:
    """Figure 2 (a) and (b): Table 1 as curves."""
    own, paper = judged_widths(findings["cifar10"]), {BASE * w: row for w, row in PAPER["cifar10"].items()}
    channels = {BASE * w: p for w, p in own.items()} if findings["scale"] == "paper" else own
    width_curves(
        folder / "mnist", judged_widths(findings["mnist"]), PAPER["mnist"], "MNIST, LeNet, l_inf 0.3", "width of LeNet"
    )
    width_curves(folder / "cifar10", channels, paper, "CIFAR-10, l_inf 8/255", "channels of the first stage")
