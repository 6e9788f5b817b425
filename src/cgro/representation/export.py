"""ONNX and VNN-LIB: the files that standard verifiers read."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cgro._check import BadRequest, bad
from cgro.representation.memorizer import RobustMemorizer
from cgro.representation.network import DENSE_LIMIT, Layer
from cgro.runs import write_atomic

OPSET = 13


def _package(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError:
        raise BadRequest(
            f"export: expected the package {name.split('.')[0]}, found none; pip install 'cgro[certify]'"
        ) from None


def to_onnx(layers: Sequence[Layer], *, double: bool = False) -> bytes:
    """The network as an ONNX model of Gemm and Relu only, input (B, D) named `x`, output (B, n_out) named `y`.

    Raises:
        BadRequest: the dense matrices would be too large, or the package onnx is missing.
    """
    n_dense = sum(layer.n_dense for layer in layers)
    if n_dense > DENSE_LIMIT:
        raise bad("export", expected=f"at most {DENSE_LIMIT:,} dense entries", got=f"{n_dense:,}",
                  remedy="memorize fewer points (--n-train)")  # fmt: skip
    onnx = _package("onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    kind, dtype = (onnx.TensorProto.DOUBLE, np.float64) if double else (onnx.TensorProto.FLOAT, np.float32)
    nodes, weights, name = [], [], "x"
    for number, layer in enumerate(layers):
        if number:
            nodes.append(helper.make_node("Relu", [name], [f"a{number}"]))
            name = f"a{number}"
        out = "y" if number == len(layers) - 1 else f"z{number}"
        weights.append(numpy_helper.from_array(layer.weight.to_dense().numpy().astype(dtype), f"W{number}"))
        weights.append(numpy_helper.from_array(layer.bias.numpy().astype(dtype), f"b{number}"))
        nodes.append(helper.make_node("Gemm", [name, f"W{number}", f"b{number}"], [out], transB=1))
        name = out
    shapes = (("x", layers[0].weight.shape[1]), ("y", layers[-1].weight.shape[0]))
    ends = [helper.make_tensor_value_info(n, kind, ["batch", size]) for n, size in shapes]
    graph = helper.make_graph(nodes, "robust_memorizer", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="cgro")
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model.SerializeToString()


def run_onnx(model: bytes, x: Tensor) -> Tensor:
    """Outputs of an ONNX model in ONNX Runtime on one thread, (B, n_out) float64."""
    runtime = _package("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    dtype = np.float64 if "double" in session.get_inputs()[0].type else np.float32
    (outputs,) = session.run(None, {"x": x.numpy().astype(dtype)})
    return torch.from_numpy(np.asarray(outputs)).double()


def vnnlib(memorizer: RobustMemorizer, position: int) -> str:
    """The VNN-LIB property of one training ball: satisfiable exactly if some X' in it is answered wrongly.

    Inputs X_j are bounded by the l_inf ball and the box; for p = 1 and 2 that is no box, and nothing is written.
    """
    m = memorizer
    if m.threat.p != torch.inf:
        raise bad("VNN-LIB", expected="p = inf, whose balls are boxes", got=f"p = {m.threat.p:g}")
    center, label = m.points(torch.tensor([position]))[0], int(m.y[position])
    low, high = center - m.threat.radius, center + m.threat.radius
    if m.threat.box is not None:
        low, high = low.clamp_min(m.threat.box[0]), high.clamp_max(m.threat.box[1])
    n_out = 1 if m.binary else m.n_classes
    lines = [f"; training point {position}, label {label}, l_inf ball of radius {m.threat.radius!r}"]
    lines += [f"(declare-const X_{j} Real)" for j in range(m.dim)] + [
        f"(declare-const Y_{j} Real)" for j in range(n_out)
    ]
    for j, (a, b) in enumerate(zip(low.tolist(), high.tolist(), strict=True)):
        lines += [f"(assert (>= X_{j} {a:.17g}))", f"(assert (<= X_{j} {b:.17g}))"]
    if m.binary:
        lines.append(f"(assert ({'<=' if label > 0 else '>='} Y_0 0.0))")
    else:
        wrong = " ".join(f"(and (>= Y_{j} Y_{label}))" for j in range(n_out) if j != label)
        lines.append(f"(assert (or {wrong}))")
    return "\n".join(lines) + "\n"


def export(memorizer: RobustMemorizer, folder: Path, *, limit: int) -> dict[str, Any]:
    """Write `network.onnx` and, for p = inf, `ball-I.vnnlib` of some balls; report the replayed difference."""
    layers = memorizer.expand()
    model = to_onnx(layers)
    write_atomic(folder / "network.onnx", model)
    chosen = torch.linspace(0, len(memorizer.y) - 1, min(limit, len(memorizer.y))).long().unique()
    n_properties = 0
    if memorizer.threat.p == torch.inf:
        for i in chosen.tolist():
            write_atomic(folder / f"ball-{i}.vnnlib", vnnlib(memorizer, i).encode())
        n_properties = len(chosen)
    x = memorizer.points(chosen)
    own = memorizer(memorizer.shaped(x)).double().view(len(x), -1)
    difference = float((run_onnx(model, x) - own).abs().max())
    return {"onnx": "export/network.onnx", "opset": OPSET, "n_properties": n_properties, "max_difference": difference}
