"""Flatness of the loss in the input (Figures 3 and 4, the bound): measured, bounded, and read as memory."""

from cgro.flatness.bound import FirstOrder, GapBound, first_order, gap_bound
from cgro.flatness.correlation import Correlation, rank_correlation, spearman
from cgro.flatness.memory import (
    Attacked,
    MemoryScore,
    RealStages,
    attacked,
    by_quarter,
    influence,
    memorized_by_margin,
    memory_score,
    real_stages,
)
from cgro.flatness.monitor import FlatnessMonitor
from cgro.flatness.search import Average, Flatness, Search, flatness, in_between
from cgro.flatness.upper import UpperBound, upper_bound

__all__ = [
    "Attacked", "Average", "Correlation", "FirstOrder", "Flatness", "FlatnessMonitor", "GapBound", "MemoryScore",
    "RealStages", "Search", "UpperBound", "attacked", "by_quarter", "first_order", "flatness", "gap_bound", "in_between", "influence",
    "memorized_by_margin", "memory_score", "rank_correlation", "real_stages", "spearman",
    "upper_bound",
]  # fmt: skip
