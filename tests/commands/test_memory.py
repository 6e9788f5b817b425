"""cgro memory: keys, figure, the standard network beside, influence that resumes, bad requests."""

import json
from pathlib import Path

import numpy as np
import pytest

from cgro.cli import main
from cgro.commands import memory as command
from cgro.flatness import MemoryScore
from cgro.results import MemoryRecord, QuarterRecord, RealStagesRecord

TINY = ["--data", "digits", "--n-train", "80", "--n-test", "40", "--model", "mlp", "--epochs", "12", "--radius", "0.1",
        "--eval-attack", "pgd2", "--lr", "0.005", "--device", "cpu"]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A robust network, standard ones on the same examples, and one on others."""
    out = tmp_path_factory.mktemp("memory")
    for name, more in (("robust", ["--attack", "pgd2"]), ("clean", ["--attack", "none"]),
                       ("unweighted", ["--attack", "pgd2", "--objective", "trades:beta=0"]),
                       ("other", ["--attack", "none", "--seed", "5"])):  # fmt: skip
        assert main(["train", *TINY, *more, "--out", str(out / name)]) == 0
    return out


def test_the_probe_alone(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "alone"
    assert main(["memory", str(trained / "robust"), "--n", "30", "--out", str(out)]) == 0
    result = json.loads((out / "summary.json").read_text())
    score = result["metrics"]["memory/score"]
    assert score["interval"][0] <= score["value"] <= score["interval"][1]
    assert "quarters" not in result["memory"]
    assert "memory/mu" not in result["metrics"]
    assert set(result["memory"]["stages"]) >= {"clean_learned", "memorized", "parted", "ordered"}
    assert (out / "figures" / "memory.png").exists()
    with np.load(out / "examples.npz") as arrays:
        assert arrays["train/margin"].shape == (30,)
        margins = {part: arrays[f"{part}/margin"] for part in ("train", "test")}
    assert score["value"] == pytest.approx(margins["train"].mean() - margins["test"].mean())
    assert (trained / "robust" / "summary.json").read_text().count("memory") == 0
    # Arguments without a flag come from the file as well.
    assert main(["memory", "--config", str(out / "config.yaml"), "--out", str(tmp_path / "again")]) == 0
    assert (tmp_path / "again" / "memory.json").read_bytes() == (out / "memory.json").read_bytes()


def test_who_is_remembered_and_influence_that_resumes(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, asked = tmp_path / "who", []
    fit = command.fit
    monkeypatch.setattr(command, "fit", lambda *a, **k: asked.append(len(a[1].train)) or fit(*a, **k))
    words = [
        "memory",
        str(trained / "robust"),
        "--clean",
        str(trained / "clean"),
        "--influence",
        "3",
        "--out",
        str(out),
    ]
    assert main(words) == 0
    result, first = json.loads((out / "summary.json").read_text()), (out / "examples.npz").read_bytes()
    n_train = 80
    assert asked == [round(0.7 * n_train)] * 3
    assert [len(q["interval"]) for q in result["memory"]["quarters"]] == [2] * 4
    with np.load(out / "examples.npz") as arrays:
        gains, flips = arrays["train/influence"], arrays["train/clean_flip"]
        stands = arrays["train/margin"] > 0
    assert gains.shape == flips.shape == (n_train,)
    assert np.nanmin(gains) >= -1
    assert np.nanmax(gains) <= 1
    nearest = np.argsort(flips, kind="stable")[: n_train // 4]
    assert result["memory"]["quarters"][0]["train"] == pytest.approx(stands[nearest].mean())
    assert result["metrics"]["memory/influence"]["value"] == pytest.approx(np.nanmean(gains))

    (out / "summary.json").unlink()
    (out / "networks" / "002.safetensors").unlink()
    assert main(words) == 0
    assert len(asked) == 4
    assert (out / "examples.npz").read_bytes() == first


def test_subsets_are_of_all_training_examples_however_few_are_judged(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, fit = [], command.fit
    monkeypatch.setattr(command, "fit", lambda *a, **k: asked.append(a[1].train.index.tolist()) or fit(*a, **k))
    words = ["memory", str(trained / "robust"), "--n", "30", "--influence", "2", "--out", str(tmp_path / "few")]
    assert main(words) == 0
    assert [len(set(rows)) for rows in asked] == [56, 56]
    with np.load(tmp_path / "few" / "examples.npz") as arrays:
        gains, judged = arrays["train/influence"], arrays["train/index"]
    in_both_or_none = [sum(i in rows for rows in asked) != 1 for i in judged.tolist()]
    assert np.isnan(gains).tolist() == in_both_or_none


def test_a_standard_network_is_known_whichever_option_says_so(trained: Path, tmp_path: Path) -> None:
    words = [str(trained / "robust"), "--clean", str(trained / "unweighted"), "--n", "30"]
    assert main(["memory", *words, "--out", str(tmp_path / "out")]) == 0
    assert "quarters" in json.loads((tmp_path / "out" / "summary.json").read_text())["memory"]


def test_bad_requests(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    robust, clean, other = (str(trained / name) for name in ("robust", "clean", "other"))
    for words, said in (
        ([], "a run of cgro train"),
        ([str(tmp_path)], "expected a run directory"),
        ([clean], "adversarial training"),
        ([str(trained / "unweighted")], "adversarial training"),
        ([robust, "--clean", robust], "--attack none"),
        ([robust, "--clean", other], "the examples of"),
        ([robust, "--influence", "1"], "2 networks or more"),
        ([robust, "--n", "2"], "--n"),
        ([robust, "--attack", "nothing"], "nothing"),
    ):
        assert main(["memory", *words, "--out", str(tmp_path / "out")]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        ((0.05, 0.35), "20 points [5, 35] are robust from memory"),
        ((-0.1, 0.5), "none are shown"),
        ((-0.3, -0.1), "fewer"),
    ],
)
def test_memory_is_said_only_where_its_interval_is_above_zero(interval: tuple[float, float], said: str) -> None:
    one = QuarterRecord(memory=0.2, interval=interval, train=0.6, test=0.4)
    record = MemoryRecord(radius=0.1, stages=None, quarters=[one] * 4)
    text = command.sentence_of(MemoryScore(0.1, (0.05, 0.2), 0.6), record)
    assert f"boundary {said}" in text
    assert ("robust from memory, in" in text) == (interval[0] > 0)
    assert "at most the robust test error, 60 and 60 points" in text


@pytest.mark.parametrize(
    ("generalized", "ordered", "said"),
    [
        (14, True, "come in the order"),
        (10, True, "do not contradict the order"),
        (30, False, "do not come in the order"),
    ],
)
def test_stages_that_end_at_one_evaluation_are_no_order_that_was_seen(
    generalized: int, ordered: bool, said: str
) -> None:
    stages = RealStagesRecord(clean_learned=10, generalized=generalized, memorized=20, parted=None, ordered=ordered)
    record = MemoryRecord(radius=0.1, stages=stages)
    assert f"stages of training {said}" in command.sentence_of(MemoryScore(0.1, (0.05, 0.2), 0.6), record)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model", "lenet"], "--model: expected mlp, as "),
        (["--data", "mnist5k"], "--data: expected digits, as "),
        (["--model", "mlp", "--data", "patches"], "--data: expected digits, as "),
    ],
)
def test_another_network_or_data_than_the_run_has_is_refused(
    trained: Path, tmp_path: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["memory", str(trained / "robust"), *words, "--out", str(out)]) == 2
    assert said in capsys.readouterr().err
    assert not out.exists()


def test_its_own_may_be_repeated(trained: Path, tmp_path: Path) -> None:
    words = ["--model", "mlp", "--data", "digits", "--n", "8", "--attack", "pgd1"]
    assert main(["memory", str(trained / "robust"), *words, "--out", str(tmp_path / "out")]) == 0
