"""Figures of Theorem 4.4 hold the numbers that they are given."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cgro.report import theorem44


def shaped(**values: object) -> Any:
    """A value with these attributes, as findings have them."""
    return SimpleNamespace(**values)


def test_brackets_reach_from_the_attack_to_the_certificate(tmp_path: Path, drawn: list[Figure]) -> None:
    errors = {"clean_error": [2.0], "naive_pgd": [3.0], "certified_error": [0.0]}
    task = shaped(robust_low=[80.0, 82.0], robust_high=[86.0, 88.0], **errors)
    unknown = shaped(robust_low=[80.0], robust_high=[], **errors)
    theorem44.robust_brackets(tmp_path / "brackets", {"a": task, "b": unknown})
    first, second = (bar for bar in drawn[0].axes[0].patches if isinstance(bar, Rectangle))
    assert (first.get_y(), first.get_height()) == pytest.approx((81.0, 6.0))
    assert second.get_height() == pytest.approx(0.8)  # seen, though nothing is known


def test_a_name_of_several_lines_keeps_them_and_stays_text(tmp_path: Path, drawn: list[Figure]) -> None:
    task = shaped(robust_low=[80.0], robust_high=[], clean_error=[2.0], naive_pgd=[3.0], certified_error=[0.0])
    theorem44.robust_brackets(tmp_path / "brackets", {"mnist5k\n3,8\np = inf": task, "$x$\na": task})
    labels = [label.get_text() for label in drawn[0].axes[0].get_xticklabels()]
    assert labels == ["mnist5k\n3,8\np = inf", "\\$x\\$\na"]


def test_one_seed_and_equal_seeds_have_no_bar_for_their_spread(tmp_path: Path, drawn: list[Figure]) -> None:
    task = shaped(
        robust_low=[80.0], robust_high=[], clean_error=[2.0], naive_pgd=[3.0, 5.0], certified_error=[0.0, 0.0]
    )
    theorem44.robust_brackets(tmp_path / "brackets", {"a": task})
    axes: Any = drawn[0].axes[0]
    spreads = [container.has_yerr for container in axes.containers if hasattr(container, "has_yerr")]
    assert spreads == [False, True, False]


def test_the_law_of_sizes_is_drawn_by_norm(tmp_path: Path, drawn: list[Figure], lines_of: Any) -> None:
    sizes = [shaped(p="2", n_times_dim=64 * n, generic=400 * n, dim=64) for n in (2, 1)]
    theorem44.size_law(tmp_path / "law", sizes, {"2": 1.0})
    axes = drawn[0].axes[0]
    assert "$\\ell_2$: power of N D 1.000" in lines_of(axes)
    assert np.allclose(np.array(axes.lines[0].get_xydata()), [[64, 400], [128, 800]])
