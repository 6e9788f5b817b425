"""An independent judge: mixed-integer programming (HiGHS) on the expanded network; counterexamples replayed in ONNX.

The encoding is the standard one of Tjeng, Xiao and Tedrake (2019). It reads only the expanded layers: it knows nothing
of distances, supports or certificates.
"""

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cgro._check import BadRequest, bad
from cgro.definitions.threat import ThreatModel
from cgro.representation.memorizer import RobustMemorizer
from cgro.representation.network import Layer, propagate_intervals

WIDER = 1.5
"""Big-M bounds come from intervals over a ball this much wider, so that it is the solver that settles the neurons."""
FEASIBILITY = 1e-9
AGREEMENT = 1e-6
TIME_LIMIT = 120.0
REFUTED = -0.1
"""A point this far on the wrong side settles the question: the search ends, and its value is a counterexample's."""


@dataclass(frozen=True)
class Optimum:
    """The least objective over a ball, and where.

    Args:
        value: the optimum. bound: the solver's proven lower bound. x: (D,) minimizer. n_binaries: unsettled neurons.
    """

    value: float
    bound: float
    x: Tensor
    n_binaries: int


class _Program:
    """Rows and columns of a mixed-integer program, collected one by one."""

    def __init__(self) -> None:
        self.low: list[float] = []
        self.high: list[float] = []
        self.integer: list[bool] = []
        self.rows: list[tuple[float, float, list[int], list[float]]] = []

    def variable(self, low: float, high: float, integer: bool = False) -> int:
        self.low.append(low)
        self.high.append(high)
        self.integer.append(integer)
        return len(self.low) - 1

    def constrain(self, low: float, high: float, columns: list[int], values: list[float]) -> None:
        self.rows.append((low, high, columns, values))

    def minimise(self, cost: dict[int, float], offset: float) -> tuple[float, float, np.ndarray]:
        highspy = _highs()
        lp, infinite = highspy.HighsLp(), highspy.kHighsInf
        lp.num_col_, lp.num_row_, lp.offset_ = len(self.low), len(self.rows), offset
        lp.col_cost_ = np.array([cost.get(j, 0.0) for j in range(len(self.low))])
        lp.col_lower_, lp.col_upper_ = np.array(self.low), np.array(self.high)
        lp.row_lower_ = np.array([max(r[0], -infinite) for r in self.rows])
        lp.row_upper_ = np.array([min(r[1], infinite) for r in self.rows])
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lp.a_matrix_.start_ = np.cumsum([0] + [len(r[2]) for r in self.rows]).astype(np.int32)
        lp.a_matrix_.index_ = np.array([j for r in self.rows for j in r[2]], dtype=np.int32)
        lp.a_matrix_.value_ = np.array([v for r in self.rows for v in r[3]])
        kinds = highspy.HighsVarType
        lp.integrality_ = [kinds.kInteger if i else kinds.kContinuous for i in self.integer]
        with _without_banner():
            solver = highspy.Highs()
        for name, value in (("output_flag", False), ("primal_feasibility_tolerance", FEASIBILITY), ("threads", 1),
                            ("mip_feasibility_tolerance", FEASIBILITY), ("mip_rel_gap", 0.0),
                            ("time_limit", TIME_LIMIT), ("objective_target", REFUTED)):  # fmt: skip
            solver.setOptionValue(name, value)
        solver.passModel(lp)
        solver.run()
        info = solver.getInfo()
        answers = (highspy.HighsModelStatus.kOptimal, highspy.HighsModelStatus.kObjectiveTarget)
        if solver.getModelStatus() not in answers:
            raise BadRequest(f"HiGHS: expected an optimum, got {solver.modelStatusToString(solver.getModelStatus())} "
                             "within 120 s; verify fewer or smaller networks")  # fmt: skip
        value = float(info.objective_function_value)
        bound = float(info.mip_dual_bound) if any(self.integer) else value
        return value, bound, np.array(solver.getSolution().col_value)


@contextlib.contextmanager
def _without_banner() -> Iterator[None]:
    """HiGHS greets on file descriptor 1 when a solver is made, before any option can be set: --json must stay clean."""
    sys.stdout.flush()
    kept = os.dup(1)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        try:
            yield
        finally:
            os.dup2(kept, 1)
            os.close(kept)


def _highs() -> Any:
    try:
        import highspy
    except ImportError:
        raise BadRequest(
            "--verify milp: expected the package highspy, found none; pip install 'cgro[certify]'"
        ) from None
    return highspy


def least_over_ball(layers: Sequence[Layer], center: Tensor, threat: ThreatModel, objective: Tensor) -> Optimum:
    """min of <objective, F(x)> over ball and box by mixed-integer programming; exact unless it is below `REFUTED`.

    Args:
        layers: ReLU between them. center: (D,). threat: p = 1 or inf. objective: (n_out,) weights of the outputs.

    Raises:
        BadRequest: p = 2 (not linear), highspy missing, no optimum in time.

    Example:
        >>> from cgro.representation.network import dense_layer
        >>> net = [dense_layer(torch.eye(2)), dense_layer(torch.tensor([[1.0, -1.0]]))]
        >>> best = least_over_ball(net, torch.tensor([0.5, 0.5]), ThreatModel("inf", 0.25), torch.tensor([1.0]))
        >>> round(best.value, 6)
        -0.5
    """
    if threat.p == 2:
        raise bad("--verify milp", expected="p = 1 or inf, whose balls are linear", got="p = 2")
    low, high = _edges(center, threat, 1.0)
    bounds = propagate_intervals(layers, *(e[None] for e in _edges(center, threat, WIDER)))
    program = _Program()
    inputs = [program.variable(float(a), float(b)) for a, b in zip(low, high, strict=True)]
    if threat.p == 1:
        _bound_l1(program, inputs, center, threat.radius)
    needed = _needed(layers, bounds, objective)
    active: dict[int, tuple[int | None, float]] = {j: (v, 0.0) for j, v in enumerate(inputs)}
    for number, layer in enumerate(layers[:-1]):
        active = _encode(program, layer, bounds[number], needed[number], active)
    cost, offset = {}, float(objective.double() @ layers[-1].bias)
    row = (objective.double()[None] @ layers[-1].weight.to_dense())[0]
    for j in torch.nonzero(row).squeeze(1).tolist():
        variable, constant = active[j]
        offset += float(row[j]) * constant
        if variable is not None:
            cost[variable] = cost.get(variable, 0.0) + float(row[j])
    value, bound, solution = program.minimise(cost, offset)
    x = torch.from_numpy(solution[: len(inputs)])
    return Optimum(value, bound, x, sum(program.integer))


def _edges(center: Tensor, threat: ThreatModel, factor: float) -> tuple[Tensor, Tensor]:
    low, high = center.double() - factor * threat.radius, center.double() + factor * threat.radius
    return (low, high) if threat.box is None else (low.clamp_min(threat.box[0]), high.clamp_max(threat.box[1]))


def _bound_l1(program: _Program, inputs: list[int], center: Tensor, radius: float) -> None:
    """sum |x - center| <= radius by one distance variable a coordinate."""
    distances = [program.variable(0.0, radius) for _ in inputs]
    for x, d, c in zip(inputs, distances, center.tolist(), strict=True):
        program.constrain(-np.inf, c, [x, d], [1.0, -1.0])
        program.constrain(c, np.inf, [x, d], [1.0, 1.0])
    program.constrain(0.0, radius, distances, [1.0] * len(distances))


def _needed(layers: Sequence[Layer], bounds: Sequence[tuple[Tensor, Tensor]], objective: Tensor) -> list[Tensor]:
    """For every hidden layer, the neurons that the objective depends on and that intervals do not switch off."""
    wanted = objective != 0
    result = []
    for number in reversed(range(1, len(layers))):
        rows, cols = layers[number].weight.indices()
        before = torch.zeros(layers[number].weight.shape[1], dtype=torch.bool)
        before[cols[wanted[rows]]] = True
        result.append(before)
        wanted = before & (bounds[number - 1][1][0] > 0)
    return result[::-1]


def _encode(
    program: _Program, layer: Layer, bounds: tuple[Tensor, Tensor], needed: Tensor,
    before: dict[int, tuple[int | None, float]],
) -> dict[int, tuple[int | None, float]]:  # fmt: skip
    """Variables for ReLU of the needed neurons: (variable or None, constant)."""
    result: dict[int, tuple[int | None, float]] = {}
    rows, cols = layer.weight.indices()
    order = torch.searchsorted(rows, torch.arange(layer.weight.shape[0] + 1)).tolist()
    cols_, values_ = cols.tolist(), layer.weight.values().tolist()
    for i in torch.nonzero(needed).squeeze(1).tolist():
        low, high = float(bounds[0][0, i]), float(bounds[1][0, i])
        if high <= 0:
            result[i] = (None, 0.0)
            continue
        constant, columns, values = float(layer.bias[i]), [], []
        for entry in range(order[i], order[i + 1]):
            variable, fixed = before[cols_[entry]]
            constant += values_[entry] * fixed
            if variable is not None:
                columns.append(variable)
                values.append(values_[entry])
        out = program.variable(max(low, 0.0), high)
        difference = ([*columns, out], [-v for v in values] + [1.0])
        if low >= 0:
            program.constrain(constant, constant, *difference)
        else:
            on = program.variable(0, 1, integer=True)
            program.constrain(constant, np.inf, *difference)
            program.constrain(-np.inf, constant - low, [*difference[0], on], [*difference[1], -low])
            program.constrain(-np.inf, 0.0, [out, on], [1.0, -high])
        result[i] = (out, 0.0)
    return result


def margins_by_milp(memorizer: RobustMemorizer, layers: Sequence[Layer], position: int, threat: ThreatModel) -> Optimum:
    """The least y F over one training ball; for logits the least of (F_y - F_j) / 2 over j."""
    center, label = memorizer.points(torch.tensor([position]))[0], int(memorizer.y[position])
    if memorizer.binary:
        return least_over_ball(layers, center, threat, torch.tensor([float(label)]))
    results = []
    for j in range(memorizer.n_classes):
        if j != label:
            objective = torch.zeros(memorizer.n_classes, dtype=torch.float64)
            objective[label], objective[j] = 0.5, -0.5
            results.append(least_over_ball(layers, center, threat, objective))
    return min(results, key=lambda r: r.value)


def verify_balls(
    memorizer: RobustMemorizer, positions: Tensor, *, threat: ThreatModel | None = None,
    layers: Sequence[Layer] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Solve some training balls and replay every counterexample in ONNX Runtime (in torch's layers if it is missing).

    Args:
        memorizer: supplies points and labels. positions: training points. threat: another ball; None for its own.
        layers: another network in place of `memorizer.expand()`, such as one with a planted fault.

    Returns:
        n, least (over the balls), n_counterexamples, n_replayed (those that are wrong when replayed), agrees (every
        optimum is positive), n_binaries (largest program).
    """
    layers, threat = layers or memorizer.expand(), threat or memorizer.threat
    found = [margins_by_milp(memorizer, layers, i, threat) for i in positions.tolist()]
    wrong = [(i, o) for i, o in zip(positions.tolist(), found, strict=True) if o.value <= AGREEMENT]
    replayed = _replay(memorizer, layers, wrong) if wrong else 0
    return {
        "n": len(found), "least": min(o.value for o in found), "n_counterexamples": len(wrong), "n_replayed": replayed,
        "agrees": not wrong, "n_binaries": max(o.n_binaries for o in found), "solver": "HiGHS",
    }  # fmt: skip


def _replay(memorizer: RobustMemorizer, layers: Sequence[Layer], wrong: list[tuple[int, Optimum]]) -> int:
    """How many counterexamples are wrong (y F <= 0 within rounding) when the exported network answers."""
    from cgro.representation.export import run_onnx, to_onnx

    x = torch.stack([o.x for _, o in wrong])
    outputs = run_onnx(to_onnx(layers, double=True), x)
    y = memorizer.y[torch.tensor([i for i, _ in wrong])]
    if memorizer.binary:
        margin = outputs[:, 0] * y
    else:
        margin = outputs.gather(1, y[:, None])[:, 0] - outputs.scatter(1, y[:, None], -torch.inf).amax(1)
    return int((margin <= 10 * AGREEMENT).sum())
