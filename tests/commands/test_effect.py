"""Options that have no effect beside the others: refused where they were typed, remarked on in a file, never at their
default.
"""

import importlib
import re
from pathlib import Path
from types import ModuleType

import pytest

from cgro._check import BadRequest
from cgro.cli import COMMANDS, ELSEWHERE, main
from cgro.commands._effect import effects_of
from cgro.commands._options import options_of
from cgro.commands._parser import parse
from cgro.commands._said import in_vain, remarks_of


def module_of(command: str) -> ModuleType:
    return importlib.import_module(ELSEWHERE.get(command, f"cgro.commands.{command.replace('-', '_')}"))


def parsed(command: str, *words: str) -> object:
    module = module_of(command)
    return parse(command, module.__doc__ or "", module.Config, words, getattr(module, "RECIPES", None))


@pytest.fixture
def targets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table, a checkpoint, a folder of checkpoints, and something that looks like a run."""
    monkeypatch.chdir(tmp_path)
    Path("curves.csv").write_text("epoch,robust_error/test\n1,0.5\n")
    Path("folder").mkdir()
    for name in ("one.safetensors", "folder/epoch-1.safetensors", "folder/epoch-2.safetensors"):
        Path(name).write_bytes(b"")
    Path("run").mkdir()
    Path("run/config.yaml").write_text("command: train\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_conditions_are_of_options_and_no_default_is_refused(command: str) -> None:
    config_class = module_of(command).Config
    assert set(effects_of(config_class)) <= set(options_of(config_class))
    assert not in_vain(config_class())
    typed: list[str] = []
    for name in effects_of(config_class):
        entry = options_of(config_class)[name]
        if not entry.takes_no_value and not entry.takes_several and entry.default not in (None, ""):
            typed += [entry.flag, str(entry.default)]
    parsed(command, *typed)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("memorize --verify-n 3", "--verify-n: expected --verify milp or --export beside it, got none"),
        ("memorize --clean-model a:b --clean-epochs 3", "--clean-epochs: expected no --clean-model beside it, got one"),
        ("memorize --device cuda:7", "--device: expected cpu, where the construction"),
        ("memorize --precision bfloat16", "--precision: expected float32"),
        ("lint run --precision bfloat16", "--precision: expected float32"),
        ("flatness run --precision bfloat16", "--precision: expected float32"),
        ("lint run --overwrite", "--overwrite: expected --out beside it, got none"),
        ("evaluate run --overwrite", "--overwrite: expected --out beside it, got none"),
        ("flatness run --overwrite", "--overwrite: expected --out beside it, got none"),
        ("data --overwrite", "--overwrite: expected --out beside it, got none"),
        ("evaluate one.safetensors --selected", "--selected: expected a run, which has a selected checkpoint, got a"),
        ("evaluate folder --selected", "--selected: expected a run"),
        ("evaluate run --attack autoattack --precision bfloat16", "--precision: expected float32, or an attack that"),
        ("evaluate run --attack none --precision bfloat16", "--precision: expected float32, or an attack that has"),
        ("memory run --attack autoattack --precision bfloat16", "--precision: expected float32, or an attack that"),
        ("data --image-size 7", "--image-size: expected the NAME of a data set beside it, got none"),
        ("data --stream yes", "--stream: expected the NAME of a data set beside it, got none"),
        ("runs --descending", "--descending: expected --sort beside it, got none"),
        ("runs --overwrite", "--overwrite: expected --out beside it, got none"),
        ("report run --json --out a.html", "--out: expected no --json beside it, which writes no file, got both"),
        ("report run --json --overwrite", "--overwrite: expected no --json beside it"),
        ("lower-bound --dims 50:60 --toy-points 5", "--toy-points: expected --dims in which a toy"),
        ("lower-bound --dims 50:60 --p 2", "--p: expected --dims in which a toy"),
        ("reproduce table2 --precision float32", "--precision: expected auto, as the stored results were made"),
        ("reproduce table2 --scale cpu --max-hours 3", "--max-hours: expected --scale gpu or paper beside it, got none"),
        ("dynamics --sweep radius_ratio=0.5:1:2 --n-test 2001", "--n-test: expected at most 2,000 beside --sweep"),
        ("dynamics --remedy trades=1 --robust-weight 0.3", "--robust-weight: expected no trades in --remedy"),
        ("train --patience 5 --epochs 6", "--patience: expected (patience + 1) * --eval-every below --epochs"),
        ("train --patience 2 --epochs 12 --eval-every 4", "--patience: expected (patience + 1)"),
        ("train --keep-every 21", "--keep-every: expected at most --epochs, or no checkpoint is kept, got 21"),
        ("train --attack none --radius-warmup 2", "--radius-warmup: expected an attack in training beside it, got none"),
        ("train --robust-weight 0 --radius-warmup 2", "--radius-warmup: expected an attack in training beside it"),
        ("train --attack none --craft-mode train", "--craft-mode: expected an attack in training beside it"),
        ("train --objective free:replays=2 --craft-mode train", "--craft-mode: expected an attack in training"),
        ("train --overwrite", "--overwrite: expected --out beside it, got none"),
        ("diagnose curves.csv --model lenet", "--model: expected a run or checkpoints as TARGET: a table or a log has"),
        ("diagnose curves.csv --data digits", "--data: expected a run or checkpoints as TARGET, got digits"),
        ("diagnose curves.csv --attack pgd3", "--attack: expected checkpoints as TARGET, got pgd3"),
        ("diagnose curves.csv --n 5", "--n: expected checkpoints as TARGET, got 5"),
        ("diagnose curves.csv --p 2", "--p: expected --radius beside it, got none"),
        ("diagnose run --map epoch=a", "--map: expected a table or a log as TARGET"),
        ("diagnose run --weights student.", "--weights: expected checkpoints as TARGET, got student."),
        ("diagnose run --attack pgd3", "--attack: expected checkpoints as TARGET, got pgd3"),
        ("diagnose run --pattern *.pt", "--pattern: expected a folder of checkpoints as TARGET"),
        ("diagnose run --precision bfloat16", "--precision: expected float32, but over a folder of checkpoints"),
        ("diagnose one.safetensors --pattern *.pt", "--pattern: expected a folder of checkpoints as TARGET"),
        ("diagnose one.safetensors --n-classes 7", "--n-classes: expected no checkpoints as TARGET"),
        ("diagnose folder --model lenet --map epoch=a", "--map: expected a table or a log as TARGET"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("targets")
def test_an_option_that_was_typed_in_vain_is_refused(line: str, said: str) -> None:
    command, *words = line.split()
    with pytest.raises(BadRequest, match=re.escape(said)) as refused:
        parsed(command, *words)
    assert "; l" in str(refused.value), "no remedy"  # leave it out, or lower it


@pytest.mark.parametrize(
    "line",
    [
        "memorize --verify milp --verify-n 3",
        "memorize --export --verify-n 3",
        "memorize --clean-epochs 3",
        "memorize --device cpu --precision float32",
        "evaluate run --selected",
        "evaluate run --attack autoattack --precision float32",
        "evaluate run --attack square --precision bfloat16",
        "evaluate nothing-there --selected",
        "evaluate run --overwrite --out a",
        "data digits --stream yes --image-size 7",
        "runs --sort robust_error/test --descending",
        "report run --json --out report.html",
        "report run --overwrite",
        "lower-bound --dims 2:10 --toy-points 5 --p 2",
        "reproduce table2 --scale gpu --max-hours 3",
        "reproduce table2 --overwrite",
        "compare plan.yaml --overwrite",
        "dynamics --sweep radius_ratio=0.5:1:2 --n-test 2000",
        "dynamics --n-test 2001",
        "dynamics --remedy weight_decay=1 --robust-weight 0.3",
        "train --patience 4 --epochs 6",
        "train --keep-every 20",
        "train --resume run --keep-every 50 --patience 50 --radius-warmup 3",  # of the run's epochs
        "train --attack none --extension dom --craft-mode train --radius-warmup 2",
        "train --attack none --objective mine.loss:Own --radius-warmup 2",
        "train --objective free --radius-warmup 2",
        "train --recipe rice2020 --attack none",  # whose craft mode nobody typed
        "diagnose curves.csv --map epoch=a --n-classes 3 --p 2 --radius 0.1 --precision float32",
        "diagnose run --model lenet --data digits --lint-n 5 --n-classes 3",
        "diagnose folder --model lenet --attack pgd3 --n 5 --pattern *.safetensors --precision bfloat16",
        "diagnose curves.csv --lint-n 5",  # a log is said to have no lint
        "diagnose one.safetensors --attack pgd3",  # remarked on: one file or several are called alike
        "diagnose one.safetensors --model lenet --n 5 --weights student. --lint-n 5",
        "diagnose nothing-there --map epoch=a --attack pgd3",
    ],
)
@pytest.mark.usefixtures("targets")
def test_an_option_that_has_an_effect_is_taken(line: str) -> None:
    command, *words = line.split()
    parsed(command, *words)


def test_of_a_file_it_is_a_remark(tmp_path: Path) -> None:
    """A run's config.yaml holds every option, also one that had no effect."""
    file = tmp_path / "config.yaml"
    file.write_text("command: memorize\nverify: none\nverify_n: 3\ndevice: cuda\nclean_epochs: 15\n")
    said = remarks_of(parsed("memorize", "--config", str(file)))
    assert said == [
        "--device has no effect: expected cpu, where the construction and its certificate are computed, got cuda",
        "--verify-n has no effect: expected --verify milp or --export beside it, got none",
    ]
    assert not remarks_of(parsed("memorize", "--config", str(file), "--verify", "milp", "--device", "auto"))
    with pytest.raises(BadRequest, match="--verify-n: expected"):
        parsed("memorize", "--config", str(file), "--verify-n", "4")


def test_a_training_that_a_plan_calls_says_it_as_well() -> None:
    config = module_of("train").Config(patience=30, keep_every=30)
    assert [remark.split()[0] for remark in config.without_effect()] == ["--patience", "--keep-every"]
    assert not module_of("train").Config(patience=10, keep_every=5).without_effect()


def test_a_patience_without_a_validation_part_makes_no_directory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = f"train --data digits --n-train 60 --n-test 20 --model mlp --patience 3 --validation 0 --out {tmp_path}/out"
    assert main(line.split()) == 2
    assert "--patience: expected an evaluation and a validation part" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
