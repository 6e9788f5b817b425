"""A plane through three real images, and what f_clean and f_S answer on it: the data of a figure."""

import io
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cgro.definitions import margin
from cgro.definitions.losses import Model
from cgro.representation.hard_memorizer import HardMemorizer
from cgro.representation.memorizer import RobustMemorizer
from cgro.runs import write_atomic

N_GRID = 121
BATCH = 4096
CANDIDATES = 5000
"""Memorized points among which the three are chosen, at most."""

ROOM = 0.35
"""Of the figure beyond the three points, on each side, as a share of their extent."""


def plane_through(a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Span the plane through three points.

    Args:
        a: (D,) the origin.
        b: (D,) a second point; the first direction goes there.
        c: (D,) a third point, not on one line with the others.

    Returns:
        Origin and two orthonormal directions, (D,) each.

    Example:
        >>> o, u, v = plane_through(*torch.eye(3, dtype=torch.float64))
        >>> round(float(u @ v), 12), round(float(u @ u), 12)
        (0.0, 1.0)
    """
    u = (b - a) / (b - a).norm()
    w = c - a
    v = w - (w @ u) * u
    return a, u, v / v.norm()


def _corners(m: RobustMemorizer) -> tuple[Tensor, Tensor] | None:
    """Three memorized points (corners, positions) where f_clean is least sure, of two classes; None if degenerate."""
    if m.n_memorized < 3 or m.dim < 2:
        return None
    kept = m.supports.memorized[:: max(1, m.n_memorized // CANDIDATES)]
    with torch.no_grad():
        sure = margin(m.clean_model(m.shaped(m.points(kept))), m.y[kept])
    order = kept[sure.argsort()]
    other = order[m.classes[order] != m.classes[order[0]]]
    if not len(other):
        return None
    chosen = torch.stack([order[0], other[0], order[order != other[0]][1]])
    corners = m.points(chosen)
    spans_a_plane = int(torch.linalg.matrix_rank(corners[1:] - corners[0])) == 2
    return (corners, chosen) if spans_a_plane else None


def _axis(places: Tensor, room: float) -> Tensor:
    """The grid along one direction: the places of the three points and room beyond them."""
    return torch.linspace(float(places.min()) - room, float(places.max()) + room, N_GRID)


def _answers(model: Model, memorizer: RobustMemorizer, grid: Tensor) -> np.ndarray:
    """Scores, or classes, on the grid."""
    with torch.no_grad():
        out = torch.cat([model(memorizer.shaped(part)) for part in grid.split(BATCH)])
    if out.ndim == 2:
        out = out.argmax(1)
    return out.view(N_GRID, N_GRID).numpy()


def _in_a_ball(m: RobustMemorizer, grid: Tensor) -> np.ndarray:
    """Which points of the grid lie in the ball of a memorized point."""
    rows, kept = m.supports.near(grid.float())
    inside = torch.zeros(len(grid), dtype=torch.bool)
    inside[rows[m.supports.distance(grid[rows], kept) <= m.threat.radius]] = True
    return inside.view(N_GRID, N_GRID).numpy()


def save_slice(memorizer: RobustMemorizer, path: Path) -> bool:
    """Evaluate f_clean, f_S (Lemma 4.5) and F on a grid of the plane through three images and write the answers.

    The plane leaves the box where coordinates add up beyond it; there the answers are shown as not valid.

    Args:
        memorizer: F, with f_clean and the memorized points.
        path: of the .npz, written whole or not at all.

    Returns:
        Whether it was written: False if no three images of two classes span a plane.

    Raises:
        BadRequest: the disk is full or not writable; an old file is intact.
    """
    m = memorizer
    found = _corners(m)
    if found is None:
        return False
    corners, chosen = found
    origin, u, v = plane_through(*corners)
    flat = torch.stack([(corners - origin) @ u, (corners - origin) @ v], 1)
    room = ROOM * float((flat.max(0).values - flat.min(0).values).max())
    s = _axis(flat[:, 0], room)
    t = _axis(flat[:, 1], room)
    grid = origin + t.double().repeat_interleave(N_GRID)[:, None] * v + s.double().repeat(N_GRID)[:, None] * u
    result: dict[str, np.ndarray] = {
        "s": s.numpy(),
        "t": t.numpy(),
        "corners": flat.numpy(),
        "clean": _answers(m.clean_model, m, grid),
        "hard": _answers(HardMemorizer(m, m.supports.inner), m, grid),
        "network": _answers(m, m, grid),
        "ball": _in_a_ball(m, grid),
        "labels": m.y[chosen].numpy(),
        "images": corners.view(3, *m.shape).numpy(),
        "binary": np.array(m.binary),
    }
    # Compressed: regions of one answer shrink to a tenth.
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **result)
    write_atomic(path, content.getvalue())
    return True
