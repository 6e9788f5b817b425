"""Per-example records on disk: budgets, resuming, what is stored of something else, rounding to 8 bits."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from cgro._check import BadRequest
from cgro.commands._records import budget, recorded, rounded
from cgro.data import Split
from cgro.definitions import PGD, ThreatModel

THREAT = ThreatModel("inf", 0.12)  # between two of the points
ATTACK = PGD(THREAT, n_steps=3)


def line(x: torch.Tensor) -> torch.Tensor:
    return x[:, 0, 0, 0] - 0.5


class Line(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return line(x)


@pytest.fixture
def split() -> Split:
    x = torch.linspace(0, 1, 21).view(-1, 1, 1, 1)
    y = torch.where(line(x) > 0, 1, -1)
    return Split(x, y, torch.arange(21) + 100)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    (tmp_path / "weights").write_bytes(b"of this model")
    return tmp_path / "weights"


def test_the_record_is_the_closed_form_and_is_read_back(split: Split, weights: Path, tmp_path: Path) -> None:
    """A line breaks exactly the examples within the radius of its threshold."""
    path = tmp_path / "test.npz"
    record = recorded(Line().eval(), split, ATTACK, path, weights, keep_examples=True)
    near = (split.raw.flatten() - 0.5).abs() < 0.12
    assert record.complete
    assert torch.equal(record.by > 0, near & (record.by != 0))
    before = path.stat().st_mtime_ns
    again = recorded(Line().eval(), split, ATTACK, path, weights, keep_examples=True)
    assert torch.equal(again.by, record.by)
    assert torch.equal(again.x_adv, record.x_adv)
    assert path.stat().st_mtime_ns >= before


@pytest.mark.parametrize("change", ["weights", "attack", "examples", "pixels", "labels", "damage", "without examples"])
def test_a_file_of_something_else_is_replaced(change: str, split: Split, weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "test.npz"
    recorded(Line().eval(), split, ATTACK, path, weights, keep_examples=change != "without examples")
    attack = ATTACK
    if change == "weights":
        weights.write_bytes(b"of another")
    if change == "attack":
        attack = PGD(THREAT, n_steps=4)
    if change == "examples":
        split = split.head(7)
    if change == "pixels":  # of data of which only the contents changed; the adversarial points stay in their balls
        split = Split((split.raw + 1e-7).clamp(0, 1), split.y, split.index)
    if change == "labels":
        split = Split(split.raw, split.y.roll(1), split.index)
    if change == "damage":
        path.write_bytes(path.read_bytes()[:100])
    saved = []
    record = recorded(
        Line().eval(), split, attack, path, weights, keep_examples=True, stop=lambda: bool(saved.append(1)) or True
    )
    assert not record.complete, "it began anew, and was stopped at once"
    assert saved


class Edited(torch.nn.Module):
    """A line whose code is changed beside its weights."""

    def __init__(self, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.change = change

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.change(line(x))


@pytest.mark.parametrize("stages", [0, None])
@pytest.mark.parametrize(
    ("change", "is_other"),
    [
        (lambda z: z + 0.3, True),  # another normalization
        (lambda z: -z, True),
        (lambda z: z + 1e-5, False),  # another machine
        (lambda z: z + 0.2 * torch.rand_like(z) - 0.1, False),  # random, now as then
    ],
)
def test_a_record_of_other_code_is_refused(
    change: Callable, is_other: bool, stages: int | None, split: Split, weights: Path, tmp_path: Path
) -> None:
    """Planted: the normalization of a network was mended, and `cgro evaluate` gave the numbers of before."""
    path = tmp_path / "test.npz"
    known = recorded(Line().eval(), split, ATTACK, path, weights, keep_examples=False, stages=stages)
    if stages == 0:  # no attack has lowered a margin yet
        with pytest.raises(BadRequest, match="others on 20 of 21 clean inputs"):
            recorded(Edited(lambda z: 3 * z).eval(), split, ATTACK, path, weights, keep_examples=False)
    if is_other:
        with pytest.raises(BadRequest, match="the answers of the network that was evaluated earlier.*its code has"):
            recorded(Edited(change).eval(), split, ATTACK, path, weights, keep_examples=False)
        return
    found = recorded(Edited(change).eval(), split, ATTACK, path, weights, keep_examples=False)
    if stages is None:
        assert torch.equal(found.by, known.by)


class Doubled(torch.nn.Module):
    """A line with float64 weights that takes any images."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = torch.nn.Parameter(torch.tensor(0.5, dtype=torch.float64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.double()[:, 0, 0, 0] - self.shift


@pytest.mark.parametrize("keep_examples", [True, False])
def test_a_float64_network_is_evaluated_and_gone_on_with(
    keep_examples: bool, split: Split, weights: Path, tmp_path: Path
) -> None:
    """Planted: `Index put requires the source and destination dtypes match`, with the whole trace."""
    path, model = tmp_path / "test.npz", Doubled().eval()
    whole = recorded(model, split, ATTACK, tmp_path / "whole.npz", weights, keep_examples=keep_examples)
    assert torch.equal(whole.by, recorded(Line().eval(), split, ATTACK, path, weights, keep_examples=False).by)
    path.unlink()
    recorded(model, split, ATTACK, path, weights, keep_examples=keep_examples, stages=0)
    seen: list[torch.Tensor] = []

    def stop() -> bool:
        seen.append(torch.ones(1))
        return False

    again = recorded(model, split, ATTACK, path, weights, keep_examples=keep_examples, stop=stop)
    assert len(seen) == 1, "the clean inputs were not looked at again"
    assert torch.equal(again.by, whole.by)
    assert torch.equal(again.margin, whole.margin)
    if keep_examples:
        assert again.x_adv.dtype == torch.float64
        assert torch.equal(again.x_adv, whole.x_adv)


@pytest.mark.parametrize("change", ["version", "commit", "before digests", "extra", "nothing"])
def test_what_was_evaluated_earlier_is_said(
    change: str, split: Split, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Planted: an evaluation that an older version of an attack began was gone on with, and nobody was told."""
    path = tmp_path / "test.npz"
    recorded(Line().eval(), split, ATTACK, path, weights, keep_examples=False)
    assert capsys.readouterr().err == ""
    with np.load(path) as file:
        arrays = dict(file)
    made_in = json.loads(str(arrays["made_in"]))
    if change == "version":
        made_in["cgro"] = "0.0.7"
    if change == "commit":
        made_in["commit"], arrays["tried"][:3] = "abc", -1  # begun only
        arrays["by"][:3] = -1
    if change == "extra":
        made_in["seed"] = 3
    arrays["made_in"] = np.array(json.dumps(made_in))
    if change == "before digests":
        del arrays["made_in"], arrays["examples"]
    np.savez(path, **arrays)
    for _ in range(2):  # it stays partly the work of the first
        recorded(Line().eval(), split, ATTACK, path, weights, keep_examples=False)
        said = capsys.readouterr().err
        assert "21 examples were evaluated earlier" in said
        assert "delete the file" in said
        assert ("whose attack may search otherwise" in said) == (change in ("version", "commit", "before digests"))
        assert ("0.0.7" in said) == (change == "version")


def test_budgets(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    over = budget("2m")
    now[0] += 119
    assert not over()
    now[0] += 2
    assert over()
    assert not budget(None)()
    for text in ("", "0s", "5", "-1s", "soon", "5 m"):
        with pytest.raises(BadRequest, match="--budget"):
            budget(text)


def test_rounding_counts_what_stays_wrong_and_what_stays_in_the_ball(
    split: Split, weights: Path, tmp_path: Path
) -> None:
    record = recorded(Line().eval(), split, ATTACK, tmp_path / "a.npz", weights, keep_examples=True)
    counts = rounded(Line().eval(), split, ATTACK, record)
    x_adv = (record.x_adv * 255).round() / 255
    broken = record.by > 0
    wrong = (line(x_adv) * split.y <= 0) & broken
    inside = ((x_adv - split.raw).abs().flatten(1).amax(1) <= 0.12 + 1e-6) & broken
    assert counts["broken"] == int(broken.sum())
    assert abs(counts["wrong_after_rounding"] - int(wrong.sum())) <= 1  # an output of exactly 0
    assert counts["in_ball_after_rounding"] == int(inside.sum())
