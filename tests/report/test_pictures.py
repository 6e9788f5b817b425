"""The adversarial examples of a page: shown, or left out with the reason."""

import base64
import io
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.report.runs import (
    COMPLETED,
    make_run,
    separation_run,
    settings,
    train_summary,
    training_rows,
    write_examples,
)

from cgro.report.card import read_card
from cgro.report.page import html
from cgro.report.pictures import LARGEST_FIGURE, PNG_START, Pictures, data_uri, read_pictures
from cgro.results import Summary
from cgro.runs import Run

LABELS = ("y", "prediction", "prediction_adv")


def run_in(folder: Path, summary: Summary | None = None) -> Run:
    return Run(make_run(folder, config=settings("digits"), summary=summary or train_summary()))


def decoded(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,")))))


@pytest.mark.parametrize("shape", [(2, 3), (5, 4, 3), (1, 1)])
def test_an_image_survives_its_encoding(shape: tuple[int, ...]) -> None:
    """The bytes are PNG, and hold the pixels rounded to 8 bits; what lies outside [0, 1] is cut off."""
    image = np.random.default_rng(0).random(shape) * 1.5 - 0.25
    expected = np.clip(np.round(255 * image), 0, 255)
    assert np.array_equal(decoded(data_uri(image)), expected)
    assert base64.b64decode(data_uri(image).split(",")[1])[:8] == b"\x89PNG\r\n\x1a\n"


def test_good_examples_are_shown(tmp_path: Path) -> None:
    run = run_in(tmp_path / "run")
    path = write_examples(run.path / "examples.npz", ["cat", "dog"], prediction_adv=np.array([1, 1, 0]))
    found = read_pictures(run)
    assert found.left_out == ""
    assert [(one.truth, one.before, one.after, one.wrong) for one in found.shown] == [
        ("cat", "cat", "dog", True),
        ("dog", "dog", "dog", False),
        ("cat", "cat", "cat", False),
    ]
    arrays = np.load(path)
    assert np.array_equal(decoded(found.shown[1].attacked), np.round(255 * arrays["x_adv"][1, 0]))
    assert np.array_equal(decoded(found.shown[1].clean), np.round(255 * arrays["x"][1, 0]))


def test_of_several_seeds_the_first_ones(tmp_path: Path) -> None:
    run = run_in(tmp_path / "run")
    write_examples(run.path / "seed-1" / "examples.npz", ["b", "b"])
    write_examples(run.path / "seed-0" / "examples.npz", ["a", "a"])
    assert [one.truth for one in read_pictures(run).shown] == ["a", "a", "a"]
    assert read_pictures(run_in(tmp_path / "empty")) == Pictures()


LARGE: dict[str, dict[str, Any]] = {
    "wide": {
        "x": np.zeros((1, 1, 2, 1025), "float32"),
        "x_adv": np.zeros((1, 1, 2, 1025), "float32"),
        **dict.fromkeys(LABELS, np.array([1])),
    },
    "many": {
        "x": np.zeros((65, 1, 2, 2), "float32"),
        "x_adv": np.zeros((65, 1, 2, 2), "float32"),
        **dict.fromkeys(LABELS, np.ones(65, int)),
    },
    "of another kind": {"x": None},
}


@pytest.mark.parametrize("arrays", LARGE.values(), ids=LARGE.keys())
def test_examples_too_large_for_a_page_are_left_out(arrays: dict[str, Any], tmp_path: Path) -> None:
    run = run_in(tmp_path / "run")
    write_examples(run.path / "examples.npz", ["cat", "dog"], **arrays)
    found = read_pictures(run)
    assert not found.shown
    assert found.left_out.startswith("examples.npz: expected")


@pytest.mark.parametrize(
    "content", [b"", b"PK", b"\x80\x04K\x01.", b"not a zip", "cut", "flipped", "link", "pipe", "folder"]
)
def test_damaged_files_of_examples_are_left_out(content: bytes | str, tmp_path: Path) -> None:
    run = run_in(tmp_path / "run")
    path = run.path / "examples.npz"
    whole = write_examples(tmp_path / "other.npz", ["cat", "dog"]).read_bytes()
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    elif content == "flipped":
        path.write_bytes(whole[:200] + bytes(b ^ 0xFF for b in whole[200:400]) + whole[400:])
    elif content == "link":
        path.symlink_to(tmp_path / "other.npz")
    elif content == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    found = read_pictures(run)
    assert not found.shown
    assert found.left_out.startswith("examples.npz")


def test_a_run_of_another_command_has_no_examples(tmp_path: Path) -> None:
    """`cgro memory` keeps other arrays under the same name."""
    summary = Summary(command="other", seed=0, threat=None, outcome=COMPLETED, verdict=None, metrics={})
    run = run_in(tmp_path / "run", summary)
    np.savez(run.path / "examples.npz", **{"train/margin": np.ones(3)})
    assert read_pictures(run) == Pictures()


def test_the_figures_of_a_command_are_shown_and_other_files_are_not(tmp_path: Path) -> None:
    run = Run(separation_run(tmp_path, "digits"))
    figures = tmp_path / "figures"
    figures.mkdir()
    (figures / "over_time.png").write_bytes(PNG_START + b"rest")
    (figures / "page.png").write_bytes(b"<svg onload=x>")
    (figures / "secret.png").symlink_to(tmp_path / "config.yaml")
    (figures / "large.png").write_bytes(PNG_START + bytes(LARGEST_FIGURE))
    (found,) = read_pictures(run).figures
    assert found.name == "over time"
    assert base64.b64decode(found.image.removeprefix("data:image/png;base64,")) == PNG_START + b"rest"
    shown = html([read_card(run)], [read_pictures(run)])
    assert shown.count('class="drawn"') == 1
    assert "WARN" not in re.sub(r"<style>.*?</style>", "", shown, flags=re.S)  # no errors that a lint could doubt


def test_a_training_is_drawn_by_the_page(tmp_path: Path) -> None:
    run = Run(make_run(tmp_path, config=settings("digits"), summary=train_summary(), rows=training_rows()))
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "learning_curves.png").write_bytes(PNG_START)
    assert read_pictures(run).figures == ()
