"""What a run is about, for the top of its card: data, network, threat, attack, and on how many examples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from msgspec import UNSET

from cgro.report.values import radius_text
from cgro.results import DataSummary, Metric, Summary
from cgro.results.keys import CLEAN_TEST, ROBUST_TEST, ROBUST_TRAIN
from cgro.results.records import DatasetRecord, ModelRecord, ThreatRecord

NAMES = ("data", "network", "threat", "attack", "n")
"""The facts of a run, in their order."""
MEASURED = (ROBUST_TEST, CLEAN_TEST, ROBUST_TRAIN, "memory/flip_radius/test")
"""The numbers whose count of examples is named; the first that has one."""

ON_A_TARGET = ("diagnose", "evaluate", "memory")
"""Commands whose runs are about a target."""


@dataclass(frozen=True)
class Fact:
    """One line at the top of a card.

    Attributes:
        name: one of `NAMES`.
        text: what is known of it.
    """

    name: str
    text: str


def name_of(directory: str, command: str, config: Mapping[str, object]) -> str:
    """Name a card after what was judged: the run, or the log, table or weights that another command read.

    Args:
        directory: name of the run directory.
        command: that wrote it.
        config: its settings, whatever they are.

    Returns:
        The name of the target beside that of the directory; of a run that has none the name of the directory.

    Example:
        >>> name_of("d1", "diagnose", {"target": "logs/output.log"}), name_of("mnist5k", "train", {})
        ('output.log (d1)', 'mnist5k')
    """
    if command not in ON_A_TARGET:
        return directory
    target = PurePath(_setting(config, "target")).name
    if target in ("", directory):
        return directory
    return f"{target} ({directory})"


def facts_of(summary: Summary, config: Mapping[str, object], first_seed: Summary) -> list[Fact]:
    """Collect what a run says of itself.

    Args:
        summary: of any command.
        config: its settings, whatever they are.
        first_seed: of several seeds the summary of the first, which names data and network; else `summary` again.

    Returns:
        The facts that are known, in the order of `NAMES`.
    """
    if summary.command == "diagnose" and config.get("model") is None:
        config = {}  # a table or a log: the settings of checkpoints say nothing of it
    texts = {
        "data": _data(first_seed, config),
        "network": _network(first_seed, config),
        "threat": _threat(summary.threat),
        "attack": _attack(config),
        "n": _sizes(first_seed),
    }
    return [Fact(name, texts[name]) for name in NAMES if texts[name]]


def missing(facts: Sequence[Fact]) -> list[str]:
    """Name what a run does not say of itself.

    Args:
        facts: see `facts_of`.

    Returns:
        The names without a fact, in the order of `NAMES`.

    Example:
        >>> missing([Fact("data", "mnist5k"), Fact("n", "100")])
        ['network', 'threat', 'attack']
    """
    known = {fact.name for fact in facts}
    return [name for name in NAMES if name not in known]


def _data(summary: Summary, config: Mapping[str, object]) -> str:
    """Of one data set its name, note, size and number of classes."""
    if isinstance(summary, DataSummary):
        return ", ".join(summary.data)
    record = getattr(summary, "data", None)
    if not isinstance(record, DatasetRecord):
        return _setting(config, "data")
    text = record.name
    if record.note and record.note != record.name:
        text += f": {record.note}"
    return f"{text}; {len(record.classes)} classes, {record.n_train:,} train and {record.n_test:,} test examples"


def _network(summary: Summary, config: Mapping[str, object]) -> str:
    record = getattr(summary, "model", None)
    if not isinstance(record, ModelRecord):
        return _setting(config, "model")
    text = record.name
    if record.width is not None:
        text += f", width {record.width}"
    if record.n_parameters is not UNSET:
        text += f", {record.n_parameters:,} parameters"
    return text


def _threat(threat: ThreatRecord | None) -> str:
    if threat is None:
        return ""
    radius = f"radius {radius_text(threat.radius)}"
    text = f"l_{threat.p}, {radius}"
    if threat.p == "any":
        text = f"every norm, {radius}"
    if threat.box is not None:
        low, high = threat.box
        text += f", inputs in [{low:g}, {high:g}]"
    return text


def _attack(config: Mapping[str, object]) -> str:
    """In training and in the evaluation; one that only evaluates has the second alone."""
    attack = _setting(config, "attack")
    evaluation = _setting(config, "eval_attack")
    if not evaluation:
        return attack
    if attack == "none":
        return f"none in training, {evaluation} in the evaluation"
    return f"{attack} in training, {evaluation} in the evaluation"


def _sizes(summary: Summary) -> str:
    """How many examples the errors were counted on."""
    for key in MEASURED:
        metric = summary.metrics.get(key)
        if isinstance(metric, Metric) and metric.n is not UNSET:
            return f"{metric.n:,} {key.rpartition('/')[2]} examples"
    if summary.command == "diagnose":
        return summary.outcome.reason  # how many epochs
    return ""


def _setting(config: Mapping[str, object], name: str) -> str:
    value = config.get(name)
    if not isinstance(value, str):
        return ""
    return value
