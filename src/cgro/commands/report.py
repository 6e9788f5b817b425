"""One HTML file about one or several runs, to send to a colleague: verdict, curves, examples, numbers, lint.

The file loads nothing from anywhere. Runs of cgro train are diagnosed on the way (as by cgro diagnose); other runs show
what they hold.

examples:
  cgro report runs/mnist5k --out report.html
  cgro report runs/baseline runs/augmented --out compared.html
  cgro report runs/mnist5k --json
  cgro report runs/mine --trust

A run is data: without --trust no code that it names is imported, no path read and nothing fetched; the page then says
that the lint was not run.
"""

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import msgspec

from cgro._check import BadRequest, bad, one_line
from cgro.commands import diagnose
from cgro.commands._common import Telling, Trusting, option
from cgro.commands._diagnosed import not_run
from cgro.commands._effect import Effects, Only
from cgro.diagnosis.columns import ordinal
from cgro.report.card import Valley, read_card, read_summary_of
from cgro.report.page import html
from cgro.report.pictures import KEPT_BY, read_pictures
from cgro.report.side_by_side import differences
from cgro.results import DiagnoseSummary, DiagnosisRecord, commonest, read_value
from cgro.runs import Run, Unsaved, write_atomic


@dataclass(kw_only=True)
class Config(Trusting, Telling):
    """Options of `cgro report`."""

    runs: list[str] = option([], "run directories", positional=True)
    out: str = option("report.html", "the file to write")
    overwrite: bool = option(False, "replace a file that is there")
    json: bool = option(False, "print the machine-readable cards on stdout, nothing else; writes no file")
    lint_n: int = option(128, "test examples of the evaluation lint of training runs; 0 leaves it out", low=0)
    device: str = option("auto", "auto, cpu, cuda or cuda:N")

    HAS_EFFECT: ClassVar[Effects] = {
        "out": Only("no --json beside it, which writes no file", lambda c: not c.json, "both"),
        "overwrite": Only("no --json beside it, which writes no file", lambda c: not c.json, "both"),
    }


class _Findings(msgspec.Struct):
    findings: list[str] = []


class _Verdict(msgspec.Struct):
    label: str
    reason: str


class _Card(msgspec.Struct):
    """What the terminal shows of a card."""

    name: str
    verdict: _Verdict
    diagnosis: _Findings | None = None


class _Answer(msgspec.Struct):
    """What `run` gives."""

    report: str | None
    runs: list[_Card]


def run(config: Config) -> Unsaved:
    """Write the page.

    Args:
        config: the options.

    Returns:
        The file (`report`, None with --json), the cards (`runs`), and of several runs the differences of their errors
        from the first one (`differences`), as plain values.

    Raises:
        BadRequest: no run, a file that is there, or a run that is damaged.
    """
    if not config.runs:
        raise bad("RUN", expected="one or more run directories", got="none", remedy="see cgro report --help")
    out = Path(config.out)
    if not config.json and out.exists() and not config.overwrite:
        raise BadRequest(f"{out}: exists; choose another --out or add --overwrite")
    runs = [_opened(path) for path in config.runs]
    cards = [read_card(one, *_diagnosis(one, config)) for one in runs]
    compared = differences(runs)
    answer = {
        "report": None if config.json else str(out),
        "runs": [card.to_dict() for card in cards],
        "differences": [asdict(one) for one in compared],
    }
    if not config.json:
        write_atomic(out, html(cards, [read_pictures(one) for one in runs], compared).encode())
    return Unsaved(answer)


def _opened(path: str) -> Run:
    """A run; a log or a table of curves is refused with the command that makes one of it."""
    if Path(path).is_file():
        first = f"cgro diagnose {shlex.quote(path)} --out DIR"
        raise bad("RUN", expected="a run directory (with config.yaml)", got=path, remedy=f"make one first: {first}")
    return Run.open(path)


def _diagnosis(run: Run, config: Config) -> tuple[DiagnosisRecord | None, Valley | None]:
    """What the run holds, or what its curves give and the valley that was fitted to them.

    Of several seeds those of the first of the most common label.
    """
    summary = read_summary_of(run)
    if isinstance(summary, DiagnoseSummary):
        return summary.diagnoses[0], None
    if summary.command not in KEPT_BY or "eval_attack" not in run.config:
        return None, None
    settings = diagnose.Config(target=str(run.path), lint_n=config.lint_n, device=config.device, trust=config.trust)
    seeds = diagnose.of_run(settings, run.path)[1]
    labels = [seed.label for seed in seeds]
    label, agreement = commonest(labels)
    chosen = labels.index(label)
    found = read_value(seeds[chosen].to_dict(), f"the diagnosis of {run.path}", DiagnosisRecord)
    rise = seeds[chosen].rise
    valley = None
    if rise is not None:
        valley = Valley(rise.epochs.tolist(), rise.fit.tolist())
    if len(seeds) == 1:
        return found, valley
    remark = f"{agreement.replace('_', ' ')}. What follows is about the {ordinal(chosen + 1)} seed."
    return msgspec.structs.replace(found, findings=[remark, *found.findings]), valley


def describe(result: Mapping[str, object]) -> str:
    """Say where the page is, and the verdicts.

    Args:
        result: of `run`. Others may have made the runs in it: their texts are printed on one line, without control
            characters.

    Returns:
        Text for the terminal.
    """
    answer = read_value(result, "cgro report", _Answer)
    lines = []
    for card in answer.runs:
        texts = [card.name, card.verdict.label, card.verdict.reason]
        if card.verdict.label == "none":
            del texts[1]
        lines.append(": ".join(map(one_line, texts)))
        if card.diagnosis is not None:
            for text in not_run(card.diagnosis.findings):
                lines.append(f"  {one_line(text)}")
    return "\n".join([*lines, "", str(answer.report)])
