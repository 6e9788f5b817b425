"""`cgro lint` on a run and on checkpoints: every check on the terminal, the exit code of --strict, and its refusals."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from cgro.cli import main
from cgro.data import load
from cgro.results import LintSummary
from cgro.runs import Run

CHECKPOINT = ["--data", "digits", "--radius", "0.1", "--n", "40", "--device", "cpu"]
NETWORKS = """
import torch
from torch import nn

def Plain(shape, n_outputs):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

class Probabilities(nn.Sequential):
    def forward(self, x):
        return super().forward(x).softmax(1)

def Soft(shape, n_outputs):
    return Probabilities(*Plain(shape, n_outputs))
"""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A linear network on digits: no secret in its gradients, and nothing to warn of."""
    data = load("digits", n_train=1000)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(data.train.x), data.train.y).backward()
        optimizer.step()
    path = tmp_path_factory.mktemp("lint") / "w.pt"
    torch.save(model.state_dict(), path)
    return path


@pytest.fixture
def networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A module of the caller's, under a name of this test's own: Python imports a name once."""
    name = f"networks_of_{abs(hash(request.node.nodeid))}"
    (tmp_path / f"{name}.py").write_text(NETWORKS)
    monkeypatch.chdir(tmp_path)
    return name


def test_a_network_used_well_passes_strictly(
    weights: Path, networks: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    words = ["lint", str(weights), "--model", f"{networks}:Plain", *CHECKPOINT, "--strict", "--out", "kept"]
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "16 PASS, 0 WARN on 40 test examples" in text
    assert text.count("\nPASS  ") == 16
    kept = Run(tmp_path / "kept").read(LintSummary)
    assert [one.status for one in kept.checks] == ["PASS"] * 16
    assert kept.threat is not None
    assert kept.threat.radius == 0.1


def test_a_warning_is_explained_and_fails_only_when_it_is_strict(
    weights: Path, networks: str, capsys: pytest.CaptureFixture
) -> None:
    words = ["lint", str(weights), "--model", f"{networks}:Soft", *CHECKPOINT]
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "WARN  classes and loss" in text
    assert "To do: return logits" in text
    assert main([*words, "--strict", "--json"]) == 1
    captured = capsys.readouterr()
    assert "checks warn (--strict)" in captured.err
    assert "classes and loss" in captured.err
    found = {one["name"]: one["status"] for one in json.loads(captured.out)["checks"]}
    assert found["classes and loss"] == "WARN"


def test_a_run_is_linted_at_its_own_threat_or_at_another_and_stays_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    run = tmp_path / "run"
    tiny = ["--data", "digits", "--n-train", "120", "--n-test", "60", "--model", "mlp", "--epochs", "2"]
    attacks = ["--radius", "0.1", "--attack", "pgd2", "--eval-attack", "pgd2", "--device", "cpu"]
    assert main(["train", *tiny, *attacks, "--out", str(run)]) == 0
    before = (run / "summary.json").read_bytes()
    capsys.readouterr()
    for more, radius in (([], 0.1), (["--radius", "0.05"], 0.05)):
        assert main(["lint", str(run), "--n", "20", "--device", "cpu", "--json", *more]) == 0
        assert json.loads(capsys.readouterr().out)["threat"]["radius"] == radius
    assert (run / "summary.json").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "TARGET"),
        (["runs/nowhere"], "runs/nowhere, which does not exist"),
        (["WEIGHTS"], "--radius"),
        (["WEIGHTS", "--radius", "0.1", "--n", "0"], "--n"),
    ],
)
def test_bad_requests_are_one_line(weights: Path, words: list[str], told: str, capsys: pytest.CaptureFixture) -> None:
    assert main(["lint", *(word.replace("WEIGHTS", str(weights)) for word in words)]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
