"""The start of training in each space: vectors, coefficients of their Gram matrix, or a Gram matrix from its law alone.

Sizes as in `rule`: S seeds, N examples of P patches in d dimensions, n = N (P-1) noise patches, K signal directions,
m filters.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from cgro._check import bad, count, seed_number
from cgro.data.patches import PatchSample
from cgro.dynamics.batch import Batch, Direct, Gram
from cgro.dynamics.rule import Array, Rule
from cgro.dynamics.setting import Setting
from cgro.models.patch_cnn import PatchCNN, second_layer

LARGEST_VECTORS = 2.0**26
"""Bytes of one seed's vectors (64 MiB) above which `cheapest` takes the law. A choice."""


def seeds_of(seeds: Sequence[int]) -> tuple[int, ...]:
    """The seeds of a batch, checked.

    Args:
        seeds: at least one, integers of any type.

    Returns:
        Python's integers.

    Raises:
        BadRequest: none, one that is no integer, or one that numpy's or torch's generators do not take.

    Example:
        >>> seeds_of(np.arange(2))
        (0, 1)
    """
    if not np.iterable(seeds):
        raise bad("seeds", expected="a sequence of integers", got=seeds, remedy="write [SEED] for one run")
    found = tuple(count(seed, "seed", low=0, high=2**63 - 1) for seed in seeds)
    if not found:
        raise bad("seeds", expected="at least one", got=0)
    return found


def draw(setting: Setting, seed: int) -> tuple[PatchSample, PatchCNN]:
    """Draw a seed's start; the same for every back end that uses vectors.

    Args:
        setting: data and network.
        seed: of examples and filters.

    Returns:
        The training examples and the initial network.
    """
    generator = torch.Generator().manual_seed(seed_number(seed))
    sample = setting.data.sample(setting.n_train, generator)
    network = PatchCNN(
        setting.data.patch_dim,
        setting.n_filters,
        activation_power=setting.activation_power,
        activation=setting.activation,
        init_std=setting.init_std,
        generator=generator,
    )
    return sample, network


def rule_of(setting: Setting) -> Rule:
    """The constants of a step.

    Args:
        setting: network, adversary and step size.

    Returns:
        The rule; for a full-ball adversary that of the adversary along w*, which the records speak of.
    """
    return Rule(
        power=float(setting.activation_power),
        strength=float(setting.strength),
        radius=float(setting.radius),
        robust_weight=float(setting.robust_weight),
        lr=float(setting.lr),
        odd=setting.activation == "odd",
        signs=second_layer(setting.n_filters, setting.activation).numpy(),
        transfer=setting.adversary == "transfer",
    )


def _generators(seeds: Sequence[int]) -> list[np.random.Generator]:
    """Of the mini-batches; 0x5D keeps them apart from other streams of the same seed."""
    return [np.random.default_rng([seed, 0x5D]) for seed in seeds]


def direct(setting: Setting, seeds: Sequence[int]) -> Direct:
    """The filters as vectors.

    Args:
        setting: what is trained.
        seeds: S of them.

    Returns:
        The batch before the first step.

    Raises:
        BadRequest: no seeds, or no such.
    """
    seeds = seeds_of(seeds)
    ys, groups, banks, patches = [], [], [], []
    for seed in seeds:
        sample, network = draw(setting, seed)
        ys.append(sample.y.numpy())
        groups.append(sample.signal_index.numpy())
        banks.append(network.filters.detach().numpy().T)
        patches.append(sample.noise.flatten(0, 1).numpy())
    filters = np.stack(banks)
    # The signal directions are the first coordinate axes. A copy: of one filter of one seed numpy would give a view.
    u = filters[:, : setting.data.n_signals].copy()
    filters[:, : setting.data.n_signals] = 0.0
    return Direct(
        y=np.stack(ys),
        group=np.stack(groups),
        u=u,
        rule=rule_of(setting),
        batch_rng=_generators(seeds),
        batch_size=setting.batch_size,
        filters=np.ascontiguousarray(filters),
        noise=np.stack(patches),
    )


def gram(setting: Setting, seeds: Sequence[int]) -> Gram:
    """Coefficient space, from the same draws as `direct`.

    Args:
        setting: what is trained.
        seeds: S of them.

    Returns:
        The batch before the first step.
    """
    vectors = direct(setting, seeds)
    start = vectors.activations()
    return Gram(
        y=vectors.y,
        group=vectors.group,
        u=vectors.u,
        rule=vectors.rule,
        batch_rng=vectors.batch_rng,
        batch_size=vectors.batch_size,
        coefficients=np.zeros_like(start),
        start=start,
        gram=vectors.noise @ vectors.noise_t,
        start_cov=vectors.covariance(),
    )


def law(setting: Setting, seeds: Sequence[int]) -> Gram:
    """Coefficient space, with the Gram matrix drawn from its own law: no vector of length d is ever formed.

    G = sigma^2 A A^T with A the Bartlett factor of a Wishart matrix with d' = d - K degrees of freedom,
    Z_0 = sigma_0 sigma A Y, Y an (n, m) standard normal matrix, and W_0 W_0^T = sigma_0^2 (Y^T Y + Wishart_m(d' - n)).

    Args:
        setting: what is trained.
        seeds: S of them.

    Returns:
        The batch before the first step.

    Raises:
        BadRequest: more noise patches than dimensions, n > d'; no seeds.
    """
    seeds = seeds_of(seeds)
    data = setting.data
    free = data.patch_dim - data.n_signals
    n = setting.n_noise
    m = setting.n_filters
    if n > free:
        expected = f"at most {free} noise patches (d - {data.n_signals})"
        raise bad("backend 'law'", expected=expected, got=n, remedy="use direct or gram")
    ys, groups, us, grams, starts, start_covs = [], [], [], [], [], []
    for seed in seeds:
        # The order of the draws is part of the result: a seed means the same run in every version.
        rng = np.random.default_rng([seed, 0xD])
        factor = bartlett(n, free, rng)
        free_part = rng.standard_normal((n, m))
        rest = bartlett(m, free - n, rng)
        y = 2.0 * rng.integers(0, 2, setting.n_train) - 1.0
        if data.balanced:
            y = rng.permutation(np.where(np.arange(setting.n_train) < setting.n_train // 2, -1.0, 1.0))
        ys.append(y)
        groups.append(rng.integers(0, data.n_signals, setting.n_train))
        us.append(setting.init_std * rng.standard_normal((data.n_signals, m)))
        grams.append(data.noise_std**2 * factor @ factor.T)
        starts.append(setting.init_std * data.noise_std * factor @ free_part)
        start_covs.append(setting.init_std**2 * (free_part.T @ free_part + rest @ rest.T))
    start = np.stack(starts)
    return Gram(
        y=np.stack(ys),
        group=np.stack(groups),
        u=np.stack(us),
        rule=rule_of(setting),
        batch_rng=_generators(seeds),
        batch_size=setting.batch_size,
        coefficients=np.zeros_like(start),
        start=start,
        gram=np.stack(grams),
        start_cov=np.stack(start_covs),
    )


def bartlett(size: int, degrees: int, rng: np.random.Generator) -> Array:
    """A with A A^T ~ Wishart_size(I, degrees), without forming (size, degrees) normal numbers where it can.

    Args:
        size: rows of A.
        degrees: degrees of freedom, >= 0.
        rng: source of the numbers.

    Returns:
        Lower triangular (size, size): normal below the diagonal, chi_(degrees - i) on it (Bartlett's decomposition); or
        (size, degrees) normal when degrees < size.
    """
    if degrees < size:
        return rng.standard_normal((size, degrees))
    factor = np.tril(rng.standard_normal((size, size)), -1)
    factor[np.diag_indices(size)] = np.sqrt(rng.chisquare(degrees - np.arange(size)))
    return factor


SPACES: dict[str, Callable[[Setting, Sequence[int]], Batch]] = {"direct": direct, "gram": gram, "law": law}


def cheapest(setting: Setting) -> str:
    """The exact back end with fewer multiplications per step: n^2 m in Gram form, 2 n d m in direct form.

    Args:
        setting: what is trained, against an adversary along w*.

    Returns:
        A key of `SPACES`; "law" where vectors would need more than 64 MiB per seed, if the noise patches allow it.
    """
    d = setting.data.patch_dim
    n = setting.n_noise
    if 8.0 * d * (n + setting.n_filters) > LARGEST_VECTORS and n <= d - setting.data.n_signals:
        return "law"
    if n <= 2 * d:
        return "gram"
    return "direct"
