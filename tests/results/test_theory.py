"""What is computed from the theory: checks that were not asked for are left out, infinite predictions are spelled."""

import math

from cgro.results import CertificateRecord, ChecksRecord, IntervalCheck, PredictionRecord


def test_checks_that_were_not_asked_for_are_left_out() -> None:
    assert ChecksRecord().plain() == {}
    checks = ChecksRecord(interval=IntervalCheck(n=4, least=1.0, agrees=True))
    assert checks.plain() == {"interval": {"n": 4, "least": 1.0, "agrees": True}}
    again = ChecksRecord.of(checks.plain())
    assert again.interval
    assert again.interval.agrees
    assert not again.milp


def test_an_infinite_prediction_is_spelled() -> None:
    row = PredictionRecord(predicted=math.inf, measured=None, statement="never")
    assert row.plain() == {"predicted": "inf", "measured": None, "statement": "never"}
    assert PredictionRecord.of(row.plain()).predicted == math.inf


def test_checks_of_older_versions_are_read_and_say_what_they_did_not_ask() -> None:
    old = {
        "export": {"onnx": "export/network.onnx", "opset": 13, "n_properties": 2, "max_difference": 0.0},
        "milp": {"n": 2, "least": 0.4, "n_counterexamples": 0, "n_replayed": 0, "agrees": True, "n_binaries": 9},
    }
    checks = ChecksRecord.of(old)
    assert checks.export
    assert checks.milp
    assert checks.export.precision == "unknown"
    assert not checks.export.replay
    assert checks.milp.n_below is None
    certificate = {"holds": True, "min_margin": 1.0, "n": 2, "n_memorized": 2, "method": "A, exact rational"}
    assert CertificateRecord.of(certificate).layers == "unknown"
