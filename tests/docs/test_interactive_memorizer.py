"""The memorizer of docs/interactive in headless Chromium: values, certificate and counts are those of Python."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.docs.interactive import MEMORIZER, chromium, with_scripts
from torch import nn

from cgro._check import BadRequest
from cgro.commands import memorize as command
from cgro.commands._parser import parse
from cgro.data import load
from cgro.definitions import ThreatModel
from cgro.representation import HardMemorizer, RobustMemorizer, certify, separation

CLOSE = 1e-9
LINE = {"a": 3.1, "b": -2.0, "c": -0.4}
NORMS = ("inf", "1", "2")
ASK = """({points, p, radius, clean, ramp, at}) => {
  const m = new cgro.memorizer.Memorizer(points, p, radius, clean, ramp), c = cgro.network.parameters(m);
  return {
    F: at.map(([x, y]) => m.at(x, y)), S: at.map(([x, y]) => m.hardAt(x, y)), clean: at.map(([x, y]) => m.cleanAt(x, y)),
    written: at.map(x => cgro.network.evaluate(c.layers, x)[0]), margin: m.certificate(), ramp: m.ramp,
    total: c.total, memory: c.memory, generic: c.generic, depth: c.depth,
  };
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def tab(browser: Any) -> Any:
    return with_scripts(browser, MEMORIZER)


def drawn(seed: int, n: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Points with three decimals, as the page rounds them, and labels."""
    rng = np.random.default_rng(seed)
    x = rng.random((n, 2)).round(3)
    return x, np.where(x[:, 0] + 0.2 * rng.standard_normal(n) > 0.5, 1, -1)


def points_of(x: np.ndarray, y: np.ndarray) -> list[dict]:
    return [{"x": a, "y": b, "label": int(label)} for (a, b), label in zip(x.tolist(), y, strict=True)]


def line() -> nn.Sequential:
    linear = nn.Linear(2, 1).double()
    linear.weight.data[:] = torch.tensor([[LINE["a"], LINE["b"]]], dtype=torch.float64)
    linear.bias.data[:] = LINE["c"]
    return nn.Sequential(nn.Flatten(), linear, nn.Flatten(0)).eval().requires_grad_(False)


def python(x: np.ndarray, y: np.ndarray, p: str, radius: float, ramp: float | None) -> RobustMemorizer:
    return RobustMemorizer(line(), torch.tensor(x), torch.tensor(y), ThreatModel(p, radius), ramp=ramp)


def asked(tab: Any, x: np.ndarray, y: np.ndarray, p: str, radius: float, ramp: float | None, at: np.ndarray) -> dict:
    question = {"points": points_of(x, y), "p": p, "radius": radius, "clean": LINE, "ramp": ramp, "at": at.tolist()}
    return tab.evaluate(ASK, question)


def radius_of(x: np.ndarray, y: np.ndarray, p: str) -> float:
    """Below half the separation, with three decimals."""
    return float(np.floor(490 * separation(torch.tensor(x), torch.tensor(y), p).value) / 1000)


def difference(found: dict, memorizer: RobustMemorizer, at: np.ndarray) -> float:
    inputs = torch.tensor(at)
    wanted = {"F": memorizer(inputs), "S": HardMemorizer(memorizer)(inputs), "clean": memorizer.clean_model(inputs),
              "written": memorizer(inputs), "margin": certify(memorizer).margin, "ramp": memorizer.supports.ramp}  # fmt: skip
    return max(float(np.abs(np.array(found[key]) - value.numpy()).max()) for key, value in wanted.items())


@pytest.mark.parametrize("p", NORMS)
@pytest.mark.parametrize("ramp", [None, 0.15])
@pytest.mark.parametrize("seed", [0, 4])
def test_values_certificate_and_counts_at_200_points(tab: Any, p: str, ramp: float | None, seed: int) -> None:
    x, y = drawn(seed)
    radius = radius_of(x, y, p)
    rng = np.random.default_rng(1)
    near = x[rng.integers(0, len(x), 88)] + radius * rng.uniform(-1.5, 1.5, (88, 2))
    at = np.concatenate([rng.random((100, 2)), near.clip(0, 1), x])
    assert len(at) == 200
    memorizer = python(x, y, p, radius, ramp)
    found = asked(tab, x, y, p, radius, ramp, at)
    assert difference(found, memorizer, at) < CLOSE
    counts = memorizer.parameters_of()
    assert (counts.total, counts.formula) == (found["total"], found["total"])
    assert (counts.generic, counts.memorizer) == (found["generic"], found["memory"])
    assert len(memorizer.expand()) == found["depth"]
    assert (min(found["margin"]) < 1) == (ramp is not None)


@pytest.mark.parametrize(
    "fault",
    [
        ("memorizer.js", "const ABOVE_ONE = 1 + 2 ** -10", "const ABOVE_ONE = 1 + 2 ** -9"),
        ("memorizer.js", "const SLACK = 1e-6", "const SLACK = 2e-6"),
        ("memorizer.js", "total -= tooth / 4 ** k", "total -= tooth / 3.9999 ** k"),
        ("network.js", "entries.push([i, 0, -2 * point.x]", "entries.push([i, 0, -1.9999 * point.x]"),
    ],
    ids=lambda fault: fault[2],
)
def test_one_changed_constant_is_found(browser: Any, fault: tuple[str, str, str]) -> None:
    x, y = drawn(0)
    radius = radius_of(x, y, "2")
    at = np.random.default_rng(2).random((200, 2))
    tab = with_scripts(browser, MEMORIZER, fault)
    found = asked(tab, x, y, "2", radius, None, at)
    tab.close()
    assert difference(found, python(x, y, "2", radius, None), at) > 100 * CLOSE


@pytest.mark.parametrize("p", NORMS)
def test_overlapping_balls_are_refused_where_python_refuses(tab: Any, p: str) -> None:
    x, y = drawn(0)
    limit = separation(torch.tensor(x), torch.tensor(y), p).value / 2
    script = "([points, p, radius]) => cgro.memorizer.refusal(points, p, radius)"
    for share, refused in ((0.99, False), (1.01, True)):
        said = tab.evaluate(script, [points_of(x, y), p, share * limit])
        assert bool(said) == refused
        if refused:
            with pytest.raises(BadRequest, match="separation"):
                python(x, y, p, share * limit, None)
            assert f"{limit:.4g}"[:5] in said
            i, k = separation(torch.tensor(x), torch.tensor(y), p).pair
            assert f"points {i + 1} and {k + 1}" in said


def test_one_class_and_equal_points_are_refused_in_a_sentence(tab: Any) -> None:
    script = "points => cgro.memorizer.refusal(points, '2', 0.1)"
    assert "either class" in tab.evaluate(script, [])
    assert "either class" in tab.evaluate(script, [{"x": 0.1, "y": 0.1, "label": 1}])
    twice = [{"x": 0.1, "y": 0.1, "label": 1}, {"x": 0.1, "y": 0.1, "label": -1}]
    assert "equal and have different labels" in tab.evaluate(script, twice)


def test_the_fitted_line_is_that_of_least_squares(tab: Any) -> None:
    x, y = drawn(7, 20)
    found = tab.evaluate("points => cgro.memorizer.fittedLine(points)", points_of(x, y))
    solved = np.linalg.lstsq(np.c_[x, np.ones(len(x))], y.astype(float), rcond=None)[0]
    expected = 4 * solved / np.hypot(*solved[:2])
    np.testing.assert_allclose([found["a"], found["b"], found["c"]], expected, atol=1e-12)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ([[0.5, 0.8], [0.5, 0.2]], [1, -1]),
        ([[0.1, 0.9], [0.7, 0.3]], [-1, 1]),
        ([[0.1, 0.2], [0.3, 0.4], [0.6, 0.7], [0.8, 0.9]], [1, 1, -1, 1]),  # on one line, not separable
    ],
)
def test_points_on_one_line_are_fitted_along_it(tab: Any, x: list, y: list) -> None:
    """Of all solutions of least squares the one of least norm."""
    points, labels = np.array(x), np.array(y, dtype=float)
    found = tab.evaluate("points => cgro.memorizer.fittedLine(points)", points_of(points, np.array(y)))
    solved = np.linalg.lstsq(points - points.mean(0), labels - labels.mean(), rcond=1e-9)[0]
    whole = np.array([*solved, labels.mean() - points.mean(0) @ solved])
    expected = 4 * whole / np.hypot(*solved)
    np.testing.assert_allclose([found["a"], found["b"], found["c"]], expected, atol=1e-9)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ([[0.2, 0.2], [0.8, 0.8], [0.2, 0.8], [0.8, 0.2]], [1, 1, -1, -1]),
        ([[0.2, 0.5], [0.5, 0.5], [0.8, 0.5]], [1, -1, 1]),
        ([[0.2, 0.5]], [1]),
        ([], []),
    ],
)
def test_points_that_no_line_tells_apart_are_not_fitted(tab: Any, x: list, y: list) -> None:
    points = [{"x": a, "y": b, "label": label} for (a, b), label in zip(x, y, strict=True)]
    assert tab.evaluate("points => cgro.memorizer.fittedLine(points)", points) is None


def test_saved_points_are_read_by_the_command_and_give_the_same_memorizer(tab: Any, tmp_path: Path) -> None:
    x, y = drawn(0)
    raw = tab.evaluate("points => Array.from(cgro.npz.ofPoints(points))", points_of(x, y))
    path = tmp_path / "points.npz"
    path.write_bytes(bytes(raw))
    words = shlex.split(f"cgro memorize --data {path} --classes 0,1 --p 1 --radius 0.02 --ramp 0.05")
    config = parse("memorize", command.__doc__ or "", command.Config, words[2:])
    data = load(config.data, classes=config.classes, n_train=None, n_test=None, seed=0)
    rows = data.train.x.flatten(1).numpy()  # in another order
    order = [int((x.astype(np.float32) == row).all(1).argmax()) for row in rows]
    assert sorted(order) == list(range(len(x)))
    assert data.train.y.tolist() == y[order].tolist()
    threat = ThreatModel(config.p, config.radius)
    memorizer = RobustMemorizer(
        lambda v: v.flatten(1)[:, 0] - 0.5, data.train.raw, data.train.y, threat, ramp=config.ramp
    )
    found = asked(tab, x, y, "1", 0.02, 0.05, x)
    assert memorizer.parameters_of(measure=False).generic == found["generic"]
    np.testing.assert_allclose(certify(memorizer).margin, np.array(found["margin"])[order], atol=1e-6)  # float32 points
