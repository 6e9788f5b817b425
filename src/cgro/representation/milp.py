"""The least value of a linear function of a ReLU network's outputs over a ball, by mixed-integer programming (HiGHS).

The encoding is the standard one of Tjeng, Xiao and Tedrake (ICLR 2019). It reads only the layers: it knows nothing of
distances, supports or certificates.
"""

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from cgro._check import BadRequest, bad
from cgro.bounds import Interval, Layer, enclosing_box, propagate_intervals
from cgro.definitions.threat import ThreatModel

WIDER = 1.5
"""Big-M bounds come from intervals over a ball this much wider, so that it is the solver that settles the neurons."""

FEASIBILITY = 1e-9
TIME_LIMIT = 120.0

REFUTED = -0.1
"""A point this far on the wrong side settles the question: the search ends, and its value is a counterexample's."""


@dataclass(frozen=True)
class Optimum:
    """The least objective over a ball, and where.

    Args:
        value: the optimum.
        bound: the solver's proven lower bound.
        x: (D,) minimizer.
        n_binaries: ReLU whose sign the solver had to settle.
    """

    value: float
    bound: float
    x: Tensor
    n_binaries: int


@dataclass(frozen=True)
class _Neuron:
    """An output of a ReLU as `variable` + `constant`: off neurons are the constant 0, the others have no constant."""

    variable: int | None
    constant: float = 0.0


class _Program:
    """Rows and columns of a mixed-integer program, collected one by one."""

    def __init__(self) -> None:
        self.low: list[float] = []
        self.high: list[float] = []
        self.integer: list[bool] = []
        self.row_low: list[float] = []
        self.row_high: list[float] = []
        self.row_start: list[int] = [0]
        self.columns: list[int] = []
        self.values: list[float] = []

    def variable(self, low: float, high: float, *, integer: bool = False) -> int:
        """Add a variable with bounds; returns its column."""
        self.low.append(low)
        self.high.append(high)
        self.integer.append(integer)
        return len(self.low) - 1

    def constrain(self, low: float, high: float, columns: list[int], values: list[float]) -> None:
        """Add low <= sum of values * columns <= high."""
        self.row_low.append(low)
        self.row_high.append(high)
        self.columns += columns
        self.values += values
        self.row_start.append(len(self.columns))

    def minimize(self, cost: dict[int, float], offset: float) -> tuple[float, float, np.ndarray]:
        """Solve; returns the value, the proven bound and the minimizer."""
        highspy = _highs()
        with _without_banner():
            solver = highspy.Highs()
        options = {
            "output_flag": False,
            "primal_feasibility_tolerance": FEASIBILITY,
            "threads": 1,
            "mip_feasibility_tolerance": FEASIBILITY,
            "mip_rel_gap": 0.0,
            "time_limit": TIME_LIMIT,
            "objective_target": REFUTED,
        }
        for name, value in options.items():
            solver.setOptionValue(name, value)
        solver.passModel(self._model(highspy, cost, offset))
        solver.run()
        status = solver.getModelStatus()
        if status not in (highspy.HighsModelStatus.kOptimal, highspy.HighsModelStatus.kObjectiveTarget):
            raise bad(
                "HiGHS",
                expected=f"an optimum within {TIME_LIMIT:g} s",
                got=solver.modelStatusToString(status),
                remedy="verify fewer or smaller networks",
            )
        info = solver.getInfo()
        value = float(info.objective_function_value)
        bound = value
        if any(self.integer):
            bound = float(info.mip_dual_bound)
        return value, bound, np.array(solver.getSolution().col_value)

    def _model(self, highspy: ModuleType, cost: dict[int, float], offset: float) -> object:
        infinite = highspy.kHighsInf
        costs = np.zeros(len(self.low))
        costs[list(cost)] = list(cost.values())
        lp = highspy.HighsLp()
        lp.num_col_ = len(self.low)
        lp.num_row_ = len(self.row_low)
        lp.offset_ = offset
        lp.col_cost_ = costs
        lp.col_lower_ = np.array(self.low)
        lp.col_upper_ = np.array(self.high)
        lp.row_lower_ = np.maximum(self.row_low, -infinite)
        lp.row_upper_ = np.minimum(self.row_high, infinite)
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lp.a_matrix_.start_ = np.array(self.row_start, dtype=np.int32)
        lp.a_matrix_.index_ = np.array(self.columns, dtype=np.int32)
        lp.a_matrix_.value_ = np.array(self.values)
        kinds = highspy.HighsVarType
        lp.integrality_ = [kinds.kInteger if integer else kinds.kContinuous for integer in self.integer]
        return lp


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


def require_solvable(p: float) -> None:
    """Refuse what the solver cannot be asked, before any work.

    Args:
        p: norm of the balls.

    Raises:
        BadRequest: p = 2, whose balls are not linear, or highspy missing.
    """
    if p == 2:
        raise bad("--verify milp", expected="p = 1 or inf, whose balls are linear", got="p = 2")
    _highs()


def _highs() -> ModuleType:
    try:
        import highspy
    except ImportError:
        raise BadRequest(
            "--verify milp: expected the package highspy, found none; pip install 'cgro[certify]'"
        ) from None
    return highspy


def least_over_ball(layers: Sequence[Layer], center: Tensor, threat: ThreatModel, objective: Tensor) -> Optimum:
    """Minimize <objective, F(x)> over ball and box by mixed-integer programming; exact unless below `REFUTED`.

    Args:
        layers: of the network, ReLU between them.
        center: (D,) of the ball.
        threat: ball and box, p = 1 or inf.
        objective: (n_out,) weights of the outputs.

    Returns:
        The least value and where it is attained.

    Raises:
        BadRequest: p = 2 (not linear), highspy missing, no optimum in time.

    Example:
        >>> from cgro.bounds import dense_layer
        >>> net = [dense_layer(torch.eye(2)), dense_layer(torch.tensor([[1.0, -1.0]]))]
        >>> best = least_over_ball(net, torch.tensor([0.5, 0.5]), ThreatModel("inf", 0.25), torch.tensor([1.0]))
        >>> round(best.value, 6)
        -0.5
    """
    require_solvable(threat.p)
    box = enclosing_box(center, threat)
    wider = enclosing_box(center, threat, scale=WIDER)
    bounds = propagate_intervals(layers, Interval(wider.low[None], wider.high[None]))
    program = _Program()
    inputs: list[int] = []
    for low, high in zip(box.low.tolist(), box.high.tolist(), strict=True):
        inputs.append(program.variable(low, high))
    if threat.p == 1:
        _bound_l1(program, inputs, center, threat.radius)
    active = dict(enumerate(_Neuron(variable) for variable in inputs))
    hidden = zip(layers[:-1], bounds[:-1], _needed(layers, bounds, objective), strict=True)
    for layer, outputs, needed in hidden:
        active = _encode(program, layer, outputs, needed, active)
    cost, offset = _cost(layers[-1], objective.double(), active)
    value, bound, solution = program.minimize(cost, offset)
    return Optimum(value, bound, torch.from_numpy(solution[: len(inputs)]), sum(program.integer))


def _bound_l1(program: _Program, inputs: list[int], center: Tensor, radius: float) -> None:
    """sum |x - center| <= radius by one distance variable per coordinate."""
    distances = [program.variable(0.0, radius) for _ in inputs]
    for x, d, c in zip(inputs, distances, center.tolist(), strict=True):
        program.constrain(-np.inf, c, [x, d], [1.0, -1.0])
        program.constrain(c, np.inf, [x, d], [1.0, 1.0])
    program.constrain(0.0, radius, distances, [1.0] * len(distances))


def _needed(layers: Sequence[Layer], bounds: Sequence[Interval], objective: Tensor) -> list[Tensor]:
    """For every hidden layer, the neurons that the objective depends on and that intervals do not switch off."""
    wanted = objective != 0
    result: list[Tensor] = []
    for layer, inputs in zip(reversed(layers[1:]), reversed(bounds[:-1]), strict=True):
        rows, cols = layer.weight.indices()
        before = torch.zeros(layer.n_in, dtype=torch.bool)
        before[cols[wanted[rows]]] = True
        result.append(before)
        wanted = before & (inputs.high[0] > 0)
    return result[::-1]


def _encode(
    program: _Program, layer: Layer, bounds: Interval, needed: Tensor, before: dict[int, _Neuron]
) -> dict[int, _Neuron]:
    """Add ReLU of the needed neurons of a layer."""
    result: dict[int, _Neuron] = {}
    rows, cols = layer.weight.indices()
    first = torch.searchsorted(rows, torch.arange(layer.n_out + 1)).tolist()
    cols = cols.tolist()
    weights = layer.weight.values().tolist()
    for i in torch.nonzero(needed).squeeze(1).tolist():
        low = float(bounds.low[0, i])
        high = float(bounds.high[0, i])
        if high <= 0:
            result[i] = _Neuron(None)
            continue
        constant = float(layer.bias[i])
        columns: list[int] = []
        values: list[float] = []
        for entry in range(first[i], first[i + 1]):
            neuron = before[cols[entry]]
            constant += weights[entry] * neuron.constant
            if neuron.variable is not None:
                columns.append(neuron.variable)
                values.append(weights[entry])
        result[i] = _Neuron(_relu(program, columns, values, constant, (low, high)))
    return result


def _relu(
    program: _Program, columns: list[int], values: list[float], constant: float, bounds: tuple[float, float]
) -> int:
    """A variable out = ReLU(z), z = sum of values * columns + constant in `bounds`, whose upper end is positive.

    With a binary `on`: out >= z, out <= z - low (1 - on), out <= high on, out >= 0.
    """
    low, high = bounds
    out = program.variable(max(low, 0.0), high)
    columns = [*columns, out]
    values = [*(-v for v in values), 1.0]
    if low >= 0:
        program.constrain(constant, constant, columns, values)
        return out
    on = program.variable(0, 1, integer=True)
    program.constrain(constant, np.inf, columns, values)
    program.constrain(-np.inf, constant - low, [*columns, on], [*values, -low])
    program.constrain(-np.inf, 0.0, [out, on], [1.0, -high])
    return out


def _cost(last: Layer, objective: Tensor, active: dict[int, _Neuron]) -> tuple[dict[int, float], float]:
    """The objective as a linear function of the last hidden layer's variables, and its constant part."""
    cost: dict[int, float] = {}
    offset = float(objective @ last.bias)
    row = (objective[None] @ last.weight.to_dense())[0]
    for j in torch.nonzero(row).squeeze(1).tolist():
        neuron = active[j]
        offset += float(row[j]) * neuron.constant
        if neuron.variable is not None:
            cost[neuron.variable] = cost.get(neuron.variable, 0.0) + float(row[j])
    return cost, offset
