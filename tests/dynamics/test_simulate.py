"""The loop: seeds and threads, what a result holds, bad input."""

from dataclasses import replace

import numpy as np
import pytest
from tests.dynamics.cases import EASY

from cgro._check import BadRequest
from cgro.data.patches import PatchData
from cgro.dynamics import PRESETS, Setting, noise_limit, simulate, unseen_errors
from cgro.dynamics.remedied import simulate_remedied
from cgro.dynamics.remedies import Remedy
from cgro.dynamics.spaces import law


def test_a_seed_gives_the_same_run_in_every_batch_and_thread():
    setting = replace(PRESETS["theorem"], batch_size=7)
    alone = simulate(setting, seeds=[5], n_steps=200, n_test=20)
    together = simulate(setting, seeds=[4, 5, 6], n_steps=200, n_test=20, threads=2)
    for key in alone.values:
        np.testing.assert_array_equal(alone[key][:, 0], together[key][:, 1], err_msg=key)


def test_law_reaches_a_million_dimensions():
    setting = Setting(PatchData(1_000_000), n_train=10, n_filters=8)
    run = simulate(setting, n_steps=50, n_test=10)
    assert run.backend == "law"
    assert run.outcomes[0].ok


def test_a_result_holds_the_filters_at_the_end():
    run = simulate(EASY, seeds=[1, 2], n_steps=20, n_test=5, backend="direct")
    np.testing.assert_array_equal(run.covariance, run.batch.covariance())
    np.testing.assert_array_equal(run.signal[:, 0], run["filter_signal"][-1])
    assert run.vectors is run.batch
    assert (run.seeds, run.n_test, run.setting) == ((1, 2), 5, EASY)
    assert [o.kind for o in run.outcomes] == ["completed"] * 2
    # The names by which scripts read them before there were attributes.
    assert run.meta["batch"] is run.batch
    assert run.meta["covariance"] is run.covariance


def test_coefficients_are_no_vectors():
    run = simulate(EASY, n_steps=5, n_test=5, backend="gram")
    with pytest.raises(BadRequest, match='simulate\\(..., backend="direct"\\)'):
        _ = run.vectors


def test_errors_at_the_end_are_those_of_fresh_examples():
    """The same law as along the way, other draws: they agree within four standard errors."""
    run = simulate(replace(EASY, radius_ratio=0.99), seeds=range(4), n_steps=4000, n_test=4000)
    fresh = unseen_errors(run, 4000)
    for kind in ("clean", "robust"):
        along = run.final(f"{kind}_error/test")
        assert np.abs(fresh[kind] - along).max() < 4 * (2 * 0.25 / 4000) ** 0.5
    assert (fresh["robust"] != run.final("robust_error/test")).any()
    assert fresh["robust"].max() > 0.2


def test_progress_hears_of_every_record():
    heard = []
    run = simulate(EASY, n_steps=50, n_test=5, n_records=6, progress=lambda step, note: heard.append((step, note)))
    assert [step for step, _ in heard] == run.steps.tolist()
    assert all("signal margin" in note for _, note in heard)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"seeds": []}, "seeds"),
        ({"n_steps": 0}, "n_steps"),
        ({"n_records": 0}, "n_records"),
        ({"n_test": 0}, "n_test"),
        ({"threads": 0}, "threads"),
        ({"backend": "magic"}, "backend"),
        ({"stop_when": "bored"}, "stop_when"),
    ],
)
def test_bad_input_is_one_line(options, word):
    with pytest.raises(BadRequest, match=word) as caught:
        simulate(EASY, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        ([-1], r"seed: expected an integer in \[0, 9223372036854775807\], got -1"),
        (3, "seeds: expected a sequence of integers, got 3"),
        ([0.5], "seed"),
        (["1"], "seed"),
        ([2**70], "seed"),
        ([], "seeds: expected at least one, got 0"),
    ],
)
def test_seeds_that_no_generator_takes_are_refused(seeds, said):
    small = Setting(PatchData(10), n_train=3, n_filters=2)
    for refused in (
        lambda: simulate(small, seeds=seeds, n_steps=3, n_test=2),
        lambda: simulate_remedied(small, Remedy(ema=0.5), seeds=seeds, n_steps=3, n_test=2),
        lambda: noise_limit(small, seeds),
        lambda: law(small, seeds),
    ):
        with pytest.raises(BadRequest, match=said):
            refused()


def test_errors_of_no_unseen_examples_are_refused():
    run = simulate(Setting(PatchData(10), n_train=3, n_filters=2), seeds=np.arange(2), n_steps=3, n_test=2)
    assert run.seeds == (0, 1)
    with pytest.raises(BadRequest, match="n_test"):
        unseen_errors(run, 0)
