"""cgro data: what a data set holds, for people and for programs."""

import json
from pathlib import Path

import numpy as np
import pytest

from cgro.cli import main
from cgro.commands._parser import parse
from cgro.commands._training import Config as TrainConfig
from cgro.commands.data import MOST_CLASSES, Config, about, describe, next_of
from cgro.data import load
from cgro.results import DataSummary, ListedDataset, OutcomeRecord
from cgro.runs import Run


def summary(**found: ListedDataset) -> DataSummary:
    return DataSummary(
        command="data",
        seed=0,
        threat=None,
        outcome=OutcomeRecord(kind="completed", reason=""),
        verdict=None,
        metrics={},
        data=found,
    )


def test_the_counts_are_those_of_the_labels() -> None:
    data = load("digits", classes="3,8")
    found = about(data)
    assert found.shape == [1, 8, 8]
    assert found.n_by_class
    assert sum(found.n_by_class["train"].values()) == len(data.train)
    assert found.n_by_class["test"] == {"3": int((data.test.y == -1).sum()), "8": int((data.test.y == 1).sum())}


def test_one_data_set_is_listed_with_its_classes_and_checksum_and_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    file = tmp_path / "many.npz"
    n_classes = MOST_CLASSES + 5
    np.savez(file, x=rng.random((200, 1, 4, 4), "float32"), y=np.arange(200) % n_classes)
    assert main(["data", str(file), "--out", str(tmp_path / "run")]) == 0
    text = capsys.readouterr().out
    assert "and 5 more" in text
    kept = Run.open(tmp_path / "run").read(DataSummary)
    (found,) = kept.data.values()
    assert found.sha256 in text
    assert len(found.classes) == n_classes
    assert main(["data", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["data"]["many.npz"]["n_test"] == found.n_test


def test_what_is_missing_says_why() -> None:
    missing = ListedDataset(missing="nothing in the cache")
    assert describe(summary(mnist=missing)) == "mnist      not found: nothing in the cache"
    assert describe(summary(a=missing, b=missing)).count("not found") == 2
    assert summary(mnist=missing).plain()["data"] == {"mnist": {"missing": "nothing in the cache"}}


def test_the_next_command_trains_on_the_same_data(capsys: pytest.CaptureFixture[str]) -> None:
    """Ten classes at full size were trained after a look at two of them at another size."""
    assert main(["data", "digits", "--classes", "3,8", "--stream", "no"]) == 0
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said == "next: cgro train --data digits --radius 8/255 --classes 3,8 --stream no"
    assert main(["data"]) == 0
    assert "next:" not in capsys.readouterr().err
    settings = {"name": "photos", "classes": "cat,dog", "image_size": 32, "stream": "yes"}
    words = next_of(Config(**settings)).format(**settings).split()
    parsed = parse("train", "", TrainConfig, words[2:])
    assert (parsed.data, parsed.classes, parsed.image_size, parsed.stream) == ("photos", "cat,dog", 32, "yes")
