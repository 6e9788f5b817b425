"""Event files: damaged and cut records, other events beside the scalars, and the package that is not there."""

import sys

import numpy as np
import pytest
from tests.cases import refused
from tests.diagnosis.formats import ACC, RTE, N, record, scalar, tensorboard

from cgro.diagnosis import Curves
from cgro.diagnosis.importers import Told, parse_map
from cgro.diagnosis.importers.base import Text
from cgro.diagnosis.importers.tensorboard import TensorBoard, is_events


def read(content: bytes, columns: str = "") -> Curves:
    (found,) = TensorBoard().read(Text("", "events", content), Told.of(parse_map(columns)))
    return found


def test_without_the_package_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.partition(".")[0] == "tensorboard"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    refused(lambda: read(tensorboard()), "pip install tensorboard", "export the scalars as CSV")


def test_events_are_recognized_by_their_first_record() -> None:
    assert is_events(tensorboard())
    assert not is_events(b"epoch,test_acc\n1,brain\n")
    assert TensorBoard().recognizes(Text("", "x", tensorboard())) == 1


def test_a_training_that_was_killed_is_read_to_its_last_whole_record() -> None:
    pytest.importorskip("tensorboard")
    for cut in (1, 9, 30):
        found = read(tensorboard()[:-cut])
        assert "cut off" in found.remarks[0]
        assert len(found) == N


def test_a_damaged_record_is_refused_by_its_place() -> None:
    pytest.importorskip("tensorboard")
    content = bytearray(tensorboard())
    content[200] ^= 1
    refused(lambda: read(bytes(content)), "damaged record at byte")
    long = record(b"brain.Event:2") + b"\xff" * 30
    refused(lambda: read(long), "damaged record")


def test_other_events_are_passed_over_and_none_is_refused() -> None:
    pytest.importorskip("tensorboard")
    start = tensorboard()[:50]
    start = start[: start.index(b"brain.Event:2") + 13 + 4]
    refused(lambda: read(start), "events without any")
    refused(lambda: read(start + record(b"\x2a\x05nonse")), "damaged record (")


def test_steps_of_the_optimizer_are_asked_for() -> None:
    pytest.importorskip("tensorboard")
    content = tensorboard()[:37]
    content = record(b"\x1a\x0dbrain.Event:2")
    for e in range(N):
        content += scalar(391 * e, "test/robust_acc", float(ACC[RTE][e]))
    refused(lambda: read(content), "epoch=step")
    found = read(content, "epoch=step")
    assert np.allclose(found["robust_error/test"], 1 - ACC[RTE], atol=1e-6)


def test_a_value_that_comes_again_counts_and_is_said() -> None:
    pytest.importorskip("tensorboard")
    found = read(tensorboard() + scalar(N - 1, "test/robust_acc", 0.25))
    assert np.isclose(found["robust_error/test"][-1], 0.75)
    assert "came again" in found.remarks[0]
