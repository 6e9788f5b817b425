"""Targets: a run or a bare checkpoint, its weights, its threat, what may be trusted."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.data.samples import class_folders, gray_png

from cgro._check import BadRequest
from cgro.cli import main
from cgro.commands import _target, evaluate
from cgro.commands._target import (
    every_checkpoint,
    load_target,
    load_teacher,
    prepare,
    rule_for,
    warned_checks,
)
from cgro.commands._training import Config as TrainConfig
from cgro.data import load
from cgro.definitions import ThreatModel, clean_error
from cgro.models import build
from cgro.runs import Run
from cgro.training.weights import read_weights
from cgro.trust import Received

TINY = ["--data", "digits", "--n-train", "100", "--n-test", "50", "--model", "mlp", "--width", "8", "--radius", "0.1",
        "--attack", "pgd1", "--eval-attack", "pgd1", "--epochs", "2", "--keep-every", "1", "--device", "cpu"]  # fmt: skip
BARE = evaluate.Config(data="digits", model="mlp", width=8, device="cpu")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("target") / "run"
    assert main(["train", *TINY, "--out", str(out)]) == 0
    return Run.open(out)


def test_a_run_is_its_last_network_on_its_own_data(run: Run) -> None:
    target = load_target(run.path, BARE)
    assert (target.settings.n_train, target.threat.radius, target.file.stem) == (100, 0.1, "last")
    data, model = target.load()
    stored = read_weights(target.file)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, stored[name])
    error = clean_error(model.eval(), data.test.x, data.test.y)
    assert error.value == run.summary["metrics"]["clean_error/test"]["value"]


def test_another_threat_and_every_checkpoint(run: Run) -> None:
    target = load_target(run.path, BARE)
    other = target.at("2", "1/2")
    assert (other.threat.p, other.threat.radius) == (2, 0.5)
    assert target.at(None, None).threat == target.threat
    assert other.attack("pgd3", "float32").threat == other.threat
    labels = list(every_checkpoint(target).checkpoints)
    assert labels == ["epoch-0001", "epoch-0002", "last"]
    first = every_checkpoint(target).checkpoints["epoch-0001"]
    models = [target.load_weights(prepare(target.settings)[1], file) for file in (first, target.file)]
    assert not torch.equal(*(next(model.parameters()) for model in models))


@pytest.mark.parametrize(
    ("settings", "attacked"),
    [
        ({}, True),
        ({"objective": "trades:beta=1.0"}, True),
        ({"attack": "none"}, False),
        ({"robust_weight": 0.0}, False),
        ({"objective": "adversarial:robust_weight=0"}, False),
        ({"objective": "trades:beta=0.0"}, False),
    ],
)
def test_a_training_that_attacks_nothing_is_known_whichever_option_says_so(
    settings: dict, attacked: bool, run: Run
) -> None:
    target = load_target(run.path, BARE)
    assert replace(target, settings=replace(target.settings, **settings)).attacked is attacked
    assert replace(target, run=None).attacked is None


def test_a_bare_checkpoint_is_what_the_options_say(run: Run, tmp_path: Path) -> None:
    file = Path(shutil.copy(run.path / "checkpoints" / "last.safetensors", tmp_path / "weights.safetensors"))
    target = load_target(file, BARE, radius="8/255")
    assert (target.run, target.settings.p, target.threat.radius) == (None, "inf", 8 / 255)
    _, model = target.load()
    assert isinstance(model, torch.nn.Module)
    with pytest.raises(BadRequest, match="--radius"):
        load_target(file, BARE)
    with pytest.raises(BadRequest, match="does not exist"):
        load_target(tmp_path / "gone", BARE)


def test_of_a_bare_checkpoint_the_whole_training_part_counts(run: Run, tmp_path: Path) -> None:
    """Planted: as of a run, 5% were cut from it as validation part, though its training knew of none."""
    file = Path(shutil.copy(run.path / "checkpoints" / "last.safetensors", tmp_path / "weights.safetensors"))
    data, _ = load_target(file, BARE, radius="8/255").load()
    whole = load("digits", seed=0)
    assert (len(data.train), len(data.validation)) == (len(whole.train), 0)
    out = tmp_path / "diagnosed"
    task = [
        "--data",
        "digits",
        "--model",
        "mlp",
        "--width",
        "8",
        "--radius",
        "0.1",
        "--attack",
        "pgd1",
        "--lint-n",
        "0",
    ]
    assert main(["diagnose", str(file), *task, "--n", "5000", "--device", "cpu", "--out", str(out)]) == 0
    assert Run(out).summary["metrics"]["clean_error/train"]["n"] == len(whole.train)


def test_images_of_several_sizes_are_scaled_in_every_command_that_reads_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Planted: diagnose and bench refused them and named --image-size, which they did not have."""
    root = Path(class_folders(tmp_path / "own"))
    gray_png(root / "train" / "bee" / "01.png", "RGB", (9, 4))
    file = tmp_path / "net.pt"
    n_outputs = load(str(root), image_size=4).n_outputs
    torch.save(build("mlp", (3, 4, 4), n_outputs, width=8).state_dict(), file)
    task = ["--data", str(root), "--model", "mlp", "--width", "8", "--radius", "0.1", "--device", "cpu"]
    for words in (
        ["evaluate", str(file), "--attack", "pgd1"],
        ["lint", str(file)],
        ["flatness", str(file)],
        ["diagnose", str(file), "--attack", "pgd1", "--lint-n", "0"],
        ["bench", "--attack", "pgd1", "--eval-attack", "pgd1", "--repeats", "1", "--batch-size", "4"],
        ["train", "--epochs", "1", "--attack", "pgd1", "--eval-attack", "pgd1"],
    ):
        out = ["--out", str(tmp_path / words[0])]
        assert main([*words, *task, *out]) == 2, words
        assert "--image-size" in capsys.readouterr().err
        assert main([*words, *task, *out, "--image-size", "4"]) in (0, 1), (words, capsys.readouterr().err)


def test_a_teacher_is_the_network_of_a_run_on_the_same_task(run: Run, tmp_path: Path) -> None:
    student = TrainConfig(data="digits", model="mlp", n_train=50, n_test=40)
    network = load_teacher(str(run.path), student, "kd: robust")
    stored = read_weights(run.path / "checkpoints" / "last.safetensors")
    assert all(torch.equal(tensor, stored[name]) for name, tensor in network.state_dict().items())
    for name, other, words in (
        (str(tmp_path / "gone"), student, "kd: robust: expected the directory of a run"),
        (str(run.path), replace(student, data="mnist5k"), "kd: robust: expected a run on mnist5k, classes all"),
        (str(run.path), replace(student, classes="3,8"), "kd: robust: expected a run on digits, classes 3,8"),
    ):
        with pytest.raises(BadRequest, match=words):
            load_teacher(name, other, "kd: robust")


def test_the_rule_knows_the_number_of_classes() -> None:
    data, _ = prepare(TrainConfig(data="digits", n_train=50, n_test=20, model="mlp", width=4))
    assert rule_for(data).n_classes == 10
    data, _ = prepare(TrainConfig(data="digits", classes="3,8", n_train=50, n_test=20, model="mlp", width=4))
    assert rule_for(data).n_classes == 2


def test_only_checks_that_warn_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    data = load("digits", n_train=100, n_test=60)
    model = build("mlp", data.shape, data.n_outputs).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert warned_checks(model, data.test, ThreatModel("inf", 0.1)) == []
    assert capsys.readouterr().err == ""
    found = warned_checks(torch.nn.Sequential(model, torch.nn.Softmax(1)).eval(), data.test, ThreatModel("inf", 0.001))
    assert [one.name for one in found] == ["radius", "classes and loss"]
    error = capsys.readouterr().err
    assert error.count("warning: ") == error.count(". To do: ") == 2
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_run_knows_the_checksum_of_its_data(run: Run) -> None:
    received = load_target(run.path, BARE).settings.received
    assert received is not None
    assert received.checksum == run.summary["data"]["sha256"] == load("digits").sha256


@pytest.mark.parametrize(
    ("name", "checksum", "ends"),
    [
        ("own.npz", "of others", "refused"),
        ("mine:data", "of others", "refused"),
        ("photos", "of others", "said"),
        ("owner/name", "of others", "said"),
        ("own.npz", "of these", "passes"),
        ("own.npz", None, "passes"),
    ],
)
def test_data_that_changed_since_a_run_was_trained_are_noticed(
    name: str, checksum: str | None, ends: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Planted: an .npz was written anew, and numbers on it went into the summary of a run on the old one."""
    data = replace(load("digits"), sha256="of these")
    monkeypatch.setattr(_target, "load", lambda *names, **options: data)
    task = TrainConfig(data=name, model="mlp", received=Received("runs/theirs", True, checksum=checksum))
    if ends == "refused":
        with pytest.raises(BadRequest, match=r"as it was when the run was trained \(checksum of others\), got other"):
            _target.prepare(task)
        return
    assert _target.prepare(task)[0] is data
    assert ("numbers of other data" in capsys.readouterr().err) == (ends == "said")


def test_data_that_were_moved_are_those_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Named by a relative path, and evaluated from another folder: the same contents, to the checksum."""
    monkeypatch.chdir(tmp_path)
    for seed, name in ((0, "own.npz"), (1, "other.npz")):
        rng = np.random.default_rng(seed)
        np.savez(name, x=rng.random((80, 1, 4, 4), dtype=np.float32), y=np.arange(80) % 2)
    words = [
        "--model",
        "mlp",
        "--width",
        "4",
        "--radius",
        "0.1",
        "--epochs",
        "1",
        "--attack",
        "pgd2",
        "--eval-attack",
        "pgd2",
    ]
    assert main(["train", "--data", "own.npz", *words, "--device", "cpu", "--out", "runs/a"]) == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    evaluate = ["evaluate", "../runs/a", "--attack", "pgd3", "--parts", "test", "--device", "cpu"]
    assert main([*evaluate, "--data", "../own.npz"]) == 0
    capsys.readouterr()
    assert main([*evaluate, "--data", "../other.npz"]) == 2
    assert "other contents" in capsys.readouterr().err
    assert main([*evaluate, "--data", "digits"]) == 2
    assert "a path that whoever made it chose" in capsys.readouterr().err
