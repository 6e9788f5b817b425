"""Figure 1: where the errors go after the learning-rate drop."""

from pathlib import Path

from msgspec.structs import replace
from tests.experiments.cases import Cases, Wrong, judged, spread
from tests.jobs.runs import make, training, workspace

from cgro.cli import main
from cgro.commands._common import stored
from cgro.experiments import figure1, networks
from cgro.experiments.claims import PARTLY
from cgro.experiments.figure1 import PAPER, Curves, Findings
from cgro.experiments.findings import read_findings
from cgro.experiments.seeds import rises
from cgro.runs import Run

EPOCHS = list(range(2, 31, 2))
SEEDS = (-0.6, 0.0, 0.6)


def errors(start: float, slope: float, turn: float) -> list[list[float]]:
    """Falls by `slope` per epoch, and moves by `turn` more from epoch 15 on; three seeds."""
    curves = []
    for seed in SEEDS:
        curves.append([start - slope * epoch + turn * max(0, epoch - 15) / 15 + seed for epoch in EPOCHS])
    return curves


def moved(start: list[float], by: list[float]) -> list[float]:
    return [value + step for value, step in zip(start, by, strict=True)]


RIGHT = Findings(
    scale="cpu",
    drops=[15],
    after=16,
    epochs=EPOCHS,
    curves=Curves(
        clean_train=errors(60, 1.0, 0.0),
        clean_test=errors(62, 0.5, 0.0),
        robust_train=errors(75, 0.6, -12.0),
        robust_test=errors(80, 0.6, 14.0),
    ),
    data="cifar10",
    note="(JPEG mirror)",
    n_curve=1000,
    n_test=4000,
    robust_train_after=spread(60),
    robust_train_end=moved(spread(60), [-13, -12, -13]),
    robust_test_after=spread(70),
    robust_test_end=moved(spread(70), [4, 4.5, 4]),
    clean_test_after=spread(50),
    clean_test_end=moved(spread(50), [-2, -1.7, -2]),
)
CASES = Cases(
    right=RIGHT,
    wrong=[Wrong(replace(PAPER, robust_test="falling"), "figure1/robust_test")],
    swapped=replace(RIGHT, robust_test_after=RIGHT.robust_test_end, robust_test_end=RIGHT.robust_test_after),
    notices="figure1/robust_test",
    drawn=frozenset({"curves"}),
)


def test_the_change_is_paired_by_seed() -> None:
    (table,) = figure1.tables(RIGHT)
    change = {row[0]: row[-1] for row in table.rows}
    assert change["robust test"] == "4.17 (0.29)"  # of 4, 4.5 and 4, whatever the spread between seeds
    assert rises(RIGHT.robust_test_after, RIGHT.robust_test_end) == [4.0, 4.5, 4.0]


def test_a_clean_error_that_may_rise_by_more_than_a_point_is_partly() -> None:
    spread_out = replace(RIGHT, clean_test_end=moved(spread(50), [-2, 0.0, 2]))
    assert judged(figure1, spread_out)["figure1/clean_test"].verdict == PARTLY


def test_a_figure_is_made_from_what_one_slice_of_a_gpu_left(tmp_path: Path) -> None:
    """40 epochs where 60 are planned: drops and the checkpoint after them are those of the run, errors of its curve."""
    tiny = training(0)
    made = workspace(tmp_path / "tiny", [tiny])
    make(made, tiny)
    job = networks.compressed(networks.cifar("gpu", 64)[0], 40)
    folder = tmp_path / "results/gpu/runs" / job.name
    with Run.start(folder, "train", stored(networks.configuration(job))) as run:
        rows = [{"epoch": epoch, "train_loss": 1.0, **dict.fromkeys(ERRORS, epoch / 100)} for epoch in range(2, 41, 2)]
        run.write_rows(rows)
        run.finish(made.read(tiny).summary)
    words = [
        "reproduce",
        "figure1",
        "--scale",
        "gpu",
        "--store",
        str(tmp_path / "results"),
        "--out",
        str(tmp_path / "r"),
    ]
    assert main([*words, "--seeds", "1"]) in (0, 1)
    found = read_findings(tmp_path / "r/figure1/findings.json", Findings)
    assert (found.drops, found.after, found.n_test) == ([16, 32], 24, 2000)
    assert found.robust_test_after == [24.0]
    assert found.robust_test_end == found.clean_test_end == [40.0]
    assert (tmp_path / "results/gpu/figure1/summary.json").exists()
    assert main(words) == 2  # of three seeds two are missing, and there is no GPU


ERRORS = ("clean_error/train", "clean_error/test", "robust_error/train", "robust_error/test")
