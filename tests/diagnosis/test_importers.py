"""Every trap of the field's text log, tables with columns of any name, runs of cgro, and files that are none of these."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests.diagnosis.writers import four, write_log

from cgro._check import BadRequest
from cgro.diagnosis import Curves, diagnose, read_curves, read_log, select
from cgro.diagnosis.importers import parse_map
from cgro.diagnosis.shape import drops_of

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
    assert (found.training, found.label) == ("standard", "too_little_evidence")
    assert "Standard training" in found.reason
    assert any("copies of the clean ones" in line for line in found.findings)


def test_copied_robust_columns_are_refused_in_any_format() -> None:
    rows = [{"epoch": t, "clean_error/test": 0.3 - t / 100, "robust_error/test": 0.3 - t / 100} for t in range(12)]
    assert diagnose(Curves.from_rows(rows)).training == "standard"


def test_a_constant_answer_is_no_copy() -> None:
    rows = [
        {"epoch": t, "clean_error/test": 0.9, "robust_error/test": 0.9, "clean_error/train": 0.9} for t in range(12)
    ]
    found = diagnose(Curves.from_rows(rows))
    assert (found.training, found.label) == ("adversarial", "collapsed")


def test_other_programs_columns_are_found_by_their_header() -> None:
    text = "Epoch \t \t LR \t \t Train Loss \t Train Grad \t Train Robust Acc \t Test Acc \t Test Robust Acc\n0 0.1 2.0 9 0.3 0.4 0.2\n"
    curves = read_log(text)
    assert (curves["robust_error/test"][0], curves["clean_error/test"][0], curves["clean_loss/train"][0]) == (
        0.8,
        0.6,
        2.0,
    )


@pytest.mark.parametrize("percent", [False, True])
@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "json"])
def test_tables_give_what_was_written(tmp_path: Path, kind: str, percent: bool) -> None:
    errors, one = four(20), 100 if percent else 1
    names = {"train_acc": "clean_error/train", "train_adv_acc": "robust_error/train", "val/pgd-error": None,
             "Test Accuracy": "clean_error/test", "testRobustErr": "robust_error/test"}  # fmt: skip

    def cell(name: str, t: int) -> float:
        value = errors[names[name] or "robust_error/test"][t]
        return one * (1 - value if "acc" in name.lower() else value)

    rows = [{"epoch": t, "lr": 0.1, "gpu": 3, **{k: cell(k, t) for k in names}} for t in range(20)]
    path = tmp_path / "x.txt"
    if kind in ("csv", "tsv"):
        comma = "," if kind == "csv" else "\t"
        path.write_text("\n".join([comma.join(rows[0]), *(comma.join(map(str, r.values())) for r in rows)]))
    elif kind == "jsonl":
        path.write_text("\n".join(json.dumps(r) for r in rows))
    else:
        path.write_text(json.dumps({k: [r[k] for r in rows] for k in rows[0]}))
    (curves,) = read_curves(path)
    for key, values in errors.items():
        assert np.allclose(curves[key], values), key
    assert np.allclose(curves["robust_error/validation"], errors["robust_error/test"])


def test_columns_are_mapped_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("step,a,b\n" + "\n".join(f"{t},{50 + t},{t}" for t in range(12)))
    (curves,) = read_curves(path, parse_map("epoch=step,robust_accuracy/test=a"))
    assert curves["robust_error/test"][:2].tolist() == [0.5, 0.49]


@pytest.mark.parametrize(
    ("text", "columns", "said"),
    [
        ("hello world\nthis is prose\n", None, "expected a cgro run, a CSV"),
        ("a,b\n1,2\n", None, "no column for epoch; there are: a, b"),
        ("epoch,loss\n1,2\n", None, "there are: epoch, loss"),
        ("epoch,x\n1,2\n", {"robust_error/test": "y"}, "the columns are: epoch, x"),
        ("epoch,test_pgd_acc,test_aa_acc\n1,2,3\n", None, "both look like robust_accuracy/test"),
        ("epoch,test_acc\n1,2\n2\n", None, "line 3 has fewer fields"),
        ("epoch,test_acc\n1,two\n", None, "row 1, column test_acc: expected a number, got 'two'"),
        ('{"epoch": [1, 2], "test_acc": [1]}', None, "different lengths: epoch 2, test_acc 1"),
        ('{"epoch": 1}\nnot json\n{"epoch": 2}\n', None, "line 2 is not JSON"),
        ("Epoch \t Train Robust Acc \t Test Robust Acc\n", None, "expected a training log with a header"),
        ("epoch,test_acc\n1,-3\n2,0.5\n", None, "fractions in [0, 1]"),
        ("", None, "an empty file"),
    ],
)  # fmt: skip
def test_files_that_are_no_log_are_one_clear_line(tmp_path: Path, text: str, columns: dict | None, said: str) -> None:
    path = tmp_path / "x"
    path.write_text(text)
    with pytest.raises(BadRequest) as error:
        read_curves(path, columns)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_binary_files_missing_files_and_folders_without_a_run(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"\x80\x02\xff\xfe")
    with pytest.raises(BadRequest, match="something binary"):
        read_curves(tmp_path / "b")
    with pytest.raises(BadRequest, match="does not exist"):
        read_curves(tmp_path / "none")
    with pytest.raises(BadRequest, match="expected a run directory"):
        read_curves(tmp_path)


def test_curves_of_different_lengths_are_refused() -> None:
    with pytest.raises(BadRequest, match="3 values each, one per epoch, got robust_error/test 2"):
        Curves([1, 2, 3], {"robust_error/test": [0.5, 0.4]})


def test_bad_maps() -> None:
    for text in ("epoch", "robust=x", "epoch="):
        with pytest.raises(BadRequest, match="--map"):
            parse_map(text)
