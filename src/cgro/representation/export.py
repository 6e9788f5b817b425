"""ONNX and VNN-LIB: the files that standard verifiers read."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from cgro._check import BadRequest, bad
from cgro.bounds import DENSE_LIMIT, Layer, dense_layer, enclosing_box, require_few_entries
from cgro.representation.ball_intervals import has_ball_intervals
from cgro.representation.certificate import Certificate, certify
from cgro.representation.memorizer import RobustMemorizer
from cgro.representation.points import evenly_spaced
from cgro.representation.spheres import REPLAY_ROUNDING, replay_balls
from cgro.representation.verify import interval_check
from cgro.results import ExportRecord
from cgro.runs import write_atomic

OPSET = 13
IR_VERSION = 8


def _package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise BadRequest(f"export: expected the package {name}, found none; pip install 'cgro[certify]'") from None


def require_packages() -> None:
    """Refuse an export, before any work, where a package for it is missing.

    Raises:
        BadRequest: onnx or onnxruntime is missing.
    """
    _package("onnx")
    _package("onnxruntime")


def require_exportable(layers: Sequence[Layer]) -> None:
    """Refuse a network that is too large for an ONNX file, whose matrices are dense.

    Args:
        layers: of the network.

    Raises:
        BadRequest: more dense entries than `cgro.bounds.DENSE_LIMIT`.
    """
    require_few_entries(layers, "export", limit=DENSE_LIMIT, remedy="memorize fewer points (--n-train)")


def to_onnx(layers: Sequence[Layer], *, double: bool = True) -> bytes:
    """Write a network as an ONNX model of Gemm and Relu only, input (B, D) named `x`, output (B, n_out) named `y`.

    Args:
        layers: of the network, ReLU between them.
        double: float64 weights, those of the network; else float32, which is another network: at small radii it is
            wrong in certified balls.

    Returns:
        The file.

    Raises:
        BadRequest: the dense matrices would be too large, or the package onnx is missing.
    """
    require_exportable(layers)
    onnx = _package("onnx")
    helper = onnx.helper
    kind, dtype = onnx.TensorProto.FLOAT, np.float32
    if double:
        kind, dtype = onnx.TensorProto.DOUBLE, np.float64
    nodes: list[object] = []
    weights: list[object] = []
    name = "x"
    for number, layer in enumerate(layers):
        if number:
            nodes.append(helper.make_node("Relu", [name], [f"a{number}"]))
            name = f"a{number}"
        out = "y" if number == len(layers) - 1 else f"z{number}"
        weights.append(onnx.numpy_helper.from_array(layer.weight.to_dense().numpy().astype(dtype), f"W{number}"))
        weights.append(onnx.numpy_helper.from_array(layer.bias.numpy().astype(dtype), f"b{number}"))
        nodes.append(helper.make_node("Gemm", [name, f"W{number}", f"b{number}"], [out], transB=1))
        name = out
    inputs = helper.make_tensor_value_info("x", kind, ["batch", layers[0].n_in])
    outputs = helper.make_tensor_value_info("y", kind, ["batch", layers[-1].n_out])
    graph = helper.make_graph(nodes, "robust_memorizer", [inputs], [outputs], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="cgro")
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model)
    return model.SerializeToString()


def read_onnx(model: bytes) -> list[Layer]:
    """Read the layers of a file of `to_onnx`, with the weights that stand in it.

    Args:
        model: the file.

    Returns:
        The layers, ReLU between them.

    Raises:
        BadRequest: another network than a chain of Gemm (transB = 1) and Relu, or the package onnx is missing.
    """
    onnx = _package("onnx")
    graph = onnx.load_model_from_string(model).graph
    weights = {entry.name: torch.from_numpy(onnx.numpy_helper.to_array(entry).copy()) for entry in graph.initializer}
    layers: list[Layer] = []
    name = "x"
    for number, node in enumerate(graph.node):
        kind = "Relu" if number % 2 else "Gemm"
        attributes = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
        transposed = attributes == ({} if kind == "Relu" else {"transB": 1})
        if node.op_type != kind or node.input[0] != name or not transposed:
            raise bad("ONNX", expected=f"{kind} of {name} as node {number}", got=f"{node.op_type} of {node.input[0]}")
        if kind == "Gemm":
            layers.append(dense_layer(weights[node.input[1]].double(), weights[node.input[2]].double()))
        name = node.output[0]
    return layers


def run_onnx(model: bytes, x: Tensor) -> Tensor:
    """Evaluate an ONNX model in ONNX Runtime, on one thread.

    Args:
        model: the file.
        x: (B, D) inputs.

    Returns:
        (B, n_out) float64.

    Raises:
        BadRequest: the package onnxruntime is missing.
    """
    runtime = _package("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    dtype = np.float64 if "double" in session.get_inputs()[0].type else np.float32
    (outputs,) = session.run(None, {"x": x.numpy().astype(dtype)})
    return torch.from_numpy(np.asarray(outputs)).double()


def vnnlib(memorizer: RobustMemorizer, position: int) -> str:
    """Write the VNN-LIB property of one training ball: satisfiable exactly if some X' in it is answered wrongly.

    Args:
        memorizer: supplies point, label and threat; p = inf, whose ball with the box is a box itself.
        position: training point.

    Returns:
        The file.

    Raises:
        BadRequest: p = 1 or 2.
    """
    m = memorizer
    if m.threat.p != torch.inf:
        raise bad("VNN-LIB", expected="p = inf, whose balls are boxes", got=f"p = {m.threat.p:g}")
    label = int(m.y[position])
    n_out = 1 if m.binary else m.n_classes
    lines = [f"; training point {position}, label {label}, l_inf ball of radius {m.threat.radius!r}"]
    lines += [f"(declare-const X_{j} Real)" for j in range(m.dim)]
    lines += [f"(declare-const Y_{j} Real)" for j in range(n_out)]
    low, high = enclosing_box(m.points(torch.tensor([position]))[0], m.threat)
    for j, (a, b) in enumerate(zip(low.tolist(), high.tolist(), strict=True)):
        lines += [f"(assert (>= X_{j} {a:.17g}))", f"(assert (<= X_{j} {b:.17g}))"]
    if m.binary:
        wrong_side = "<=" if label > 0 else ">="
        lines.append(f"(assert ({wrong_side} Y_0 0.0))")
    else:
        wrong = " ".join(f"(and (>= Y_{j} Y_{label}))" for j in range(n_out) if j != label)
        lines.append(f"(assert (or {wrong}))")
    return "\n".join(lines) + "\n"


def export(
    memorizer: RobustMemorizer,
    folder: Path,
    *,
    limit: int,
    double: bool = True,
    certificate: Certificate | None = None,
) -> ExportRecord:
    """Write `network.onnx` and, for p = inf, `ball-I.vnnlib` of some training balls.

    The file itself is checked before anything is written: at points on the spheres of these balls in ONNX Runtime, and,
    with every point memorized, by interval propagation of the weights that stand in it.

    Args:
        memorizer: the network.
        folder: an existing one.
        limit: the most balls.
        double: float64 weights; float32 ones are refused where they break the certificate.
        certificate: what is claimed of the balls; None computes it.

    Returns:
        What was written, with what the checks found.

    Raises:
        BadRequest: the network is too large, cannot be written out, or a package is missing; the file does not reach
            the certified margin.
    """
    certificate = certificate or certify(memorizer)
    model = to_onnx(memorizer.expand(), double=double)
    chosen = evenly_spaced(limit, len(memorizer.y))
    precision = "float64" if double else "float32"
    replay = replay_balls(memorizer, chosen, certificate, lambda x: run_onnx(model, x))
    _require(replay.agrees, precision, replay.claimed, replay.found, "on spheres in ONNX Runtime")
    interval = None
    if has_ball_intervals(memorizer):
        bounds = interval_check(memorizer, chosen, layers=read_onnx(model))
        excess = bounds - certificate.margin[chosen]
        shortest = int(excess.argmin())
        interval = float(bounds.min())
        reached = float(excess[shortest]) >= -REPLAY_ROUNDING
        claimed = float(certificate.margin[chosen][shortest])
        _require(reached, precision, claimed, float(bounds[shortest]), "by intervals")
    write_atomic(folder / "network.onnx", model)
    n_properties = 0
    if memorizer.threat.p == torch.inf:
        for i in chosen.tolist():
            write_atomic(folder / f"ball-{i}.vnnlib", vnnlib(memorizer, i).encode())
        n_properties = len(chosen)
    return ExportRecord(
        onnx="export/network.onnx",
        opset=OPSET,
        n_properties=n_properties,
        max_difference=replay.max_difference,
        precision=precision,
        replay=replay,
        interval=interval,
    )


def _require(reached: bool, precision: str, claimed: float, found: float, how: str) -> None:
    """Refuse a file that is not the certified network."""
    if not reached:
        raise bad(
            "export",
            expected=f"y F >= {claimed:.9g} in every certified ball, as the certificate says",
            got=f"{found:.9g} with {precision} weights {how}",
            remedy="export float64 weights, or take a larger radius",
        )
