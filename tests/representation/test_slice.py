"""The plane of the figure of Theorem 4.4: its corners are the images, its answers those of three classifiers."""

from pathlib import Path

import numpy as np
import torch
from tests.representation.cases import case

from cgro.definitions import ThreatModel
from cgro.representation import HardMemorizer, RobustMemorizer
from cgro.representation.slice import N_GRID, plane_through, save_slice


def test_the_grid_holds_what_the_classifiers_answer_there(tmp_path: Path) -> None:
    m, x, y, _ = case("inf", "box", n=12, dim=5)
    path = tmp_path / "slice.npz"
    assert save_slice(m, path)
    with np.load(path) as arrays:
        a = dict(arrays)
    corners = torch.from_numpy(a["images"]).flatten(1)
    rows = [int((x == corner).all(1).nonzero()) for corner in corners]
    assert y[rows].tolist() == a["labels"].tolist()
    assert len(set(a["labels"].tolist())) == 2
    origin, u, v = plane_through(*corners)
    back = origin + torch.from_numpy(a["corners"]) @ torch.stack([u, v])
    torch.testing.assert_close(back, corners)
    rng = np.random.default_rng(0)
    for i, j in rng.integers(0, N_GRID, (40, 2)):
        point = (origin + float(a["t"][i]) * v + float(a["s"][j]) * u)[None]
        assert abs(float(m.clean_model(point)) - a["clean"][i, j]) < 1e-12
        assert abs(float(m(point)) - a["network"][i, j]) < 1e-12
        assert abs(float(HardMemorizer(m, m.supports.inner)(point)) - a["hard"][i, j]) < 1e-12
        near = torch.cdist(point, x, p=torch.inf).min()
        assert bool(near <= m.threat.radius) == bool(a["ball"][i, j])
    assert a["ball"].any()


def test_nothing_is_written_where_three_points_span_no_plane(tmp_path: Path) -> None:
    line = torch.tensor([[0.1, 0.1], [0.5, 0.5], [0.9, 0.9]], dtype=torch.float64)
    m = RobustMemorizer(lambda v: v[:, 0] - 0.5, line, torch.tensor([-1, 1, -1]), ThreatModel("inf", 0.05))
    assert not save_slice(m, tmp_path / "slice.npz")
    assert not list(tmp_path.iterdir())
