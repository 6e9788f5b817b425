"""Rows without an epoch belong to the epoch above or below them, are asked for, or are said to be left out."""

import json
from collections.abc import Iterable

import pytest
from tests.cases import refused
from tests.diagnosis.writers import Row, measured, read_rows

from cgro.diagnosis import Curves
from cgro.diagnosis.importers import Told
from cgro.diagnosis.importers.base import Text
from cgro.diagnosis.importers.json_rows import JsonRows

N = 12


def wandb(e: int, **of_training: object) -> list[Row]:
    return [{"train/acc": 0.6 + e / 100, "_step": 2 * e} | of_training, {"_step": 2 * e + 1} | measured(e)]


def jsonl(rows: Iterable[Row]) -> Curves:
    (found,) = JsonRows().read(Text("".join(json.dumps(row) + "\n" for row in rows), "x"), Told.of(None))
    return found


@pytest.mark.parametrize("way", [read_rows, jsonl])
def test_values_beside_the_rows_with_their_epochs_are_those_of_the_epoch_before(way) -> None:
    """W&B and mmengine: the epoch is logged with the training alone."""
    found = way(row for e in range(1, N + 1) for row in wandb(e, epoch=e))
    assert found.epoch.tolist() == list(range(1, N + 1))
    assert found["robust_error/test"].tolist() == [round(0.7 - e / 200, 10) for e in range(1, N + 1)]
    assert "24 values" in " ".join(found.meta["remarks"])
    assert "the epoch above them" in " ".join(found.meta["remarks"])


def test_values_above_the_first_epoch_are_those_of_the_epoch_below() -> None:
    rows = [row for e in range(1, N + 1) for row in (measured(e), {"epoch": e, "train_acc": 0.7})]
    found = jsonl(rows)
    assert found["robust_error/test"].tolist() == [round(0.7 - e / 200, 10) for e in range(1, N + 1)]
    assert "the epoch below them" in " ".join(found.meta["remarks"])


def test_several_values_to_one_epoch_are_asked_for() -> None:
    """The epoch stands in every fourth row: which epoch the others are of is not said."""
    rows = [row for e in range(1, N + 1) for row in wandb(e, **({"epoch": e} if e % 4 == 1 else {}))]
    refused(lambda: jsonl(rows), "rows without an epoch", "--map epoch=_step")


def test_a_summary_without_an_epoch_is_left_out_and_said() -> None:
    rows = [{"epoch": e} | measured(e) for e in range(1, N + 1)]
    found = jsonl([*rows, {"test_acc": 0.9, "test_robust_acc": 0.9}])
    assert found["robust_error/test"][-1] == round(0.7 - N / 200, 10)
    assert "1 row without an epoch" in " ".join(found.meta["remarks"])


def test_rows_of_the_rate_alone_say_nothing() -> None:
    rows = [row for e in range(1, N + 1) for row in ({"lr": 0.1}, {"epoch": e} | measured(e))]
    assert not [remark for remark in jsonl(rows).meta["remarks"] if "without an epoch" in remark]
