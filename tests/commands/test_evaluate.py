"""cgro evaluate with the strong attacks: keys, per-example files, rounding to 8 bits, kill and resume."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from cgro.cli import main
from cgro.commands import evaluate
from cgro.data import load
from cgro.models import build

TINY = ["--data", "digits", "--n-train", "120", "--n-test", "60", "--model", "mlp", "--epochs", "2", "--radius", "0.1",
        "--attack", "pgd2", "--eval-attack", "pgd3", "--lr", "0.005", "--device", "cpu"]  # fmt: skip


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("evaluate") / "run"
    assert main(["train", *TINY, "--out", str(out)]) == 0
    return out


@pytest.fixture
def run(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "run"))


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def test_results_stand_under_their_own_key_with_a_row_an_example(run: Path) -> None:
    assert main(["evaluate", str(run), "--attack", "apgd", "--parts", "test"]) == 0
    summary = json.loads((run / "summary.json").read_text())
    stored = arrays(run / "evaluations" / "apgd" / "test.npz")
    entry = summary["metrics"]["robust_error/test@apgd"]
    assert (entry["wrong"], entry["n"], entry["bound"]) == (int(stored["wrong"].sum()), 60, "lower")
    assert summary["metrics"]["robust_error/test"]["value"] >= entry["value"]
    assert sum(summary["evaluations"]["apgd"]["test"]["broken_by"].values()) == entry["wrong"]
    assert stored["index"].tolist() == json.loads((run / "index_sets.json").read_text())["test"]
    assert "x_adv" not in stored
    assert np.array_equal(stored["wrong"], stored["margin"] <= 0)


def test_saved_examples_are_judged_again_after_rounding(run: Path) -> None:
    arguments = ["evaluate", str(run), "--attack", "pgd3", "--parts", "test"]
    assert main(arguments) == 0
    assert main([*arguments, "--save-examples"]) == 0
    stored = arrays(run / "evaluations" / "pgd3" / "test.npz")
    counts = json.loads((run / "summary.json").read_text())["evaluations"]["pgd3"]["test"]["rounded_to_8_bits"]
    assert stored["x_adv"].shape == (60, 1, 8, 8)
    assert counts["broken"] == int((stored["by"] > 0).sum()) > 0
    assert 0 <= counts["wrong_after_rounding"] <= counts["broken"]
    # Sixteenths plus 0.1 are no multiples of 1/255, so rounding leaves the ball somewhere in almost every image.
    assert counts["in_ball_after_rounding"] < counts["broken"]


def test_a_finished_evaluation_is_not_run_again_and_a_changed_one_is(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cgro.definitions import PGD

    asked: list[int] = []
    search = PGD.search
    monkeypatch.setattr(PGD, "search", lambda self, *a: (asked.append(self.n_steps), search(self, *a))[1])
    arguments = ["evaluate", str(run), "--attack", "pgd3", "--parts", "test"]
    for _ in range(2):
        assert main(arguments) == 0
    assert asked == [3]
    assert main([*arguments, "--n", "50"]) == 0
    assert asked == [3, 3]
    (run / "evaluations" / "pgd3" / "test.npz").write_bytes(b"PK cut short")
    assert main([*arguments, "--n", "50"]) == 0
    assert asked == [3, 3, 3]


def test_a_killed_evaluation_goes_on_to_the_same_result(run: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(run, tmp_path / "other"))
    arguments = ["--attack", "apgd-t", "--parts", "test", "--threads", "1"]
    code = "import cgro.commands._records as r; r.SAVE_EVERY = 0.0; import sys; from cgro.cli import main; main(sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "evaluate", str(run), *arguments], stdout=subprocess.DEVNULL
    )
    file = run / "evaluations" / "apgd-t" / "test.npz"
    waited = time.monotonic()
    while not file.exists() and process.poll() is None and time.monotonic() - waited < 60:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    part = arrays(file)
    assert (part["tried"] < 1).any(), "killed too late to show anything"
    for path in (run, other):
        assert main(["evaluate", str(path), *arguments]) == 0
    a, b = (arrays(path / "evaluations" / "apgd-t" / "test.npz") for path in (run, other))
    assert [k for k in a if not np.array_equal(a[k], b[k])] == []


@pytest.mark.parametrize(
    ("attack", "words"),
    [("autoatack", "one of none, fgsm, fgsm-rs, pgdK, pgdKxR, apgd, apgd-dlr, apgd-t, square, ensemble, autoattack")],
)
def test_bad_requests(run: Path, attack: str, words: str, capsys: pytest.CaptureFixture) -> None:
    assert main(["evaluate", str(run), "--attack", attack]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_a_budget_leaves_a_lower_bound_that_a_second_call_completes(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    clock, real = [0.0], time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: clock.append(clock[-1] + 1.0) or clock[-1])
    arguments = ["evaluate", str(run), "--attack", "apgd", "--parts", "test"]
    assert main([*arguments, "--budget", "2s"]) == 0
    assert "the same command goes on" in capsys.readouterr().out
    monkeypatch.setattr(time, "monotonic", real)
    entry = json.loads((run / "summary.json").read_text())
    early, complete = entry["metrics"]["robust_error/test@apgd"], entry["evaluations"]["apgd"]["test"]["complete"]
    assert (early["bound"], complete) == ("lower", False)
    assert main(arguments) == 0
    entry = json.loads((run / "summary.json").read_text())
    assert entry["evaluations"]["apgd"]["test"]["complete"]
    assert entry["metrics"]["robust_error/test@apgd"]["value"] > early["value"]


def test_what_was_stopped_goes_on_to_the_result_of_one_call(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Data of float32: the points of a record that was read were the clean images themselves, and later attacks began
    where earlier ones had ended."""
    whole = Path(shutil.copytree(run, tmp_path / "whole"))
    words = ["--attack", "ensemble", "--parts", "test", "--radius", "0.03", "--threads", "1"]
    clock, real = [0.0], time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: clock.append(clock[-1] + 1.0) or clock[-1])
    assert main(["evaluate", str(run), *words, "--budget", "2s"]) == 0
    monkeypatch.setattr(time, "monotonic", real)
    for path in (run, whole):
        assert main(["evaluate", str(path), *words]) == 0
    a, b = (arrays(next((path / "evaluations").glob("ensemble*/test.npz"))) for path in (run, whole))
    assert [name for name in a if not np.array_equal(a[name], b[name])] == []
    assert 0 < int(a["wrong"].sum()) < 60


def test_an_unfinished_evaluation_judges_nothing_and_goes_on_in_its_folder(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "out"
    weights = str(run / "checkpoints" / "last.safetensors")
    subject = ["--data", "digits", "--model", "mlp", "--radius", "0.1"]
    words = ["evaluate", weights, *subject, "--attack", "pgd3", "--device", "cpu", "--out", str(out)]
    clock, real = [0.0], time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: clock.append(clock[-1] + 1.0) or clock[-1])
    assert main([*words, "--budget", "1s", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"] is None
    assert told["outcome"]["kind"] == "interrupted"
    assert f"train by pgd3, test by pgd3; the same command with --out {out} goes on" in told["outcome"]["reason"]
    assert {told["metrics"][f"clean_error/{part}"]["bound"] for part in ("train", "test")} == {"lower"}
    assert not (out / "summary.json").exists()
    monkeypatch.setattr(time, "monotonic", real)
    assert main(words) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert summary["verdict"]["label"]
    assert summary["metrics"]["clean_error/test"]["bound"] == "exact"


def test_what_a_second_budget_proves_is_added(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["evaluate", str(run), "--attack", "ensemble", "--parts", "test"]
    found = []
    for seconds in ("1s", "3s"):
        clock = [0.0]
        monkeypatch.setattr(time, "monotonic", lambda clock=clock: clock.append(clock[-1] + 1.0) or clock[-1])
        assert main([*words, "--budget", seconds]) == 0
        summary = json.loads((run / "summary.json").read_text())
        record = summary["evaluations"]["ensemble"]["test"]
        assert not record["complete"]
        found.append((summary["metrics"]["robust_error/test@ensemble"]["wrong"], sum(record["broken_by"].values())))
    assert found[0] == (0, 0)
    assert found[1][0] == found[1][1] > 0


def test_numbers_of_an_unfinished_evaluation_replace_none_that_are_finished(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["evaluate", str(run), "--attack", "pgd3", "--parts", "test"]
    assert main([*words, "--n", "50"]) == 0
    before = json.loads((run / "summary.json").read_text())
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock.append(clock[-1] + 1.0) or clock[-1])
    assert main([*words, "--n", "359", "--budget", "1s"]) == 0
    after = json.loads((run / "summary.json").read_text())
    for key in ("metrics", "verdict", "evaluations"):
        assert after[key] == before[key]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--budget", "soon"], "90s, 10m or 2h"),
        (["--per-epoch"], "--keep-every"),
        (["--per-epoch", "--selected"], "--out"),
    ],
)
def test_bad_budgets_and_epochs_are_one_line(
    run: Path, capsys: pytest.CaptureFixture, words: list[str], told: str
) -> None:
    assert main(["evaluate", str(run), *words]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_a_constant_model_is_called_collapsed(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    model = build("mlp", (1, 8, 8), 10)
    with torch.no_grad():
        model[-1].weight.zero_()
    torch.save(model.state_dict(), tmp_path / "w.pt")
    words = ["--data", "digits", "--model", "mlp", "--radius", "0.1", "--attack", "pgd2", "--device", "cpu"]
    assert main(["evaluate", str(tmp_path / "w.pt"), *words, "--out", str(tmp_path / "out")]) == 0
    assert "collapsed: One class takes 100% of the predictions" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["evaluate", "flatness"])
def test_a_target_that_does_not_exist_is_said_so(command: str, capsys: pytest.CaptureFixture) -> None:
    assert main([command, "runs/nowhere"]) == 2
    assert "runs/nowhere, which does not exist" in capsys.readouterr().err


def summary_of(path: Path) -> dict:
    return json.loads((path / "summary.json").read_text())


def test_a_lesser_measurement_overwrites_no_larger_one(run: Path) -> None:
    arguments = ["evaluate", str(run), "--attack", "apgd"]
    assert main(arguments) == 0
    full, file = summary_of(run), run / "evaluations" / "apgd" / "test.npz"
    stored = file.read_bytes()
    assert main([*arguments, "--parts", "test", "--n", "20"]) == 0
    assert summary_of(run)["metrics"] == full["metrics"]
    assert summary_of(run)["evaluations"] == full["evaluations"]  # the training part is still there, too
    assert file.read_bytes() == stored
    assert len(arrays(file.with_name("test-first-20.npz"))["index"]) == 20


def test_a_larger_measurement_replaces_a_lesser_one(run: Path) -> None:
    arguments = ["evaluate", str(run), "--attack", "apgd", "--parts", "test"]
    assert main([*arguments, "--n", "20"]) == 0
    assert summary_of(run)["metrics"]["robust_error/test@apgd"]["n"] == 20
    assert summary_of(run)["metrics"]["robust_error/test"]["n"] == 60
    assert main(arguments) == 0
    assert summary_of(run)["metrics"]["robust_error/test@apgd"]["n"] == 60
    assert summary_of(run)["evaluations"]["apgd"]["test"]["n"] == 60


@pytest.fixture(scope="module")
def naive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Standard training whose robust error, 40 to 50%, is far below that of a network without any defense at 0.1; its
    own evaluation attacks nothing, so that any attack finds more.
    """
    out = tmp_path_factory.mktemp("naive") / "run"
    words = ["train", *TINY, "--n-train", "600", "--n-test", "200", "--epochs", "20", "--radius", "0.07",
             "--attack", "none", "--eval-attack", "none", "--eval-every", "20", "--lr", "0.02", "--out", str(out)]  # fmt: skip
    assert main(words) == 0
    return out


def test_a_stronger_attack_on_a_subset_is_told_and_reaches_the_card(
    naive: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    run = Path(shutil.copytree(naive, tmp_path / "run"))
    assert main(["evaluate", str(run), "--attack", "pgd5", "--parts", "test", "--n", "100"]) == 0
    metrics = summary_of(run)["metrics"]
    strong, same = metrics["robust_error/test@pgd5"], metrics["robust_error/test@none@beside:pgd5"]
    assert (metrics["robust_error/test"]["n"], strong["n"], same["n"]) == (200, 100, 100)
    assert metrics["robust_error/test"]["value"] < 0.1 < strong["value"]
    told = f"pgd5 finds {strong['value']:.1%} on 100 of these test images, none {same['value']:.1%} on the same: "
    assert told in capsys.readouterr().err
    assert main(["diagnose", str(run), "--lint-n", "0", "--out", str(tmp_path / "card")]) == 0
    assert told in capsys.readouterr().out.splitlines()[0]
    verdict = summary_of(tmp_path / "card")["diagnoses"][0]
    assert any(told in caveat for caveat in verdict["evidence"]["caveats"])
    # On all of them the number itself is replaced, and there is nothing left to tell.
    assert main(["evaluate", str(run), "--attack", "pgd5", "--parts", "test"]) == 0
    assert "too low" not in capsys.readouterr().err


def test_one_budget_covers_what_is_measured_beside_too(
    naive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It once began anew for that, so that a command took twice its time."""
    run = Path(shutil.copytree(naive, tmp_path / "run"))
    begun: list[str | None] = []
    of_text = evaluate._records.budget
    monkeypatch.setattr(evaluate._records, "budget", lambda text: begun.append(text) or of_text(text))
    words = ["evaluate", str(run), "--attack", "pgd5", "--parts", "test", "--n", "100", "--budget", "1h"]
    assert main(words) == 0
    assert "robust_error/test@none@beside:pgd5" in summary_of(run)["metrics"]
    assert begun == ["1h", "1h"]  # checked before any work, then counted once


def test_the_verdict_anew_knows_that_nothing_was_attacked(
    naive: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    run = Path(shutil.copytree(naive, tmp_path / "run"))
    assert main(["evaluate", str(run), "--attack", "pgd5"]) == 0
    assert capsys.readouterr().out.startswith("standard_training: ")
    found = summary_of(run)
    assert found["verdict"]["label"] == "standard_training"
    assert 0.4 < found["metrics"]["robust_error/train"]["value"] < 0.9, "an evaluation that could not tell"


NETWORKS = """
import torch
from torch import nn

class Net(nn.Sequential):
    def __init__(self, shape, n_outputs):
        super().__init__(nn.Flatten(), nn.Linear(64, n_outputs))

class Noisy(Net):
    def forward(self, x):
        return super().forward(x + 0.2 * torch.randn_like(x))

class Soft(Net):
    def forward(self, x):
        return super().forward(x).softmax(1)

class Stairs(Net):
    def forward(self, x):
        return super().forward((x * 8).round() / 8)

class Backwards(Net):
    def forward(self, x):
        return super().forward(2 * x.detach() - x)
"""


@pytest.mark.parametrize(
    ("network", "told"), [("Net", ""), ("Noisy", "determinism"), ("Soft", "probabilities"), ("Stairs", "zero gradient")]
)
def test_what_makes_every_attack_doubtful_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, network: str, told: str
) -> None:
    (tmp_path / "nets_of_evaluate.py").write_text(NETWORKS)
    monkeypatch.chdir(tmp_path)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        linear = torch.nn.Linear(64, 10)
    torch.save({f"1.{name}": value for name, value in linear.state_dict().items()}, "w.pt")
    words = ["--data", "digits", "--model", f"nets_of_evaluate:{network}", "--radius", "0.1", "--attack", "pgd1"]
    assert main(["evaluate", "w.pt", *words, "--n", "60", "--device", "cpu", "--out", "out"]) == 0
    error = capsys.readouterr().err
    assert told in error
    assert ("warning" in error) == bool(told)


@pytest.mark.parametrize(
    ("network", "attack", "told"),
    [
        ("Net", "ensemble", ""),
        ("Stairs", "pgd1", "gradients: zero gradient"),
        ("Backwards", "ensemble", "order of attacks: attacks without gradients break"),
    ],
)
def test_masked_gradients_are_told_in_the_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, network: str, attack: str, told: str
) -> None:
    """Planted: "robust" in the verdict, above a warning that no gradient could be followed."""
    (tmp_path / "nets_of_masking.py").write_text(NETWORKS)
    monkeypatch.chdir(tmp_path)
    data = load("digits")
    x, y = data.train.x.flatten(1), torch.nn.functional.one_hot(data.train.y, 10).float() - 0.1
    weight = torch.linalg.solve(x.T @ x + torch.eye(64), x.T @ y).T.contiguous()
    torch.save({"1.weight": weight, "1.bias": torch.zeros(10)}, "w.pt")
    words = ["--data", "digits", "--model", f"nets_of_masking:{network}", "--radius", "0.02", "--attack", attack]
    assert main(["evaluate", "w.pt", *words, "--n", "60", "--device", "cpu", "--out", "out", "--json"]) == 0
    out, error = capsys.readouterr()
    verdict = json.loads(out)["verdict"]
    assert told in error
    assert ("warning" in error) == bool(told)
    assert (verdict["label"] == "gradient_masking") == bool(told)
    assert told in verdict["reason"]


def test_no_collapse_is_said_above_images_that_use_a_share_of_the_range(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """A network trained on [0, 1] answers one class where images are divided by 255 twice."""
    from cgro.data import load

    data = load("digits", n_train=600, n_test=200)
    monkeypatch.chdir(tmp_path)
    np.savez("twice.npz", x=data.train.x.numpy() / 255, y=data.train.y.numpy())
    model = build("mlp", (1, 8, 8), 10, seed=0)
    with torch.no_grad():
        model[-1].bias[3] = 5.0
    torch.save(model.state_dict(), "w.pt")
    words = ["--data", "twice.npz", "--model", "mlp", "--radius", "0.1", "--attack", "pgd2", "--device", "cpu"]
    assert main(["evaluate", "w.pt", *words, "--out", "out"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("too_little_evidence: First mend the evaluation (input range: ")
    assert "By the numbers alone it would be collapsed" in text


def test_raw_weights_beside_averaged_ones_are_asked(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two networks in one file give their own numbers, each by its name."""
    words = [
        "--data",
        "digits",
        "--model",
        "mlp",
        "--radius",
        "0.1",
        "--attack",
        "pgd2",
        "--device",
        "cpu",
        "--n",
        "60",
    ]
    states = {name: build("mlp", (1, 8, 8), 10, seed=k).state_dict() for k, name in enumerate(("model", "ema"))}
    torch.save(states, tmp_path / "both.pt")
    assert main(["evaluate", str(tmp_path / "both.pt"), *words, "--out", str(tmp_path / "o")]) == 2
    assert "model, ema; name one, such as --weights ema" in capsys.readouterr().err
    for name, state in states.items():
        torch.save(state, tmp_path / f"{name}.pt")
        assert main(["evaluate", str(tmp_path / f"{name}.pt"), *words, "--out", str(tmp_path / f"{name}1")]) == 0
        capsys.readouterr()
        both = [str(tmp_path / "both.pt"), "--weights", name, "--out", str(tmp_path / f"{name}2")]
        assert main(["evaluate", *both, *words]) == 0
        assert f"under {name} are used" in capsys.readouterr().err
        pair = [json.loads((tmp_path / f"{name}{k}" / "summary.json").read_text())["metrics"] for k in (1, 2)]
        assert pair[0] == pair[1]
    assert main(["evaluate", str(run), "--weights", "ema"]) == 2
    assert "leave it out" in capsys.readouterr().err


FAILING = """
from torch import nn


def attack(model, x, y):
    raise RuntimeError("no device of mine")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, x):
        if len(x) > 1:
            raise KeyError("a key of mine")
        return self.layer(x.flatten(1))
"""


@pytest.mark.parametrize(("words", "line"), [
    (["evaluate", "RUN", "--parts", "test", "--attack", "failing_code:attack"],
     "attack failing_code:attack: expected code that runs, got RuntimeError: no device of mine; -v shows where"),
    (["evaluate", "WEIGHTS", "--radius", "0.1", "--parts", "test", "--attack", "pgd1"],
     "--model failing_code:Net: expected code that runs, got KeyError: 'a key of mine'; -v shows where"),
    (["lint", "WEIGHTS", "--radius", "0.1", "--n", "20"],
     "--model failing_code:Net: expected code that runs, got KeyError: 'a key of mine'; -v shows where"),
], ids=["attack", "network", "network in the lint"])  # fmt: skip
@pytest.mark.parametrize("verbose", [False, True])
def test_code_of_the_callers_that_fails_is_one_line(
    run: Path,
    words: list[str],
    line: str,
    verbose: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    """Planted: it was a traceback of ours."""
    (run.parent / "failing_code.py").write_text(FAILING)
    monkeypatch.chdir(run.parent)
    weights = {"layer.weight": torch.zeros(10, 64), "layer.bias": torch.zeros(10)}
    torch.save(weights, "weights.pt")
    subject = [] if "RUN" in words else ["--data", "digits", "--model", "failing_code:Net"]
    words = [{"RUN": str(run), "WEIGHTS": "weights.pt"}.get(word, word) for word in words]
    assert main([*words, *subject, *(["-v"] if verbose else [])]) == 2
    said = capsys.readouterr().err
    sys.modules.pop("failing_code")
    assert f"cgro {words[0]}: {line}" in said.splitlines()
    assert ("Traceback" in said) == verbose
