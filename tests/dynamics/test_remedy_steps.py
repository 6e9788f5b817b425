"""Every remedy's step against batched autograd on the whole network in float64; noise of a step; planted faults."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from cgro.data.patches import PatchData
from cgro.dynamics import Setting
from cgro.dynamics.remedied import change_of, classes_of
from cgro.dynamics.remedies import PLAIN, Remedy, State
from cgro.dynamics.remedy_steps import draw_noise, remedied_direct_steps, remedied_gram_steps
from cgro.dynamics.rule import Rule
from cgro.dynamics.spaces import direct, gram

BASE = Setting(PatchData(14, 3), n_train=6, n_filters=5, radius_ratio=0.8, init_std=0.4, lr=0.05)
REMEDIES = {
    "plain": PLAIN,
    "weight decay": Remedy(weight_decay=0.7),
    "decaying lambda": Remedy(half_life=2.0),
    "smoothed": Remedy(smoothing_clean=0.2, smoothing_attacked=0.1),
    "smoothed, attacked half": Remedy(smoothing_attacked=0.3),
    "TRADES, least margin": Remedy(trades=1.5, inner="margin"),
    "TRADES, divergence": Remedy(trades=1.5),
    "TRADES and decay": Remedy(trades=6.0, weight_decay=0.1),
    "fresh": Remedy(fresh=0.6),
    "boxes": Remedy(mixed=0.8, share=0.4),
    "all noise": Remedy(fresh=0.3, mixed=0.7, share=0.9, weight_decay=0.2, half_life=3.0, smoothing_clean=0.1),
}
SETTINGS = {
    "q = 3": BASE,
    "q = 2.5, delta > alpha": replace(BASE, activation_power=2.5, radius_ratio=1.4, robust_weight=0.3),
    "q = 2": replace(BASE, activation_power=2.0),
    "q = 4": replace(BASE, activation_power=4.0, lr=0.01),
}


def margins(filters: Tensor, y: Tensor, noise: Tensor, strength: float | Tensor, q: float) -> Tensor:
    """(N,) y f(X) with the signal patch y x w*, w* the first axis; noise is (N, P-1, d)."""
    signal = torch.zeros(len(y), 1, noise.shape[2], dtype=torch.float64)
    signal[:, 0, 0] = y * strength
    z = torch.cat([signal, noise], 1) @ filters.T
    return y * (z.sign() * z.abs() ** q).sum((1, 2))


def kl_of(a: Tensor, b: Tensor) -> Tensor:
    """(N,) of two-class softmax outputs; torch's Bernoulli is infinite beyond logits of 37."""
    logs = [torch.log_softmax(torch.stack([m, torch.zeros_like(m)], -1), -1) for m in (a, b)]
    return (logs[0].exp() * (logs[0] - logs[1])).sum(-1)


def loss_of(filters: Tensor, y: Tensor, noise: Tensor, setting: Setting, remedy: Remedy, step: int) -> Tensor:
    """The loss of a step, written with torch's own losses on logits; weight decay as a term."""
    q, alpha, delta = setting.activation_power, setting.strength, setting.radius
    clean = margins(filters, y, noise, alpha, q)
    ends = torch.stack([margins(filters, y, noise, alpha + t, q) for t in (-delta, delta)])
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    if remedy.trades:
        gaps = torch.stack([kl_of(clean, end) for end in ends]).detach()
        chosen = gaps.argmax(0) if remedy.inner == "kl" else ends.argmin(0)
        attacked = ends.gather(0, chosen[None])[0]
        kl = kl_of(clean, attacked)
        loss = (bce(clean, torch.ones_like(clean), reduction="none") + remedy.trades * kl).mean()
    else:
        attacked = ends.min(0).values
        weight = setting.robust_weight * (0.5 ** (step / remedy.half_life) if remedy.half_life else 1.0)
        smooth = [torch.full_like(clean, 1 - eps / 2) for eps in (remedy.smoothing_clean, remedy.smoothing_attacked)]
        loss = (1 - weight) * bce(clean, smooth[0]) + weight * bce(attacked, smooth[1])
    return loss + remedy.weight_decay / 2 * (filters**2).sum()


def by_autograd(setting: Setting, remedy: Remedy, n_steps: int, seed: int) -> Tensor:
    start = direct(setting, [seed])
    filters = torch.tensor(start.filters[0].T.copy())
    filters[:, 0] = torch.tensor(start.u[0, 0])
    y = torch.tensor(start.y[0])
    rows, now = start.noise[0], start.noise[0].copy()
    rng = np.random.default_rng(7)
    for step in range(n_steps):
        draw_noise(now, rows, classes_of(start.y[0]), rng, change_of(setting, remedy))
        noise = torch.tensor(now).reshape(len(y), -1, rows.shape[1])
        filters.requires_grad_(True)
        (slope,) = torch.autograd.grad(loss_of(filters, y, noise, setting, remedy, step), filters)
        filters = filters.detach() - setting.lr * slope
    return filters


def state_of(u: np.ndarray, w: np.ndarray, setting: Setting) -> State:
    return State(u.copy(), w.copy(), np.array([setting.robust_weight, 1.0]), u.copy(), w.copy(), np.ones(1))


def ours(setting: Setting, remedy: Remedy, n_steps: int, seed: int, rule: Rule | None = None) -> np.ndarray:
    """(m, d) the filters after some steps of the direct form."""
    batch = direct(setting, [seed])
    state = state_of(batch.u[0, 0], batch.filters[0], setting)
    classes, rng = classes_of(batch.y[0]), np.random.default_rng(7)
    change = change_of(setting, remedy)
    remedied_direct_steps(n_steps, state, batch.noise[0], classes, rng, rule or batch.rule, change)
    filters = state.w.T.copy()
    filters[:, 0] = state.u
    return filters


@pytest.mark.parametrize("remedy", REMEDIES)
@pytest.mark.parametrize("name", SETTINGS)
def test_steps_are_those_of_autograd(name: str, remedy: str) -> None:
    setting = SETTINGS[name]
    found = ours(setting, REMEDIES[remedy], 4, seed=3)
    expected = by_autograd(setting, REMEDIES[remedy], 4, seed=3).numpy()
    start = direct(setting, [3]).filters[0].T
    assert np.abs(expected[:, 1:] - start[:, 1:]).max() > 1e-4
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("remedy", REMEDIES)
def test_the_oracle_sees_a_planted_fault(remedy: str) -> None:
    """A step with another lambda, or with another beta, is told apart."""
    value = REMEDIES[remedy]
    batch = direct(BASE, [3])
    wrong = value
    if value.trades:
        wrong = replace(value, trades=1.01 * value.trades)
    found = ours(BASE, wrong, 4, 3, batch.rule._replace(radius=0.9 * batch.rule.radius))
    assert np.abs(found - by_autograd(BASE, value, 4, 3).numpy()).max() > 1e-6


@pytest.mark.parametrize("remedy", [name for name, value in REMEDIES.items() if not value.moves_noise])
def test_coefficients_are_vectors(remedy: str) -> None:
    """Gram and direct form over many steps, running average included."""
    value = replace(REMEDIES[remedy], ema=0.9)
    setting = replace(BASE, lr=0.02)
    a, b = direct(setting, [1]), gram(setting, [1])
    classes = classes_of(a.y[0])
    change = change_of(setting, value)
    vectors = state_of(a.u[0, 0], a.filters[0], setting)
    remedied_direct_steps(200, vectors, a.noise[0], classes, np.random.default_rng(0), a.rule, change)
    coefficients = state_of(b.u[0, 0], b.coefficients[0], setting)
    remedied_gram_steps(200, coefficients, b.start[0], b.gram[0], classes, b.rule, change)
    np.testing.assert_allclose(coefficients.u, vectors.u, rtol=1e-10)
    np.testing.assert_allclose(coefficients.mean_u, vectors.mean_u, rtol=1e-10)
    kept = coefficients.scalars[1] * b.start[0] + b.gram[0] @ coefficients.w
    np.testing.assert_allclose(kept, a.noise[0] @ vectors.w, rtol=1e-9, atol=1e-12)
    mean = coefficients.mean_kept[0] * b.start[0] + b.gram[0] @ coefficients.mean_w
    np.testing.assert_allclose(mean, a.noise[0] @ vectors.mean_w, rtol=1e-9, atol=1e-12)


def test_the_running_average_is_its_closed_form() -> None:
    """avg_T = ema^T theta_0 + (1 - ema) sum_t ema^(T-t) theta_t."""
    batch = gram(BASE, [0])
    remedy = Remedy(ema=0.8, weight_decay=0.3)
    change, classes = change_of(BASE, remedy), classes_of(batch.y[0])
    state = state_of(batch.u[0, 0], batch.coefficients[0], BASE)
    path = [np.append(state.u, state.w)]
    for _ in range(12):
        remedied_gram_steps(1, state, batch.start[0], batch.gram[0], classes, batch.rule, change)
        path.append(np.append(state.u, state.w))
    expected = 0.8**12 * path[0] + 0.2 * sum(0.8 ** (12 - t) * path[t] for t in range(1, 13))
    np.testing.assert_allclose(np.append(state.mean_u, state.mean_w), expected, rtol=1e-12)
    kept = (1 - BASE.lr * 0.3) ** np.arange(13)
    assert state.mean_kept[0] == pytest.approx(0.8**12 + 0.2 * (0.8 ** (12 - np.arange(1, 13)) * kept[1:]).sum())


def drawn(remedy: Remedy, n: int = 2000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n, rows, d) noise of n steps, the training set's rows, and labels."""
    batch = direct(BASE, [5])
    rows, rng = batch.noise[0], np.random.default_rng(1)
    now = np.empty_like(rows)
    found = []
    for _ in range(n):
        draw_noise(now, rows, classes_of(batch.y[0]), rng, change_of(BASE, remedy))
        found.append(now.copy())
    return np.stack(found), rows, batch.y[0]


def test_fresh_noise_has_the_law_of_the_data_and_comes_as_often_as_asked() -> None:
    found, rows, _ = drawn(Remedy(fresh=0.3))
    is_own = (found == rows).all(2)
    assert (is_own[:, ::2] == is_own[:, 1::2]).all()  # both patches of an example
    assert is_own.mean() == pytest.approx(0.7, abs=0.02)
    fresh = found[~is_own]
    assert (fresh[:, 0] == 0).all()  # nothing along the signal
    assert fresh[:, 1:].std() == pytest.approx(BASE.data.noise_std, rel=0.02)
    assert abs(np.corrcoef(fresh[::2, 1], fresh[1::2, 1])[0, 1]) < 0.05


def test_a_box_comes_from_another_example_of_the_class_at_the_same_place() -> None:
    found, rows, y = drawn(Remedy(mixed=0.5, share=0.5))
    per, dim = 2, rows.shape[1]
    lenders = np.zeros((len(y), len(y)))
    covered = []
    for step in found:
        for i in range(len(y)):
            own = step[i * per : (i + 1) * per, 1:] == rows[i * per : (i + 1) * per, 1:]
            if own.all():
                continue
            assert (own[0] == own[1]).all()
            for j in range(len(y)):
                same = step[i * per : (i + 1) * per, 1:] == rows[j * per : (j + 1) * per, 1:]
                if j != i and (same | own).all():
                    lenders[i, j] += 1
            covered.append(1 - own[0].mean())
    assert lenders[y[:, None] != y[None, :]].sum() == 0
    others = (y[:, None] == y[None, :]) & ~np.eye(len(y), dtype=bool)
    assert (lenders[others] > 0).all()
    assert lenders.sum() / (len(found) * len(y)) == pytest.approx(0.5, abs=0.02)
    assert np.mean(covered) == pytest.approx(round(0.5 * dim) / dim, abs=0.03)


def test_exchanging_whole_noise_renames_the_examples_of_a_class() -> None:
    """Share 1 at P = 2 and two examples of a class: full batches do not change, whatever is drawn."""
    setting = replace(BASE, data=PatchData(14, balanced=True), n_train=4)
    swapped = ours(setting, Remedy(mixed=1.0, share=1.0), 30, 2)
    np.testing.assert_allclose(swapped, ours(setting, PLAIN, 30, 2), rtol=1e-12)
