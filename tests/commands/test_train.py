"""`cgro train` beyond the engine: what a resumed run must find again, and recipes."""

import json
import os
import signal
import subprocess
import sys
import types
from collections.abc import Mapping
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
import torch

from cgro import trust
from cgro._check import BadRequest
from cgro.cli import main
from cgro.commands import train
from cgro.commands._common import parse
from cgro.definitions.attacks import bfloat16_pays
from cgro.runs import Run
from cgro.training import step_cost
from cgro.training.compiling import compiling_by
from cgro.training.weights.formats import read_safetensors

SMALL = train.Config(data="digits", n_train=60, n_test=40, epochs=2, model="mlp", width=8, attack="pgd2",
                     eval_attack="pgd2", final_n=40)  # fmt: skip


def parsed(*words: str) -> train.Config:
    return parse("train", "", train.Config, words, train.RECIPES)


def test_recipes_are_defaults_that_flags_override() -> None:
    config = parsed("--recipe", "rice2020", "--epochs", "120", "--width=8")
    assert (config.epochs, config.width, config.lr, config.lr_drops) == (120, 8, 0.1, "100,150")
    assert parsed("--recipe=fast2020").schedule == "cyclic"
    for name in train.RECIPES:
        replace(parsed("--recipe", name)).recipe()
    with pytest.raises(ValueError, match="one of rice2020"):
        parsed("--recipe", "rice2021")


def test_rice2020_divides_the_rate_where_the_paper_says() -> None:
    recipe = parsed("--recipe", "rice2020").recipe()
    assert [round(recipe.lr_at(e), 6) for e in (99, 100, 149, 150)] == [0.1, 0.01, 0.01, 0.001]
    assert parsed("--recipe", "rice2020").crafting().step == pytest.approx(2 / 255)


def test_data_that_changed_since_the_start_are_refused(tmp_path: Path) -> None:
    out = str(tmp_path / "r")
    train.run(replace(SMALL, out=out))
    (tmp_path / "r" / "summary.json").unlink()
    used = json.loads((tmp_path / "r" / "index_sets.json").read_text())
    (tmp_path / "r" / "index_sets.json").write_text(json.dumps({**used, "sha256": "0" * 64}))
    with pytest.raises(ValueError, match="other contents"):
        train.run(replace(SMALL, out=out))


DIES = """
import os, signal
from cgro.training import Extension

class At(Extension):
    def after_step(self, model, k):
        if k == int(os.environ.get("DIES_AT", 0)):
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(
    "more",
    [{}, {"objective": "trades:beta=2", "extension": ["ema:decay=0.5"]}, {"train_precision": "bfloat16"}],
    ids=["plain", "trades, ema", "bfloat16"],
)
def test_a_killed_process_resumes_to_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict) -> None:
    """A real SIGKILL between two saves, then `--resume` in another process."""
    monkeypatch.chdir(tmp_path)
    Path("dies.py").write_text(DIES)
    more = {**more, "extension": [*more.get("extension", []), "dies:At"]}
    train.run(replace(SMALL, epochs=6, out=str(tmp_path / "whole"), **more))
    settings = {**vars(SMALL), "epochs": 6, "out": str(tmp_path / "cut"), **more}
    script = f"from cgro.commands import train; train.run(train.Config(**{settings!r}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, env={**os.environ, "DIES_AT": "4"})
    assert done.returncode == -9, done.stderr
    assert not Run(tmp_path / "cut").finished
    train.run(train.Config(resume=str(tmp_path / "cut"), trust=True))
    names = sorted(path.name for path in (tmp_path / "whole" / "checkpoints").iterdir())
    assert len(names) == 2 + ("objective" in more)
    for name in names:
        whole, cut = (tmp_path / d / "checkpoints" / name for d in ("whole", "cut"))
        assert whole.read_bytes() == cut.read_bytes()
    assert Run(tmp_path / "whole").summary["metrics"] == Run(tmp_path / "cut").summary["metrics"]


def test_compiling_is_asked_for_recorded_and_refused_early(tmp_path: Path) -> None:
    """By a compiler that calls the network: the training is the same, and its checkpoint says that it compiled."""
    for option in ("yes", "no"):
        with compiling_by(lambda network: lambda x: network._call_impl(x)):
            train.run(replace(SMALL, epochs=1, out=str(tmp_path / option), compile=option))
    files = [tmp_path / option / "checkpoints" / "last.safetensors" for option in ("yes", "no")]
    (compiled, header), (plain, other) = map(read_safetensors, files)
    assert all(torch.equal(compiled[name], plain[name]) for name in plain)
    assert (header.get("compile"), other.get("compile")) == ("yes", None)
    assert Run(tmp_path / "yes").config["compile"] == "yes"
    with pytest.raises(BadRequest, match="--compile: expected"):
        train.run(replace(SMALL, out=str(tmp_path / "maybe"), compile="maybe"))
    assert not (tmp_path / "maybe").exists()


def test_the_precision_of_the_step_is_recorded_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` is decided once; a run that goes on where the decision would be another one keeps its own."""
    settings = replace(SMALL, model="lenet", width=1, epochs=1)
    train.run(replace(settings, out=str(tmp_path / "auto")))
    expected = "bfloat16" if bfloat16_pays(torch.device("cpu")) else "float32"
    assert Run(tmp_path / "auto").config["train_precision"] == expected
    out = tmp_path / "begun"
    train.run(replace(settings, out=str(out), train_precision="bfloat16"))
    (out / "summary.json").unlink()
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    train.run(replace(settings, out=str(out)))
    assert Run(out).config["train_precision"] == "bfloat16"
    train.run(replace(settings, out=str(tmp_path / "masked")))
    assert Run(tmp_path / "masked").config["train_precision"] == "float32"


FAILS = """
import torch
from cgro.training.objectives import attack_cost

class Own:
    calls = 0
    fails = True

    def __init__(self, attack):
        self.attack = attack

    @property
    def cost(self):
        return attack_cost(self.attack)

    def __call__(self, step):
        Own.calls += 1
        if Own.fails and Own.calls == 4:
            raise {error}
        x = step.craft(self.attack)
        return torch.nn.functional.cross_entropy(step.model(x), step.y, reduction="none")
"""


@pytest.mark.parametrize(
    ("error", "said"),
    [("ZeroDivisionError('of mine')", "ZeroDivisionError: of mine"), ("{}['key']", "KeyError: 'key'")],
)
def test_an_objective_that_fails_in_training_is_one_line_and_can_be_resumed(
    error: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "failing_objective.py").write_text(FAILS.replace("{error}", error))
    monkeypatch.chdir(tmp_path)
    words = ["--data", "digits", "--n-train", "60", "--n-test", "40", "--epochs", "5", "--model", "mlp", "--width", "8",
             "--attack", "pgd1", "--eval-attack", "pgd1", "--final-n", "40"]  # fmt: skip
    assert main(["train", *words, "--objective", "failing_objective:Own", "--out", "r"]) == 2
    err = capsys.readouterr().err
    line = next(line for line in err.splitlines() if line.startswith("cgro train: "))
    assert f"--objective failing_objective:Own: expected code that trains, got {said}" in line
    assert "Traceback" not in err
    assert not Run.open("r").finished
    sys.modules["failing_objective"].Own.fails = False  # type: ignore[attr-defined]
    assert main(["train", "--resume", "r", "--trust"]) == 0
    assert [row["epoch"] for row in Run.open("r").rows()] == [1, 2, 3, 4, 5]
    sys.modules.pop("failing_objective")


FAILS_AT = """
from pathlib import Path

from cgro.training import Extension


class Unprepared(Extension):
    def prepare(self, model, recipe, data):
        raise ValueError("augment is missing")


def attack(model, x, y):
    raise OSError("no licence")


def late(model, x, y):
    if Path("r/checkpoints/last.safetensors").exists():
        raise OSError("no licence")
    return x
"""


@pytest.mark.parametrize(("words", "line", "resumes"), [
    (["--extension", "fails_at:Unprepared"],
     "--extension fails_at:Unprepared: expected code that runs, got ValueError: augment is missing", False),
    (["--eval-attack", "fails_at:attack"],
     "attack fails_at:attack: expected code that trains, got OSError: no licence", True),
    (["--eval-attack", "fails_at:late"],
     "attack fails_at:late: expected code that trains, got OSError: no licence", True),
], ids=["before", "in the training", "at the end"])  # fmt: skip
def test_code_that_fails_around_the_training_is_one_line(
    words: list[str],
    line: str,
    resumes: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Planted: these were tracebacks of ours."""
    (tmp_path / "fails_at.py").write_text(FAILS_AT)
    monkeypatch.chdir(tmp_path)
    small = ["--data", "digits", "--n-train", "60", "--n-test", "40", "--epochs", "1", "--model", "mlp", "--width", "8",
             "--attack", "pgd1"]  # fmt: skip
    assert main(["train", *small, *words, "--out", "r"]) == 2
    sys.modules.pop("fails_at")
    err = capsys.readouterr().err
    said = next(text for text in err.splitlines() if text.startswith("cgro train: "))
    assert line in said
    assert "-v shows where" in said
    assert ("cgro train --resume r" in said) == resumes
    assert "Traceback" not in err


def test_an_error_of_ours_keeps_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(train, "fit", broken)
    monkeypatch.setattr(trust, "_IMPORTED", {})  # other tests name code of this package as theirs
    with pytest.raises(ZeroDivisionError, match="ours"):
        train.run(replace(SMALL, out=str(tmp_path / "r")))


def test_the_next_command_names_what_is_the_callers_own(tmp_path: Path) -> None:
    """So that the diagnosis of one's own run has its lint without asking for trust."""
    assert train.next_of(SMALL) == "cgro diagnose {run}"
    own = replace(SMALL, model="net:MyNet", data=str(tmp_path))
    assert train.next_of(own) == "cgro diagnose {run} --model {model} --data {data}"
    assert train.next_of(replace(SMALL, data="mine:load")) == "cgro diagnose {run} --data {data}"


TINY = ("--data", "digits", "--n-train", "60", "--n-test", "40", "--epochs", "2", "--model", "mlp", "--width", "8",
        "--attack", "pgd2", "--eval-attack", "pgd2", "--final-n", "40", "--device", "cpu")  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--extension", "awp:gamma=-1"), "awp: gamma: expected"),
        (("--extension", "swa:start=3"), "swa: start: expected at most the 2 epochs, got 3"),
        (("--extension", "awp:warmup=2"), "awp: warmup: expected less than the 2 epochs"),
        (("--extension", "dom:start=1"), "dom: start: expected"),
        (("--extension", "cutmix:probability=2"), "cutmix: probability: expected"),
        (("--extension", "awp:scale=filter"), "awp: scale: expected one of layer, network"),
        (("--objective", "kd"), "kd: expected a standard teacher, got none"),
        (("--objective", "kd:standard=gone"), "kd: standard: expected the directory of a run"),
        (("--objective", "mart", "--attack", "fgsm"), "MART: expected PGD"),
        (("--objective", "mart", "--robust-weight", "0.5"), "--robust-weight: expected none"),
        (("--extension", "awp", "--extension", "awp:gamma=0.1"), "awp twice"),
    ],
)
def test_a_remedy_that_does_not_fit_is_one_line_before_any_work(
    words: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", *TINY, *words, "--out", "r"]) == 2
    told = capsys.readouterr().err
    lines = [line for line in told.splitlines() if "which is written last" not in line]
    assert len(lines) == 1
    assert said in lines[0]
    assert not Path("r").exists()


def test_kd_swa_from_runs_and_a_run_that_names_teachers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", *TINY, "--attack", "none", "--out", "clean"]) == 0
    assert main(["train", *TINY, "--out", "robust"]) == 0
    objective = "kd:standard=clean,robust=robust"
    assert main(["train", *TINY, "--objective", objective, "--extension", "swa", "--out", "kd"]) == 0
    assert Run(Path("kd")).config["objective"] == objective
    before = Path("kd", "checkpoints", "evaluated.safetensors").read_bytes()
    assert main(["evaluate", "kd", "--n", "20"]) == 0  # needs no teacher
    capsys.readouterr()
    Path("kd", "summary.json").unlink()
    assert main(["train", "--resume", "kd"]) == 2
    assert "a path that whoever made it chose" in capsys.readouterr().err
    assert main(["train", "--config", "kd/config.yaml", "--out", "again"]) == 2
    assert main(["train", "--resume", "kd", "--objective", objective]) == 0
    assert Path("kd", "checkpoints", "evaluated.safetensors").read_bytes() == before


def test_extensions_count_in_the_estimate_of_time() -> None:
    plain = step_cost(SMALL.build_objective(), ())
    awp = replace(SMALL, extension=["awp"])
    more = step_cost(awp.build_objective(), awp.build_extensions())
    assert (more.n_updates, plain.n_updates) == (2, 1)
    assert train.seconds_per_example(awp) > 0


@pytest.mark.parametrize(
    "y",
    [
        pytest.param([0, 1, 2] * 8, id="few"),
        pytest.param([0, 1] * 300 + [2], id="a rare class"),
    ],
)
def test_the_time_of_small_and_uneven_data_is_measured(y: list[int], tmp_path: Path) -> None:
    """A cap on the images that are read would ask for more than there are, or leave out a class."""
    x = np.random.default_rng(0).uniform(size=(len(y), 1, 4, 4)).astype("float32")
    np.savez(tmp_path / "own.npz", x=x, y=y, x_test=x[-3:], y_test=y[-3:])
    config = replace(SMALL, data=str(tmp_path / "own.npz"), n_train=None, n_test=None, validation=0.0)
    assert train.seconds_per_example(config) > 0


def test_single_step_training_records_the_alignment_of_its_gradients(tmp_path: Path) -> None:
    words = [word if word != "pgd2" else "fgsm-rs" for word in TINY]
    assert main(["train", *words, "--out", str(tmp_path / "fast")]) == 0
    assert main(["train", *TINY, "--out", str(tmp_path / "plain")]) == 0
    assert all(-1 <= row["gradient_alignment/train"] <= 1 for row in Run(tmp_path / "fast").rows())
    assert all("gradient_alignment/train" not in row for row in Run(tmp_path / "plain").rows())
    assert main(["report", str(tmp_path / "fast"), "--out", str(tmp_path / "report.html")]) == 0
    assert main(["diagnose", str(tmp_path / "fast"), "--out", str(tmp_path / "diagnosis")]) == 0


def test_a_training_that_has_its_time_stops_with_everything_saved_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--data", "digits", "--n-train", "60", "--n-test", "40", "--model", "mlp", "--width", "8", "--attack", "pgd2",
             "--eval-attack", "pgd2", "--final-n", "40", "--epochs", "300", "--eval-every", "300", "--device", "cpu"]  # fmt: skip
    sliced, whole = tmp_path / "sliced", tmp_path / "whole"
    code, calls = 130, 0
    while code == 130:
        calls += 1
        # longer each time: on a busy machine the first may be over before the run has begun
        code = main(["train", *words, "--out", str(sliced), "--max-seconds", str(0.2 * calls)])
        assert calls > 1 or code == 130
    assert "time was up" in capsys.readouterr().err
    assert "max_seconds" not in (sliced / "config.yaml").read_text()  # no setting of the result
    assert code == 0
    assert main(["train", *words, "--out", str(whole)]) == 0
    weights = "checkpoints/last.safetensors"
    assert (sliced / weights).read_bytes() == (whole / weights).read_bytes()


class Wandb(types.ModuleType):
    """A stand-in that counts epochs by id. As the real one does, `init` gives back a run that was not finished."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.__spec__ = ModuleSpec("wandb", None)
        self.epochs: dict[str, list[int]] = {}
        self.active: str | None = None
        self.interrupts = False
        self.codes: list[int] = []

    def init(self, *, id: str, **_: object) -> "Wandb":
        self.active = self.active or id
        return self

    def log(self, row: Mapping[str, float], step: int) -> None:
        assert self.active is not None
        self.epochs.setdefault(self.active, []).append(step)
        if self.interrupts:
            signal.raise_signal(signal.SIGINT)

    def finish(self, *, exit_code: int) -> None:
        self.active = None
        self.codes.append(exit_code)


def test_each_training_has_curves_of_its_own_that_go_on_when_it_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = Wandb()
    monkeypatch.setitem(sys.modules, "wandb", sent)
    words = ["train", *TINY, "--track", "wandb"]
    assert main([*words, "--seeds", "2", "--out", str(tmp_path / "a")]) == 0
    assert main([*words, "--out", str(tmp_path / "b" / "seed-0")]) == 0
    assert list(sent.epochs.values()) == [[1, 2]] * 3
    sent.interrupts = True
    assert main([*words, "--out", str(tmp_path / "c")]) == 130
    sent.interrupts = False
    assert list(sent.epochs.values())[3:] == [[1]]
    assert main(["train", "--resume", str(tmp_path / "c")]) == 0
    assert list(sent.epochs.values()) == [[1, 2]] * 4
    assert sent.codes == [0, 0, 0, 1, 0], "how each ended"


def test_a_negative_time_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--data", "digits", "--max-seconds=-1"]) == 2
    assert "--max-seconds: expected a number >= 0" in capsys.readouterr().err
