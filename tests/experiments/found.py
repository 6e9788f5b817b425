"""Findings as a world would give them in which the paper's claims are true, for every artifact: small, made by hand."""

import copy
from typing import Any

import numpy as np

from cgro.experiments import (
    bound,
    figure1,
    figure2ab,
    figure2c,
    figure3,
    figure4,
    hierarchy,
    memory,
    table1,
    table2,
    theorem44,
    theorem47,
)

RADII = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0)


def spread(mean: float, width: float = 0.4) -> list[float]:
    return [mean - width, mean, mean + width]


def table2_found() -> dict[str, Any]:
    def preset(clean: float, robust_train: float, robust: float, noise: float, calibrated: bool) -> dict[str, Any]:
        return {
            "clean_train": [100.0] * 3, "clean_test": spread(clean), "robust_train": [robust_train] * 3,
            "robust_test": spread(robust), "signal_margin": spread(2.0), "noise_learned": [noise] * 3,
            "radius_ratio": 1.5, "robust_weight": 0.4, "calibrated": calibrated,
        }  # fmt: skip

    return {
        "scale": "cpu",
        "presets": {"table2": preset(98.4, 100.0, 17.6, 8.0, True), "theorem": preset(100.0, 100.0, 50.0, 8.0, False),
                    "control": preset(100.0, 60.0, 60.0, 0.0, False)},
    }  # fmt: skip


def figure2c_found() -> dict[str, Any]:
    def part(start: list[float | None], end: list[float | None]) -> dict[str, Any]:
        return {
            "stages": {"signal_growth_end": [20.0, 22.0, 21.0], "memorization_start": start, "memorization_end": end},
            "n_seeds": 3, "rate_first": [0.1] * 3, "rate_second": [0.001, 0.0012, 0.0011], "noise_end": spread(8.0),
            "noise_least": spread(6.0), "theory": {"signal_growth_end": {"predicted": 20.0}},
        }  # fmt: skip

    return {
        "scale": "cpu",
        "theorem": part([9e3, 9.5e3, 1e4], [2e4, 2.1e4, 2.2e4]),
        "control": part([None] * 3, [None] * 3),
    }


def theorem44_found() -> dict[str, Any]:
    def task(data: str, p: str) -> dict[str, Any]:
        return {
            "data": data, "classes": "3,8", "p": p, "radius": "0.1", "n_train": 100, "separation": 0.9, "holds": [True] * 3,
            "method": "A", "least_margin": [1.0] * 3, "certified_error": [0.0] * 3, "clean_error": spread(2.0),
            "clean_model_error": spread(2.0), "robust_low": spread(80.0), "robust_high": spread(86.0),
            "robust_low_end": spread(75.0), "naive_pgd": spread(3.0), "parameters": 10**6, "n_test": 200, "agree": [True] * 3,
        }  # fmt: skip

    sizes = [
        {"p": p, "data": data, "n": n, "dim": dim, "n_times_dim": n * dim, "generic": 6 * n * dim + n, "measured": 1, "formula": 1,
         "holds": True} for p in ("inf", "2", "1") for data, dim in (("digits", 64), ("mnist5k", 784)) for n in (50, 100, 200)
    ]  # fmt: skip
    return {"scale": "cpu", "tasks": {"a": task("mnist5k", "inf"), "b": task("mnist", "2")}, "sizes": sizes,
            "slopes": dict.fromkeys(("inf", "2", "1"), 1.0)}  # fmt: skip


def theorem47_found() -> dict[str, Any]:
    dims = list(range(2, 60))
    built = {
        "dim": 4,
        "certified": True,
        "random": {"m": 27, "parameters": 60, "least_margin": 0.5},
        "checkerboard": {"parameters": 20},
    }
    toy = {"dim": 9, "m": 6561, "clean_test": 0.0, "robust_train": 0.0, "robust_test": 0.955, "expected": 0.955}
    part = {
        "dims": dims, "floor": [None if d < 5 else d * np.log2(5) - 12 for d in dims], "construction": [d * np.log2(5) + 3 for d in dims],
        "memorizer": [12.5 + np.log2(d) for d in dims], "grid_side": 5, "error": 0.1, "layers": 3, "built": [built], "toy": [toy],
        "crossing": 14, "n_points": 1000, "assumptions": [],
    }  # fmt: skip
    return {"scale": "cpu", "radii": {"0.1": part}}


def hierarchy_found() -> dict[str, Any]:
    p = theorem47_found()["radii"]["0.1"]
    at = next(d for d, f, m in zip(p["dims"], p["floor"], p["memorizer"], strict=True) if f is not None and f > m)
    return {"scale": "cpu", "dims": p["dims"], "clean": [1.0] * len(p["dims"]), "memorizer": p["memorizer"], "floor": p["floor"],
            "construction": p["construction"], "crossing": at, "n_points": 1000}  # fmt: skip


def table1_found(scale: str = "cpu") -> dict[str, Any]:
    def network(clean: float, robust: float, train: float, data: str, width: float = 0.4) -> dict[str, Any]:
        return {"clean_test": spread(clean, width), "robust_test": spread(robust, width), "robust_train": spread(train, width),
                "outcome": ["completed"] * 3, "n_test": 4000, "verdict": ["cgro"] * 3, "n_parameters": 1000, "data": data,
                "beside": {"pgd": spread(robust, width), "ensemble": spread(robust - 3, width), "n": 100}}  # fmt: skip

    mnist = {"1": network(11.35, 11.35, 11.7, "mnist", 0), "1-warm": network(11.35, 11.35, 11.7, "mnist", 0),
             "8": network(11.35, 11.35, 11.7, "mnist", 0), "12": network(95.06, 77.96, 99.3, "mnist"),
             "16": network(94.85, 83.43, 99.5, "mnist")}  # fmt: skip
    widths = (1, 5, 10) if scale == "paper" else (4, 8, 16)
    rows = ((82.56, 43.39, 64.19), (85.83, 46.25, 97.37), (86.05, 50.08, 99.57))
    cifar = {f"{w}": network(*row, "cifar10") for w, row in zip(widths, rows, strict=True)}
    return {"scale": scale, "mnist": mnist, "cifar10": cifar}


def figure1_found() -> dict[str, Any]:
    epochs = list(range(2, 31, 2))
    late = [max(0, e - 15) / 15 for e in epochs]
    curve = {"clean_error/train": [60 - e for e in epochs], "clean_error/test": [62 - 0.5 * e for e in epochs],
             "robust_error/train": [75 - 0.6 * e - 12 * v for e, v in zip(epochs, late, strict=True)],
             "robust_error/test": [80 - 0.6 * e + 14 * v for e, v in zip(epochs, late, strict=True)]}  # fmt: skip
    curves = {k: [[v + s for v in own] for s in (-0.6, 0.0, 0.6)] for k, own in curve.items()}
    return {
        "scale": "cpu", "drops": [15], "after": 16, "epochs": epochs, "curves": curves, "data": "cifar10", "note": "(JPEG mirror)",
        "n_curve": 1000, "n_test": 4000, "robust_train_after": spread(60), "robust_train_end": [v - 13 + s for v, s in zip(spread(60), (0, 1, 0))],
        "robust_test_after": spread(70), "robust_test_end": [v + 4 + s for v, s in zip(spread(70), (0, 0.5, 0))],
        "clean_test_after": spread(50), "clean_test_end": [v - 2 + s for v, s in zip(spread(50), (0, 0.3, 0))],
    }  # fmt: skip


def _curves() -> list[dict[str, Any]]:
    def part(scale: float) -> dict[str, Any]:
        values = [scale * (v if v <= 1 else 1 + 4 * (v - 1)) for v in RADII]
        return {"loss": 0.5, "gradient": [10 * (1 + v) for v in values], "rise": values}

    return [
        {"radii": [0.1 * r for r in RADII], "names": [], "training_radius": 0.1, "seed": s, "data": "cifar10", "search": "",
         "parts": {"train": part(1 + 0.02 * s), "test": part(2 + 0.05 * s)}} for s in range(3)
    ]  # fmt: skip


def figure3_found() -> dict[str, Any]:
    return {
        "scale": "cpu",
        "data": {"cifar10": _curves(), "mnist": _curves()},
    }


def figure4_found() -> dict[str, Any]:
    epochs = list(range(2, 31, 2))
    return {
        "scale": "cpu", "epochs": epochs, "after": 16, "local": [[10 - 0.1 * e + s for e in epochs] for s in range(3)],
        "global": [[12 + (0.5 + 0.02 * s) * e for e in epochs] for s in range(3)], "robust_loss_train": [[1.0] * 15] * 3,
        "robust_loss_test": [[1 + 0.1 * e for e in epochs]] * 3,
        "correlation": {"value": 0.9, "interval": [0.7, 0.95], "n_seeds": 3, "per_seed": [0.9] * 3, "n_checkpoints": 45, "block": 4},
    }  # fmt: skip


def bound_found() -> dict[str, Any]:
    part = {"bound": spread(20.0), "gap": spread(0.5, 0.1), "robust_loss": spread(40.0), "factor": [0.99] * 3, "vacuous": [False] * 3,
            "product": spread(0.5, 0.1), "rise": spread(0.6, 0.1), "ratio": spread(1.2, 0.1)}  # fmt: skip
    return {"scale": "cpu", "data": {"cifar10": copy.deepcopy(part), "mnist": part}}


def memory_found() -> dict[str, Any]:
    train, test = [99.0, 99.0, 100.0, 100.0], [60.0, 80.0, 95.0, 99.0]

    def shares(row: list[float]) -> list[list[float]]:
        return [[(v - 0.5 * s) / 100 for v in row] for s in range(3)]

    part = {
        "metrics": {"score": spread(1.0, 0.1), "ranking": spread(0.7, 0.01), "mu": spread(0.9, 0.01)},
        "quarters": {"train": shares(train), "test": shares(test),
                     "memory": [[(a - b + s) / 100 for a, b in zip(train, test, strict=True)] for s in range(3)]},
        "stages": [{"clean_learned": 2, "generalized": 4, "memorized": 10, "parted": 6, "ordered": True}] * 3,
    }  # fmt: skip
    influence = {"quarters": [0.3, 0.2, 0.1, 0.0], "n_networks": 16, "data": "mnist", "influence": 0.15,
                 "rank/influence_and_clean_flip": -0.5}  # fmt: skip
    return {"scale": "cpu", "data": {"cifar10": copy.deepcopy(part), "mnist": part}, "influence": influence}


TRUE: dict[Any, dict[str, Any]] = {
    table1: table1_found("paper"), figure2ab: table1_found("paper"), table2: table2_found(), figure1: figure1_found(),
    figure2c: figure2c_found(), figure3: figure3_found(), figure4: figure4_found(), bound: bound_found(),
    theorem44: theorem44_found(), theorem47: theorem47_found(), hierarchy: hierarchy_found(),
    memory: memory_found(),
}  # fmt: skip
