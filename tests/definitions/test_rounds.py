"""Several processes evaluate as one does: the same numbers for every example, to the bit."""

import json
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.definitions import together
from tests.ranks import run_ranks, start_ranks, wait_for_ranks
from torch import Tensor

from cgro.definitions.rounds import rounds
from cgro.ranks import ALONE, Ranks

SIZES = (2, 4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process, two and four found."""
    path = tmp_path_factory.mktemp("together")
    together.cases(ALONE, path)
    for size in SIZES:
        run_ranks(size, "tests.definitions.together:cases", path)
    return path


def read(folder: Path, size: int, number: int = 0) -> dict[str, Tensor]:
    return load_file(folder / f"{size}-{number}.safetensors")


@pytest.mark.parametrize("size", SIZES)
def test_every_example_has_the_bits_of_one_process_in_every_process(folder: Path, size: int) -> None:
    one = read(folder, 1)
    assert len(one) == 4 * 5 + 4 + 2
    assert {1, 2} <= set(one["survey by"].tolist())  # more than one attack broke some
    for number in range(size):
        several = read(folder, size, number)
        assert several.keys() == one.keys()
        for name, value in one.items():
            assert torch.equal(several[name], value), (name, number)


@pytest.mark.parametrize("size", SIZES)
def test_checks_and_verdicts_are_those_of_one_process(folder: Path, size: int) -> None:
    one = json.loads((folder / "1-0.json").read_text())
    assert len(one[0]) > 8
    for number in range(size):
        assert json.loads((folder / f"{size}-{number}.json").read_text()) == one


def test_an_evaluation_goes_on_with_another_number_of_processes(folder: Path) -> None:
    """Chunks are cut anew from what is left, so that equality to the bit is not promised; verdicts are."""
    together.resumed(ALONE, folder)
    run_ranks(2, "tests.definitions.together:resumed", folder)
    one = read(folder, 1)
    for before, then in ((1, 2), (2, 1)):
        several = load_file(folder / f"resumed-{before}-{then}-0.safetensors")
        for name in ("by", "step", "tried"):
            assert torch.equal(several[f"survey {name}"], one[f"survey {name}"]), (before, then, name)
        for name in ("margin", "x_adv"):
            torch.testing.assert_close(several[f"survey {name}"], one[f"survey {name}"], rtol=1e-5, atol=1e-6)


def test_the_others_end_in_one_line_when_one_is_killed(tmp_path: Path) -> None:
    ended = wait_for_ranks(start_ranks(2, "tests.definitions.together:killed", tmp_path))
    assert [one.code for one in ended] == [2, -signal.SIGKILL], ended
    assert "one of 2 processes has ended; see what it says" in ended[0].stderr


def test_planted_mistakes_are_found(tmp_path: Path) -> None:
    run_ranks(2, "tests.definitions.together:planted", tmp_path)


@pytest.mark.parametrize(("n", "batch", "size"), [(0, 3, 2), (1, 3, 4), (10, 3, 2), (12, 3, 4), (13, 1, 3)])
def test_rounds_hold_every_example_once_in_the_chunks_of_one_process(n: int, batch: int, size: int) -> None:
    rows = torch.arange(n) + 5
    dealt = rounds(rows, batch, Ranks(size=size))
    chunks = [chunk.tolist() for one in dealt for chunk in one.chunks]
    assert [row for chunk in chunks for row in chunk] == rows.tolist()
    assert chunks == [one.rows.tolist() for one in rounds(rows, batch, ALONE)]
    assert all(1 <= len(one.chunks) <= size for one in dealt)
    assert all(len(one.chunks) == size for one in dealt[:-1])
