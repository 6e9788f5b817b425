"""ONNX and VNN-LIB: the files that standard verifiers read."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from cgro._check import BadRequest, bad
from cgro.bounds import DENSE_LIMIT, Layer, enclosing_box, require_few_entries
from cgro.representation.memorizer import RobustMemorizer
from cgro.representation.points import evenly_spaced
from cgro.results import ExportRecord
from cgro.runs import write_atomic

OPSET = 13
IR_VERSION = 8


def _package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise BadRequest(f"export: expected the package {name}, found none; pip install 'cgro[certify]'") from None


def to_onnx(layers: Sequence[Layer], *, double: bool = False) -> bytes:
    """Write a network as an ONNX model of Gemm and Relu only, input (B, D) named `x`, output (B, n_out) named `y`.

    Args:
        layers: of the network, ReLU between them.
        double: float64 weights in place of float32.

    Returns:
        The file.

    Raises:
        BadRequest: the dense matrices would be too large, or the package onnx is missing.
    """
    require_few_entries(layers, "export", limit=DENSE_LIMIT, remedy="memorize fewer points (--n-train)")
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


def export(memorizer: RobustMemorizer, folder: Path, *, limit: int) -> ExportRecord:
    """Write `network.onnx` and, for p = inf, `ball-I.vnnlib` of some training balls.

    Args:
        memorizer: the network.
        folder: an existing one.
        limit: the most balls.

    Returns:
        What was written, with the difference when it is replayed.

    Raises:
        BadRequest: the network is too large, cannot be written out, or a package is missing.
    """
    layers = memorizer.expand()
    model = to_onnx(layers)
    write_atomic(folder / "network.onnx", model)
    chosen = evenly_spaced(limit, len(memorizer.y))
    n_properties = 0
    if memorizer.threat.p == torch.inf:
        for i in chosen.tolist():
            write_atomic(folder / f"ball-{i}.vnnlib", vnnlib(memorizer, i).encode())
        n_properties = len(chosen)
    x = memorizer.points(chosen)
    answers = memorizer(memorizer.shaped(x)).double().view(len(x), -1)
    difference = float((run_onnx(model, x) - answers).abs().max())
    return ExportRecord(onnx="export/network.onnx", opset=OPSET, n_properties=n_properties, max_difference=difference)
