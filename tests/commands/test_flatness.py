"""cgro flatness: keys, figures, several runs, per epoch, resuming, bad requests."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from cgro.cli import main
from cgro.commands import _target
from cgro.commands import flatness as command
from cgro.commands.train import Config as TrainConfig
from cgro.data import Dataset, Split, load

TINY = ["--data", "digits", "--n-train", "80", "--n-test", "40", "--model", "mlp", "--epochs", "2", "--radius", "0.1",
        "--attack", "pgd2", "--eval-attack", "pgd2", "--lr", "0.005", "--device", "cpu"]  # fmt: skip
QUICK = ["--n", "12", "--n-steps", "2", "--n-loss-steps", "2"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds whose two networks stand in for the checkpoints of four epochs."""
    out = tmp_path_factory.mktemp("flatness") / "run"
    assert main(["train", *TINY, "--seeds", "2", "--out", str(out)]) == 0
    for seed in (0, 1):
        folder = out / f"seed-{seed}" / "checkpoints"
        for epoch in range(1, 5):
            source = out / f"seed-{(seed + epoch) % 2}" / "checkpoints" / "last.safetensors"
            shutil.copy(source, folder / f"epoch-{epoch:04d}.safetensors")
    return out


@pytest.fixture
def runs(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def test_one_run_gets_keys_curves_and_figures(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = runs / "seed-0"
    before = json.loads((path / "summary.json").read_text())
    assert main(["flatness", str(path), *QUICK, "--radii", "0.05,0.1,0.2", "--parts", "train,test,between"]) == 0
    after = json.loads((path / "summary.json").read_text())
    entry = after["metrics"]["flatness/gradient/test@0.1"]
    assert (entry["n"], entry["bound"]) == (12, "lower")
    assert entry["interval"][0] < entry["value"] < entry["interval"][1]
    for key in (
        "flatness/loss/train@0.05",
        "flatness/gradient/between@0.2",
    ):
        assert key in after["metrics"]
    assert {k: v for k, v in after["metrics"].items() if k in before["metrics"]} == before["metrics"]
    assert (after["command"], after["verdict"]) == ("train", before["verdict"])
    assert "acuous" in capsys.readouterr().out
    (curve,) = json.loads((path / "flatness" / "curves.json").read_text())
    assert curve["names"] == ["0.05", "0.1", "0.2"]
    assert isinstance(curve["bound"]["vacuous"], bool)
    assert (path / "figures" / "flatness_by_radius.png").exists()
    assert not (path / "figures" / "flatness_over_training.png").exists()


@pytest.mark.parametrize("radius", [8 / 255, 1 / 3, 0.1])
def test_the_training_radius_is_found_among_the_radii_however_many_digits_it_has(radius: float) -> None:
    """cgro.Monitor stores it with 17 of them; rounded to six, the bound and Proposition 6.4 were left out."""
    names = command._names(command.Config(targets=["x"]), TrainConfig(radius=repr(radius)))
    assert sum(math.isclose(found, radius, rel_tol=1e-6) for found in command.parse_radii(names)) == 1


def test_several_runs_per_epoch_with_correlation(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "both"
    assert main(["flatness", str(runs), "--per-epoch", *QUICK, "--radii", "0.1,0.2", "--out", str(out)]) == 0
    result = json.loads((out / "summary.json").read_text())
    assert (result["correlation"]["n_seeds"], result["correlation"]["n_checkpoints"]) == (2, 4)
    assert len(result["metrics"]["flatness/loss/test@0.1"]["per_seed"]) == 2
    for figure in ("flatness_by_radius", "flatness_by_epoch", "flatness_over_training"):
        assert (out / "figures" / f"{figure}.png").exists()
    assert [row["epoch"] for row in result["flatness"][0]["checkpoints"]] == [1, 2, 3, 4, None]
    # Of five checkpoints a run two differ, and the file of a measurement is named after the weights.
    assert len(list((runs / "seed-0" / "flatness").glob("*.npz"))) == 4


def test_what_is_measured_is_not_measured_again_and_what_was_cut_short_goes_on(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    search = command.flatness

    def counted(model, x, *more, **settings):
        asked.append(len(x))
        if len(asked) == 2 and monkeypatch_stop:
            raise KeyboardInterrupt
        return search(model, x, *more, **settings)

    monkeypatch_stop = True
    monkeypatch.setattr(command, "flatness", counted)
    monkeypatch.setattr(command, "CHUNK", 5)
    arguments = ["flatness", str(runs / "seed-0"), *QUICK, "--radii", "0.1", "--parts", "test"]
    assert main(arguments) == 130
    monkeypatch_stop = False
    assert main(arguments) == 0
    assert asked == [5, 5, 5, 2]
    whole = json.loads((runs / "seed-0" / "summary.json").read_text())["metrics"]["flatness/gradient/test@0.1"]
    assert main(arguments) == 0
    assert asked == [5, 5, 5, 2]
    (file,) = (runs / "seed-0" / "flatness").glob("*.npz")
    file.write_bytes(b"PK cut short")
    assert main(arguments) == 0
    assert asked == [5, 5, 5, 2, 5, 5, 2]
    again = json.loads((runs / "seed-0" / "summary.json").read_text())["metrics"]["flatness/gradient/test@0.1"]
    assert again == whole
    assert main([*arguments, "--n-restarts", "2"]) == 0
    assert len(asked) == 10
    for change in ("pixels", "labels"):  # of data whose positions are the same
        monkeypatch.setattr(
            _target, "load", lambda *names, part=change, **options: changed(load(*names, **options), part)
        )
        assert main(arguments) == 0
    assert len(asked) == 16


def changed(data: Dataset, part: str) -> Dataset:
    test = data.test
    if part == "pixels":
        return replace(data, test=Split(test.raw.flip(-1), test.y, test.index))
    return replace(data, test=Split(test.raw, test.y.flip(0), test.index))


def test_a_bare_checkpoint(runs: Path, tmp_path: Path) -> None:
    weights = runs / "seed-0" / "checkpoints" / "last.safetensors"
    task = ["--data", "digits", "--model", "mlp", "--radius", "0.1", "--out", str(tmp_path / "bare")]
    assert main(["flatness", str(weights), *task, *QUICK]) == 0
    keys = json.loads((tmp_path / "bare" / "summary.json").read_text())["metrics"]
    assert "flatness/gradient/train@0.025" in keys
    assert "flatness/loss/test@0.3" in keys


@pytest.mark.parametrize(
    ("more", "words"),
    [(["--radii", "0.2,0.1"], "increasing"), (["--radii", "-0.1"], "radii"), (["--radii", ""], "radii"),
     (["--parts", "tset"], "one of train, test, between"), (["--n", "0"], "--n"), (["--n-steps", "0"], "--n-steps:"),
     (["--per-epoch"], "checkpoints every k epochs")],
)  # fmt: skip
def test_bad_requests(runs: Path, more: list[str], words: str, capsys: pytest.CaptureFixture) -> None:
    for file in (runs / "seed-0" / "checkpoints").glob("epoch-*"):
        file.unlink()
    assert main(["flatness", str(runs / "seed-0"), *more]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_other_targets_are_refused(tmp_path: Path, runs: Path, capsys: pytest.CaptureFixture) -> None:
    for target, words in (([], "TARGET"), ([str(tmp_path)], "run directory"), ([__file__], "--radius")):
        assert main(["flatness", *target]) == 2
        assert words in capsys.readouterr().err


@pytest.mark.parametrize("twice", [["seed-0", "seed-0"], ["seed-0", "./seed-1/../seed-0"], [".", "seed-1"]])
def test_a_target_that_is_there_twice_is_refused(
    runs: Path, twice: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Planted: means and spreads over runs counted it as two networks."""
    words = [f"{runs}/{name}" for name in twice]
    assert main(["flatness", *words, *QUICK, "--out", str(tmp_path / "f")]) == 2
    assert "expected each run or checkpoint once" in capsys.readouterr().err
    assert not (tmp_path / "f").exists()


def test_one_image_of_each_part_says_nothing_of_memorization(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Planted: the interval of one image had no width, so every difference was established."""
    words = ["flatness", str(runs / "seed-0"), "--n", "1", "--n-steps", "1", "--n-loss-steps", "1", "--radii", "0.1"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "nothing is said of memorization" in said
    assert "less flat" not in said
    entry = json.loads((runs / "seed-0" / "summary.json").read_text())["metrics"]["flatness/loss/test@0.1"]
    assert (entry["n"], entry["interval"]) == (1, None)
    assert main(["report", str(runs / "seed-0"), "--lint-n", "0", "--out", str(runs / "page.html")]) == 0
