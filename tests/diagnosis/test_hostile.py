"""Tables, logs and checkpoints that are damaged, or made to harm: one line, in time that grows with their length."""

import io
import json
import math
import os
import pickle
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.cases import refused

from cgro._check import count, number, one_line
from cgro.diagnosis import Curves, checkpoint_files, diagnose, read_curves
from cgro.diagnosis.columns import meaning_of
from cgro.diagnosis.importers import Told, base, from_table, read_log
from cgro.diagnosis.importers.base import Text
from cgro.diagnosis.importers.delimited import Delimited
from cgro.diagnosis.rise import rise_of
from cgro.diagnosis.rule import CurveRule
from cgro.diagnosis.shape import catastrophe, order_p_value
from cgro.diagnosis.verdict import MOST_EPOCHS
from cgro.training.checkpoint import read_weights

HEAD = "Epoch \t Train Robust Acc \t Test Robust Acc\n"
QUICK = CurveRule(n_boot=19)


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "file"
        path.write_bytes(text.encode(errors="surrogateescape"))
        return path

    return write


def csv_of(*epochs: object) -> str:
    return "epoch,test_robust_acc\n" + "".join(f"{e},0.4\n" for e in epochs)


def jsonl_of(*epochs: str) -> str:
    return "".join(f'{{"epoch": {e}, "robust_error/test": 0.5}}\n' for e in epochs)


# ---------------------------------------------------------------- epochs and values of any kind


@pytest.mark.parametrize("epoch", ["inf", "-inf", "1e999", "Infinity"])
def test_an_epoch_that_is_not_finite(file, epoch: str) -> None:
    refused(lambda: read_curves(file(csv_of(1, epoch))), "epoch", "finite")


@pytest.mark.parametrize(
    "epoch", ["true", '"x"', "[1]", '{"a": 1}', "9" * 400, "Infinity", "-Infinity", '"1e999"', '"\\u001b[31m"']
)
def test_an_epoch_of_json_that_is_none(file, epoch: str) -> None:
    refused(lambda: read_curves(file(jsonl_of("1", epoch, "3"))), "epoch")


def test_an_epoch_that_was_not_written_is_left_out(file) -> None:
    for text in (csv_of(1, "nan", 3), jsonl_of("1", "NaN", "3"), jsonl_of("1", "null", "3")):
        assert read_curves(file(text))[0].epoch.tolist() == [1.0, 3.0]


def test_rows_of_a_program() -> None:
    good = {"epoch": 1, "robust_error/test": 0.5}
    for row in ({"epoch": "x"}, {"epoch": None}, {"epoch": 10**400}, {"epoch": 10**5_000}, {}, {"epoch": []}):
        refused(lambda row=row: Curves.from_rows([good, row], {"source": "run"}), "run: epoch")
    refused(lambda: Curves([1.0, float("inf")], {}), "finite")


def test_values_that_are_not_finite_were_not_measured() -> None:
    odd = (0.5, float("inf"), float("nan"), 10**400, None)
    rows = [{"epoch": e, "robust_error/test": v} for e, v in enumerate(odd)]
    assert Curves.from_rows(rows).measured("robust_error/test")[0].tolist() == [0.0]
    assert Curves.from_rows(rows)["robust_error/test"][0] == 0.5
    for value in ("0.5", True, [0.5], {}):
        refused(lambda value=value: Curves.from_rows([{"epoch": 1, "robust_error/test": value}]), "a number")
    found = from_table([{"epoch": 1, "robust_error/test": "inf"}, {"epoch": 2, "robust_error/test": 0.5}], "table")
    assert found.measured("robust_error/test")[1].tolist() == [0.5]  # infinity does not make the others percent
    diagnose(found, rule=QUICK)


@pytest.mark.parametrize("epoch", ["nan", "inf", "-inf", "1.5"])
def test_a_row_of_a_log_with_another_epoch_is_a_misfit(epoch: str) -> None:
    found = read_log(HEAD + f"0 0.5 0.4\n{epoch} 0.5 0.4\n2 0.5 0.4\n")
    assert found.epoch.tolist() == [0.0, 2.0]
    assert "1 row does not fit" in found.remarks[0]
    refused(lambda: read_log(HEAD + f"{epoch} 0.5 0.4\n", "x"), "do not fit")


def test_epochs_may_be_huge_or_negative(file) -> None:
    for epochs in ((1, 1e300), (-3, 2), (1e-300, 1e300)):
        diagnose(read_curves(file(csv_of(*epochs)))[0], rule=QUICK)


# ---------------------------------------------------------------- texts


@pytest.mark.parametrize(
    ("text", "words"),
    [('{"epoch": ' + "9" * 5_000 + "}", "not JSON"), ('{"a": ' + "[" * 100_000, "not JSON"), ("[\n" + "[" * 100_000, "not JSON"),
     ('{"test_robust_acc": [[1], [2]]}', "number"), ("[\n1, 2]", "object"), ("[{}, 3]", "object"), ("{}\n{}\n", "no column"),
     ('{"a": [1], "b": [1, 2]}', "different lengths"), (csv_of(1, 2).replace("0.4", "1" * 200_000), "damaged"),
     (csv_of(1, 2).replace("1,", '1,"'), "a number"), (csv_of(1) + "2\n", "fewer fields"), (csv_of(1) + "2,3,4\n", "more"),
     ("epoch,\x1b[31m\n1,2\n", "no column"), ("epoch;" + "x" * 100_000 + "\n1;2\n", "no column"),
     (csv_of(1).replace("0.4", "\x1b[31m"), "a number"), (csv_of(1).replace("0.4", "y" * 9_000), "a number"),
     ("\x1b[31m" * 100, "starts with"), (HEAD, "no"), (HEAD + "[" * 200_000, "no"),
     ("epoch,epoch\n1,2\n", "2 columns are called epoch"), ("epoch,ep,test_acc\n1,2,3\n", "both look like")],
    ids=lambda value: one_line(value, 30),
)  # fmt: skip
def test_texts(file, text: str, words: str) -> None:
    refused(lambda: read_curves(file(text)), words)


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n", "\n\r"])
def test_line_ends_of_any_system(file, end: str) -> None:
    table = read_curves(file(csv_of(1, 2, 3).replace("\n", end)))[0]
    assert table["robust_error/test"].tolist() == [0.6, 0.6, 0.6]
    log = read_curves(file((HEAD + "0 0.5 0.4\n1 0.5 0.4\n").replace("\n", end)))[0]
    assert log.epoch.tolist() == [0.0, 1.0]


def test_what_is_no_text_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    refused(lambda: read_curves(tmp_path / "pipe"), "named pipe")
    refused(lambda: read_curves("/dev/zero"), "device")
    refused(lambda: read_curves("a" * 5_000), "does not exist")
    refused(lambda: read_curves("\0"), "does not exist")


def test_rows_and_columns_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    def read_csv(text: str) -> list[Curves]:
        return Delimited().read(Text(text, "x"), Told({}))

    monkeypatch.setattr(base, "MOST_ROWS", 5)
    monkeypatch.setattr(base, "MOST_COLUMNS", 5)
    refused(lambda: read_csv(csv_of(*range(6))), "at most 5 lines")
    refused(lambda: read_log(HEAD + "0 0.5 0.4\n" * 6, "x"), "at most 5 lines")
    refused(lambda: from_table([{"epoch": 1}] * 6, "x"), "at most 5 rows")
    refused(lambda: from_table([{k: 1} for k in "abcdef"], "x"), "5 columns")
    refused(lambda: read_csv("a,b,c,d,e,f\n1,2,3,4,5,6\n"), "5 columns")


# ---------------------------------------------------------------- time that grows with the length


LONG = 200_000


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


def test_no_name_of_a_column_takes_long() -> None:
    start = time.process_time()
    for name in ("aA" * LONG, "test acc " * LONG, "A" * LONG):
        assert meaning_of(name) is None
    assert time.process_time() - start < 5


def test_many_epochs_are_read_and_judged_in_seconds(file) -> None:
    """The square of 60,000 would be 3.6 GB of ranks and minutes of simulated curves."""
    n = 60_000
    t = np.arange(n) / n
    noise = np.random.default_rng(0).normal(0, 0.01, n)
    test = 0.6 - 0.2 * np.minimum(t, 0.5) + 0.2 * np.maximum(0, t - 0.5) + noise
    text = "epoch,robust_error/test\n" + "".join(f"{e},{v:.5f}\n" for e, v in enumerate(test))
    start = time.process_time()
    found = diagnose(read_curves(file(text))[0], rule=CurveRule(n_boot=99))
    assert time.process_time() - start < 20
    assert found.label == "robust_overfitting"
    assert abs(found.rise.onset - n / 2) < 0.05 * n
    assert abs(found.rise.size - 0.1) < 0.02
    assert f"{n} epochs are judged as {MOST_EPOCHS} means" in found.findings[0]


def test_curves_of_ordinary_length_are_judged_epoch_by_epoch() -> None:
    """Bit for bit the estimate on the values themselves."""
    values = 0.5 + np.random.default_rng(1).normal(0, 0.01, MOST_EPOCHS)
    curves = Curves(np.arange(MOST_EPOCHS), {"robust_error/test": values})
    found = diagnose(curves, rule=QUICK, seed=3)
    alone = rise_of(curves.epoch, values, np.random.default_rng(3), n_boot=19)
    assert (found.rise.size, found.rise.interval, found.rise.p_value) == (alone.size, alone.interval, alone.p_value)
    assert not any("means of neighboring" in line for line in found.findings)


def test_the_order_test_has_the_ranks_of_its_definition() -> None:
    draw = np.random.default_rng(0)
    for n in (51, 60, 200):  # above 50 values the p-value is a function of the ranks alone
        values = draw.integers(0, 8, n) / 8
        ranks = (values[:, None] > values).sum(1) + (values[:, None] == values).sum(1) / 2
        ratio = float((np.diff(ranks) ** 2).sum()) / float(((ranks - ranks.mean()) ** 2).sum())
        assert order_p_value(values) == 0.5 * math.erfc((2 - ratio) * math.sqrt(n) / 2 / math.sqrt(2))


def test_a_lasting_jump_is_that_of_the_plain_search() -> None:
    draw = np.random.default_rng(0)
    n_found = 0
    for _ in range(300):
        robust = draw.choice([0.5, 0.6, 0.75, 0.95, 1.0], 6)
        found = catastrophe(Curves(range(6), {"robust_error/test": robust}), CurveRule())
        expected = None
        for t in range(5, 0, -1):
            before = robust[max(0, t - 2) : t].min()
            if robust[t] >= 0.9 and robust[t] - before >= 0.2 and robust[t:].min() >= 0.9 - 0.2:
                expected = before, robust[t], t
        assert found == (expected if robust[-3:].mean() >= 0.9 else None)
        n_found += found is not None
    assert n_found > 20


def test_an_alternating_curve_is_searched_once() -> None:
    values = np.tile([0.5, 0.95], 50_000)
    values[-5:] = 0.5, 1, 1, 1, 1
    start = time.process_time()
    catastrophe(Curves(np.arange(100_000), {"robust_error/test": values}), CurveRule())
    assert time.process_time() - start < 5


# ---------------------------------------------------------------- checkpoints


class Runs:
    def __reduce__(self) -> tuple:
        return print, ("executed",)


def saved(path: Path, value: object) -> Path:
    torch.save(value, path)
    return path


@pytest.mark.parametrize("form", ["zip", "legacy", "bare"])
def test_a_pickle_is_refused_in_one_line_of_ours(tmp_path: Path, capsys: pytest.CaptureFixture, form: str) -> None:
    path = tmp_path / "evil.pt"
    if form == "bare":
        path.write_bytes(pickle.dumps({"state_dict": Runs()}))
    else:
        torch.save({"state_dict": Runs()}, path, _use_new_zipfile_serialization=form == "zip")
    text = refused(lambda: read_weights(path), "refused", "save model.state_dict() alone")
    assert "weights_only" not in text
    assert "print" in text or form == "bare"
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"PK\3\4", pickle.dumps([1])[:-1], b"\x80", b"\x80\x02}q\0.", b"x" * 1000])
def test_damaged_pt_files(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pt").write_bytes(content)
    text = refused(lambda: read_weights(tmp_path / "x.pt"))
    assert "()" not in text.replace("state_dict()", "")


@pytest.mark.parametrize(
    ("value", "words"),
    [({1: torch.zeros(2)}, "names"), ({None: torch.zeros(2)}, "names"), ({(1, 2): torch.zeros(2)}, "names"), ([1], "state dict"),
     ({}, "state dict"), ({"a": 1}, "state dict"), ({"a": torch.zeros(1).expand(10**6, 10**6)}, "bytes of the file"),
     ({"a": torch.zeros(1).expand(2**40)}, "bytes of the file"), ({"a": torch.eye(3).to_sparse()}, "plain numbers"),
     ({"a": torch.empty(3, device="meta")}, "plain numbers")],
)  # fmt: skip
def test_pt_files_of_other_things(tmp_path: Path, value: object, words: str) -> None:
    refused(lambda: read_weights(saved(tmp_path / "x.pt", value)), words)


def test_pt_files_that_expand(tmp_path: Path) -> None:
    plain, path = io.BytesIO(), tmp_path / "x.pt"
    torch.save({"a": torch.zeros(4)}, plain)
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.infolist():
            with new.open(member.filename, "w") as out:
                for piece in [bytes(1 << 20)] * 300 if member.filename.endswith("data/0") else [old.read(member)]:
                    out.write(piece)
    refused(lambda: read_weights(path), "bytes of the file")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        new.writestr("x/data.pkl", bytes(20 << 20))
    refused(lambda: read_weights(path), "index")


def test_checkpoints_that_are_no_files(tmp_path: Path) -> None:
    for suffix in (".pt", ".pth", ".bin", ".safetensors"):
        os.mkfifo(tmp_path / f"pipe{suffix}")
        (tmp_path / f"zero{suffix}").symlink_to("/dev/zero")
        (tmp_path / f"folder{suffix}").mkdir()
        for name, words in (("pipe", "named pipe"), ("zero", "device"), ("folder", "folder")):
            refused(lambda name=name, suffix=suffix: read_weights(tmp_path / f"{name}{suffix}"), words)


@pytest.mark.parametrize(
    ("names", "words"),
    [(["epoch-0002.pt", "epoch-0002 (copy).pt"], "several checkpoints of epoch 2"), (["a1.pt", "b1.pt", "c2.pt"], "epoch 1"),
     ([f"{k}-7.pt" for k in range(2_000)], "epoch 7"), (["x.txt"], "checkpoints"), ([], "nothing")],
    ids=range(5),
)  # fmt: skip
def test_folders_of_checkpoints_that_do_not_say_which(tmp_path: Path, names: list[str], words: str) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"")
    refused(lambda: checkpoint_files(tmp_path), words)


def test_names_of_checkpoints(tmp_path: Path) -> None:
    for name in ("epoch-0001.pt", "epoch-final.pt", "epoch-\u00b2.pt", "epoch-0010.pt", "opt-0001.pt"):
        (tmp_path / name).write_bytes(b"")
    assert [e for e, _ in checkpoint_files(tmp_path)] == [1, 10]
    for pattern in ("", "/etc/*", "**x", "[\0"):
        refused(lambda pattern=pattern: checkpoint_files(tmp_path, pattern))


# ---------------------------------------------------------------- numbers


def test_numbers() -> None:
    odd = ("x", "9" * 5_000, "1/0", "1/2/3", "\x1b[31m", "x" * 9_000)
    for value in (None, [], {}, 10**400, 10**5_000, float("nan"), float("inf"), *odd):
        refused(lambda value=value: number(value, "x"))
        refused(lambda value=value: count(value, "x", high=10))


def test_the_line_of_a_line_is_the_same_line() -> None:
    text = "words of text with spaces " * 99
    assert all(one_line(one_line(text, n), n) == one_line(text, n) for n in range(20, 120))
    start = time.process_time()
    assert len(one_line("a \x1b" * 20_000_000, 200)) <= 200
    assert time.process_time() - start < 5


def test_rows_of_other_programs_are_read(file) -> None:
    rows = [{"epoch": e, "robust_error/test": 0.5 + e / 100, "note": "\x1b[31m", "n": None} for e in range(3)]
    assert len(read_curves(file("\n".join(map(json.dumps, rows))))[0]) == 3
