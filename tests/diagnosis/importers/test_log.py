"""Every trap of the field's text log: restarts, missing values, validation lines, other headers, long lines."""

import time
from pathlib import Path

import numpy as np
import pytest
from tests.cases import refused
from tests.diagnosis.writers import four, write_log

from cgro._check import one_line
from cgro.diagnosis import diagnose, read_curves, read_log, select
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
    assert curves.remarks == ("2 restarts", "7 epochs were recorded more than once; the last record counts")


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
    assert "1 row does not fit" in found.remarks[0]
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
