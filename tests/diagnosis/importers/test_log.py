"""Every trap of the field's text log: restarts, missing values, validation lines, other headers, long lines."""

import time
from pathlib import Path

import numpy as np
import pytest
from tests.cases import refused
from tests.diagnosis.writers import four, write_log

from cgro._check import one_line
from cgro.diagnosis import diagnose, read_curves, read_log, select
from cgro.diagnosis.importers import parse_map
from cgro.diagnosis.shape import drops_of

HEAD = "Epoch \t Train Robust Acc \t Test Robust Acc\n"
LONG = 200_000
# Rice, Wong and Kolter, ICML 2020: final, best, epoch, clean final, clean at best, robust train accuracy final, at best.
PUBLISHED = {
    "PreActResNet-18": (53.92, 46.51, 106, 15.07, 17.08, 81.08, 58.81),
    "WRN-34-1": (51.33, 50.11, 165, 21.79, 22.45, 53.26, 52.68),
    "WRN-34-5": (53.13, 45.00, 105, 14.40, 15.35, 90.29, 63.26),
    "WRN-34-10": (51.38, 43.20, 101, 13.12, 13.93, 97.80, 65.85),
    "WRN-34-20": (48.83, 41.84, 101, 12.88, 14.66, 99.33, 69.58),
    "PreActResNet-18, l2": (31.10, 28.38, 103, 11.10, 11.33, 98.83, 79.31),
}


def published_curves(name: str) -> dict[str, np.ndarray]:
    """200 epochs with exactly the published numbers: values at the best epoch, and means over the last five."""
    final, best, epoch, clean, clean_best, train, train_best = PUBLISHED[name]
    t, rng = np.arange(200), np.random.default_rng(7)
    test = (
        best
        + 0.25
        + 25 * np.exp(-t / 15)
        + 6 * (t < 100)
        + (final - best - 0.25) * (1 - np.exp(-np.maximum(t - epoch, 0) / 20))
    )
    test += 0.06 * np.abs(rng.standard_normal(200))
    curves = {"robust_error/test": test, "clean_error/test": clean + 30 * np.exp(-t / 20),
              "robust_error/train": 100 - train + 60 * np.exp(-t / 40), "clean_error/train": 1 + 30 * np.exp(-t / 20)}  # fmt: skip
    for key, at_best, mean in (("robust_error/test", best, final), ("clean_error/test", clean_best, clean),
                               ("robust_error/train", 100 - train_best, 100 - train)):  # fmt: skip
        curves[key][epoch] = at_best
        curves[key][-5:] += mean - curves[key][-5:].mean()
    return {k: v / 100 for k, v in curves.items()}


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("header", [0, 1])
def test_published_table_comes_out_of_files_with_such_curves(tmp_path: Path, name: str, header: int) -> None:
    path = tmp_path / "output.log"
    path.write_text(
        write_log(
            published_curves(name), header=header, rng=np.random.default_rng(0), restarts=(40, 120), drops=(100, 150)
        )
    )
    (curves,) = read_curves(path)
    s, (final, best, epoch, clean, clean_best, train, train_best) = select(curves), PUBLISHED[name]
    got = (s.last_five.robust_error, s.on_test.robust_error, s.last_five.clean_error, s.on_test.clean_error,
           1 - s.last_five.robust_error_train, 1 - s.on_test.robust_error_train, s.gap)  # fmt: skip
    expected = (final, best, clean, clean_best, train, train_best, final - best)
    assert s.on_test.epoch == epoch
    assert np.allclose(100 * np.array(got), expected, atol=0.0101)  # the log has four digits
    assert drops_of(curves) == (100, 150)


@pytest.mark.parametrize("header", [0, 1])
def test_every_trap_of_the_log(header: int) -> None:
    errors, rng = four(60), np.random.default_rng(1)
    text = write_log(errors, header=header, rng=rng, restarts=(10, 30), drops=(30, 45), missing=(5, 6, 20))
    curves = read_log(text)
    assert curves.epoch.tolist() == list(range(60))
    for key, values in errors.items():
        lost = [5, 6, 20] if "test" in key else []
        assert np.isnan(curves[key][lost]).all()
        assert np.allclose(np.delete(curves[key], lost), np.delete(values, lost), atol=6e-5), key
    assert np.isnan(curves["clean_error/validation"][5])
    assert np.allclose(curves["robust_error/validation"][7], errors["robust_error/test"][7] - 0.001, atol=1e-3)
    assert drops_of(curves) == (30, 45)
    assert curves.meta["attack"] == "pgd"
    assert curves.remarks[0] == "the log says of itself: attack pgd, attack steps 10, epochs 60"
    assert curves.remarks[1:] == ("2 restarts", "7 epochs were recorded more than once; the last record counts")


def test_the_last_record_of_an_epoch_counts() -> None:
    head = "Epoch \t Train Robust Acc \t Test Robust Acc\n"
    curves = read_log(head + "0 \t 0.1 \t 0.1\n1 0.2 0.2\n" + head + "1 \t0.5 0.4\n")
    assert curves["robust_error/test"].tolist() == [0.9, 0.6]


def test_a_validation_line_belongs_to_the_row_before() -> None:
    head = "Epoch \t Train Robust Acc \t Test Robust Acc\n"
    curves = read_log(head + "0 0.1 0.1\nvalidation 1.0 0.7 2.0 0.3\n1 0.2 0.2\n")
    assert curves["robust_error/validation"][0] == 0.7
    assert np.isnan(curves["robust_error/validation"][1])


def test_attack_none_is_called_standard_training() -> None:
    errors = four(40)
    errors |= {f"robust_error/{p}": errors[f"clean_error/{p}"] for p in ("train", "test")}
    curves = read_log(write_log(errors, attack="none", rng=np.random.default_rng(0)))
    assert curves.standard
    assert not curves.has("robust_error/test")
    found = diagnose(curves)
    assert (found.training, found.label) == ("standard", "standard_training")
    assert "Standard training" in found.reason
    assert any("copies of the clean ones" in line for line in found.findings)


def test_other_programs_columns_are_found_by_their_header() -> None:
    text = "Epoch \t \t LR \t \t Train Loss \t Train Grad \t Train Robust Acc \t Test Acc \t Test Robust Acc\n0 0.1 2.0 9 0.3 0.4 0.2\n"
    curves = read_log(text)
    assert (curves["robust_error/test"][0], curves["clean_error/test"][0], curves["clean_loss/train"][0]) == (
        0.8,
        0.6,
        2.0,
    )


@pytest.mark.parametrize("epoch", ["nan", "inf", "-inf", "1.5"])
def test_a_row_of_a_log_with_another_epoch_is_a_misfit(epoch: str) -> None:
    found = read_log(HEAD + f"0 0.5 0.4\n{epoch} 0.5 0.4\n2 0.5 0.4\n")
    assert found.epoch.tolist() == [0.0, 2.0]
    assert "left out, since the header does not fit: 1 row" in found.remarks[0]
    refused(lambda: read_log(HEAD + f"{epoch} 0.5 0.4\n", "x"), "do not fit")


@pytest.mark.parametrize(
    "line",
    ["Namespace(" + "a" * LONG, "Namespace(" + "a=" * LONG, "Namespace(" + "a='" * LONG, "9" * LONG + "x 1", "0." + "9" * LONG + "x 1",
     "9." * LONG, "Epoch " + "train  " * LONG, "Epoch train" + " " * LONG, "[" * LONG, "]" * LONG, "[] " + "- " * LONG,
     "validation " + "1" * LONG + "x", "validation " + "1 " * LONG, "0.5 " * LONG, "epoch lr " * LONG, " " * LONG + "x"],
    ids=lambda line: one_line(line, 30),
)  # fmt: skip
def test_no_line_takes_the_square_of_its_length(line: str) -> None:
    start = time.process_time()
    found = read_log(HEAD + "0 0.5 0.4\n" + line + "\n" + HEAD + "1 0.5 0.4\n")
    assert time.process_time() - start < 5
    assert found.epoch.tolist() == [0.0, 1.0]


def overfitting(header: list[str], keys: list[str | None], *, prefix: str = "", percent: bool = False) -> str:
    """A log of an overfitting training under any header; columns without a key hold seconds."""
    errors, one = four(80), 100 if percent else 1
    lines = [prefix + " \t ".join(header)]
    for t in range(80):
        cells = [str(t)]
        for key in keys[1:]:
            cells.append("123.4" if key is None else f"{one * (1 - errors[key][t]):.6f}")
        lines.append(prefix + " \t ".join(cells))
    return "\n".join(lines) + "\n"


FOUR = ["clean_error/train", "robust_error/train", "clean_error/test", "robust_error/test"]


@pytest.mark.parametrize(
    ("header", "keys"),
    [
        (["Epoch", "Train Acc", "Train PGD Acc", "Test Acc", "Test PGD Acc"], [None, *FOUR]),
        (["Epoch", "Time", "Nat Train Acc", "Adv Train Acc", "Nat Test Acc", "Adv Test Acc"], [None, None, *FOUR]),
        (
            [
                "Epoch",
                "Time",
                "LR",
                "Train Acc",
                "Train PGD Acc",
                "Test Acc",
                "Test PGD Acc",
                "GPU",
                "a",
                "b",
                "c",
                "d",
            ],
            [None, None, None, *FOUR, None, None, None, None, None],  # twelve columns, none where the usual log has it
        ),
        (["epoch", "Train NA", "Train RO", "Test NA", "Test RO"], [None, *FOUR]),
    ],
)
@pytest.mark.parametrize("percent", [False, True])
def test_columns_are_read_by_name(file, header: list[str], keys: list[str | None], percent: bool) -> None:
    for prefix in (
        "",
        "[2024/01/01 10:00:00] - ",
        "2024-01-01 10:00:00,123 INFO ",
        "2024-01-01 10:00 - INFO - train: ",
    ):
        (found,) = read_curves(file(overfitting(header, keys, prefix=prefix, percent=percent)))
        for key in FOUR:
            assert np.allclose(found[key], four(80)[key], atol=1e-6), (prefix, key)


def test_a_header_of_unknown_names_is_refused_and_not_read_by_position(file) -> None:
    header = [
        "Epoch",
        "s",
        "LR",
        "n",
        "Train X",
        "Train Y",
        "Train Z",
        "Test X",
        "Test Y",
        "Test Z",
        "Best Z",
        "Test Foo Acc",
    ]
    text = overfitting(header, [None, *FOUR, *FOUR, None, None, "robust_error/test"])
    line = refused(lambda: read_curves(file(text)), "'foo' is not known", "Test Foo Acc")
    assert "--map 'robust_accuracy/test=Test Foo Acc'" in line
    (found,) = read_curves(file(text), parse_map("robust_accuracy/test=Test Foo Acc"))
    assert np.allclose(found["robust_error/test"], four(80)["robust_error/test"], atol=1e-6)


def test_rows_of_another_length_show_header_and_row(file) -> None:
    text = "Epoch \t Train Acc \t Test Robust Acc\n" + "1 2 3 4 5\n" * 3
    refused(lambda: read_curves(file(text)), "3 rows", "Epoch | Train Acc | Test Robust Acc", "1 2 3 4 5")


def test_the_usual_columns_stand_under_a_header_that_names_some_of_them() -> None:
    row = "0 1 1 0.1 2.0 0.7 2.5 0.5 2.1 0.6 2.6 0.4"
    assert read_log(f"Epoch \t Train Acc \t Test Robust Acc\n{row}\n")["robust_error/test"].tolist() == [0.6]
    refused(lambda: read_log(f"Epoch \t Train Acc \t Score\n{row}\n"), "do not fit")


def test_a_second_training_in_the_file_is_the_one_that_is_judged() -> None:
    first, second = four(40, onset=20, seed=1), four(40, onset=30, seed=2)
    rng = np.random.default_rng(0)
    found = read_log(write_log(first, rng=rng) + write_log(second, rng=rng, validation=False))
    assert np.allclose(found["robust_error/test"], second["robust_error/test"], atol=6e-5)
    assert not found.has("robust_error/validation")
    assert "But the file holds 2 trainings" in diagnose(found).reason


def test_a_broken_line_is_a_lost_epoch_that_is_named() -> None:
    lines = [f"{e} 0.5 0.4" for e in range(20)]
    lines[7] = "7 0.5 0."  # cut in the middle of a number is still a number
    lines[9] = "9 0.5 0.4###"
    found = read_log(HEAD + "\n".join(lines))
    assert "epoch 9 is missing between the first and the last" in found.remarks


# ---------------------------------------------------------------- a table between tabs is no log


def tabbed(cells: list[list[str]], head: str = "epoch\ttest_acc\ttest_adv_acc") -> str:
    return "\n".join([head, *("\t".join(row) for row in cells)]) + "\n"


def cells_of(n: int = 30) -> list[list[str]]:
    errors = four(n)
    return [[f"{e}", *(f"{1 - errors[key][e]:.4f}" for key in FOUR[2:])] for e in range(n)]


@pytest.mark.parametrize("empty", ["-", "", "n/a", "None"])
def test_an_empty_cell_between_tabs_costs_one_value_and_no_row(file, empty: str) -> None:
    cells = cells_of()
    for row in cells[20:]:
        row[2] = empty
    (found,) = read_curves(file(tabbed(cells)))
    assert len(found) == 30
    assert {column.name: column.n_missing for column in found.columns} == {"test_acc": 0, "test_adv_acc": 10}


def test_text_between_tabs_is_refused_by_row_and_column(file) -> None:
    cells = cells_of()
    cells[25][2] = "diverged"
    refused(lambda: read_curves(file(tabbed(cells))), "row 26, column test_adv_acc", "'diverged'")


@pytest.mark.parametrize(
    "change",
    [
        lambda row: [f"{row[0]}/30", *row[1:]],
        lambda row: [row[0], *(f"{100 * float(cell):.2f}%" for cell in row[1:])],
        lambda row: [cell.replace(".", ",") for cell in row],
        lambda row: [*row, "AT"],
        lambda row: [f"{1000 * int(row[0]):,}", *row[1:]],
    ],
)
def test_what_a_table_with_commas_may_hold_a_table_with_tabs_may(file, change) -> None:
    head = "epoch\ttest_acc\ttest_adv_acc"
    rows = [change(row) for row in cells_of()]
    if len(rows[0]) > 3:
        head += "\tobjective"
    (found,) = read_curves(file(tabbed(rows, head)))
    assert np.allclose(found["robust_error/test"], four(30)["robust_error/test"], atol=1e-4)


def test_a_row_of_a_log_with_a_cell_that_is_no_number_is_said(file) -> None:
    """Between other lines the text is no table; in tabs and in blanks the row counts as left out."""
    for row in ("7\t0.5\t-", "7 0.5 diverged", "7\t?\t?"):
        lines = [f"{e}\t0.5\t0.4" for e in range(20)]
        lines[7] = row
        (found,) = read_curves(file(HEAD + "\n".join([*lines, "Saving model.pt"])))
        assert f"left out, since the header does not fit: 1 row, first {row!r}" in found.remarks
        assert len(found) == 19


def test_numbers_alone_between_tabs_stay_a_log_and_sentences_are_no_rows(file) -> None:
    (found,) = read_curves(file(tabbed([*cells_of(), ["30", "-1", "-1"]])))
    assert found.meta["format"] == "text log"
    (found,) = read_curves(file(HEAD + "\n".join(f"{e} 0.5 0.4\n3 epochs left" for e in range(20))))
    assert found.remarks == ()


def test_a_sentence_that_begins_with_epoch_is_no_header() -> None:
    """It would else end the curve: the rows below it do not fit two names."""
    for line in ("Epoch complete | saving", "Epoch 5    done", "Epoch time:   12", "Epoch is over\tsaved"):
        rows = "".join(f"{e}\t0.{50 + e}\t.{30 + e}\n{line}\n" for e in range(12))
        found = read_log(HEAD + rows)
        assert np.allclose(found["robust_error/test"], 0.7 - np.arange(12) / 100)
        assert found.remarks == ()
    other = "Epoch \t Test Robust Acc\n" + "".join(f"{e}\t0.{30 + e}\n" for e in range(12, 20))
    found = read_log(HEAD + "".join(f"{e}\t0.{50 + e}\t0.{30 + e}\n" for e in range(12)) + other)
    assert np.allclose(found["robust_error/test"], 0.7 - np.arange(20) / 100)


def test_twelve_numbers_below_some_of_the_usual_names_are_the_usual_ones_and_that_is_said() -> None:
    rows = "".join(f"{e}\t10\t5\t0.1\t1.5\t0.8\t2.0\t0.5\t1.0\t0.8\t2.0\t0.{30 + e}\n" for e in range(12))
    for names in ("Epoch \t Train Acc \t Test Acc", "Epoch \t LR \t Test Robust Acc"):
        found = read_log(f"{names}\n{rows}")
        assert np.allclose(found["robust_error/test"], 0.7 - np.arange(12) / 100)
        assert "are read as those of Rice et al., in their order" in found.remarks[0]
    refused(lambda: read_log(f"Epoch \t Test Acc \t Train Acc \t LR\n{rows}"), "do not fit the header")


def with_evaluations(header: str, row: str, n: int = 12, *, again: bool = False) -> str:
    """A header, and behind each row another one with its own row."""
    first = "Epoch \t Seconds \t LR \t Train Loss \t Train Acc"
    lines = [first]
    for e in range(n):
        lines += [first] if again and e else []
        lines += [f"{e} \t 60.1 \t 0.1 \t 1.5 \t 0.{9000 + e}", "==> Building model..", header, row.format(e=e + 100)]
    return "\n".join(lines)


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("Test Loss \t Test Acc \t PGD Loss \t PGD Acc", "1.2 \t \t 0.6{e} \t 1.5 \t 0.3{e}"),
        ("Test Acc   Test Robust Acc", "0.6{e}   0.3{e}"),
        ("Test Loss | Test Acc | PGD-20 Loss | PGD-20 Acc", "1.2 | 0.6{e} | 1.5 | 0.3{e}"),
    ],
)
def test_a_header_without_an_epoch_is_of_the_evaluation_of_the_row_above(header: str, row: str, again: bool) -> None:
    """As FGSM-PGI prints: the rows were left out, since they do not fit the other header."""
    found = read_log(with_evaluations(header, row, again=again))
    assert np.allclose(found["robust_error/test"], 1 - 0.3100 - np.arange(12) / 1e4)
    assert np.allclose(found["clean_error/test"], 1 - 0.6100 - np.arange(12) / 1e4)
    assert found.remarks == ("12 rows below headers that name no epoch: taken for evaluations of the epochs above",)


def test_other_lines_and_rows_are_no_evaluations() -> None:
    for header in ("Test Loss 1.2 \t Test Acc 0.5", "Checkpoint \t Test Acc", "Test Time \t Seconds"):
        found = read_log(with_evaluations(header, "0.61 \t 0.31"))
        assert not found.has("robust_error/test")
        assert "left out, since the header does not fit: 12 rows" in found.remarks[0]


def test_a_csv_in_the_lines_of_a_log(file) -> None:
    rows = [f"{e},0.6{e + 100},0.3{e + 100}" for e in range(12)]
    for before in ("2023-01-01 10:00:00,123 - INFO - ", "[2023/01/01 10:00:00] - ", "INFO: "):
        path = file("".join(f"{before}{line}\n" for line in ["epoch,test_acc,test_acc_adv", *rows]))
        (found,) = read_curves(path)
        assert np.allclose(found["robust_error/test"], 1 - 0.3100 - np.arange(12) / 1e4)
    path = file("2023-01-01 10:00:00 - epoch,test_acc,test_acc_adv\n" + "\n".join(rows))  # rows without a time
    refused(lambda: read_curves(path))
