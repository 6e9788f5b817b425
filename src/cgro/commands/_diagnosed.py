"""What is written of diagnoses: their summary, rows and lines."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace

from cgro.data.sources import kind_of
from cgro.diagnosis import (
    Column,
    Curves,
    Diagnosis,
)
from cgro.diagnosis.remedies import COMMAND, with_options_of
from cgro.results import (
    DiagnoseSummary,
    DiagnosisRecord,
    Measured,
    Metric,
    VerdictRecord,
    commonest,
)
from cgro.runs import Run
from cgro.trust import Received, Trust, code_of, runs_in

INCOMPLETE = (
    "- These commands are the beginning of one: add your own --data, --model, --radius and --epochs, which are not "
    "known here."
)
NOT_RUN = "Evaluation lint: "
"""How a finding begins that says why there is no lint."""


def errors_of(diagnosis: Diagnosis) -> dict[str, Metric]:
    """The errors that a diagnosis of weights measured.

    Args:
        diagnosis: any.

    Returns:
        Key -> metric; none of a log.
    """
    errors = diagnosis.evidence.get("errors", {})
    assert isinstance(errors, Mapping)
    return {key: Metric.of(entry) for key, entry in errors.items()}


def rows_of(curves: Curves, diagnosis: Diagnosis, part: int) -> list[dict[str, float]]:
    """Rows of one training, with the fitted valley.

    Args:
        curves: of the training.
        diagnosis: of these curves.
        part: number of the training, from 0.

    Returns:
        A row per epoch.
    """
    valley: dict[float, float] = {}
    if diagnosis.rise is not None:
        valley = dict(zip(diagnosis.rise.epochs.tolist(), diagnosis.rise.fit.tolist(), strict=True))
    if diagnosis.phase is not None:
        rise = diagnosis.phase.rise
        valley |= dict(zip(rise.epochs.tolist(), rise.fit.tolist(), strict=True))
    rows = curves.rows()
    for row in rows:
        row["part"] = part
        epoch = row["epoch"]
        if epoch in valley:
            row["valley"] = valley[epoch]
    return rows


def verdict_of(found: Sequence[Diagnosis]) -> VerdictRecord:
    """The verdict of a command.

    Args:
        found: a diagnosis per seed, at least one.

    Returns:
        Of one training its own; of several seeds the commonest label.
    """
    if len(found) == 1:
        return VerdictRecord(label=found[0].label, reason=found[0].reason, scope=found[0].scope)
    labels = [diagnosis.label for diagnosis in found]
    label, sentence = commonest(labels)
    rise = Measured.of([100 * diagnosis.rise.size for diagnosis in found if diagnosis.rise])
    spread = ""
    if rise.n > 1:
        spread = f"; rise {rise.mean:.2f} points (sd {rise.sd:.2f})"
    first = next(diagnosis for diagnosis in found if diagnosis.label == label)
    text = f"{sentence}{spread}. First such seed: {first.reason}"
    return VerdictRecord(label=label, reason=text, scope=first.scope, per_seed=labels)


def metrics_of(first: Diagnosis) -> dict[str, Metric]:
    """Errors by each rule of selection, and the rise.

    Args:
        first: the diagnosis of the first seed.

    Returns:
        Key -> metric.
    """
    metrics = errors_of(first)
    part = first.evidence.get("held_out", "test")
    if first.selection is not None:
        selected = {
            f"selected_on_{part}": first.selection.on_test,
            "selected_on_validation": first.selection.on_validation,
            "last": first.selection.last,
            "last_five": first.selection.last_five,
        }
        for name, chosen in selected.items():
            if chosen is not None:
                metric = Metric(value=chosen.robust_error, epoch=chosen.epoch)
                metrics[f"robust_error/{part}@{name}"] = metric
    rise = first.rise
    if rise is not None:
        metric = Metric(value=rise.size, interval=rise.interval, p_value=rise.p_value)
        metrics[f"rise/robust_error/{part}"] = metric
    return metrics


def not_run(findings: Sequence[str]) -> list[str]:
    """Why a lint was left out, if something was not trusted.

    Args:
        findings: of a diagnosis.

    Returns:
        The findings that say so.
    """
    return [text for text in findings if text.startswith(NOT_RUN)]


def with_its_options(found: Diagnosis, run: Run, trust: Trust) -> Diagnosis:
    """Commands that help take the options of a run of `cgro train`; other runs have none that it knows.

    Args:
        found: the diagnosis of the run.
        run: that was diagnosed.
        trust: what the caller trusts of the names in it.

    Returns:
        The diagnosis with commands that can be pasted.
    """
    settings = run.config
    if settings.get("command") != "train":
        return found
    epochs, every = settings.get("epochs"), settings.get("eval_every")
    n_evaluations = epochs // every if isinstance(epochs, int) and isinstance(every, int) and every > 0 else None
    again = trusted_again(Received(str(run.path), trust), settings)
    texts: list[str] = []
    for text in found.remedies:
        attack = str(settings.get("attack"))
        texts.append(with_options_of(text, str(run.path), n_evaluations, attack=attack, more=again))
    return replace(found, remedies=tuple(texts))


def trusted_again(received: Received, settings: Mapping[str, object]) -> str:
    """The options by which a further command may use what a run names, as far as this one may.

    Args:
        received: where the settings stand, and what is trusted.
        settings: of the run.

    Returns:
        Words of a command line, each with a space before it; "" where nothing is foreign or trusted.

    Example:
        >>> mine = Received("runs/a", ("mine:Net", "mine:data"))
        >>> trusted_again(mine, {"data": "mine:data", "model": "mine:Net", "objective": "trades"})
        ' --data mine:data --model mine:Net'
        >>> trusted_again(Received("runs/a", False), {"data": "mine:data"})
        ''
    """
    for key in ("objective", "extension"):
        value = settings.get(key)
        for word in value if isinstance(value, list) else [value]:
            if isinstance(word, str) and (code_of(word) or runs_in(word)) and received.trusts(word):
                return " --trust"  # the command may name another one, so it cannot be named again
    words = ""
    for key in ("data", "model"):
        name = settings.get(key)
        if isinstance(name, str) and (code_of(name) or (key == "data" and kind_of(name) == "path")):
            words += f" --{key} {shlex.quote(name)}" if received.trusts(name) else ""
    return words


def describe(result: DiagnoseSummary) -> str:
    """The verdict, its sentences, what was read, the lint and the remedies.

    Args:
        result: of `run`.

    Returns:
        Lines for the terminal.
    """
    first = result.diagnoses[0]
    assert result.verdict is not None, "every diagnosis has one"
    lines = [f"{result.verdict.label}: {result.verdict.reason}"]
    findings = [f"- {text}" for text in first.findings if not text.startswith(NOT_RUN)]
    n_epochs = first.evidence.get("n_epochs", 0)
    read = [f"- {Column(**column).sentence(n_epochs)}" for column in first.evidence.get("columns", ())]
    remedies = [f"- {text}" for text in first.remedies]
    if any(COMMAND in text.replace(f"{COMMAND}config ", "") for text in first.remedies):
        remedies.append(INCOMPLETE)  # a command for a run of cgro train takes its options instead
    blocks = {
        "": findings,
        "Read:": read,
        "Not run:": not_run(first.findings),
        "Lint:": _lint_lines(first),
        "What helps:": remedies,
    }
    for head, block in blocks.items():
        if not block:
            continue
        lines.append("")
        if head in ("Read:", "What helps:"):
            lines.append(head)
        lines += block
    return "\n".join(lines)


def _lint_lines(first: DiagnosisRecord) -> list[str]:
    """What the lint found, or why there is none."""
    if first.lint:
        warnings = [check for check in first.lint if check.status == "WARN"]
        lines = [f"Evaluation lint: {len(first.lint) - len(warnings)} PASS, {len(warnings)} WARN"]
        for check in warnings:
            lines.append(f"  WARN {check.name}: {check.finding}. {check.meaning} To do: {check.remedy}.")
        return lines
    if first.evidence.get("errors") or not_run(first.findings):
        return []
    if first.evidence.get("columns"):
        return ["Evaluation lint: not run; a log has no weights to attack, so its robust errors are taken on trust."]
    return ["Evaluation lint: not run; it was left out (--lint-n)."]
