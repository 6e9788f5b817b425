"""Options beside a run say what the run says, or are refused: nothing that was typed is left out in silence."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.commands.test_train import TINY

from cgro.cli import main
from cgro.commands._options import option
from cgro.commands._said import given, require_own
from cgro.commands.train import Config
from cgro.runs import Run
from cgro.trust import CommandLine


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, and beside it the same without its summary, as if it had been killed before it."""
    folder = tmp_path_factory.mktemp("said")
    assert main(["train", *TINY, "--quiet", "--out", str(folder / "finished")]) == 0
    shutil.copytree(folder / "finished", folder / "cut")
    (folder / "cut" / "summary.json").unlink()
    return folder


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which a command is refused."""
    capsys.readouterr()
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1, said
    return said


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--epochs", "5"], "--epochs: expected 2, as "),
        (["--epochs", "20"], "got 20"),  # the default of the option, but not of this run
        (["--radius", "0.3"], "--radius: expected 0.1, as "),
        (["--seeds", "3"], "--seeds: expected 1, as "),
        (["--recipe", "small-cifar10"], "--data: expected digits, as "),
        (["--objective", "trades"], "--objective: expected adversarial, as "),
        (["--extension", "ema"], "--extension: expected none, as "),
        (["--model", "lenet"], "--model: expected mlp, as "),
        (["--threads", "3"], "--threads: expected none, as "),
        (["--overwrite"], "--overwrite: expected none beside --resume"),
        (["--out", "elsewhere"], "--out: expected "),
    ],
)
def test_what_a_resumed_run_would_not_take_is_refused(
    begun: Path, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted((begun / "cut").rglob("*"))
    assert told in refused(["train", "--resume", str(begun / "cut"), *words], capsys)
    assert sorted((begun / "cut").rglob("*")) == before


def test_a_file_of_other_settings_is_refused_beside_resume(
    begun: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "more.yaml").write_text("lr: 0.5\n")
    words = ["train", "--resume", str(begun / "cut"), "--config", str(tmp_path / "more.yaml")]
    assert "--lr: expected 0.001, as " in refused(words, capsys)


def test_the_settings_of_the_run_itself_may_stand_beside_resume(begun: Path, tmp_path: Path) -> None:
    """So that a command line can be called again with --resume in front; they change nothing."""
    copy = tmp_path / "cut"
    shutil.copytree(begun / "cut", copy)
    words = [*TINY, "--radius", "0.10", "--train-precision", "auto", "--out", str(copy), "--max-seconds", "500"]
    assert main(["train", "--resume", str(copy), "--config", str(copy / "config.yaml"), *words, "--quiet"]) == 0
    assert Run.open(copy).summary["metrics"] == Run.open(begun / "finished").summary["metrics"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["evaluate", "--width", "9"], "--width: expected 8, as "),
        (["evaluate", "--classes", "3,8"], "--classes: expected none, as "),
        (["evaluate", "--data", "mnist5k"], "--data: expected digits, as "),
        (["evaluate", "--model", "lenet"], "--model: expected mlp, as "),
        (["evaluate", "--seed", "4"], "--seed: expected 0, as "),
        (["flatness", "--p", "2"], "--p: expected inf, as "),
        (["flatness", "--radius", "3"], "--radius: expected 0.1, as "),
        (["flatness", "--image-size", "8"], "--image-size: expected none, as "),
        (["lint", "--width", "9"], "--width: expected 8, as "),
        (["diagnose", "--p", "1"], "--p: expected inf, as "),
        (["diagnose", "--radius", "0.2"], "--radius: expected 0.1, as "),
    ],
)
def test_what_only_describes_a_bare_checkpoint_is_refused_for_a_run(
    begun: Path, words: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    command, *options = words
    assert told in refused([command, str(begun / "finished"), *options], capsys)
    assert not list(tmp_path.iterdir())


def test_what_the_run_says_itself_is_no_contradiction(begun: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(begun / "finished", copy)
    same = ["--data", "digits", "--model", "mlp", "--width", "8", "--quiet"]
    assert main(["evaluate", str(copy), *same, "--seed", "0", "--attack", "fgsm", "--n", "10"]) == 0
    few = ["--n", "4", "--n-steps", "1", "--radii", "0.1"]
    assert main(["flatness", str(copy), *same, "--p", "inf", "--radius", "0.10", *few]) == 0


def test_an_attack_at_another_radius_is_no_contradiction(begun: Path, tmp_path: Path) -> None:
    """`--p` and `--radius` of `cgro evaluate` are those of the attack, on a run as well."""
    copy = tmp_path / "run"
    shutil.copytree(begun / "finished", copy)
    words = ["--p", "2", "--radius", "0.5", "--attack", "fgsm", "--n", "10", "--quiet"]
    assert main(["evaluate", str(copy), *words]) == 0
    assert "robust_error/test@fgsm@2:0.5" in Run.open(copy).summary["metrics"]


@dataclass(kw_only=True)
class Named:
    """Options of which two name something."""

    data: str = option("digits", "data", names="data")
    extension: list[str] = option([], "extensions", names="extension")
    radius: str = option("0.1", "radius")
    typed: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    ("config", "settings"),
    [
        (Named(extension=["mine:Own"]), {"extension": ["ema", "mine:Own:beta=6"]}),  # says the code, not its options
        (Named(data="second.npz"), {"data": "digits", "extension": ["extra:data=second.npz"]}),
        (Named(data="./folder/"), {"data": "folder"}),
        (Named(radius="8/255"), {"radius": 8 / 255}),
        (Named(), {"radius": "0.5"}),  # a default that nobody typed
    ],
)
def test_a_name_that_only_trusts_is_no_contradiction(
    config: Named, settings: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("second.npz").touch()
    require_own(config, settings, ("data", "extension", "radius"), where="r")


@pytest.mark.parametrize(
    ("config", "settings"),
    [
        (Named(extension=["mine:Own:beta=5"]), {"extension": ["mine:Own:beta=6"]}),
        (Named(extension=["ema", "swa"]), {"extension": ["ema"]}),
        (Named(typed=frozenset({"radius"})), {"radius": "0.5"}),
        (Named(data="cifar10"), {}),
    ],
)
def test_a_name_with_other_options_is_a_contradiction(config: Named, settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="as r has it"):
        require_own(config, settings, ("data", "extension", "radius"), where="r")


def test_what_was_typed_is_no_setting_of_a_run(begun: Path) -> None:
    assert "typed" not in Run.open(begun / "finished").config
    assert given(Config(trust=CommandLine(), typed=frozenset({"epochs"}))) >= {"epochs"}
