"""Flatness of the loss in the input (Figures 3 and 4, the bound): measured, bounded, and read as memory."""

from cgro.flatness.ascent import Search
from cgro.flatness.bound import FirstOrder, GapBound, first_order, gap_bound
from cgro.flatness.correlation import Correlation, rank_correlation, spearman
from cgro.flatness.memorization import memorization_values, random_subsets
from cgro.flatness.memory import (
    Attacked,
    FlipSearch,
    MemorizedByMargin,
    MemoryScore,
    QuarterMemory,
    attacked,
    by_quarter,
    memorized_by_margin,
    memory_score,
)
from cgro.flatness.monitor import FlatnessMonitor
from cgro.flatness.search import Average, Flatness, flatness, in_between
from cgro.flatness.stages import RealStages, real_stages
from cgro.flatness.upper import UpperBound, upper_bound

__all__ = [
    "Attacked",
    "Average",
    "Correlation",
    "FirstOrder",
    "Flatness",
    "FlatnessMonitor",
    "FlipSearch",
    "GapBound",
    "MemorizedByMargin",
    "MemoryScore",
    "QuarterMemory",
    "RealStages",
    "Search",
    "UpperBound",
    "attacked",
    "by_quarter",
    "first_order",
    "flatness",
    "gap_bound",
    "in_between",
    "memorization_values",
    "memorized_by_margin",
    "memory_score",
    "random_subsets",
    "rank_correlation",
    "real_stages",
    "spearman",
    "upper_bound",
]
