"""A plane through three real images, and what f_clean and f_S answer on it: the data of a figure."""

import io
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cgro.definitions import margin
from cgro.representation.memorizer import HardMemorizer, RobustMemorizer
from cgro.runs import write_atomic

N_GRID = 121


def plane_through(a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Origin and two orthonormal directions of the plane through three flat points.

    >>> o, u, v = plane_through(*torch.eye(3, dtype=torch.float64))
    >>> round(float(u @ v), 12), round(float(u @ u), 12)
    (0.0, 1.0)
    """
    u = (b - a) / (b - a).norm()
    w = c - a
    v = w - (w @ u) * u
    return a, u, v / v.norm()


def _corners(memorizer: RobustMemorizer) -> tuple[Tensor, Tensor] | None:
    """Three memorized points (corners, positions) where f_clean is least sure, of two classes; None if degenerate."""
    m = memorizer
    if m.n_memorized < 3 or m.dim < 2:
        return None
    kept = m.memorized[:: max(1, m.n_memorized // 5000)]
    with torch.no_grad():
        sure = margin(m.clean_model(m.shaped(m.points(kept))), m.y[kept])
    order = kept[sure.argsort()]
    other = order[m.classes[order] != m.classes[order[0]]]
    if not len(other):
        return None
    chosen = torch.stack([order[0], other[0], order[order != other[0]][1]])
    corners = m.points(chosen)
    return (corners, chosen) if int(torch.linalg.matrix_rank(corners[1:] - corners[0])) == 2 else None


def save_slice(memorizer: RobustMemorizer, path: Path) -> bool:
    """Evaluate f_clean, f_S and F on a grid of the plane through three images and write the answers.

    The plane leaves the box where coordinates add up beyond it; there the answers are shown as not valid.

    Args:
        memorizer: F, with f_clean and the memorized points.
        path: of the .npz, written whole or not at all.

    Returns:
        Whether it was written: False if no three images of two classes span a plane.

    Raises:
        BadRequest: the disk is full or not writable; an old file is intact.
    """
    found = _corners(memorizer)
    if found is None:
        return False
    m, (corners, chosen) = memorizer, found
    origin, u, v = plane_through(*corners)
    flat = torch.stack([(corners - origin) @ u, (corners - origin) @ v], 1)
    room = 0.35 * float((flat.max(0).values - flat.min(0).values).max())
    s, t = (torch.linspace(float(flat[:, a].min()) - room, float(flat[:, a].max()) + room, N_GRID) for a in (0, 1))
    grid = origin + t.double().repeat_interleave(N_GRID)[:, None] * v + s.double().repeat(N_GRID)[:, None] * u
    answers = {"clean": m.clean_model, "hard": HardMemorizer(m, m.inner), "network": m}
    result: dict[str, np.ndarray] = {"s": s.numpy(), "t": t.numpy(), "corners": flat.numpy()}
    with torch.no_grad():
        for name, model in answers.items():
            parts = [model(m.shaped(part)) for part in grid.split(4096)]
            out = torch.cat(parts)
            score = out if out.ndim == 1 else out.argmax(1)
            result[name] = score.view(N_GRID, N_GRID).numpy()
    rows, kept = m.near(grid.float())
    inside = torch.zeros(len(grid), dtype=torch.bool)
    delta = grid[rows] - m.centers(kept)
    inside[rows[torch.linalg.vector_norm(delta, ord=m.threat.p, dim=1) <= m.threat.radius]] = True
    result["ball"] = inside.view(N_GRID, N_GRID).numpy()
    result["labels"] = m.y[chosen].numpy()
    result["images"] = corners.view(3, *m.shape).numpy()
    result["binary"] = np.array(m.binary)
    # Compressed: regions of one answer shrink to a tenth.
    content = io.BytesIO()
    np.savez_compressed(content, **result)  # type: ignore[arg-type]
    write_atomic(path, content.getvalue())
    return True
