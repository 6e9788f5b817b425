"""One self-contained HTML file about one or several runs: verdict first, no network, prints, readable by a screen reader."""

import base64
import functools
import hashlib
import itertools
import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cgro import __version__
from cgro._check import BadRequest, bad, number, one_line
from cgro.reading import read_json_object
from cgro.report.examples import Examples, image_of, read_examples
from cgro.report.shape import EXTENDED, INTERVAL, NUMBER, SHALLOW, SHARE, TEXT, Maybe, fault_in, require
from cgro.report.style import BLUE, ORANGE, PURPLE, RED
from cgro.runs import Run, plain

SERIES = (
    ("robust_error/test", "robust error, test", RED, ""), ("robust_error/train", "robust error, train", RED, "7 4"),
    ("robust_error/validation", "robust error, validation", ORANGE, "2 3"),
    ("clean_error/test", "clean error, test", BLUE, ""), ("clean_error/train", "clean error, train", BLUE, "7 4"),
)  # fmt: skip
PROVES = {
    "lower": "at least this: an attack found these examples", "upper": "at most this: all others are certified",
    "exact": "exactly this, on these examples",
}  # fmt: skip
WIDE, HIGH, LEFT, BOTTOM = 720, 320, 52, 52
MOST_EXAMPLES = 64
LONGEST_SIDE = 1024
MOST_VALUES = 1 << 25
"""Adversarial examples that a page takes: together about 90 MB of it. A choice; a training keeps 8."""
LONGEST_TEXT = 10_000
"""Characters of one text that the page shows. A choice; descriptions of ensembles have some hundreds."""

_METRIC = {
    "value": Maybe(EXTENDED), "mean": Maybe(EXTENDED), "sd": Maybe(EXTENDED), "interval": Maybe(INTERVAL),
    "n": Maybe(EXTENDED), "bound": Maybe(TEXT), "p_value": Maybe(NUMBER), "attack": Maybe(TEXT),
    "per_seed": Maybe([SHALLOW]),
}  # fmt: skip
_CHECK = dict.fromkeys(("name", "status", "finding", "meaning", "remedy"), TEXT)
_DIAGNOSIS = {
    "label": TEXT, "reason": TEXT, "drops": Maybe([NUMBER]), "rise": Maybe({"onset": NUMBER}),
    "findings": Maybe([TEXT]), "remedies": Maybe([TEXT]), "lint": Maybe([_CHECK]),
}  # fmt: skip
_SUMMARY = {
    "command": TEXT, "verdict": Maybe({"label": TEXT, "reason": TEXT}), "outcome": {"reason": TEXT},
    "threat": Maybe({"radius": Maybe(NUMBER)}), "metrics": {...: _METRIC}, "diagnoses": Maybe([_DIAGNOSIS]),
    "curves": Maybe({...: {...: [{"epoch": NUMBER, "value": SHARE}]}}),
}  # fmt: skip
_ROW = {"epoch": NUMBER, "lr": Maybe(NUMBER), **{key: Maybe(SHARE) for key, *_ in SERIES}}
_FLATNESS = {
    "radii": [NUMBER], "training_radius": NUMBER,
    "checkpoints": [{"parts": {...: {"gradient": [{"value": NUMBER}], "rise": [{"value": NUMBER}]}}}],
}  # fmt: skip

# CIFAR-10, l_inf 8/255, PGD-10, 200 epochs: Rice, Wong and Kolter, ICML 2020. Robust test error in %.
REFERENCES = {
    ("cifar10", model, "inf", 8 / 255): {"mean of the last five": last, "selected on test": lowest}
    for model, last, lowest in (
        ("preactresnet", 53.92, 46.51), ("wrn-34-1", 51.33, 50.11), ("wrn-34-5", 53.13, 45.00),
        ("wrn-34-10", 51.38, 43.20), ("wrn-34-20", 48.83, 41.84),
    )
}  # fmt: skip


def png(image: np.ndarray) -> str:
    """A data URI of an image (H, W) or (H, W, 3) in [0, 1]; PNG written by hand, 8 bits a channel.

    >>> png(np.zeros((2, 2)))[:22]
    'data:image/png;base64,'
    """
    pixels = np.clip(np.round(255 * image), 0, 255).astype(np.uint8)
    high, wide = pixels.shape[:2]
    raw = b"".join(b"\0" + row.tobytes() for row in pixels)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", wide, high, 8, 2 if pixels.ndim == 3 else 0, 0, 0, 0)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(raw, 9)), chunk(b"IEND", b""))
    return "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"".join(parts)).decode()


def chart(
    epochs: Sequence[float], series: Sequence[Mapping[str, Any]], marks: Sequence[Mapping[str, Any]] = (),
    along: str = "epoch",
) -> dict[str, Any]:  # fmt: skip
    """Where everything of a line chart goes, in the units of an SVG of WIDE x HIGH.

    Args:
        epochs: what the values are drawn along.
        series: label, color, dash, values; None where none was measured, as between the evaluations of a run: the line
            goes on to the next.
        marks: epoch, label, kind, color: vertical lines.
        along: the name of the horizontal axis.
    """
    measured = _measured(series)
    epochs = list(itertools.compress(epochs, measured))
    series = [{**s, "values": list(itertools.compress(s["values"], measured))} for s in series]
    known = [v for s in series for v in s["values"] if v is not None]
    low, high = min(0.0, *known), max(known)
    step = _round_step(high - low, 7)
    high = step * math.ceil(high / step + 1e-9)
    low = step * math.floor(low / step)
    first, last = float(epochs[0]), float(epochs[-1])

    def at_x(epoch: float) -> float:
        return LEFT + (WIDE - LEFT - 10) * (epoch - first) / max(last - first, 1e-9)

    def at_y(value: float) -> float:
        return 8 + (HIGH - BOTTOM - 8) * (high - value) / max(high - low, 1e-9)

    lines = []
    for s in series:
        points = [f"{at_x(e):.1f} {at_y(v):.1f}" for e, v in zip(epochs, s["values"], strict=True) if v is not None]
        lines.append({**s, "path": "M" + "L".join(points) if points else ""})
    ticks = [
        {"y": round(at_y(low + k * step), 1), "text": f"{low + k * step:g}"}
        for k in range(round((high - low) / step) + 1)
    ]
    wide = _round_step(last - first, 8) if along != "epoch" else max(1.0, _round_step(last - first, 8))
    start = wide * math.ceil(first / wide)
    places = [{"x": round(at_x(e), 1), "text": f"{e:g}"} for e in np.arange(start, last + 1e-9, wide)]
    drawn = [{**m, "x": round(at_x(m["epoch"]), 1)} for m in marks if first <= m["epoch"] <= last]
    return {"lines": lines, "ticks": ticks, "places": places, "marks": drawn, "xs": [round(at_x(e), 1) for e in epochs],
            "epochs": [float(e) for e in epochs], "along": along, "wide": WIDE, "high": HIGH, "left": LEFT, "bottom": BOTTOM}  # fmt: skip


def _measured(series: Sequence[Mapping[str, Any]]) -> list[bool]:
    """By epoch: was any of the series measured there?"""
    return [any(v is not None for v in at) for at in zip(*(s["values"] for s in series), strict=True)]


def _round_step(span: float, n: int) -> float:
    """The least of 1, 2 and 5 times a power of ten that cuts a span into at most n pieces.

    >>> [_round_step(s, 7) for s in (0.0, 0.3, 6, 100)]
    [1.0, 0.05, 1.0, 20.0]
    """
    if span <= 1e-300:  # its logarithm is none, or that of its pieces
        return 1.0
    power = 10.0 ** math.floor(math.log10(span / n))
    return next(round(m * power, 12) for m in (1, 2, 5, 10) if span / (m * power) <= n + 1e-9)


def read_summary(run: Run) -> dict[str, Any]:
    """The result of a run, with every part that the page shows of the right shape.

    Args:
        run: finished; others may have made it.

    Returns:
        The content of `summary.json`.

    Raises:
        BadRequest: the run is unfinished, or its summary is damaged or of another shape.
    """
    found = run.summary
    require(found, _SUMMARY, str(run.path / "summary.json"))
    if found["command"] == "diagnose" and not found.get("diagnoses"):
        raise fault_in(str(run.path / "summary.json"), ".diagnoses", "one or more diagnoses", "none")
    return found


def csp_hash(text: str) -> str:
    """The source expression by which a content security policy allows one inline script or style.

    >>> csp_hash("")
    'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='
    """
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def card(run: Run, diagnosis: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Everything about one run that the page shows; also the machine-readable card.

    Args:
        run: finished; others may have made it.
        diagnosis: `Diagnosis.to_dict()`, where there is one.

    Returns:
        Plain values; texts are as the run has them.

    Raises:
        BadRequest: a file of the run is damaged or of another shape; names the file.
    """
    result = read_summary(run)
    config = run.config
    require(config, {...: SHALLOW}, str(run.path / "config.yaml"))
    environment = read_json_object(run.path / "environment.json", follow=False)
    require(environment, {...: SHALLOW}, str(run.path / "environment.json"))
    rows = _rows(run)
    verdict = diagnosis or result.get("verdict") or {"label": "none", "reason": result["outcome"]["reason"]}
    return plain(
        {
            "name": run.path.name, "command": result["command"],
            "verdict": {"label": verdict["label"], "reason": verdict["reason"]},
            "diagnosis": diagnosis, "threat": result.get("threat"), "outcome": result["outcome"],
            "metrics": [_metric(key, value) for key, value in result["metrics"].items()],
            "curves": _curves(rows), "references": references(config, rows), "config": config,
            "environment": environment, "flatness": _flatness(result["metrics"]),
            "strong": result.get("curves") or {}, "flatness_curves": _by_radius(run, result.get("flatness")),
        }
    )  # fmt: skip


def _rows(run: Run) -> list[dict[str, Any]]:
    """Evaluated epochs; over several seeds the mean of each number."""
    seeds = [Run(path) for path in sorted(run.path.glob("seed-*"))]
    parts = [_checked_rows(one) for one in seeds or [run]]
    by_epoch: dict[float, list[dict[str, Any]]] = {}
    for row in itertools.chain.from_iterable(parts):
        by_epoch.setdefault(row["epoch"], []).append(row)
    keys = [s[0] for s in SERIES] + ["lr"]
    merged = []
    for epoch, rows in sorted(by_epoch.items()):
        row: dict[str, Any] = {"epoch": epoch}
        for key in keys:
            values = [r[key] for r in rows if r.get(key) is not None]
            if values and len(rows) == len(parts):
                row[key] = float(np.mean(values))
        if len(row) > 1:
            merged.append(row)
    return merged


def _checked_rows(run: Run) -> list[dict[str, Any]]:
    """Rows of a run at epochs; of a diagnosis of several trainings the first one's."""
    what = str(run.path / "metrics.jsonl")
    rows = run.rows()
    require(rows, [{...: SHALLOW}], what)
    found = [row for row in rows if row.get("part", 0) == 0 and "epoch" in row]
    require(found, [_ROW], what)
    return found


def _curves(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    names = [s[0] for s in SERIES if any(s[0] in row for row in rows)] + ["lr"]
    return (
        {"epoch": [row["epoch"] for row in rows], **{k: [row.get(k) for row in rows] for k in names}}
        if names[:-1]
        else {}
    )


def _metric(key: str, m: Mapping[str, Any]) -> dict[str, Any]:
    """One line of the table of numbers."""
    if "mean" in m:
        spread = "" if m.get("sd") is None else f", sd {digits(m['sd'], '%.4f')}"
        return {"key": key, "value": m["mean"], "interval": None, "n": f"{len(m.get('per_seed') or [])} seeds",
                "proves": "mean over seeds" + spread, "attack": ""}  # fmt: skip
    proves = PROVES.get(m.get("bound") or "", "" if m.get("p_value") is None else f"p = {m['p_value']:.2g}")
    return {"key": key, "value": m.get("value"), "interval": m.get("interval"), "n": m.get("n") or "", "proves": proves,
            "attack": m.get("attack") or ""}  # fmt: skip


def _flatness(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Flatness by part, kind and radius, where the run has it."""
    found = []
    for key, m in metrics.items():
        if key.startswith("flatness/"):
            kind, _, place = key.removeprefix("flatness/").partition("/")
            found.append({"kind": kind, "place": place, "value": m.get("value", m.get("mean"))})
    return found


def _by_radius(run: Run, curves: Any) -> dict[str, Any]:
    """Flatness of the last checkpoint against the radius, as `cgro flatness` keeps it in a run."""
    if not isinstance(curves, Mapping):
        return {}
    what = str(run.path / "summary.json")
    require({"flatness": curves}, {"flatness": _FLATNESS}, what)
    if not curves["checkpoints"]:
        raise fault_in(what, ".flatness.checkpoints", "one or more checkpoints", "none")
    parts = curves["checkpoints"][-1]["parts"]
    values = {m: {part: [a["value"] for a in p[m]] for part, p in parts.items()} for m in ("gradient", "rise")}
    n = len(curves["radii"])
    lengths = {len(line) for lines in values.values() for line in lines.values()}
    if lengths - {n}:
        raise fault_in(what, ".flatness.checkpoints", f"a value for each of {n} radii", f"{sorted(lengths)}")
    return {"radii": curves["radii"], "training_radius": curves["training_radius"], **values}


def references(config: Mapping[str, Any], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Published numbers of the same setting beside ours, in percent; empty where none matches."""
    try:
        radius = number(config.get("radius") or "none", "radius")
    except BadRequest:  # of a command that has none, or not as cgro writes it
        return []
    errors = [100 * row["robust_error/test"] for row in rows if "robust_error/test" in row]
    for (data, model, p, theirs), values in REFERENCES.items():
        same = (config.get("data"), config.get("model"), str(config.get("p"))) == (data, model, p)
        if same and abs(radius - theirs) < 1e-6 and config.get("width") in (None, 64) and errors:
            ours = {"mean of the last five": float(np.mean(errors[-5:])), "selected on test": min(errors)}
            return [{"what": k, "ours": ours[k], "theirs": v, "delta": ours[k] - v} for k, v in values.items()]
    return []


@dataclass(frozen=True)
class Pictures:
    """The adversarial examples of a run, for the page.

    Attributes:
        shown: per example data URIs of both images, names of its class and of both predictions, and whether the second
            one is wrong.
        left_out: why none is shown; empty if some are, or if the run has none.
    """

    shown: Sequence[Mapping[str, Any]] = ()
    left_out: str = ""


def examples(run: Run) -> Pictures:
    """The adversarial examples that a training kept, of several seeds the first one's.

    A file that is damaged, of another kind or too large for a page costs the examples, not the page: the verdict and the
    numbers do not depend on it.

    Args:
        run: of any command; only trainings keep examples.
    """
    if run.summary["command"] not in ("train", "quickstart"):
        return Pictures()
    sources = [run.path / "examples.npz", *sorted(run.path.glob("seed-*/examples.npz"))]
    source = next((s for s in sources if s.exists()), None)
    if source is None:
        return Pictures()
    try:
        found = read_examples(source)
        _require_small(found)
    except BadRequest as error:
        return Pictures(left_out=str(error).replace(str(source), str(source.relative_to(run.path))))
    return Pictures(
        [
            {
                "clean": png(image_of(found.x[i])), "attacked": png(image_of(found.x_adv[i])),
                "truth": found.truth[i], "before": found.before[i], "after": found.after[i],
                "wrong": not found.right_after[i],
            }
            for i in range(len(found))
        ]
    )  # fmt: skip


def _require_small(found: Examples) -> None:
    n, _, high, wide = found.x.shape
    if n > MOST_EXAMPLES or max(high, wide) > LONGEST_SIDE or found.x.size > MOST_VALUES:
        raise bad("examples.npz", expected=f"at most {MOST_EXAMPLES} images of at most {LONGEST_SIDE} pixels a side, "
                  f"{MOST_VALUES:,} values in all", got=f"shape {found.x.shape}")  # fmt: skip


def html(cards: Sequence[Mapping[str, Any]], pictures: Sequence[Pictures]) -> str:
    """Render the page.

    Its one script and its one style are allowed by their hash: nothing that a run could bring in runs, even if it were not
    escaped.

    Args:
        cards: of the runs; see `card`.
        pictures: the adversarial examples of each; see `examples`.

    Returns:
        The whole file, in characters that UTF-8 and a terminal know.
    """
    from markupsafe import Markup

    jinja = _templates()
    runs = [_drawn(c, p) for c, p in zip(_printable(cards), pictures, strict=True)]
    rows = [key for key in ("clean_error/train", "clean_error/test", "robust_error/train", "robust_error/test")
            if any(key in run["table"] for run in runs)]  # fmt: skip
    style, script = (jinja.loader.get_source(jinja, name)[0] for name in ("page.css", "page.js"))
    return jinja.get_template("page.html").render(
        runs=runs, rows=rows, version=__version__, style=Markup(style), style_hash=csp_hash(style),
        script=Markup(script), script_hash=csp_hash(script),
    )  # fmt: skip


@functools.cache
def _templates() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("cgro.report", ".")
    jinja = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    jinja.filters["digits"] = digits
    return jinja


def digits(value: Any, form: str) -> str:
    """A number of a summary as text: null is "none", and infinities, which are text in strict JSON, stay.

    >>> digits(0.25, "%.1f"), digits("inf", "%.1f"), digits(None, "%.1f")
    ('0.2', 'inf', 'none')
    """
    if value is None:
        return "none"
    return value if isinstance(value, str) else form % value


def _printable(value: Any) -> Any:
    """Plain values with every text, of keys too, on one line of printable characters."""
    if isinstance(value, Mapping):
        return {_printable(k): _printable(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_printable(v) for v in value]
    return one_line(value, LONGEST_TEXT) if isinstance(value, str) else value


def _drawn(c: Mapping[str, Any], pictures: Pictures) -> dict[str, Any]:
    """A card with its charts."""
    d, curves = c["diagnosis"] or {}, c["curves"]
    made: list[dict[str, Any]] = []
    shown = [{"label": text, "color": color, "dash": dash, "values": _percent(curves[key])}
             for key, text, color, dash in SERIES if key in curves]  # fmt: skip
    if sum(_measured(shown)) > 1:
        marks = [{"epoch": e, "label": "lr drop", "kind": "drop", "color": "#595959"} for e in d.get("drops") or ()]
        if d.get("rise") and d["label"] == "robust_overfitting":
            marks.append(
                {
                    "epoch": d["rise"]["onset"],
                    "label": f"onset {d['rise']['onset']:g}",
                    "kind": "onset",
                    "color": "#00664d",
                }
            )
        made.append({"title": "Learning curves", "unit": "error (%)", **chart(curves["epoch"], shown, marks)})
        if {"robust_error/test", "robust_error/train"} <= set(curves):
            gap = [None if a is None or b is None else 100 * (a - b)
                   for a, b in zip(curves["robust_error/test"], curves["robust_error/train"], strict=True)]  # fmt: skip
            line = [{"label": "robust test minus robust training error", "color": PURPLE, "dash": "", "values": gap}]
            if sum(_measured(line)) > 1:
                made.append(
                    {"title": "Robust generalization gap", "unit": "points", **chart(curves["epoch"], line, marks)}
                )
    made += _strong_chart(c["strong"]) + _flatness_charts(c["flatness_curves"])
    table = {m["key"]: m for m in c["metrics"]}
    radius = (c["threat"] or {}).get("radius")
    return {**c, "charts": made, "pictures": _labeled(pictures), "left_out": _printable(pictures.left_out), "table": table, "radius": radius, "lint": d.get("lint") or [],
            "findings": d.get("findings") or [], "remedies": d.get("remedies") or []}  # fmt: skip


def _labeled(pictures: Pictures) -> list[dict[str, Any]]:
    """The pictures with printable names; data URIs, which are long and ours, are left alone."""
    uris = ("clean", "attacked")
    return [{k: v if k in uris else _printable(v) for k, v in one.items()} for one in pictures.shown]


def _strong_chart(strong: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The robust error of every kept checkpoint by the attacks that `cgro evaluate --per-epoch` tried."""
    lines = [(f"{name}, {part}", part, rows) for name, parts in strong.items() for part, rows in parts.items()]
    epochs = sorted({row["epoch"] for _, _, rows in lines for row in rows})
    if len(epochs) < 2:
        return []
    shown = []
    for k, (label, part, rows) in enumerate(lines):
        known = {row["epoch"]: 100 * row["value"] for row in rows}
        color = (RED, BLUE, PURPLE, ORANGE)[k % 4]
        shown.append({"label": label, "color": color, "dash": "7 4" if part == "train" else "",
                      "values": [known.get(e) for e in epochs]})  # fmt: skip
    return [
        {"title": "Robust error of every kept checkpoint", "unit": "error, lower bound (%)", **chart(epochs, shown)}
    ]


def _flatness_charts(curves: Mapping[str, Any]) -> list[dict[str, Any]]:
    if not curves or len(curves["radii"]) < 2 or not curves["gradient"]:
        return []
    marks = [{"epoch": curves["training_radius"], "label": "training radius", "kind": "radius", "color": "#595959"}]
    titles = {
        "gradient": "Flatness: largest gradient in the ball",
        "rise": "Flatness: largest rise of the loss in the ball",
    }
    units = {"gradient": "dual norm, lower bound", "rise": "loss, lower bound"}
    looks = {
        "train": {"color": BLUE, "dash": "7 4"}, "test": {"color": RED, "dash": ""},
        "between": {"color": PURPLE, "dash": "2 3"},
    }  # fmt: skip
    other = {"color": ORANGE, "dash": "1 2"}
    return [
        {
            "title": titles[measure], "unit": units[measure],
            **chart(curves["radii"], [
                {"label": part, "values": values, **looks.get(part, other)}
                for part, values in curves[measure].items()
            ], marks, along="radius"),
        }
        for measure in ("gradient", "rise")
    ]  # fmt: skip


def _percent(values: Sequence[float | None]) -> list[float | None]:
    return [None if v is None else round(100 * v, 3) for v in values]
