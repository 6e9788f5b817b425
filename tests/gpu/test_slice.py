"""A slice: its dry run from the command line, faults in one line each, a stop in the middle, and going on after it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.gpu.cases import cut_off, job, trained
from tests.gpu.test_collect import record
from tools.gpu import collect, slice
from tools.gpu.items import TABLE, Item, folder_of, items
from tools.gpu.keeper import Keeper
from tools.gpu.parcel import RESULTS
from tools.gpu.report import LONGEST, ending, read_record
from tools.gpu.training import FINISHED, carried_out, closed, planned

from cgro._check import BadRequest
from cgro.commands.train import Config
from cgro.jobs.store import Store
from cgro.runs import Run, write_atomic
from cgro.training.weights.formats import read_safetensors

ROOT = Path(__file__).parents[2]


def test_the_dry_run_makes_an_item_from_the_checks_to_the_files(tmp_path: Path) -> None:
    """With the table committed the next item is Figure 1: training, two attacks, flatness, weights."""
    write_atomic(tmp_path / "results/smoke" / TABLE, b"{}")
    out = tmp_path / "out"
    words = ["sh", "tools/gpu/slice.sh", "--device", "cpu", "--tiny", "--minutes", "20"]
    words += ["--results", str(tmp_path / "results"), "--weights", str(tmp_path / "weights")]
    environment = {**os.environ, "OUT": str(out), "PYTHON": sys.executable}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) + len(done.stderr) < 12_000
    assert "a dry run: nothing of it is a result" in done.stdout
    found = read_record(out)
    assert (found.item, found.end, found.open) == ("b-0", FINISHED, {})
    assert found.epochs == 4
    assert found.pace is not None
    assert set(found.done) == {job.name for job in items("smoke")[1].jobs}
    files = [path for path in out.rglob("*") if path.is_file()]
    assert {path.name for path in files} == {"slice.json", RESULTS, "weights-1.safetensors", "table.json"}
    assert all(path.stat().st_size <= 16 << 20 for path in files)
    weights, _ = read_safetensors(out / "weights-1.safetensors")
    assert any("best_validation.safetensors::model/" in name for name in weights)
    lines = collect.collected(out, tmp_path / "results", tmp_path / "weights")
    assert len([line for line in lines if line.startswith("taken: runs/")]) == 5
    assert items("smoke")[1].is_done(Store(tmp_path / "results/smoke"))


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--minutes", "soon"], "--minutes: expected a number"),
        (["--minutes", "-3"], "--minutes: expected"),
        (["--minutes", "0.4"], "--minutes: expected time for a slice, got 0.4, of which 30 s are for files"),
        (["--device", "cuda:9"], "--device: expected one of "),
        (["--item", "z"], "--item: expected one of a, b-0"),
        (["--item", "b-0-memory"], "--item: expected weights of cifar10-w64/seed-0, got none; carry them"),
        (["--item", "b-0"], "cifar10"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    words: list[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "no-data").mkdir()
    monkeypatch.setenv("CGRO_DATA", str(tmp_path / "no-data"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    where = ["--out", str(tmp_path / "out"), "--results", str(tmp_path), "--weights", str(tmp_path / "weights")]
    assert slice.main([*where, "--device", "cpu", *words]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert error[-1].startswith("slice: ")
    assert line in error[-1]
    assert not (tmp_path / "out").exists()


def test_a_damaged_result_and_a_folder_in_use_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = items("gpu")[1].jobs[0]
    folder = tmp_path / "gpu/runs" / net.name
    made = trained(tmp_path / "work", job())
    for name in ("environment.json", "metrics.jsonl", "summary.json"):
        write_atomic(folder / name, (made.path / name).read_bytes())
    write_atomic(folder / "config.yaml", b"command: train\nmodel: [")
    write_atomic(tmp_path / "gpu" / TABLE, b"{}")
    where = ["--results", str(tmp_path), "--weights", str(tmp_path / "weights"), "--device", "cpu"]
    assert slice.main(["--out", str(tmp_path / "out"), *where]) == 2
    assert str(folder) in capsys.readouterr().err
    write_atomic(tmp_path / "out/slice.json", b"{}")
    assert slice.main(["--out", str(tmp_path / "out"), *where]) == 2
    assert "--out: expected a folder without a slice" in capsys.readouterr().err


def test_a_training_that_is_cut_off_goes_on_in_the_next_slice(tmp_path: Path) -> None:
    """Stopped in its third epoch; the next slice takes up its weights, its epochs and its rows, and marks it."""
    made, _ = cut_off(tmp_path / "first/runs")
    item = Item("x", "a net", (made,))
    first = Keeper(tmp_path / "out", tmp_path / "first", record(), [made.name])
    first.write()
    results, weights = tmp_path / "results", tmp_path / "weights"
    collect.collected(first.out, results, weights)
    assert folder_of(weights, made.name).is_dir()
    second = Keeper(tmp_path / "out-2", tmp_path / "second", record())
    store = Store(results / "gpu")
    plan = planned(item, store, second, weights, device="auto", seconds=500.0)
    assert second.record.pace is None  # the number of epochs is decided
    carried_out(plan, second, lambda: 500.0)
    closed(plan, second, FINISHED)
    second.write()
    assert second.record.done == [made.name]
    collect.collected(second.out, results, weights)
    taken = Run.open(store.root / "runs" / made.name)
    assert [row["epoch"] for row in taken.rows()] == [1, 2, 3, 4]
    assert taken.source == "a continuation from bfloat16 weights (after epoch 2)"
    assert item.is_done(store)


def test_no_job_is_begun_when_the_time_is_over(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path / "out", tmp_path / "work", record())
    item = Item("x", "nets", (job("net/seed-0"), job("net/seed-1", seed=1)))
    plan = planned(item, Store(tmp_path / "store"), keeper, tmp_path / "weights", device="cpu", seconds=1e6)
    assert keeper.record.epochs == 4  # the whole plan
    carried_out(plan, keeper, lambda: 3.0)
    closed(plan, keeper, FINISHED)
    assert keeper.record.end == "0 of 2 jobs are finished"
    assert keeper.record.open == {"net/seed-0": "the time was over", "net/seed-1": "the time was over"}


def test_a_second_seed_has_the_epochs_of_the_first(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    first = job("net/seed-0", epochs=3)
    trained(tmp_path / "runs", first)
    store.keep(first, tmp_path / "runs")
    keeper = Keeper(tmp_path / "out", tmp_path / "work", record())
    both = Item("x", "nets", (job("net/seed-0"), job("net/seed-1", seed=1)))
    plan = planned(both, store, keeper, tmp_path / "weights", device="cpu", seconds=500.0)
    assert [(made.name, made.settings["epochs"]) for made in plan.jobs] == [("net/seed-1", 3)]
    assert keeper.record.pace is None


def test_the_end_is_short_however_much_there_is_to_say(tmp_path: Path) -> None:
    told = record()
    many = {f"net-{number}/seed-0": "x" * 500 for number in range(500)}
    text = ending(replace(told, open=many), Store(tmp_path), tmp_path)
    assert len(text) <= LONGEST + 200
    assert "more lines; see slice.json" in text


def test_a_time_that_is_too_short_for_five_epochs_is_refused(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path / "out", tmp_path / "work", record())
    item = Item("x", "a net", (job(epochs=50, lr_drops="20,40"),))
    with pytest.raises(BadRequest, match="--minutes: expected time for 5 epochs"):
        planned(item, Store(tmp_path / "s"), keeper, tmp_path / "w", device="cpu", seconds=100.0)
    assert Config(**item.jobs[0].settings).epochs == 50  # type: ignore[arg-type]
