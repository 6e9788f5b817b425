"""One self-contained HTML file about one or several runs: verdict first, no network, prints, readable by a screen reader."""

import base64
import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from itertools import compress
from typing import Any

import numpy as np

from cgro import __version__
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
        epochs: what the values are drawn along. series: label, color, dash, values; None where none was measured, as between
            the evaluations of a run: the line goes on to the next.
        marks: epoch, label, color: vertical lines. along: the name of the horizontal axis.
    """
    measured = _measured(series)
    epochs = list(compress(epochs, measured))
    series = [{**s, "values": list(compress(s["values"], measured))} for s in series]
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
    if span <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(span / n))
    return next(round(m * power, 12) for m in (1, 2, 5, 10) if span / (m * power) <= n + 1e-9)


def card(run: Run, diagnosis: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Everything about one run that the page shows; also the machine-readable card.

    Args:
        run: finished. diagnosis: `Diagnosis.to_dict()`, where there is one.
    """
    result, config = run.summary, run.config
    rows = _rows(run)
    label = (diagnosis or result["verdict"] or {}).get("label", "none")
    reason = (diagnosis or result["verdict"] or {}).get("reason", result["outcome"]["reason"])
    return plain(
        {
            "name": run.path.name, "command": result["command"], "verdict": {"label": label, "reason": reason},
            "diagnosis": diagnosis, "threat": result["threat"], "outcome": result["outcome"],
            "metrics": [_metric(key, value) for key, value in result["metrics"].items()],
            "curves": _curves(rows), "references": references(config, rows), "config": config,
            "environment": _environment(run), "flatness": _flatness(result["metrics"]),
            "strong": result.get("curves", {}), "flatness_curves": _by_radius(result.get("flatness")),
        }
    )  # fmt: skip


def _environment(run: Run) -> dict[str, Any]:
    import json

    return json.loads((run.path / "environment.json").read_text())


def _rows(run: Run) -> list[dict[str, Any]]:
    """Evaluated epochs; over several seeds the mean of each number."""
    parts = [Run(p).rows() for p in sorted(run.path.glob("seed-*"))] or [
        [r for r in run.rows() if r.get("part", 0) == 0]
    ]
    by_epoch: dict[float, list[dict[str, Any]]] = {}
    for row in (r for part in parts for r in part if "epoch" in r):
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
        return {"key": key, "value": m["mean"], "interval": None, "n": f"{len(m['per_seed'])} seeds",
                "proves": f"mean over seeds, sd {m['sd']:.4f}" if m["sd"] is not None else "mean over seeds", "attack": ""}  # fmt: skip
    proves = PROVES.get(m.get("bound") or "", "" if m.get("p_value") is None else f"p = {m['p_value']:.2g}")
    return {"key": key, "value": m.get("value"), "interval": m.get("interval"), "n": m.get("n") or "", "proves": proves,
            "attack": m.get("attack") or ""}  # fmt: skip


def _flatness(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Flatness by part, kind and radius, where the run has it."""
    found = []
    for key, m in metrics.items():
        if key.startswith("flatness/"):
            _, kind, place = key.split("/", 2)
            found.append({"kind": kind, "place": place, "value": m.get("value", m.get("mean"))})
    return found


def _by_radius(curves: Any) -> dict[str, Any]:
    """Flatness of the last checkpoint against the radius, as `cgro flatness` keeps it in a run."""
    if not isinstance(curves, Mapping):
        return {}
    parts = curves["checkpoints"][-1]["parts"]
    values = {m: {part: [a["value"] for a in p[m]] for part, p in parts.items()} for m in ("gradient", "rise")}
    return {"radii": curves["radii"], "training_radius": curves["training_radius"], **values}


def references(config: Mapping[str, Any], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Published numbers of the same setting beside ours, in percent; empty where none matches."""
    top, _, bottom = str(config.get("radius") or "nan").partition("/")
    radius = float(top) / float(bottom or 1)
    errors = [100 * row["robust_error/test"] for row in rows if "robust_error/test" in row]
    for (data, model, p, theirs), values in REFERENCES.items():
        same = (config.get("data"), config.get("model"), str(config.get("p"))) == (data, model, p)
        if same and abs(radius - theirs) < 1e-6 and config.get("width") in (None, 64) and errors:
            ours = {"mean of the last five": float(np.mean(errors[-5:])), "selected on test": min(errors)}
            return [{"what": k, "ours": ours[k], "theirs": v, "delta": ours[k] - v} for k, v in values.items()]
    return []


def examples(run: Run) -> list[dict[str, Any]]:
    """Adversarial examples of `examples.npz` as data URIs, with both predictions."""
    sources = [run.path / "examples.npz", *sorted(run.path.glob("seed-*/examples.npz"))]
    source = next((s for s in sources if s.exists()), None)
    if source is None:
        return []
    with np.load(source, allow_pickle=False) as arrays:
        a = {k: arrays[k] for k in arrays.files}
    names = [str(c) for c in a["classes"]]
    label = (lambda k: names[(int(k) + 1) // 2]) if bool(a["binary"]) else (lambda k: names[int(k)])
    return [
        {
            "clean": png(_image(a["x"][i])), "attacked": png(_image(a["x_adv"][i])), "truth": label(a["y"][i]),
            "before": label(a["prediction"][i]), "after": label(a["prediction_adv"][i]),
            "wrong": bool(a["prediction_adv"][i] != a["y"][i]),
        }
        for i in range(len(a["x"]))
    ]  # fmt: skip


def _image(x: np.ndarray) -> np.ndarray:
    return x[0] if len(x) == 1 else np.moveaxis(x, 0, -1)


def html(cards: Sequence[Mapping[str, Any]], pictures: Sequence[Sequence[Mapping[str, Any]]]) -> str:
    """The page.

    Args:
        cards: one a run. pictures: the adversarial examples of each.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = Environment(loader=PackageLoader("cgro.report", "."), autoescape=True, undefined=StrictUndefined,
                         trim_blocks=True, lstrip_blocks=True)  # fmt: skip
    runs = [_drawn(c, p) for c, p in zip(cards, pictures, strict=True)]
    rows = [key for key in ("clean_error/train", "clean_error/test", "robust_error/train", "robust_error/test")
            if any(key in run["table"] for run in runs)]  # fmt: skip
    return loader.get_template("page.html").render(runs=runs, rows=rows, version=__version__)


def _drawn(c: Mapping[str, Any], pictures: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A card with its charts."""
    d, curves = c["diagnosis"] or {}, c["curves"]
    made: list[dict[str, Any]] = []
    shown = [{"label": text, "color": color, "dash": dash, "values": _percent(curves[key])}
             for key, text, color, dash in SERIES if key in curves]  # fmt: skip
    if sum(_measured(shown)) > 1:
        marks = [{"epoch": e, "label": "lr drop", "color": "#595959"} for e in d.get("drops", ())]
        if d.get("rise") and d["label"] == "robust_overfitting":
            marks.append({"epoch": d["rise"]["onset"], "label": f"onset {d['rise']['onset']:g}", "color": "#00664d"})
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
    return {**c, "charts": made, "pictures": pictures, "table": table, "radius": radius, "lint": d.get("lint", []),
            "findings": d.get("findings", []), "remedies": d.get("remedies", [])}  # fmt: skip


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
    if not curves or len(curves["radii"]) < 2:
        return []
    marks = [{"epoch": curves["training_radius"], "label": "training radius", "color": "#595959"}]
    titles = {
        "gradient": "Flatness: largest gradient in the ball",
        "rise": "Flatness: largest rise of the loss in the ball",
    }
    units = {"gradient": "dual norm, lower bound", "rise": "loss, lower bound"}
    looks = {"train": (BLUE, "7 4"), "test": (RED, ""), "between": (PURPLE, "2 3")}
    return [
        {
            "title": titles[measure], "unit": units[measure],
            **chart(curves["radii"], [
                {"label": part, "color": looks[part][0], "dash": looks[part][1], "values": values}
                for part, values in curves[measure].items()
            ], marks, along="radius"),
        }
        for measure in ("gradient", "rise")
    ]  # fmt: skip


def _percent(values: Sequence[float | None]) -> list[float | None]:
    return [None if v is None else round(100 * v, 3) for v in values]
