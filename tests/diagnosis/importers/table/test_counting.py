"""A column counts steps of the optimizer by its values, not by its name alone; which columns count epochs."""

import itertools
from collections.abc import Iterable

import pytest
from tests.cases import refused
from tests.diagnosis.writers import Row, measured, read_rows

N = 12

# ------------------------------------------------------------------------------------------------------------- steps


@pytest.mark.parametrize("step", ["step", "steps", "iter", "iteration", "global_step"])
@pytest.mark.parametrize("beside", ["class", "rank", "fold", "attack", "eps", "pgd_steps", None])
def test_rows_of_one_epoch_and_step_are_of_several_measurements(step: str, beside: str | None) -> None:
    """A step changes nothing: the last class, fold or radius would stand for all."""
    rows = []
    for e, k in itertools.product(range(1, N + 1), range(3)):
        told_apart = {beside: ("none", "pgd", "cw")[k] if beside == "attack" else k} if beside else {}
        rows.append({"epoch": e, step: 391 * e} | told_apart | measured(e, 100 * k))
    refused(
        lambda: read_rows(rows),
        "several rows with other values" if beside in ("class", "rank", "fold", None) else beside,
    )


@pytest.mark.parametrize("step", ["step", "steps", "iter", "iterations"])
@pytest.mark.parametrize("order", [(10, 20, 50), (50, 20, 10)])
def test_steps_of_attacks_are_no_steps_of_an_optimizer(step: str, order: tuple[int, ...]) -> None:
    rows = [{"epoch": e, step: n} | measured(e, -n) for e in range(1, N + 1) for n in order]
    refused(lambda: read_rows(rows), "rows of one epoch differ by column", repr(step))


def batches(e: int) -> Iterable[Row]:
    """Three rows of training, the last with the values on test data."""
    for k in range(3):
        yield {"epoch": e, "step": 391 * e + 130 * k, "train_acc": 0.6 + e / 100 + k / 1000}
    yield {"epoch": e, "step": 391 * e + 390, "train_acc": 0.7 + e / 100} | measured(e)


def test_steps_that_count_go_on_to_do_so() -> None:
    found = read_rows(row for e in range(1, N + 1) for row in batches(e))
    assert found["robust_error/test"].tolist() == [round(0.7 - e / 200, 10) for e in range(1, N + 1)]
    assert found["clean_error/train"].tolist() == [round(0.3 - e / 100, 10) for e in range(1, N + 1)]


def test_two_evaluations_an_epoch_at_their_steps_are_one_training() -> None:
    found = read_rows({"epoch": e, "step": 391 * e + 195 * k} | measured(e, k) for e in range(1, N + 1) for k in (0, 1))
    assert found["robust_error/test"][-1] == pytest.approx(0.7 - N / 200 - 1e-4)


def test_steps_that_come_again_after_a_resume_are_one_training() -> None:
    """Stopped within epoch 8 and resumed from an earlier step of it, with other values."""
    before = [row for e in range(1, 9) for row in batches(e)][:-1]
    again = [dict(row) | {"train_acc": 0.65} for row in batches(8)]
    rest = [row for e in range(9, N + 1) for row in batches(e)]
    found = read_rows([*before, *again, *rest])
    assert found.epoch.tolist() == list(range(1, N + 1))


def test_sparse_rows_of_one_step_are_joined() -> None:
    """As Lightning writes them: the values of training and those of validation, each in a row."""
    rows = []
    for e in range(N):
        rows += [{"epoch": e, "step": 49 + 50 * e} | measured(e), {"epoch": e, "step": 49 + 50 * e, "train_acc": 0.7}]
    found = read_rows(rows)
    assert len(found.epoch) == N
    assert not [column for column in found.columns if column.n_missing]


# ---------------------------------------------------------------------------------------------------- names of epochs


@pytest.mark.parametrize(
    "name", ["epoch_num", "epoch_idx", "current_epoch", "train/epoch", "Global Epoch", "epoch_number"]
)
def test_longer_names_of_epochs_count(name: str) -> None:
    found = read_rows({name: 5 * e} | measured(e) for e in range(1, N + 1))
    assert found.epoch.tolist() == [5.0 * e for e in range(1, N + 1)]
    refused(lambda: read_rows({name: e} | measured(e, k) for k in (0, 9) for e in range(1, N + 1)), "2 trainings")


@pytest.mark.parametrize("name", ["current_epoch", "train/epoch", "epoch_idx"])
def test_a_column_called_epoch_goes_before_longer_names(name: str) -> None:
    found = read_rows({"epoch": e, name: e - 1} | measured(e) for e in range(1, N + 1))
    assert found.epoch.tolist() == list(range(1, N + 1))


@pytest.mark.parametrize(
    "name", ["n_epoch", "epoch (1-based)", "epochs_done", "iters", "trainer/global_step", "steps_done", "Step"]
)
def test_what_may_count_epochs_is_asked_for(name: str) -> None:
    rows = [{name: 5 * e} | measured(e) for e in range(1, N + 1)]
    refused(lambda: read_rows(rows), "no column for epoch", f"epoch={name}")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("best_epoch", [1, 1, 1, 4, 4, 6, 6, 6, 9, 9, 9, 12]),
        ("epochs_total", [N] * N),
        ("epoch_time", [31.5 + k / 10 for k in range(N)]),
        ("num_epochs", [N] * N),
    ],
)
def test_what_speaks_of_epochs_and_counts_none_is_no_epoch(name: str, values: list[float]) -> None:
    found = read_rows({name: values[e - 1]} | measured(e) for e in range(1, N + 1))
    assert found.epoch.tolist() == list(range(1, N + 1))
    assert "numbered from 1" in " ".join(found.meta["remarks"])
