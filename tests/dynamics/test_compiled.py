"""The compiled loops against the numpy form of the same step, whatever the activation and the adversary."""

from dataclasses import replace

import numpy as np
import pytest
from tests.dynamics.cases import CASES, SMALL

from cgro.dynamics.compiled import Examples, step_in_place
from cgro.dynamics.spaces import direct, gram


@pytest.mark.parametrize("name", CASES)
def test_one_step_in_loops_is_the_step_in_numpy(name):
    batch = direct(replace(CASES[name], lr=0.5), [7])
    weights = np.linspace(0.0, 2.0, batch.y.shape[1])
    z = batch.activations()
    du, coefficients = batch.rule.steps(batch.u, z, batch.y, batch.group, weights[None])
    before = batch.u[0].copy()
    step_in_place(batch.u[0], z[0], Examples(batch.y[0], batch.group[0]), weights, batch.rule)
    np.testing.assert_allclose(batch.u[0] - before, du[0], rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(z[0], coefficients[0], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("make", [direct, gram])
@pytest.mark.parametrize("batch_size", [None, 2])
def test_many_steps_in_loops_are_those_in_numpy(make, batch_size):
    """Also that step t of a mini-batch run has the weights of step t."""
    setting = replace(SMALL, lr=0.02, batch_size=batch_size)
    loops, arrays = make(setting, [3, 4]), make(setting, [3, 4])
    start = loops.u.copy()
    loops.advance(50, compiled=True)
    arrays.advance(50, compiled=False)
    assert np.abs(loops.u - start).max() > 0.1
    np.testing.assert_allclose(loops.u, arrays.u, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(loops.activations(), arrays.activations(), rtol=1e-10, atol=1e-12)
