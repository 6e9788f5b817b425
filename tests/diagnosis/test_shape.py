"""What curves look like: jumps, order, constants, drops."""

import math
import time

import numpy as np

from cgro.diagnosis import CurveRule, Curves
from cgro.diagnosis.shape import catastrophe, last_jump, order_p_value, shuffled, stuck


def test_the_order_test_has_the_ranks_of_its_definition() -> None:
    draw = np.random.default_rng(0)
    for n in (51, 60, 200):  # above 50 values the p-value is a function of the ranks alone
        values = draw.integers(0, 8, n) / 8
        ranks = (values[:, None] > values).sum(1) + (values[:, None] == values).sum(1) / 2
        ratio = float((np.diff(ranks) ** 2).sum()) / float(((ranks - ranks.mean()) ** 2).sum())
        assert order_p_value(values) == 0.5 * math.erfc((2 - ratio) * math.sqrt(n) / 2 / math.sqrt(2))


def test_a_lasting_jump_is_that_of_the_plain_search() -> None:
    draw = np.random.default_rng(0)
    n_found = 0
    for _ in range(300):
        robust = draw.choice([0.5, 0.6, 0.75, 0.95, 1.0], 6)
        found = catastrophe(Curves(range(6), {"robust_error/test": robust}), CurveRule())
        expected = None
        for t in range(5, 0, -1):
            before = robust[max(0, t - 2) : t].min()
            if robust[t] >= 0.9 and robust[t] - before >= 0.2 and robust[t:].min() >= 0.9 - 0.2:
                expected = before, robust[t], t
        before = robust[1:4]
        just = robust[4] >= 0.7 and robust[4] - before.max() >= 0.1 and before.max() < 0.9
        just = just and robust[5] >= 0.9 and robust[5] - before.min() >= 0.2
        assert found == (expected if robust[-3:].mean() >= 0.9 or just else None)
        n_found += found is not None
    assert n_found > 20


def test_an_alternating_curve_is_searched_once() -> None:
    values = np.tile([0.5, 0.95], 50_000)
    values[-5:] = 0.5, 1, 1, 1, 1
    start = time.process_time()
    catastrophe(Curves(np.arange(100_000), {"robust_error/test": values}), CurveRule())
    assert time.process_time() - start < 5


def test_a_short_curve_that_falls_is_not_called_shuffled() -> None:
    """Twelve epochs of a real training on digits: the robust test curve alone was too short for a normal approximation."""
    robust = [0.852, 0.724, 0.721, 0.646, 0.61, 0.565, 0.568, 0.568, 0.526, 0.582, 0.543, 0.54]
    clean = [0.69, 0.44, 0.42, 0.33, 0.31, 0.30, 0.29, 0.26, 0.235, 0.21, 0.17, 0.15]
    both = {"robust_error/test": robust, "clean_error/test": clean}
    assert not shuffled(Curves(range(12), both), CurveRule())
    mixed = np.random.default_rng(0).permutation(12)
    assert shuffled(Curves(range(12), {k: list(np.array(v)[mixed]) for k, v in both.items()}), CurveRule())


def test_a_constant_answer_with_a_wobbling_training_error_is_stuck() -> None:
    rng = np.random.default_rng(1)
    errors = {"clean_error/test": np.full(20, 0.8865), "clean_error/train": 0.8876 + 0.003 * rng.standard_normal(20)}
    assert stuck(Curves(range(20), errors))
    errors["clean_error/test"] = 0.8865 + 0.003 * rng.standard_normal(20)  # held-out data without a constant answer
    assert not stuck(Curves(range(20), errors))


def test_a_learning_network_near_the_error_of_guessing_is_not_stuck() -> None:
    errors = {"clean_error/test": np.linspace(0.9, 0.888, 20), "clean_error/train": np.linspace(0.9, 0.8, 20)}
    assert not stuck(Curves(range(20), errors))


def test_a_collapse_two_evaluations_ago_is_one_and_of_the_last_only_a_caveat() -> None:
    falls = np.linspace(0.8, 0.68, 23)
    clean = {"clean_error/test": np.linspace(0.5, 0.4, 25)}
    two = Curves(range(25), {"robust_error/test": np.r_[falls, 0.88, 0.901], **clean})
    found = catastrophe(two, CurveRule())
    assert found is not None
    assert found[2] == 24
    one = Curves(range(25), {"robust_error/test": np.r_[falls, 0.68, 0.95], **clean})
    assert catastrophe(one, CurveRule()) is None
    assert last_jump(one, CurveRule()) == (0.68, 0.95, 24)
    assert last_jump(two, CurveRule()) is None


def test_no_jump_of_a_noisy_or_collapsed_training() -> None:
    noisy = np.tile([0.7, 0.92], 12)
    assert catastrophe(Curves(range(24), {"robust_error/test": noisy}), CurveRule()) is None
    falls = np.r_[np.linspace(0.8, 0.6, 20), 0.95]
    both = Curves(range(21), {"robust_error/test": falls, "clean_error/test": falls - 0.05})
    assert last_jump(both, CurveRule()) is None  # the clean error jumps too: training diverged
