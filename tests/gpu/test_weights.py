"""Weights between two slices: what is rounded, how files are cut, that a training goes on, and that it says so."""

from pathlib import Path

import pytest
import torch
from tests.gpu.cases import cut_off, job, trained
from tools.gpu.weights import epoch_of, mark, note_continuation, packed, restore, rounded

from cgro._check import BadRequest
from cgro.commands import train
from cgro.runs import Run, write_atomic
from cgro.training.checkpoint import LAST, SELECTED
from cgro.training.weights.formats import read_safetensors


def written(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        write_atomic(folder / name, content)
    return folder


def test_matrices_are_rounded_and_statistics_are_not() -> None:
    """The largest relative error of rounding to 8 bits of mantissa is 2^-8; a value of 8 bits is kept."""
    torch.manual_seed(0)
    weight = torch.randn(64, 9, 3, 3)
    error = ((rounded(weight).float() - weight) / weight).abs().max().item()
    assert 2**-10 < error <= 2**-8
    assert torch.equal(rounded(torch.full((2, 2), 1.5)).float(), torch.full((2, 2), 1.5))
    for kept in (torch.randn(64), torch.tensor(3), torch.zeros(2, 2, dtype=torch.int64)):
        assert rounded(kept) is kept


def test_a_network_comes_back_from_files_of_any_size(tmp_path: Path) -> None:
    made = job()
    run = trained(tmp_path / "runs", made)
    whole = packed(tmp_path / "runs", [made.name])
    cut = packed(tmp_path / "runs", [made.name], limit=2000, n_files=50)
    assert len(whole.files) == 1 < len(cut.files)
    assert not cut.left_out
    for number, files in enumerate((whole.files, cut.files)):
        folder = written(tmp_path / str(number), dict(files))
        restore(folder, made.name, tmp_path / f"run-{number}")
        for checkpoint in (LAST, SELECTED):
            before, _ = read_safetensors(run.path / "checkpoints" / checkpoint)
            after, _ = read_safetensors(tmp_path / f"run-{number}" / "checkpoints" / checkpoint)
            assert after.keys() == {key for key in before if key.startswith("model/")}  # a finished one needs no more
            for key, value in after.items():
                assert torch.equal(value, rounded(before[key]).float()), key


def test_what_does_not_fit_is_left_out_and_said_the_selected_network_first(tmp_path: Path) -> None:
    made = job()
    run = trained(tmp_path, made)
    selected, _ = read_safetensors(run.path / "checkpoints" / SELECTED)
    one = sum(rounded(tensor).nbytes for tensor in selected.values())
    found = packed(tmp_path, [made.name], limit=int(1.5 * one), n_files=1)
    assert list(found.left_out) == [f"{made.name}/{SELECTED}"]
    assert "more than fit" in found.left_out[f"{made.name}/{SELECTED}"]
    restore(written(tmp_path / "w", dict(found.files)), made.name, tmp_path / "again")
    assert not (tmp_path / "again/checkpoints" / SELECTED).exists()


def test_files_that_are_missing_damaged_or_of_two_moments_are_refused(tmp_path: Path) -> None:
    made = job()
    trained(tmp_path, made)
    other = job("net/seed-1", seed=1, epochs=3)
    trained(tmp_path, other)
    files = dict(packed(tmp_path, [made.name], limit=2000, n_files=50).files)
    others = packed(tmp_path, [other.name], limit=2000, n_files=50).files
    first, second, *_ = files
    cases = {
        "one is missing": {name: content for name, content in files.items() if name != second},
        "all are missing": {},
        "damaged": {**files, first: files[first][:-8] + b"12345678"},
        "two moments": {**files, first: others[first]},
    }
    for words, case in cases.items():
        folder = tmp_path / words.replace(" ", "-")
        folder.mkdir()
        with pytest.raises(BadRequest):
            restore(written(folder, case), made.name, tmp_path / "run")
    with pytest.raises(BadRequest, match="expected all files of weights of net/seed-9"):
        restore(written(tmp_path / "all", files), "net/seed-9", tmp_path / "run")


@pytest.mark.parametrize("with_selected", [True, False])
def test_a_training_goes_on_from_rounded_weights_and_says_so(with_selected: bool, tmp_path: Path) -> None:
    made, run = cut_off(tmp_path / "runs")
    assert not run.finished
    before, state = read_safetensors(run.path / "checkpoints" / LAST)
    files = dict(packed(tmp_path / "runs", [made.name]).files)
    again = Run(tmp_path / "elsewhere" / made.name)
    for path in run.path.iterdir():
        if path.is_file() and path.suffix in (".yaml", ".json", ".jsonl"):
            write_atomic(again.path / path.name, path.read_bytes())
    restore(written(tmp_path / "w", files), made.name, again.path)
    if not with_selected:
        (again.path / "checkpoints" / SELECTED).unlink()
    after, now = read_safetensors(again.path / "checkpoints" / LAST)
    assert after.keys() == before.keys()  # the optimizer too
    assert (now["epoch"], now["step"], now["rows"]) == (state["epoch"], state["step"], state["rows"])
    assert epoch_of(again.path) == 2
    note_continuation(again.path)
    done = train.run(train.Config(**made.settings, out=str(again.path)))  # type: ignore[arg-type]
    assert [row["epoch"] for row in done.rows()] == [1, 2, 3, 4]
    assert done.rows()[:2] == run.rows()[:2]
    mark(done, {})
    words = "a continuation from bfloat16 weights (after epoch 2"
    if not with_selected:
        words += ", the selected network is one of later epochs"
    assert Run.open(again.path).source == f"{words})"


def test_only_what_reads_rounded_weights_is_marked(tmp_path: Path) -> None:
    run = trained(tmp_path, job())
    mark(run, {tmp_path / "another/seed-0": "rounded"})
    assert run.source is None
    mark(run, {Path("mlp"): "rounded"})  # as if one of its settings named that folder
    assert Run.open(run.path).source == "rounded"
