"""Two processes that share an evaluation count what one process counts."""

from pathlib import Path

import pytest
from tests.diagnosis.monitor.cases import TRAIN, errors_in, loop, monitor_in
from tests.ranks import run_ranks

from cgro.definitions.examples import take_examples
from cgro.diagnosis.monitor.ranks import Ranks, rank
from cgro.runs import Run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes wrote, each of which imports torch once for all cases."""
    path = tmp_path_factory.mktemp("ranks")
    run_ranks(2, "tests.diagnosis.monitor.gloo:cases", path)
    return path


def test_two_processes_count_what_one_does(tmp_path: Path, folder: Path) -> None:
    """Each has statistics of BatchNorm of its own; those of the first count, which the checkpoint has."""
    loop(monitor_in(tmp_path / "one", strong=("pgd3", 2)), 3)
    one, two = Run.open(tmp_path / "one"), Run.open(folder / "shared")
    assert [errors_in(row) for row in two.rows()] == [errors_in(row) for row in one.rows()]
    assert two.read().metrics == one.read().metrics
    last = Path("checkpoints") / "last.safetensors"
    assert (two.path / last).read_bytes() == (one.path / last).read_bytes()


@pytest.mark.parametrize(("case", "epochs"), [("plain", [0, 1]), ("raises", []), ("refuses", [5]), ("overflows", [2])])
def test_no_process_waits_for_ever(folder: Path, case: str, epochs: list[int]) -> None:
    assert [row["epoch"] for row in Run(folder / case).rows()] == epochs


def test_alone_everything_stays_as_it_is() -> None:
    ranks = Ranks(True)
    sample = take_examples(TRAIN)
    assert rank() == 0
    assert ranks.share(sample) is sample
    assert ranks.agree([3, 4]) == [3, 4]
    assert ranks.total([1, 2]) == [1, 2]
    assert ranks.largest(7) == 7
    with pytest.raises(RuntimeError, match="mine"):
        ranks.total([0], RuntimeError("mine"))
