"""`cgro compare` on digits: once whole, then resuming, failures, trust and bad input."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.test_interrupt import wait_for

from cgro._check import BadRequest, CheckFailed
from cgro.cli import main
from cgro.comparison.compare import Comparison, Config, run
from cgro.comparison.plan_file import Plan
from cgro.comparison.trials import Evaluated, trials_of
from cgro.jobs.execute import Call, ThisProcess, carry_out_here
from cgro.results import CompareSummary
from cgro.runs import Run

BASE: dict[str, object] = {
    "data": "digits",
    "n_train": 60,
    "n_test": 30,
    "validation": 0.5,
    "model": "mlp",
    "width": 8,
    "radius": 0.1,
    "attack": "pgd2",
    "eval_attack": "pgd2",
    "eval_n": 20,
    "final_n": 20,
    "epochs": 3,
}
PLAN = {"base": BASE, "seeds": 2, "remedies": {"plain": {}, "trades": {"objective": "trades:beta=6"}}}
QUICK = ["--strong", "pgd3", "--threads", "1", "--device", "cpu"]


def written(path: Path, plan: dict) -> str:
    path.write_text(yaml.safe_dump(plan, sort_keys=False))
    return str(path)


def compare(plan: str, out: Path, *more: str) -> int:
    return main(["compare", plan, "--out", str(out), *QUICK, *more])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("compare")
    assert compare(written(path / "plan.yaml", PLAN), path / "out") == 0
    return path


def marks(out: Path) -> dict[Path, int]:
    """When each finished run was written."""
    return {path: path.stat().st_mtime_ns for path in out.glob("runs/**/environment.json")}


def test_the_summary_has_each_remedy_with_its_metrics_over_seeds(whole: Path) -> None:
    summary = json.loads((whole / "out" / "summary.json").read_text())
    assert list(summary["remedies"]) == ["plain", "trades"]
    for name, passes in (("plain", 3 * 60 * 3), ("trades", 2 * 60 * 4)):
        remedy = summary["remedies"][name]
        assert remedy["passes"] == passes
        assert remedy["metrics"]["passes"]["per_seed"] == [passes, passes]
        for key in ("robust_error/test", "clean_error/test", "robust_error/test@selected_on_validation"):
            assert all(0 <= value <= 1 for value in remedy["metrics"][key]["per_seed"])
        for key in ("robust_error/train", "robust_gap", "flatness/gradient/test", "memory/score", "seconds"):
            assert len(remedy["metrics"][key]["per_seed"]) == 2
            assert None not in remedy["metrics"][key]["per_seed"]
    difference = summary["remedies"]["trades"]["differences"]["robust_error/test"]
    before, after = (summary["remedies"][name]["metrics"]["robust_error/test"]["mean"] for name in ("plain", "trades"))
    assert difference["mean"] == pytest.approx(after - before)
    assert summary["n_open"] == 0


def test_the_numbers_are_those_of_the_runs(whole: Path) -> None:
    result = Run(whole / "out").read(CompareSummary)
    for seed in range(2):
        run = Run(whole / "out/runs/evaluations/trades" / f"seed-{seed}" / "last")
        for key in ("robust_error/test", "robust_error/train", "clean_error/test"):
            assert result.remedies["trades"].metrics[key].by_seed[seed] == run.read().metrics[key].value


def test_table_figure_and_page_are_there(whole: Path) -> None:
    for file in ("tables/compare.csv", "figures/pareto.svg", "figures/pareto.png", "index.html", "plan.yaml"):
        assert (whole / "out" / file).stat().st_size
    assert str(whole) not in (whole / "out" / "index.html").read_text()


def test_a_second_call_makes_nothing_again(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = marks(whole / "out")
    assert compare(str(whole / "plan.yaml"), whole / "out") == 0
    assert marks(whole / "out") == before
    assert "(cgro " not in capsys.readouterr().err


def test_an_added_remedy_stands_beside_the_finished_ones(tmp_path: Path) -> None:
    out = tmp_path / "out"
    plan = written(tmp_path / "plan.yaml", {"base": BASE, "seeds": 1, "remedies": {"plain": {}}})
    assert compare(plan, out) == 0
    before = marks(out)
    more = written(tmp_path / "more.yaml", {"ema": {"extension": ["ema:decay=0.5"]}})
    assert main(["compare", "--out", str(out), "--add", more, *QUICK, "--workers", "2"]) == 0
    assert list(Run(out).read(CompareSummary).remedies) == ["plain", "ema"]
    assert before.items() <= marks(out).items()
    assert compare(plan, out) == 0  # the first command again keeps what was added
    assert "ema" in Run(out).read(CompareSummary).remedies
    moved = tmp_path / "moved"
    out.rename(moved)
    marked = marks(moved)
    assert main(["compare", "--out", str(moved), *QUICK]) == 0  # whoever moves it makes nothing again
    assert marks(moved) == marked
    assert compare(plan, moved, "--overwrite", "--n", "10") == 0
    assert list(Run(moved).read(CompareSummary).remedies) == ["plain"]


def test_killed_in_the_middle_the_same_command_goes_on(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ["compare", str(whole / "plan.yaml"), "--out", str(out), *QUICK]
    process = subprocess.Popen([sys.executable, "-m", "cgro.cli", *command], stderr=subprocess.DEVNULL)
    wait_for(lambda: (out / "runs/training/plain/seed-1/config.yaml").exists(), process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = {path: mark for path, mark in marks(out).items() if (path.parent / "summary.json").exists()}
    assert len(finished) >= 4
    assert main(command) == 0
    assert finished.items() <= marks(out).items()
    again, undisturbed = (Run(path).read(CompareSummary).remedies for path in (out, whole / "out"))
    for name, remedy in undisturbed.items():
        for key in ("robust_error/test", "robust_error/train", "memory/score"):
            assert again[name].metrics[key] == remedy.metrics[key]


def test_any_executor_carries_jobs_out(tmp_path: Path) -> None:
    begun: list[str] = []

    def carry(call: Call) -> float:
        begun.append(call.name)
        return carry_out_here(call)

    plan = Plan({**BASE, "radius": "0.1", "validation": 0.0}, {"plain": {}}, 1)
    comparison = Comparison.of(plan, trials_of(plan), Evaluated("pgd2", 10), tmp_path, {"device": "cpu"})
    with ThreadPoolExecutor(1) as executor:
        comparison.make(executor, carry)
    assert begun[0] == "training/plain/seed-0"
    assert len(begun) == 4
    assert comparison.summary().n_open == 0


class Looking(ThisProcess):
    """Notes how many jobs the summary in a folder calls open whenever a job begins."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.open: list[int | None] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        path = self.out / "summary.json"
        self.open.append(json.loads(path.read_bytes())["n_open"] if path.exists() else None)
        return super().submit(fn, *args, **kwargs)


@pytest.mark.parametrize(("seconds", "written_before"), [(0.0, [None, 3, 2, 1]), (1e9, [None] * 4)])
def test_table_and_page_are_written_while_it_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, written_before: list[int | None]
) -> None:
    monkeypatch.setattr("cgro.comparison.compare.WRITE_EVERY", seconds)
    plan = written(tmp_path / "plan.yaml", {"base": {**BASE, "validation": 0.0}, "seeds": 1, "remedies": {"plain": {}}})
    out = tmp_path / "out"
    executor = Looking(out)
    run(Config(plan=plan, out=str(out), strong="pgd2", threads=1, device="cpu"), executor)
    assert executor.open == written_before
    assert Run(out).read(CompareSummary).n_open == 0


OWN = """
from cgro.training.extensions import Extension

class Fails(Extension):
    def after_step(self, model, k):
        raise ValueError("planted")
"""


def test_failures_stay_in_the_table_and_stop_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A network whose loss is not finite is a result; code that raises is a failure, which exits 1."""
    (tmp_path / "planted_extension.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    base = {**BASE, "optimizer": "sgd"}
    remedies = {
        "plain": {},
        "wild": {"lr": 1e30},
        "broken": {"extension": ["planted_extension:Fails"]},
        "ema": {"extension": ["ema:decay=0.5"]},
    }
    plan = written(tmp_path / "plan.yaml", {"base": base, "seeds": 1, "remedies": remedies})
    assert compare(plan, tmp_path / "out") == 2  # code that is not said
    assert "planted_extension:Fails, code of whoever made it" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert compare(plan, tmp_path / "out", "--extension", "planted_extension:Fails") == 1
    assert "jobs failed: training/broken/seed-0" in capsys.readouterr().err
    found = Run(tmp_path / "out").read(CompareSummary).remedies
    assert found["wild"].outcomes[0].kind == "non_finite"
    assert found["wild"].metrics["robust_error/test"].by_seed == [None]
    assert "planted" in found["broken"].outcomes[0].reason
    assert found["ema"].metrics["robust_error/test"].by_seed != [None]
    page = (tmp_path / "out" / "index.html").read_text()
    assert "the network answers NaN or infinity after epoch 1" in page
    assert "ValueError: planted" in page


def test_a_budget_stops_resumably_and_shows_what_there_is(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(str(whole / "plan.yaml"), tmp_path / "out", "--budget", "0.5s") == 130
    assert "the same command" in capsys.readouterr().err
    assert Run(tmp_path / "out").read(CompareSummary).n_open > 0
    assert "not made yet" in (tmp_path / "out" / "index.html").read_text()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seeds": 0}, "seeds: expected an integer in [1, 1000]"),
        ({"colour": "red"}, "expected the keys base, remedies, seeds, widths, got 'colour'"),
        ({"remedies": {"plain": {}, "bad": {"objective": "trades:beta=-1"}}}, "remedy bad: "),
        ({"remedies": {"plain": {}, "bad": {"extension": ["no-such"]}}}, "remedy bad: "),
    ],
)
def test_a_bad_plan_is_one_line_before_any_work(
    change: dict, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(written(tmp_path / "plan.yaml", {**PLAN, **change}), tmp_path / "out") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert not (tmp_path / "out").exists()


def test_another_base_or_evaluation_is_refused(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = written(tmp_path / "plan.yaml", {**PLAN, "base": {**BASE, "epochs": 5}})
    assert compare(other, whole / "out") == 2
    assert "base: expected the base it began with" in capsys.readouterr().err
    assert main(["compare", str(whole / "plan.yaml"), "--out", str(whole / "out"), "--strong", "pgd9"]) == 2
    assert "--strong: expected pgd3" in capsys.readouterr().err
    assert main(["compare"]) == 2
    assert main(["compare", str(tmp_path / "none.yaml")]) == 2


def test_seeds_may_be_added_and_none_be_taken_away(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    remedies = {"plain": {}, "ema": {"extension": ["ema:decay=0.5"]}}
    for n_seeds in (1, 2):
        before = marks(out)
        plan = {"base": BASE, "seeds": n_seeds, "remedies": remedies}
        assert compare(written(tmp_path / "plan.yaml", plan), out) == 0
        assert before.items() <= marks(out).items()  # nothing that was finished is made anew
        for remedy in Run(out).read(CompareSummary).remedies.values():
            assert len(remedy.metrics["robust_error/test"].by_seed) == n_seeds
    assert "2 seeds in place of 1" in capsys.readouterr().err
    fewer = written(tmp_path / "fewer.yaml", {"base": BASE, "seeds": 1, "remedies": remedies})
    assert compare(fewer, out) == 2
    assert "seeds: expected at least the 2 seeds" in capsys.readouterr().err


def test_a_directory_without_its_plan_asks_for_it(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = (whole / "out" / "plan.yaml").read_bytes()
    (whole / "out" / "plan.yaml").unlink()
    assert main(["compare", "--out", str(whole / "out")]) == 2
    assert "PLAN: expected a file PLAN.yaml" in capsys.readouterr().err
    assert compare(str(whole / "plan.yaml"), whole / "out") == 0
    assert (whole / "out" / "plan.yaml").read_bytes() == kept


def test_what_is_refused_stays_out_of_the_plan_of_the_directory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Plain training beside a reference with options would set other epochs than the finished runs have."""
    out = tmp_path / "out"
    remedies = {"trades": {"objective": "trades:beta=6"}, "ema": {"extension": ["ema:decay=0.5"]}}
    assert compare(written(tmp_path / "plan.yaml", {"base": BASE, "seeds": 1, "remedies": remedies}), out) == 0
    before = (out / "plan.yaml").read_bytes()
    for number, added in enumerate(({"plain": {}}, {"late": {"extension": ["swa:start=9"]}})):
        more = written(tmp_path / f"more{number}.yaml", added)
        assert main(["compare", "--out", str(out), "--add", more, *QUICK]) == 2
        assert (out / "plan.yaml").read_bytes() == before
    assert "expected the same reference, got plain" in capsys.readouterr().err
    assert main(["compare", "--out", str(out), *QUICK]) == 0


CHANGING = """
from torch import nn


class Net(nn.Sequential):
    def __init__(self, shape, n_outputs):
        super().__init__(nn.Flatten(), nn.Linear(64, SIZE), nn.ReLU(), nn.Linear(SIZE, n_outputs))
"""


def cgro(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, which imports what is there now."""
    return subprocess.run([sys.executable, "-m", "cgro", *words], cwd=folder, capture_output=True, text=True)


def test_code_that_was_edited_between_two_calls_is_told(tmp_path: Path) -> None:
    """Half of a comparison was of another network of the same name."""
    remedies = {"plain": {}}
    named = ["--model", "changing_net:Net", *QUICK]
    for size, remedies in ((4, {"plain": {}}), (6, {"plain": {}, "ema": {"extension": ["ema:decay=0.5"]}})):
        (tmp_path / "changing_net.py").write_text(CHANGING.replace("SIZE", str(size)))
        base = {**BASE, "model": "changing_net:Net", "epochs": 1}
        del base["width"]
        written(tmp_path / "plan.yaml", {"base": base, "seeds": 1, "remedies": remedies})
        done = cgro(tmp_path, "compare", "plan.yaml", "--out", "out", *named)
        assert done.returncode == 0, done.stderr
        assert ("the file of changing_net was changed between trainings" in done.stdout) == (size == 6)
    assert "changed between trainings" in (tmp_path / "out" / "index.html").read_text()


def test_a_remedy_that_reads_runs_of_own_code(tmp_path: Path) -> None:
    """A teacher on own data or an own network was refused whatever the caller trusted."""
    (tmp_path / "teaching_net.py").write_text(CHANGING.replace("SIZE", "4"))
    quick = ["--n-train", "60", "--n-test", "30", "--eval-attack", "pgd2", "--epochs", "1", "--threads", "1"]
    train = ["train", "--data", "digits", "--model", "teaching_net:Net", "--radius", "0.1", "--attack", "pgd1", *quick]
    assert cgro(tmp_path, *train, "--out", "teacher").returncode == 0
    kd = "kd:robust=teacher,weight_standard=0,weight_robust=0.6,weight=0.4"
    remedies = {"plain": {}, "kd": {"objective": kd}}
    written(tmp_path / "plan.yaml", {"base": {**BASE, "epochs": 1}, "seeds": 1, "remedies": remedies})
    words = ["compare", "plan.yaml", "--out", "out", *QUICK, "--objective", kd]
    refused = cgro(tmp_path, *words)  # the plan names the teacher, and the teacher a network that nobody said
    assert refused.returncode == 2
    assert "its network is teaching_net:Net, code of whoever made it" in refused.stderr
    assert not (tmp_path / "out").exists()
    done = cgro(tmp_path, *words, "--model", "teaching_net:Net")
    assert done.returncode == 0, done.stderr
    found = Run(tmp_path / "out").read(CompareSummary).remedies
    assert found["kd"].metrics["robust_error/test"].by_seed != [None]


@pytest.mark.parametrize("deleted", ["", "runs"])
def test_a_directory_that_is_deleted_meanwhile_is_not_taken_for_done(
    deleted: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was made anew without its first files, so that no later call took it up; without its runs the exit was 0."""
    out = tmp_path / "out"
    plan = written(tmp_path / "plan.yaml", {"base": {**BASE, "epochs": 1}, "seeds": 1, "remedies": {"plain": {}}})

    class Deleting(ThisProcess):
        n = 0

        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            done = super().submit(fn, *args, **kwargs)
            self.n += 1
            if self.n == 2:
                shutil.rmtree(out / deleted)
            return done

    config = Config(plan=plan, out=str(out), strong="pgd3", threads=1, device="cpu", workers=1)
    error, words = (CheckFailed, "jobs are not made") if deleted else (BadRequest, "moved or deleted")
    with pytest.raises(error, match=words):
        run(config, Deleting())
    assert "memory/plain/seed-0" not in capsys.readouterr().err or deleted
