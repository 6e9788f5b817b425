"""The table of a GPU: its dry run on the CPU, and checks that find what is planted. CUDA itself is not here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tools.gpu import table
from tools.gpu.checks import captured_is_eager, equal_repeats, in_float32, without_waiting
from tools.gpu.steps import BareStep, bare_passes, cropped_and_flipped
from torch import Tensor, nn

from cgro.data import Dataset, Split
from cgro.definitions import PGD, ThreatModel
from cgro.definitions.attacks import loss_gradient
from cgro.definitions.losses import default_loss

ROOT = Path(__file__).parents[2]
ATTACK = PGD(ThreatModel("inf", 0.1), n_steps=2, precision="float32")


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).eval()


def batch(n: int = 4) -> tuple[Tensor, Tensor]:
    return torch.rand(n, 3, 2, 2), torch.arange(n) % 3


def data() -> Dataset:
    x, y = batch(6)
    part = Split(x, y, torch.arange(6))
    return Dataset("random", "", part, part.head(0), part, ("a", "b", "c"), 3, "")


def test_the_script_makes_the_whole_table_on_a_cpu(tmp_path: Path) -> None:
    words = ["sh", "tools/gpu/table.sh", "--device", "cpu", "--tiny"]
    environment = {**os.environ, "OUT": str(tmp_path), "PYTHON": sys.executable}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) < 12_000
    found = json.loads((tmp_path / "table.json").read_text())
    assert found["tiny"] is True
    assert found["environment"]["machine"]["processor"]
    assert {one["name"]: one["passed"] for one in found["checks"]} == {
        "float32 is float32": True,
        "no wait inside a search": None,
        "captured = eager": True,
        "captured evaluation = eager": None,
        "captured training = eager": None,
        "equal repeats": True,
        "launches of pgd10": None,
        "launches of apgd": None,
    }
    ways = {row["way"] for row in found["rows"]}
    assert ways >= {
        "PGD, plain call",
        "ten bare passes",
        "bare step",
        "fit, eager, float32 step",
        "common float32 loop",
        "evaluation, eager",
    }
    assert set(found["fit"]) == {"float32", "bfloat16", "float32, compiled", "bfloat16, compiled"}
    assert set(found["fit"].values()) == {"captured epoch: only CUDA has graphs"}
    assert found["left_out"] == {"torchattacks": "not installed", "evaluation, captured": "only CUDA has graphs"}


def test_a_network_that_is_less_than_float32_is_found() -> None:
    class Rounding(nn.Linear):
        """In float32 it multiplies in bfloat16, as TF32 does a little."""

        def forward(self, x: Tensor) -> Tensor:
            if x.dtype == torch.float64:
                return super().forward(x)
            return super().forward(x.bfloat16().float())

    x = torch.rand(5, 12)
    assert in_float32(nn.Linear(12, 3), x).passed
    assert in_float32(Rounding(12, 3), x).passed is False


def test_a_search_that_depends_on_more_than_its_tensors_is_found() -> None:
    class Counting(nn.Linear):
        n_calls = 0

        def forward(self, x: Tensor) -> Tensor:
            Counting.n_calls += 1
            return super().forward(x) * (-1) ** (Counting.n_calls // 5)

    x, y = torch.rand(4, 12), torch.arange(4) % 3
    assert captured_is_eager(ATTACK, nn.Linear(12, 3).eval(), x, y).passed
    assert captured_is_eager(ATTACK, Counting(12, 3).eval(), x, y).passed is False


def test_trainings_that_differ_are_found() -> None:
    assert equal_repeats(network, data(), ATTACK, "cpu").passed
    generator = torch.Generator().manual_seed(0)

    def other() -> nn.Module:
        model = network()
        with torch.no_grad():
            model[1].bias.add_(torch.rand(3, generator=generator))  # type: ignore[index]
        return model

    found = equal_repeats(other, data(), ATTACK, "cpu")
    assert found.passed is False
    assert "tensors differ" in found.finding


def test_waiting_is_not_decided_on_a_cpu() -> None:
    assert without_waiting(ATTACK, network(), *batch()).passed is None


def test_bare_passes_are_gradients() -> None:
    model, (x, y) = network(), batch()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, expected = loss_gradient(model, x, y, default_loss)
    assert torch.equal(bare_passes(model, x, y, 2), expected)


def test_the_bare_step_is_sgd_with_momentum() -> None:
    """At a radius of 0 on images of one value nothing is random; against torch's own optimizer."""
    x, y = torch.full((4, 3, 2, 2), 0.0), torch.arange(4) % 3
    ours, theirs = network(), network()
    step = BareStep(ours, x, y, 0.0)
    step.lr.fill_(0.1)
    optimizer = torch.optim.SGD(theirs.parameters(), 0.1, momentum=0.9)
    for _ in range(3):
        step()
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = default_loss(theirs(x).float(), y).mean()
        loss.backward()
        optimizer.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)
    assert not torch.equal(ours[1].bias, network()[1].bias)  # type: ignore[index]


def test_crops_are_parts_of_the_padded_image() -> None:
    torch.manual_seed(0)
    x = torch.arange(1.0, 17.0).view(1, 1, 4, 4).repeat(50, 1, 1, 1)
    padded = nn.functional.pad(x[0, 0], [4] * 4)
    allowed = set()
    for image in (padded, padded.flip(1)):
        for row in range(9):
            for column in range(9):
                allowed.add(tuple(image[row : row + 4, column : column + 4].flatten().tolist()))
    found = {tuple(one.flatten().tolist()) for one in cropped_and_flipped(x)}
    assert found <= allowed
    assert len(found) > 20


def test_a_group_that_fails_and_one_that_is_late_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    made = table.Table(torch.device("cpu"), table.TINY, deadline=float("inf"))

    def fail() -> None:
        raise RuntimeError("no graph\nfor you")

    made.attempt("graph", fail)
    made.deadline = -1.0
    made.attempt("late", fail)
    assert made.left_out == {"graph": "no graph for you", "late": "the time was over"}
    assert "late: not measured, the time was over" in capsys.readouterr().out
