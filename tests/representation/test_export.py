"""Theorem 4.4 checked outside: the exported file is the certified network, also where ramps are narrow."""

import pytest
import torch
from tests.representation.cases import VARIANTS, case, narrow
from torch import Tensor

from cgro._check import BadRequest
from cgro.bounds import dense_layer
from cgro.representation import certify, interval_check
from cgro.representation.export import export, read_onnx, run_onnx, to_onnx, vnnlib


def test_exported_network_answers_as_torch_does(tmp_path):
    pytest.importorskip("onnxruntime")
    m, x, _, _ = case("inf", "box", n_classes=3)
    outputs = run_onnx(to_onnx(m.expand(), double=False), x)
    assert (outputs - m(x)).abs().max() < 2e-5
    assert (run_onnx(to_onnx(m.expand()), x) - m(x)).abs().max() < 1e-12
    text = vnnlib(m, 0)
    assert text.count("declare-const X_") == 5
    assert text.count("(assert") == 11
    assert export(m, tmp_path, limit=3).n_properties == 3


@pytest.mark.parametrize(("p", "variant"), VARIANTS)
def test_the_file_holds_the_weights_that_were_certified(p, variant):
    pytest.importorskip("onnx")
    layers = case(p, variant, n_classes=3)[0].expand()
    for own, stored in zip(layers, read_onnx(to_onnx(layers)), strict=True):
        assert torch.equal(own.weight.to_dense(), stored.weight.to_dense())
        assert torch.equal(own.bias, stored.bias)


def test_a_file_that_is_no_chain_of_gemm_and_relu_is_refused():
    onnx = pytest.importorskip("onnx")
    model = onnx.load_model_from_string(to_onnx([dense_layer(torch.eye(2)), dense_layer(torch.eye(2))]))
    model.graph.node[1].op_type = "Sigmoid"
    with pytest.raises(BadRequest, match="expected Relu of z0"):
        read_onnx(model.SerializeToString())


def _sphere(center: Tensor, radius: float, p: str, generator: torch.Generator) -> Tensor:
    """Points of the ball in the box, written here anew: dense, corners, axes."""
    dim = len(center)
    steps = torch.cat([
        torch.randn(40, dim, generator=generator, dtype=torch.float64),
        torch.randn(40, dim, generator=generator, dtype=torch.float64).sign(),
        torch.eye(dim, dtype=torch.float64),
        -torch.eye(dim, dtype=torch.float64),
    ])  # fmt: skip
    steps = radius * steps / torch.linalg.vector_norm(steps, ord=float(p), dim=1, keepdim=True)
    return (center + steps).clamp(0, 1)


@pytest.mark.parametrize(
    ("p", "variant", "radius", "face"),
    [("2", "shared", 0.003, False), ("1", "lean", 3e-4, False), ("inf", "box", 3e-4, True)],
    ids=["l2", "l1", "linf near a face of the box"],
)
def test_the_exported_file_keeps_the_certificate_where_ramps_are_narrow(tmp_path, p, variant, radius, face):
    pytest.importorskip("onnxruntime")
    m = narrow(p, variant, radius, face=face)
    certificate = certify(m)
    assert certificate.min_margin == 1.0
    record = export(m, tmp_path, limit=4, certificate=certificate)
    file = (tmp_path / "network.onnx").read_bytes()
    generator = torch.Generator().manual_seed(5)
    single = to_onnx(m.expand(), double=False)
    least = {"file": 1.0, "float32": 1.0}
    for i in range(len(m.y)):
        x = _sphere(m.points(torch.tensor([i]))[0], radius, p, generator)
        for name, model in (("file", file), ("float32", single)):
            least[name] = min(least[name], float((run_onnx(model, x)[:, 0] * m.y[i]).min()))
    if p == "inf":  # float32 inputs meet the equally rounded thresholds: only an input between two of them shows it
        least["float32"] = float(interval_check(m, layers=read_onnx(single)).min())
    assert least["file"] > 1 - 1e-6
    assert least["float32"] < 1 - 1e-5, "float32 weights are not the certified network here"
    assert record.precision == "float64"
    assert record.replay
    assert record.replay.agrees
    assert record.replay.least == pytest.approx(1.0, abs=1e-6)
    if p == "inf":
        assert record.interval == pytest.approx(1.0, abs=1e-9)
    refused = tmp_path / "refused"
    refused.mkdir()
    with pytest.raises(BadRequest, match=r"expected y F >= 1 in every certified ball.*with float32 weights"):
        export(m, refused, limit=len(m.y), double=False)
    assert not list(refused.iterdir()), "nothing is written that is not the certified network"


def test_a_radius_too_small_for_double_weights_is_refused_too(tmp_path):
    pytest.importorskip("onnxruntime")
    m = narrow("2", "shared", 1e-7)
    assert certify(m).min_margin == 1.0, "the certificate is of the formula"
    with pytest.raises(BadRequest, match="float64 weights.*larger radius"):
        export(m, tmp_path, limit=4)
