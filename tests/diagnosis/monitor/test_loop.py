"""A training loop, watched: rows, resumption, budgets, strong attacks, and what is refused."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.cases import busy_network, refused
from tests.diagnosis.monitor.cases import TEST, THREAT, TRAIN, blobs, errors_in, loop, monitor_in, train
from torch import nn

from cgro import Monitor
from cgro.cli import main
from cgro.definitions import PGD, FunctionAttack, ThreatModel
from cgro.diagnosis import read_run
from cgro.results import MonitorSummary
from cgro.runs import Run
from cgro.training.weights import load_file


def test_three_lines_in_a_loop(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    monitor = Monitor(train=TRAIN, test=TEST, threat=THREAT, out=tmp_path / "run")
    model = loop(monitor, 3)
    found = monitor.verdict()
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith("cgro.Monitor: 100 examples by pgd10 took ")
    assert "% of the " in told[0]
    assert told[1:] == [f"{found.label}: {found.reason}", f"next: cgro report {tmp_path / 'run'}"]
    run = Run.open(tmp_path / "run")
    summary = run.read(MonitorSummary)
    assert summary.outcome.kind == "completed"
    assert [row["epoch"] for row in run.rows()] == [0, 1, 2]
    assert summary.cost.evaluations == 3
    assert summary.cost.passes == 100 * 24
    assert summary.cost.share == pytest.approx(summary.cost.seconds / summary.cost.training_seconds)
    (curves,) = read_run(run.path)
    assert curves["robust_error/test"].tolist() == [row["robust_error/test"] for row in run.rows()]
    assert (curves.meta["n/train"], curves.meta["n/test"], curves.meta["n_classes"]) == (60, 40, 3)
    other = busy_network(seed=5)
    load_file(other, run.path / "checkpoints" / "last.safetensors")
    for key, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[key])
    assert main(["diagnose", str(run.path), "--out", str(tmp_path / "d")]) == 0
    assert capsys.readouterr().out.startswith(f"{found.label}: {found.reason}")
    assert main(["report", str(run.path), "--out", str(tmp_path / "r.html")]) == 0
    assert (tmp_path / "r.html").stat().st_size > 10_000


class Killed(Exception):
    pass


def test_killed_and_resumed_the_rows_are_those_of_an_undisturbed_run(tmp_path: Path) -> None:
    """The loop starts anew from its own checkpoint of epoch 1, and evaluates epoch 2 twice."""
    loop(monitor_in(tmp_path / "whole", keep=2, strong=("pgd3", 2)), 5)
    whole = Run.open(tmp_path / "whole")
    options = {"keep": 2, "strong": ("pgd3", 2)}
    first = monitor_in(tmp_path / "cut", **options)

    def until_killed(model: nn.Module, epoch: int) -> None:
        first(model, epoch)
        if epoch == 2:
            raise Killed

    with pytest.raises(Killed):
        loop(until_killed, 5)
    again = monitor_in(tmp_path / "cut", **options)
    loop(again, 5)
    cut = Run.open(tmp_path / "cut")
    assert [errors_in(row) for row in cut.rows()] == [errors_in(row) for row in whole.rows()]
    assert ["robust_error/test@pgd3" in row for row in cut.rows()] == [False, True, False, True, False]
    for path in sorted((whole.path / "checkpoints").iterdir()):
        assert path.read_bytes() == (cut.path / "checkpoints" / path.name).read_bytes()
    assert {p.name for p in (cut.path / "checkpoints").iterdir()} == {
        "last.safetensors", "epoch-0001.safetensors", "epoch-0003.safetensors"}  # fmt: skip
    assert cut.read().metrics == whole.read().metrics
    of_cut, of_whole = (monitor_in(tmp_path / name, **options).verdict() for name in ("cut", "whole"))
    assert (of_cut.label, of_cut.reason) == (of_whole.label, of_whole.reason)


def test_a_kill_between_two_files_leaves_a_run_that_goes_on(tmp_path: Path) -> None:
    """The summary is taken away first: at no moment do its digests belong to other files."""
    monitor = monitor_in(tmp_path / "run")
    model = busy_network()
    monitor(model, 1)
    run = Run.open(tmp_path / "run")
    before = run.rows()
    (run.path / "summary.json").unlink()  # the moment after the first step of writing
    (run.path / "checkpoints" / "last.safetensors").unlink()
    assert Run.open(run.path).rows() == before
    again = monitor_in(tmp_path / "run")
    again(busy_network(seed=1), 2)
    assert [row["epoch"] for row in Run.open(run.path).rows()] == [1, 2]
    assert run.finished


@pytest.mark.parametrize(("options", "words"), [
    ({"attack": "pgd3"}, ("eval_attack pgd2 there, pgd3 here",)),
    ({"n": 10}, ("eval_n 1000 there, 10 here",)),
    ({"keep": "none"}, ("keep last there, none here",)),
    ({"train": blobs(60, seed=9)}, ("examples: expected those with which",)),
    ({"seed": 1}, ("seed 0 there, 1 here",)),
])  # fmt: skip
def test_other_settings_or_examples_are_refused_before_the_training(tmp_path: Path, options: dict, words) -> None:
    monitor = monitor_in(tmp_path / "run")
    for finished in (False, True):
        refused(lambda: monitor_in(tmp_path / "run", **options), *words)
        monitor(busy_network(), 1)
        assert Run(tmp_path / "run").finished or finished


def test_what_is_no_run_of_a_monitor_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("years of work")
    refused(lambda: monitor_in(tmp_path / "thesis"), "--out", "new or empty directory")
    options = ["--data", "digits", "--model", "mlp", "--n-train", "100", "--n-test", "20", "--epochs", "1"]
    assert main(["train", *options, "--out", str(tmp_path / "t"), "--final-n", "10", "--attack", "pgd1"]) == 0
    refused(lambda: monitor_in(tmp_path / "t"), "a run of cgro train")


def test_an_epoch_twice_is_the_same_or_refused(tmp_path: Path) -> None:
    monitor = monitor_in(tmp_path / "run")
    model = busy_network()
    row = monitor(model, 3)
    assert monitor(model, 3) == row
    assert len(Run.open(tmp_path / "run").rows()) == 1
    other = loop(None, 3)
    refused(lambda: monitor(other, 3), "epoch 3 was evaluated before with", "monitor.rewind")
    monitor(other, 5)
    refused(lambda: monitor(other, 4), "expected one after 5", "monitor.rewind(3)")
    monitor.rewind(3)
    assert len(Run.open(tmp_path / "run").rows()) == 1
    assert monitor(other, 4)["epoch"] == 4
    assert [row["epoch"] for row in Run.open(tmp_path / "run").rows()] == [3, 4]
    refused(lambda: monitor(other, 0), "to begin anew call monitor.rewind(-1)")
    monitor.rewind(-1)
    assert monitor(other, 0)["epoch"] == 0
    assert [row["epoch"] for row in Run.open(tmp_path / "run").rows()] == [0]
    refused(lambda: monitor.rewind(-2), "epoch: expected an integer >= -1")


@pytest.mark.parametrize("options", [{}, {"n": 20, "train": blobs(50, seed=5), "keep": 1}])
@pytest.mark.parametrize("finished", [False, True])
def test_a_second_run_of_a_loop_that_overwrites(tmp_path: Path, finished: bool, options: dict) -> None:
    """An unseeded loop, run again, has other weights: the first run goes, whatever its settings were."""
    monitor = monitor_in(tmp_path / "run", keep=1)
    for epoch in (0, 1, 2):
        monitor(busy_network(), epoch)
    if finished:
        monitor.verdict()
    refused(lambda: monitor_in(tmp_path / "run", keep=1)(busy_network(seed=1), 0), "overwrite=True")
    again = monitor_in(tmp_path / "run", **{"overwrite": True, **options})
    assert not (tmp_path / "run" / "checkpoints").exists()
    again(busy_network(seed=1), 0)
    assert [row["epoch"] for row in Run.open(tmp_path / "run").rows()] == [0]


@pytest.mark.parametrize("process", [1, 3])
def test_only_the_first_process_deletes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, process: int) -> None:
    monitor_in(tmp_path / "run")(busy_network(), 0)
    monkeypatch.setattr("cgro.diagnosis.monitor.loop.rank", lambda: process)
    monitor_in(tmp_path / "run", overwrite=True)
    assert len(Run.open(tmp_path / "run").rows()) == 1


def test_nothing_else_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("years of work")
    refused(lambda: monitor_in(tmp_path / "notes.txt", overwrite=True), "out: expected a new directory", "a file")
    refused(lambda: monitor_in(tmp_path / "notes.txt"), "out: expected a new directory", "a file")
    refused(lambda: monitor_in(tmp_path, overwrite=True), "it is no run: not deleted")
    with Run.start(tmp_path / "t", "train", {"seed": 0}):
        pass
    refused(lambda: monitor_in(tmp_path / "t", overwrite=True), "a run of cgro train")
    refused(lambda: monitor_in(tmp_path / "t"), "a run of cgro train")
    assert (tmp_path / "notes.txt").read_text() == "years of work"
    assert (tmp_path / "t" / "config.yaml").exists()


def test_what_a_network_raises_still_comes_through(tmp_path: Path) -> None:
    monitor = monitor_in(tmp_path / "run")
    model = busy_network()
    model.register_forward_pre_hook(lambda module, inputs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        monitor(model, 1)


def test_no_other_command_goes_on_with_it(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    monitor = monitor_in(tmp_path / "run")
    monitor(busy_network(), 1)
    (tmp_path / "run" / "summary.json").unlink()
    assert main(["train", "--resume", str(tmp_path / "run")]) == 2
    assert "a run of cgro train" in capsys.readouterr().err


def test_rewinding_keeps_only_weights_of_the_epochs_that_stay(tmp_path: Path) -> None:
    monitor = monitor_in(tmp_path / "run", keep=1)
    for epoch in (1, 2, 3):
        monitor(busy_network(), epoch)
    monitor.rewind(2)
    names = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert names == ["epoch-0001.safetensors", "epoch-0002.safetensors"]


@pytest.mark.parametrize("back_to", [3, 99])
def test_rewinding_to_the_last_epoch_forgets_nothing(tmp_path: Path, back_to: int) -> None:
    """A loop that is over and is called again: its last weights and the summary went, and nothing wrote them anew."""
    monitor = monitor_in(tmp_path / "run")
    for epoch in (1, 2, 3):
        monitor(busy_network(), epoch)
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    monitor.rewind(back_to)
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("lost", [["summary.json"], ["summary.json", "checkpoints/last.safetensors"]])
def test_what_a_kill_left_out_of_the_last_epoch_is_written_when_it_comes_again(tmp_path: Path, lost: list[str]) -> None:
    """Between the rows and the summary: the same loop found all epochs known, and the run stayed unfinished."""
    monitor = monitor_in(tmp_path / "run")
    for epoch in (1, 2, 3):
        monitor(busy_network(), epoch)
    first = monitor.verdict()
    said = json.loads((tmp_path / "run" / "summary.json").read_text())["metrics"]
    for name in lost:
        (tmp_path / "run" / name).unlink()
    again = monitor_in(tmp_path / "run")
    for epoch in (1, 2, 3):
        again(busy_network(), epoch)
    assert again.verdict().reason == first.reason
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["metrics"] == said
    assert Run.open(tmp_path / "run").finished
    assert (tmp_path / "run" / "checkpoints" / "last.safetensors").exists()


@pytest.mark.parametrize("back_to", [1, 2, 3])
def test_rewinding_keeps_the_selected_weights_of_an_epoch_that_stays(tmp_path: Path, back_to: int) -> None:
    """Planted: they went with every rewind, though their epoch stayed and nothing would write them again."""
    monitor = monitor_in(tmp_path / "run", validation=blobs(50, seed=4), keep="best")
    good = loop(None, 4)
    scaled = busy_network(seed=9)  # untrained
    for epoch, model in ((1, scaled), (2, good), (3, scaled), (4, scaled)):
        monitor(model, epoch)
    best = tmp_path / "run" / "checkpoints" / "best_validation.safetensors"
    assert Run.open(tmp_path / "run").read(MonitorSummary).selected.epoch == 2
    content = best.read_bytes()
    monitor.rewind(back_to)
    assert best.exists() == (back_to >= 2)
    monitor(scaled, 5)
    if back_to >= 2:
        assert best.read_bytes() == content
        assert Run.open(tmp_path / "run").read(MonitorSummary).selected.epoch == 2


def test_the_checkpoint_selected_on_validation(tmp_path: Path) -> None:
    """Lowest robust, then clean error; the test part has no say."""
    monitor = monitor_in(tmp_path / "run", validation=blobs(50, seed=4), keep="best")
    states = []

    def watched(model: nn.Module, epoch: int) -> None:
        states.append({key: value.clone() for key, value in model.state_dict().items()})
        monitor(model, epoch)

    loop(watched, 5)
    run = Run.open(tmp_path / "run")
    scores = [(row["robust_error/validation"], row["clean_error/validation"]) for row in run.rows()]
    best = min(range(5), key=lambda k: scores[k])
    summary = run.read(MonitorSummary)
    assert (summary.selected.epoch, summary.selected.score) == (best, scores[best])
    assert summary.metrics["robust_error/test@selected_on_validation"].value == run.rows()[best]["robust_error/test"]
    kept = busy_network(seed=5)
    load_file(kept, run.path / "checkpoints" / "best_validation.safetensors")
    for key, value in states[best].items():
        assert torch.equal(value, kept.state_dict()[key])
    assert main(["evaluate", str(run.path), "--selected", "--model", "a:b"]) == 2  # the data are not named
    refused(lambda: monitor_in(tmp_path / "none", keep="best"), "validation=(x, y)")


@pytest.mark.parametrize(("budget", "seen"), [
    (100 * 8, [0, 1, 2, 3, 4, 5, 6, 7]), (50 * 8, [0, 2, 4, 6]), (25 * 8, [0, 4]), (None, list(range(8))),
])  # fmt: skip
def test_a_budget_in_passes_leaves_epochs_out(tmp_path: Path, budget: int | None, seen: list[int]) -> None:
    """PGD-2 costs an example at most 8 passes: clean, the attack's own clean one, two gradients, its end, evaluation."""
    monitor = monitor_in(tmp_path / "run", budget=budget)
    model = busy_network()
    rows = [monitor(model, epoch) for epoch in range(8)]
    assert [row["epoch"] for row in rows if row] == seen
    assert Run.open(tmp_path / "run").read(MonitorSummary).cost.passes == 100 * 8


def test_the_strong_attack_counts_in_a_budget_of_passes(tmp_path: Path) -> None:
    """8 passes by PGD-2 in every epoch and 48 by PGD-22 in every second one, of which the budget pays for 8 an epoch."""
    monitor = monitor_in(tmp_path / "run", budget=100 * 8, strong=("pgd22", 2))
    model = busy_network()
    rows = [monitor(model, epoch) for epoch in range(16)]
    assert [(row["epoch"], "robust_error/test@pgd22" in row) for row in rows if row] == [
        (0, False), (1, True), (8, False), (9, True),
    ]  # fmt: skip


def test_a_budget_in_seconds_leaves_epochs_out(tmp_path: Path) -> None:
    monitor = monitor_in(tmp_path / "run", budget="0.000001s")
    model = busy_network()
    assert [monitor(model, epoch) is not None for epoch in range(4)] == [True, False, False, False]
    plenty = monitor_in(tmp_path / "plenty", budget="2h")
    assert all(plenty(model, epoch) for epoch in range(4))


def test_the_stronger_attack_counts_where_it_was_made(tmp_path: Path) -> None:
    monitor = monitor_in(tmp_path / "run", attack="fgsm", strong=("pgd10x2", 2))
    loop(monitor, 4)
    run = Run.open(tmp_path / "run")
    row, metrics = run.rows()[-1], run.read().metrics
    assert row["robust_error/test@pgd10x2"] >= row["robust_error/test"]
    assert metrics["robust_error/test"].value == row["robust_error/test@pgd10x2"]
    assert metrics["robust_error/test@fgsm"].value == row["robust_error/test"]


def test_learning_rates_are_kept(tmp_path: Path) -> None:
    monitor = monitor_in(tmp_path / "run")
    monitor(busy_network(), np.int64(1), lr=torch.tensor(0.25))
    assert read_run(tmp_path / "run")[0]["lr"].tolist() == [0.25]


@pytest.mark.parametrize(("options", "words"), [
    ({"train": (255 * TRAIN[0], TRAIN[1])}, ("train part: inputs", "divide by 255")),
    ({"test": ((255 * TEST[0]).byte(), TEST[1])}, ("test part: inputs", "ToTensor")),
    ({"test": ((TEST[0] - 0.5) / 0.25, TEST[1])}, ("test part: inputs", "normalize=(mean, std)")),
    ({"test": (1.5 * TEST[0], TEST[1])}, ("test part: inputs", "normalize=(mean, std)")),
    ({"test": ((TEST[0] - 0.5) / 0.25, TEST[1]), "normalize": ((0.5,), (2.0,))}, ("is normalize=(mean, std)",)),
    ({"test": (TEST[0][:, :, :4], TEST[1])}, ("one shape in all parts",)),
    ({"test": (TEST[0], TEST[1][:5])}, ("test part: labels", "40, one per example")),
    ({"test": (TEST[0][:0], TEST[1][:0])}, ("at least one",)),
    ({"test": TEST[0]}, ("test part: examples",)),
    ({"test": (TEST[0], TEST[1][:, None])}, ("test part: labels", "y.squeeze(1)")),
    ({"threat": 0.1}, ("threat: expected a ThreatModel",)),
    ({"attack": "pdg10"}, ("attack: expected one of",)),
    ({"strong": "pgd20"}, ("strong: expected (attack, every)",)),
    ({"strong": ("pdg", 3)}, ("attack: expected one of",)),
    ({"keep": "all"}, ("keep: expected one of none, last, best",)),
    ({"keep": 0}, ("keep: expected an integer >= 1",)),
    ({"budget": "soon"}, ("budget: expected a time per epoch",)),
    ({"budget": 0}, ("budget",)),
    ({"n": 0}, ("n: expected",)),
    ({"normalize": (0.5,)}, ("normalize: expected (mean, std)",)),
    ({"normalize": ((0.5,), (0.0,))}, ("std above 0",)),
    ({"names": "cifar"}, ("names: expected two texts", "'cifar'")),
    ({"names": ("cifar10",)}, ("names: expected two texts",)),
    ({"attack": PGD(ThreatModel("inf", 0.2), n_steps=2)}, ("attack: expected one on threat", "0.2")),
    ({"attack": PGD(THREAT, n_steps=2, step_size=0.01)}, ("a name stands for", "cgro.definitions:PGD:n_steps=10")),
    ({"strong": (PGD(THREAT, n_steps=2, random_start=False), 3)}, ("a name stands for",)),
    ({"attack": FunctionAttack(THREAT, lambda model, x, y: x)}, ("a name stands for", "package.module")),
])  # fmt: skip
def test_refusals_before_the_training(tmp_path: Path, options: dict, words: tuple[str, ...]) -> None:
    refused(lambda: monitor_in(tmp_path / "run", **options), *words)
    assert not (tmp_path / "run").exists()


def test_refusals_at_a_call(tmp_path: Path) -> None:
    monitor = monitor_in(tmp_path / "run")
    refused(lambda: monitor(busy_network(), -1), "epoch")
    refused(lambda: monitor(busy_network(), 1, lr=math.nan), "lr")
    refused(lambda: monitor("net", 1), "model: expected a torch.nn.Module")
    refused(lambda: monitor(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), 1), "labels")
    refused(lambda: monitor.verdict(), "call it in the loop")


def test_normalization_that_was_undone_is_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    normalized = ((TEST[0] - 0.5) / 0.25, TEST[1])
    monitor = monitor_in(tmp_path / "run", test=normalized, normalize=((0.5,), (0.25,)))
    assert "test part: the normalization of these images was undone" in capsys.readouterr().err
    torch.testing.assert_close(monitor.parts.samples["test"].x.sort(0).values, TEST[0].sort(0).values)


def test_a_loop_in_the_command_line_of_another_version_goes_on_with_the_same_examples(tmp_path: Path) -> None:
    """The sample does not depend on the form in which the data come."""
    from torch.utils.data import DataLoader, TensorDataset

    forms: list[Callable[[], object]] = [
        lambda: TRAIN,
        lambda: [TRAIN[0].numpy(), TRAIN[1].numpy()],
        lambda: {"image": TRAIN[0], "label": TRAIN[1]},
        lambda: TensorDataset(*TRAIN),
        lambda: DataLoader(TensorDataset(*TRAIN), batch_size=7, shuffle=True),
    ]
    for form in forms:
        monitor_in(tmp_path / "run", train=form(), n=25)
    with pytest.raises(ValueError, match="examples"):
        monitor_in(tmp_path / "run", train=(TRAIN[0].flip(0), TRAIN[1].flip(0)), n=25)


def test_what_the_seed_draws_is_what_the_command_line_takes() -> None:
    from cgro.definitions.examples import take_examples

    expected = np.random.default_rng(3).permutation(60)[:25].tolist()
    assert take_examples(TRAIN, 25, seed=3).index.tolist() == expected


def test_training_time_leaves_the_evaluation_out(tmp_path: Path) -> None:
    monitor = monitor_in(tmp_path / "run")
    model = busy_network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for epoch in range(2):
        train(model, optimizer, epoch)
        monitor(model, epoch)
    for row in Run.open(tmp_path / "run").rows():
        assert 0 < row["seconds"] < math.inf
        assert row["monitor_seconds"] > 0


def test_another_architecture_in_one_run_is_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    monitor = monitor_in(tmp_path / "run")
    network = loop(None, 0)
    monitor(network, 0)
    monitor(nn.DataParallel(network), 1)
    monitor(torch.compile(network, backend="eager"), 2)
    assert "another architecture" not in capsys.readouterr().err
    monitor(nn.Sequential(network, nn.Linear(3, 3)), 3)
    assert "epoch 3: another architecture than before" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("budget", "waits"), [(25 * 8, [0.05, 0.1, 0.15, 0.2, 0.05]), (None, [0.1, 0.05]), (50 * 8, [0.1, 0.1, 0.1])]
)
def test_the_training_of_epochs_that_were_left_out_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, budget: int | None, waits: list[float]
) -> None:
    """Planted: a budget that left out three of four epochs made the evaluation four times as dear in the summary."""
    monitor = monitor_in(tmp_path / "run", budget=budget)
    model = busy_network()
    now = [1000.0]
    monkeypatch.setattr("cgro.diagnosis.monitor.loop.time.perf_counter", lambda: now[0])
    monitor._since = now[0]
    found: list[float] = []
    for epoch, seconds in enumerate(waits):
        now[0] += seconds
        row = monitor(model, epoch)
        if row is not None:
            found.append(row["seconds"])
    every = 1 if budget is None else 100 * 8 // budget
    expected: list[float] = []
    since = 0
    for epoch in range(len(waits)):
        if epoch % every == 0:
            expected.append(sum(waits[since : epoch + 1]))
            since = epoch + 1
    assert found == pytest.approx(expected, abs=1e-6)
