"""The top of a card: what is known of a run, and what it is named after."""

import pytest
from tests.report.runs import COMPLETED, diagnose_summary, diagnosis, settings, train_summary

from cgro.report.facts import facts_of, missing, name_of
from cgro.results import ErrorRate, Metric, Summary, ThreatRecord


def texts(summary: Summary, config: dict[str, object]) -> dict[str, str]:
    return {fact.name: fact.text for fact in facts_of(summary, config, summary)}


def test_a_training_says_data_network_threat_attack_and_n() -> None:
    errors = {"robust_error/test": Metric.of_error(ErrorRate(5, 1234, "lower"))}
    threat = ThreatRecord(p="inf", radius=0.1, box=(0.0, 1.0))
    config: dict[str, object] = {**settings("digits"), "attack": "pgd10", "eval_attack": "pgd20"}
    found = texts(train_summary(metrics=errors, threat=threat), config)
    assert list(found) == ["data", "network", "threat", "attack", "n"]
    assert found["data"].startswith("digits")
    assert found["threat"] == "l_inf, radius 0.1, inputs in [0, 1]"
    assert found["attack"] == "pgd10 in training, pgd20 in the evaluation"
    assert found["n"] == "1,234 test examples"


def test_standard_training_is_not_said_to_be_attacked() -> None:
    found = texts(train_summary(), {"attack": "none", "eval_attack": "pgd20"})
    assert found["attack"] == "none in training, pgd20 in the evaluation"


def test_the_settings_of_checkpoints_say_nothing_of_a_log() -> None:
    defaults: dict[str, object] = {"data": "mnist5k", "attack": "pgd20", "model": None, "target": "output.log"}
    found = facts_of(diagnose_summary(diagnosis()), defaults, diagnose_summary(diagnosis()))
    assert missing(found) == ["data", "network", "threat", "attack"]
    assert [fact.name for fact in found] == ["n"]


@pytest.mark.parametrize("value", [None, 3, ["digits"], {"a": 1}])
def test_a_setting_of_another_type_is_not_known(value: object) -> None:
    summary = Summary(command="other", seed=0, threat=None, outcome=COMPLETED, verdict=None, metrics={})
    assert facts_of(summary, {"data": value, "attack": value, "model": value}, summary) == []


@pytest.mark.parametrize(
    ("command", "target", "name"),
    [
        ("diagnose", "logs/output.log", "output.log (d1)"),
        ("memory", "runs/mnist/", "mnist (d1)"),
        ("diagnose", "runs/d1", "d1"),
        ("diagnose", None, "d1"),
        ("train", "ignored", "d1"),
    ],
)
def test_a_card_is_named_after_the_log_or_the_run(command: str, target: str | None, name: str) -> None:
    assert name_of("d1", command, {"target": target}) == name
