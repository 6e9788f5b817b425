"""One self-contained HTML file about one or several runs: verdict first, for a screen, a screen reader and paper.

`page.html` is the frame, `run.html` what is shown of one run, `tables.html` and `chart.html` its parts; they lie beside
this file, as do the style and the script. What comes from a run is data: the templates escape it, and `printable_text`
brings every text that they write onto one line of printable characters.
"""

import base64
import functools
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import cycle

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from cgro import __version__
from cgro._check import one_line
from cgro.report.card import Card, Row, is_share
from cgro.report.chart import Chart, Line, Mark, line_chart
from cgro.report.curves import CURVES, ROBUST_TEST, ROBUST_TRAIN, Epoch
from cgro.report.diagnosis import explanation, words_of
from cgro.report.facts import missing
from cgro.report.pictures import Pictures
from cgro.report.side_by_side import ERRORS, Difference, robust_curves
from cgro.report.style import COMPARED, FLATNESS, GAP, INK, MARK, ROBUST, TEXT_MARK
from cgro.report.values import drawable
from cgro.results import CheckRecord, DiagnosisRecord, EpochRecord

LONGEST_TEXT = 10_000
"""Characters of one text that the page shows. A choice; descriptions of ensembles have some hundreds."""
WITHOUT_LINT = (
    "data",
    "separation",
    "lower-bound",
    "dynamics",
    "memorize",
    "flatness",
    "memory",
    "compare",
    "reproduce",
)
"""Commands that measure no robust error of a network by an attack."""
GOOD = ("robust", "reproduced")
UNDECIDED = (
    "none",
    "too_little_evidence",
    "derived",
    "partly",
    "cannot be told",
    "cannot be tested at this scale",
)
"""Labels of a verdict that is neither good nor bad."""


@dataclass(frozen=True)
class RunView:
    """One run as the templates show it.

    Attributes:
        card: the run.
        tone: the class of its verdict in page.css: "good", "bad" or empty.
        headline: the label in words; "none" where there is none.
        sentence: why.
        judges: whether its numbers are robust errors of a network, of which the lint says whether to believe them.
        main: the chart below the verdict; None where there is none.
        charts: the others, in their order.
        not_known: what the run does not say of itself.
        pictures: its adversarial examples.
        table: the numbers by name.
        diagnosis: None where there is none.
        lint: findings of the evaluation lint; empty if it was not run.
        radius: of the threat; None where there is none.
    """

    card: Card
    tone: str
    headline: str
    sentence: str
    judges: bool
    main: Chart | None
    charts: Sequence[Chart]
    not_known: Sequence[str]
    pictures: Pictures
    table: dict[str, Row]
    diagnosis: DiagnosisRecord | None
    lint: Sequence[CheckRecord]
    radius: float | None

    @property
    def warned(self) -> list[str]:
        """Names of the checks that warn."""
        return [check.name for check in self.lint if check.status == "WARN"]


def html(cards: Sequence[Card], pictures: Sequence[Pictures], compared: Sequence[Difference] = ()) -> str:
    """Render the page.

    Its one script and its one style are allowed by their hash: nothing that a run could bring in runs, even if it were
    not escaped.

    Args:
        cards: of the runs; see `cgro.report.card.read_card`.
        pictures: the adversarial examples of each; see `cgro.report.pictures.read_pictures`.
        compared: of several runs; see `cgro.report.side_by_side.differences`.

    Returns:
        The whole file, in characters that UTF-8 and a terminal know.
    """
    runs = [_view(card, own) for card, own in zip(cards, pictures, strict=True)]
    rows = [key for key in ERRORS if any(key in run.table for run in runs)]
    together = robust_curves(_by_name(cards))
    style = beside("page.css")
    script = beside("page.js")
    return (
        _templates()
        .get_template("page.html")
        .render(
            runs=runs,
            rows=rows,
            compared=compared,
            together=together,
            version=__version__,
            style=Markup(style),
            style_hash=csp_hash(style),
            script=Markup(script),
            script_hash=csp_hash(script),
        )
    )


def csp_hash(text: str) -> str:
    """Write the source expression by which a content security policy allows one inline script or style.

    Args:
        text: of the script or style.

    Returns:
        Its hash.

    Example:
        >>> csp_hash("")
        'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='
    """
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def digits(value: float | None, form: str) -> str:
    """Write a number that may not be known.

    Args:
        value: None where it is not known.
        form: as of the % operator.

    Returns:
        Its text; "none" where it is not known.

    Example:
        >>> digits(0.25, "%.1f"), digits(float("inf"), "%.1f"), digits(None, "%.1f")
        ('0.2', 'inf', 'none')
    """
    if value is None:
        return "none"
    return form % value


def shown(value: float | None, key: str) -> str:
    """Write a number of the table: a share of examples in percent, another with four digits.

    Args:
        value: None where it is not known.
        key: the name of the number.

    Returns:
        Its text.

    Example:
        >>> shown(0.125, "robust_error/test"), shown(0.125, "memory/ranking"), shown(None, "x")
        ('12.50%', '0.125', 'none')
    """
    if value is None or not is_share(key):
        return digits(value, "%.4g")
    return f"{100 * value:.2f}%"


def interval_text(interval: tuple[float, float] | None, key: str) -> str:
    """Write the interval of a number of the table.

    Args:
        interval: None where there is none.
        key: the name of the number.

    Returns:
        Its text; empty where there is none.

    Example:
        >>> interval_text((0.1, 0.2), "robust_error/test"), interval_text(None, "x")
        ('10.00% to 20.00%', '')
    """
    if interval is None:
        return ""
    return f"{shown(interval[0], key)} to {shown(interval[1], key)}"


def points_text(value: float) -> str:
    """Write a difference of errors in points.

    Args:
        value: of fractions.

    Returns:
        Its text with a sign.

    Example:
        >>> points_text(0.0125), points_text(-0.5)
        ('+1.25', '-50.00')
    """
    return f"{100 * value:+.2f}"


def printable_text(value: object) -> object:
    """Prepare what a template writes: a run can hold any text.

    Args:
        value: of an expression in a template.

    Returns:
        Numbers and markup of ours as they are; everything else as one line of printable characters.
    """
    if isinstance(value, Markup | int | float):
        return value
    return one_line(str(value), LONGEST_TEXT)


def templates(finalize: Callable[[object], object] | None = None) -> Environment:
    """The templates of all pages: text of a run is escaped, and a name that nothing has is an error.

    Args:
        finalize: prepares every value that a template writes.

    Returns:
        Them, without filters of a page's own.
    """
    return Environment(
        loader=PackageLoader("cgro.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@functools.cache
def _templates() -> Environment:
    found = templates(printable_text)
    # Images and paths are ours, and longer than any text may be: they pass as markup.
    found.filters.update(digits=digits, shown=shown, interval=interval_text, points=points_text, verbatim=Markup)
    return found


def beside(name: str) -> str:
    """Read a style or a script that lies beside the templates.

    Args:
        name: of the file.

    Returns:
        Its text.
    """
    return (files("cgro.report") / name).read_text(encoding="utf-8")


def _view(card: Card, pictures: Pictures) -> RunView:
    tone = "bad"
    if card.verdict.label in GOOD:
        tone = "good"
    elif card.verdict.label in UNDECIDED:
        tone = ""
    curves, gap = _curve_charts(card)
    charts = (gap, _checkpoint_chart(card), *_flatness_charts(card))
    return RunView(
        card=card,
        tone=tone,
        headline=words_of(card.verdict.label),
        sentence=_sentence(card),
        judges=card.command not in WITHOUT_LINT,
        main=curves,
        charts=[chart for chart in charts if chart is not None],
        not_known=missing(card.facts),
        pictures=pictures,
        table={row.key: row for row in card.metrics},
        diagnosis=card.diagnosis,
        lint=card.diagnosis.lint if card.diagnosis else (),
        radius=card.threat.radius if card.threat else None,
    )


def _sentence(card: Card) -> str:
    """Why the verdict is what it is, as a sentence that does not repeat the words above it."""
    text = explanation(card.verdict.label, card.verdict.reason)
    return text[:1].upper() + text[1:]


def _by_name(cards: Sequence[Card]) -> dict[str, Sequence[Epoch]]:
    """What each run recorded; of several runs of one name the later ones are numbered."""
    found: dict[str, Sequence[Epoch]] = {}
    for number, card in enumerate(cards, 1):
        name = one_line(card.name, LONGEST_TEXT)
        if name in found:
            name = f"{name} (run {number})"
        found[name] = card.epochs
    return found


def _curve_charts(card: Card) -> tuple[Chart | None, Chart | None]:
    """The learning curves, and the robust generalization gap."""
    epochs = [one.epoch for one in card.epochs]
    marks = _marks(card.diagnosis)
    lines = []
    for curve in CURVES:
        if card.has(curve.key):
            lines.append(Line(curve.label, curve.color, curve.part, _percent(card.curve(curve.key))))
    if card.valley.epochs:
        fitted = dict(zip(card.valley.epochs, card.valley.values, strict=True))
        values = _percent([fitted.get(epoch) for epoch in epochs])
        lines.append(Line("falls, then rises (fit)", INK, "fit", values, width=1.2))
    gap = 100 * (drawable(card.curve(ROBUST_TEST.key)) - drawable(card.curve(ROBUST_TRAIN.key)))
    gap_line = Line("robust test minus robust training error", GAP, "test", gap.tolist())
    return (
        line_chart("Learning curves", "error (%)", epochs, lines=lines, marks=marks),
        line_chart("Robust generalization gap", "points", epochs, lines=[gap_line], marks=marks),
    )


def _marks(diagnosis: DiagnosisRecord | None) -> list[Mark]:
    """The drops of the learning rate, the best epoch, and the onset of robust overfitting with its interval."""
    if diagnosis is None:
        return []
    marks = [Mark(drop, "lr drop", "drop", TEXT_MARK) for drop in diagnosis.drops]
    if diagnosis.selection is not None and diagnosis.selection.on_test.epoch is not None:
        best = diagnosis.selection.on_test.epoch
        marks.append(Mark(best, f"best epoch {best:g}", "best", MARK))
    if diagnosis.risen and diagnosis.label == "robust_overfitting":
        onset = diagnosis.risen.onset
        low, high = diagnosis.risen.onset_interval
        marks.append(Mark(onset, f"onset {onset:g} [{low:g}, {high:g}]", "onset", TEXT_MARK, (low, high)))
    return marks


def _checkpoint_chart(card: Card) -> Chart | None:
    """The robust error of every kept checkpoint by the attacks that `cgro evaluate --per-epoch` tried."""
    by_line = [(attack, part, rows) for attack, parts in card.strong.items() for part, rows in parts.items()]
    epochs = sorted({row.epoch for _, _, rows in by_line for row in rows})
    colors = dict(zip(card.strong, cycle((ROBUST, *COMPARED)), strict=False))
    lines = []
    for attack, part, rows in by_line:
        label = one_line(f"{attack}, {part}", LONGEST_TEXT)
        lines.append(Line(label, colors[attack], part, _percent(_at_epochs(rows, epochs))))
    title = "Robust error of every kept checkpoint"
    return line_chart(title, "error, lower bound (%)", epochs, lines=lines)


def _at_epochs(rows: Sequence[EpochRecord], epochs: Sequence[int]) -> list[float | None]:
    known = {row.epoch: row.value for row in rows}
    return [known.get(epoch) for epoch in epochs]


def _flatness_charts(card: Card) -> list[Chart | None]:
    """Both measures of flatness against the radius."""
    found = card.flatness_curves
    if found is None:
        return []
    measures = (
        ("Flatness: largest gradient in the ball", "dual norm (nats / input unit), lower bound", found.gradient),
        ("Flatness: largest rise of the loss in the ball", "nats, lower bound", found.rise),
    )
    marks = [Mark(found.training_radius, "training radius", "radius", TEXT_MARK)]
    charts = []
    for title, unit, by_part in measures:
        lines = [Line(one_line(part, LONGEST_TEXT), FLATNESS, part, values) for part, values in by_part.items()]
        charts.append(line_chart(title, unit, found.radii, lines=lines, marks=marks, along="radius"))
    return charts


def _percent(fractions: Sequence[float | None]) -> list[float | None]:
    return (100 * drawable(fractions)).round(3).tolist()
