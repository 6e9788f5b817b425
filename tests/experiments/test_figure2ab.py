"""Figure 2(a, b): the orders of Table 1, under names of its own."""

from pathlib import Path

import msgspec
import pytest
from matplotlib.figure import Figure
from tests.experiments.cases import Cases, judged
from tests.experiments.test_table1 import RIGHT, SWAPPED

from cgro.experiments import figure2ab, table1
from cgro.jobs.plan import Scale
from cgro.jobs.workspace import Workspace
from cgro.report import style

CASES = Cases(
    right=RIGHT,
    wrong=[],
    swapped=SWAPPED,
    notices="figure2ab/cifar10_rises",
    drawn=frozenset({"mnist", "cifar10"}),
)


def test_the_claims_about_capacity_are_those_of_table_1() -> None:
    of_table = judged(table1, RIGHT)
    of_figure = judged(figure2ab, RIGHT)
    assert len(of_figure) == 6
    for name, claim in of_figure.items():
        same = of_table[name.replace("figure2ab/", "table1/")]
        assert (claim.verdict, claim.ours, claim.numbers) == (same.verdict, same.ours, same.numbers)


def test_it_reads_the_runs_of_table_1() -> None:
    assert figure2ab.jobs("cpu") == table1.jobs("cpu")


@pytest.mark.parametrize(("scale", "expected"), [("cpu", "MNIST, LeNet"), ("smoke", "smoke: mnist5k for MNIST, LeNet")])
def test_a_figure_of_smoke_is_not_called_by_the_data_of_the_paper(
    scale: Scale, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(style, "_draw_png", lambda drawing, file: drawn.append(drawing))
    figure2ab.draw(msgspec.structs.replace(RIGHT, scale=scale), tmp_path, Workspace(tmp_path))
    assert drawn[0].get_suptitle().startswith(expected)


def test_the_optimizers_are_drawn_where_several_widths_were_trained_by_both(tmp_path: Path) -> None:
    wide, narrow = RIGHT.mnist["16"], RIGHT.mnist["12"]
    both = {"4-warm": narrow, "16-warm": wide, "4-sgd-warm": narrow, "16-sgd-warm": wide}
    figure2ab.draw(msgspec.structs.replace(RIGHT, mnist=RIGHT.mnist | both), tmp_path, Workspace(tmp_path))
    assert (tmp_path / "optimizers.svg").exists()
    assert "optimizers" in figure2ab.CAPTIONS
