"""Settings of a run: whose they are, and what may be trusted."""

import shutil
from pathlib import Path

import pytest

from cgro._check import BadRequest
from cgro.cli import main
from cgro.commands._settings import settings_of, trained
from cgro.runs import Run
from cgro.trust import Untrusted

TINY = ["--data", "digits", "--n-train", "100", "--n-test", "50", "--model", "mlp", "--width", "8", "--radius", "0.1",
        "--attack", "pgd1", "--eval-attack", "pgd1", "--epochs", "2", "--keep-every", "1", "--device", "cpu"]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("target") / "run"
    assert main(["train", *TINY, "--out", str(out)]) == 0
    return Run.open(out)


def test_only_one_run_of_cgro_train_is_one(run: Run, tmp_path: Path) -> None:
    several = tmp_path / "seeds"
    words = [w if w != "2" else "1" for w in TINY]
    assert main(["train", *words, "--seeds", "2", "--out", str(several)]) == 0
    with pytest.raises(BadRequest, match="of several seeds name one"):
        trained(several)
    assert main(["data", "digits", "--out", str(tmp_path / "data")]) == 0
    with pytest.raises(BadRequest, match="expected one run of cgro train, got .* of cgro data"):
        trained(tmp_path / "data", "--clean")


def test_code_that_a_run_names_needs_trust(run: Run, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run.path, tmp_path / "run"))
    text = (copy / "config.yaml").read_text()
    for name in ("config.yaml", "environment.json"):
        (copy / name).write_text((copy / name).read_text().replace("mlp", "their_module:Net"))
    assert text != (copy / "config.yaml").read_text()
    (copy / "summary.json").unlink()
    with pytest.raises(Untrusted, match="their_module:Net"):
        settings_of(Run.open(copy))
    assert settings_of(Run.open(copy), trust="their_module:Net").model == "their_module:Net"


def test_options_of_a_later_version_are_said(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    copy = Path(shutil.copytree(run.path, tmp_path / "run"))
    capsys.readouterr()
    assert settings_of(Run.open(copy)).model == "mlp"
    assert capsys.readouterr().err == ""
    with (copy / "config.yaml").open("a") as file:
        file.write("mean_of_images: 0.5\nwhitened: true\n")
    assert settings_of(Run.open(copy)).model == "mlp"
    said = capsys.readouterr().err
    assert "mean_of_images, whitened" in said
    assert said.count("\n") == 1
