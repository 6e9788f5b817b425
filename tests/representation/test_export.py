"""Theorem 4.4 checked outside: ONNX Runtime answers as torch; properties name each input and each wrong answer."""

import pytest
from tests.representation.cases import case

from cgro.representation.export import export, run_onnx, to_onnx, vnnlib


def test_exported_network_answers_as_torch_does(tmp_path):
    pytest.importorskip("onnxruntime")
    m, x, _, _ = case("inf", "box", n_classes=3)
    outputs = run_onnx(to_onnx(m.expand()), x)
    assert (outputs - m(x)).abs().max() < 2e-5
    assert (run_onnx(to_onnx(m.expand(), double=True), x) - m(x)).abs().max() < 1e-12
    text = vnnlib(m, 0)
    assert text.count("declare-const X_") == 5
    assert text.count("(assert") == 11
    assert export(m, tmp_path, limit=3).n_properties == 3
