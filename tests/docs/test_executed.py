"""The command lines of the documents are executed, each kind of them once, on inputs of a second.

A kind is a command with the set of its options. Its first line in the documents is carried out in a folder that has
what pages call by name (runs, checkpoints, logs, `my_package`), with options behind it that make it small; a later
option wins. `ELSEWHERE` has the kinds that another test executes, and those that none can, with the reason.
"""

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.diagnosis.formats import rice
from tests.docs.test_commands import CASES, words_of
from tools.site.places import ROOT

from cgro.cli import main
from cgro.training.checkpoint import read_weights

FEW = ["--n-train", "60", "--n-test", "40", "--epochs", "2", "--attack", "pgd1", "--eval-attack", "pgd1"]
FEW += ["--final-n", "10", "--eval-n", "20", "--batch-size", "20", "--device", "cpu"]
SMALL = {
    "bench": ["--n", "8", "--batch-size", "4", "--repeats", "1", "--attack", "pgd1", "--device", "cpu"],
    "data": [],
    "diagnose": ["--lint-n", "8"],
    "dynamics": ["--n-steps", "60", "--n-test", "40", "--patch-dim", "60", "--n-train", "6", "--seeds", "1"],
    "evaluate": ["--n", "6"],
    "flatness": ["--n", "4", "--n-steps", "2", "--n-loss-steps", "2"],
    "lint": ["--n", "8"],
    "lower-bound": ["--dims", "2:6", "--toy-points", "60", "--n-points", "200"],
    "memorize": ["--n-train", "16", "--n-test", "10", "--clean-epochs", "2", "--radius", "0.02"],
    "memory": ["--n", "12", "--attack", "pgd1"],
    "report": ["--lint-n", "8"],
    "runs": [],
    "separation": ["--n-train", "40"],
    "train": FEW,
}
"""What makes a command small."""
ON_DIGITS = ("bench", "memorize", "separation", "train")
"""Commands that take digits even where a page's line has no `--data`."""
READS_A_RUN = ("diagnose", "evaluate", "flatness", "lint", "memory", "report", "runs")
ON_SLURM = "tests/slurm/test_real_slurm.py"
ELSEWHERE = [
    ("bench", "--compiled", "tests/speed/test_ways.py", "torch's compiler takes minutes"),
    ("bench", "--check", "tests/commands/test_bench.py", "needs the times of an earlier call"),
    ("data", "--image-size", "tests/data/test_streamed.py", "ImageNet"),
    ("train", "--image-size", "tests/data/test_streamed.py", "ImageNet"),
    ("quickstart", "", "tests/commands/test_quickstart.py", "three minutes as it stands; the test has smaller parts"),
    ("reproduce", "--slurm-options", ON_SLURM, "needs Slurm, and hours of GPUs; the test submits a sweep"),
    ("reproduce", "--workers", "tests/jobs/test_workers.py", "minutes to hours"),
    ("reproduce", "", "tests/experiments/test_reproduce.py", "minutes to hours; the test makes all at the scale smoke"),
    ("compare", "--workers", "tests/comparison/test_compare.py", "starts processes"),
    ("compare", "", "tests/comparison/test_compare.py", "trains all remedies of a plan, per call"),
    ("train", "--slurm-options", ON_SLURM, "needs Slurm"),
]
"""Command, an option ("": any), the test that executes it, and why it is not executed here. The first that fits counts."""
PACKAGE = {
    "__init__": "",
    "nets": """
from cgro.data import load
from torch import nn


class Net(nn.Sequential):
    def __init__(self, shape, n_outputs):
        super().__init__(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], n_outputs))


def vit(shape, n_outputs):
    return Net(shape, n_outputs)


def data():
    found = load("digits", n_train=80, n_test=40)
    return {"x": found.train.x, "y": found.train.y, "x_test": found.test.x, "y_test": found.test.y}
""",
    "attacks": """
from cgro.definitions import PGD


def Mine(threat):
    return PGD(threat, n_steps=1)
""",
    "remedies": """
from cgro.training import MART


class Mart(MART):
    pass


class Capped(MART):
    def __init__(self, attack, cap: float = 4.0):
        super().__init__(attack)
""",
    "averaging": """
from cgro.training import EMA


class SWA(EMA):
    def __init__(self, start: int = 1):
        super().__init__()
""",
}
"""What pages call my_package, mine, nets, remedies and averaging. Those of a page itself are run by the page's test."""
NETWORK = "my_package.nets:Net"


def kind_of(words: list[str]) -> tuple[str, frozenset[str]]:
    """The command and the names of its options."""
    return words[0], frozenset(word.partition("=")[0] for word in words if word.startswith("--"))


def by_kind(lines: list[str]) -> dict[tuple[str, frozenset[str]], list[str]]:
    """The words of the first line of each kind."""
    found: dict[tuple[str, frozenset[str]], list[str]] = {}
    for line in lines:
        for words in words_of(line):
            if words[0] in {*SMALL, *(name for name, *_ in ELSEWHERE)} and "COMMAND" not in words:
                found.setdefault(kind_of(words), words)
    return found


def elsewhere(words: list[str]) -> str:
    """The test that executes such a line, or nothing."""
    for command, option, test, _ in ELSEWHERE:
        if words[0] == command and (not option or option in words):
            return test
    return ""


KINDS = by_kind(CASES)
HERE = [words for words in KINDS.values() if not elsewhere(words)]


def small(words: list[str]) -> list[str]:
    """The page's words, with those behind them that make them quick and free of downloads."""
    words = [*words]
    more = [*SMALL[words[0]]]
    if "--sweep" in words:
        axis = words[words.index("--sweep") + 1].partition("=")[0]
        words[words.index("--sweep") + 1] = f"{axis}=4:6:2" if axis == "n_train" else f"{axis}=0.5:1:2"
        if axis == "n_train":  # a value beside the sweep is refused
            at = more.index("--n-train")
            more = more[:at] + more[at + 2 :]
    own_data = any(":" in word for word in values(words, "--data"))
    if words[0] in ON_DIGITS or "--data" in words:
        more += [] if own_data and words[0] in ("evaluate", "memory") else ["--data", "digits"]
    if words[0] == "train" and not any(":" in word for word in values(words, "--model")) and "--resume" not in words:
        more += ["--model", "mlp", "--width", "8"]
    if words[0] == "train" and "--workers" in words:
        more += ["--seeds", "2"]
    if "--radius-warmup" in words:
        more += ["--radius-warmup", "1"]
    if "--patience" in words:  # one that cannot stop so few epochs is refused
        more += ["--patience", "0"]
    if words[0] == "train" and {"rice2020", "small-cifar10"} & set(words):
        more += ["--lr-drops", "1"]
    if words[0] == "train" and "none" in words:
        more += ["--attack", "none"]
    if "--resume" in words:
        more = []
    if words[0] == "dynamics" and "--n-steps" in words and "--sweep" in words:
        more += ["--n-filters", "4"]
    if words[0] == "dynamics" and "l2" in words:
        more += ["--n-filters", "4"]
    return words + more


def values(words: list[str], option: str) -> list[str]:
    return [words[i + 1] for i, word in enumerate(words[:-1]) if word == option]


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what readers have: code, a run of a network of ours and one of theirs, weights, a log, a table."""
    folder = tmp_path_factory.mktemp("given")
    package = folder / "my_package"
    package.mkdir()
    for name, text in PACKAGE.items():
        (package / f"{name}.py").write_text(text)
    (package / "networks.py").write_text(PACKAGE["nets"])
    for name in ("nets", "remedies", "averaging"):
        (folder / f"{name}.py").write_text(PACKAGE[name])
    (folder / "mine.py").write_text(PACKAGE["nets"])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        few = ["train", "--data", "digits", *FEW, "--keep-every", "1", "--radius", "0.1"]
        assert main([*few, "--model", "mlp", "--width", "8", "--out", "ours"]) == 0
        assert main([*few, "--model", NETWORK, "--out", "theirs"]) == 0
        assert main([*few, "--model", "mlp", "--width", "8", "--attack", "none", "--out", "standard"]) == 0
    kept = folder / "theirs" / "checkpoints" / "epoch-0002.safetensors"
    weights = read_weights(kept)
    for name in ("weights.pt", "vit.pt"):
        torch.save(weights, folder / name)
    shutil.copy(kept, folder / "model.safetensors")
    (folder / "checkpoints").mkdir()
    for epoch in (1, 2):
        shutil.copy(kept, folder / "checkpoints" / f"epoch-{epoch}.safetensors")
    for name in ("output.log", "YOUR_LOG"):
        (folder / name).write_text(rice())
    (folder / "curves.csv").write_text("step,pgd_acc\n" + "".join(f"{k},{0.3 + 0.01 * k}\n" for k in range(12)))
    (folder / "train.out").write_text("".join(f"Epoch: {k}\nPGD acc {30 + k}.0\n" for k in range(12)))
    for label in ("cat", "dog"):
        for part in ("train", "test"):
            images = folder / "path" / "to" / "folder" / part / label
            images.mkdir(parents=True)
            for k in range(3):
                Image.new("L", (8, 8), 40 * k).save(images / f"{k}.png")
    forget()
    return folder


@pytest.fixture
def folder(given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of it, as the current folder."""
    shutil.copytree(given, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    forget()


def forget() -> None:
    """The next folder has modules of the same names."""
    for name in [*sys.modules]:
        if name.split(".")[0] in ("my_package", "mine", "nets", "remedies", "averaging"):
            del sys.modules[name]


def lay_out(words: list[str], folder: Path) -> None:
    """The runs that a line reads, under the names that it has for them."""
    read = [*values(words, "--resume")]
    if words[0] in READS_A_RUN:
        read += [path for path in before_options(words) if path.startswith("runs/")]
    source = "theirs" if {"--model", "--trust"} & set(words) else "ours"
    for path in read:
        data = next((name for name in values(words, "--data") if ":" in name), "digits")
        for model in values(words, "--model"):
            assert main(["train", "--data", data, *FEW, "--radius", "0.1", "--model", model, "--out", path]) == 0
        copy_run(folder / source, folder / path)
    for path in values(words, "--resume"):  # as if it had been stopped before its summary
        (folder / path / "summary.json").unlink()
    for path in values(words, "--clean"):
        copy_run(folder / "standard", folder / path)
    for objective in values(words, "--objective"):
        for path in re.findall(r"=(runs/[\w-]+)", objective):
            copy_run(folder / ("standard" if "clean" in path else "ours"), folder / path)
    (folder / "runs").mkdir(exist_ok=True)


def copy_run(source: Path, target: Path) -> None:
    """Unless an earlier word has made it."""
    target.parent.mkdir(exist_ok=True, parents=True)
    if not target.exists():
        shutil.copytree(source, target)


def before_options(words: list[str]) -> list[str]:
    """The words behind the command, up to its first option."""
    found = []
    for word in words[1:]:
        if word.startswith("-"):
            break
        found.append(word)
    return found


@pytest.mark.parametrize("words", HERE, ids=lambda words: " ".join(words)[:70])
def test_it_is_executed(words: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lay_out(words, folder)
    code = main(small(words))
    assert code in (0, 1) if {"--fail-on", "--max", "--strict"} & set(words) else code == 0, capsys.readouterr().err


def test_what_is_executed_elsewhere_has_its_test_and_is_in_the_documents() -> None:
    used = [elsewhere(words) for words in KINDS.values()]
    for command, option, test, reason in ELSEWHERE:
        assert test in used, (command, option)
        assert reason
        said = (ROOT / test).read_text()  # on a command line, or as a keyword of what the command calls
        assert f'"{option or command}"' in said or f"{option.lstrip('-')}=True" in said, (command, option)
    assert len(HERE) > 70


def test_a_new_kind_is_executed_and_a_line_that_fails_is_found(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = "separation --data digits --n-train 30 --seed 3", "separation --data digits --seed 4 --n-train 2"
    new = by_kind([*CASES, first, second])
    (planted,) = [words for kind, words in new.items() if kind not in KINDS]
    assert planted == first.split()
    wrong = ["evaluate", "runs/mnist", "--attack", "pdg20"]  # its options exist
    lay_out(wrong, folder)
    assert main(small(wrong)) == 2
    assert "pdg20" in capsys.readouterr().err
