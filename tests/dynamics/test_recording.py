"""What is recorded is what it is called, and recording changes nothing."""

from dataclasses import replace

import numpy as np
import pytest
from tests.dynamics.cases import EASY

from cgro.data.patches import PatchData
from cgro.dynamics import simulate
from cgro.dynamics.recording import columns, observe, record_steps
from cgro.dynamics.spaces import gram
from cgro.dynamics.unseen import draw_unseen


def test_record_steps_begin_at_zero_and_end_at_the_end():
    steps = record_steps(50_000, 240)
    assert steps[0] == 0
    assert steps[-1] == 50_000
    assert (np.diff(steps) > 0).all()


def test_observing_changes_nothing():
    often, seldom = (simulate(EASY, n_steps=400, n_test=10, n_records=n) for n in (100, 2))
    np.testing.assert_allclose(often.final("signal_learned"), seldom.final("signal_learned"), rtol=1e-12)


def test_recorded_quantities_are_what_they_are_called():
    run = simulate(replace(EASY, data=PatchData(30, 3)), seeds=[1, 2], n_steps=50, n_test=10, backend="gram")
    batch = run.batch
    z, u = batch.activations(), batch.u[:, 0]
    for s in range(2):
        learned = [batch.y[s, i] * sum(z[s, 2 * i + j, r] ** 3 for j in range(2) for r in range(8)) for i in range(6)]
        np.testing.assert_allclose(run.final("noise_learned")[s], learned, rtol=1e-12)
        assert run.final("signal_learned")[s] == pytest.approx((u[s] ** 3).sum())
        assert run.final("signal_component")[s] == u[s].max()
        clean = EASY.strength**3 * (u[s] ** 3).sum() + np.array(learned)
        np.testing.assert_allclose(run.final("clean_margin")[s], clean, rtol=1e-12)
        assert run.final("noise_component")[s].shape == (6, 2)
        assert run.final("noise_component")[s, 4, 1] == pytest.approx((batch.y[s, 4] * z[s, 9]).max())
        assert run.final("filter_noise")[s, 3] == pytest.approx((np.repeat(batch.y[s], 2) * z[s, :, 3]).max())


def test_errors_are_shares_of_margins_that_are_not_positive():
    """Also NaN is a mistake, and whatever is wrong without an attack is wrong under it."""
    batch = gram(replace(EASY, radius_ratio=1.5), range(6))
    batch.start[5, 2] = np.nan
    with np.errstate(invalid="ignore"):
        record = observe(batch, [draw_unseen(EASY, s, 40, stream=1) for s in range(6)])
    for s in range(6):
        clean = [not m > 0 for m in record.clean_margin[s]]
        robust = [not m > 0 or wrong for m, wrong in zip(record.robust_margin[s], clean, strict=True)]
        assert record.clean_error_train[s] == np.mean(clean)
        assert record.robust_error_train[s] == np.mean(robust)
    assert 0 < record.clean_error_train[:5].mean() < 1
    assert (record.robust_error_test >= record.clean_error_test).all()
    assert np.isnan(record.noise_learned[5]).any()


def test_columns_have_the_keys_of_the_summary():
    batch = gram(EASY, [0, 1])
    record = observe(batch, [draw_unseen(EASY, s, 5, stream=1) for s in range(2)])
    found = columns([record, record, record])
    assert {"clean_error/train", "clean_error/test", "robust_error/train", "robust_error/test"} <= set(found)
    assert found["noise_learned"].shape == (3, 2, 6)
    assert found["filter_signal"].shape == (3, 2, 8)


def test_a_clean_mistake_counts_as_a_robust_one_also_where_the_attack_helps():
    """The transfer adversary always lowers the signal, which raises the margin of a network that has it reversed."""
    setting, seeds = replace(EASY, adversary="transfer"), range(60)
    batch = gram(setting, seeds)
    record = observe(batch, [draw_unseen(setting, s, 40, stream=1) for s in seeds])
    assert ((record.clean_margin <= 0) & (record.robust_margin > 0)).any()
    wrong = (record.clean_margin <= 0) | (record.robust_margin <= 0)
    np.testing.assert_array_equal(record.robust_error_train, wrong.mean(1))
    assert (record.robust_error_test >= record.clean_error_test).all()
    assert (record.robust_error_test > record.clean_error_test).any()
