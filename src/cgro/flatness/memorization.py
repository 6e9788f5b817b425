"""What a training example does for itself: memorization values, from networks trained with and without it."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from cgro._check import bad, count, number
from cgro.definitions import Attack, Model
from cgro.definitions.attacks import preserve_state, require_attack
from cgro.definitions.draws import draws_for
from cgro.definitions.inputs import describe, ordinary_tensors
from cgro.definitions.losses import is_wrong
from cgro.definitions.metrics import check_set, checked_examples, checked_outputs, require_inside
from cgro.definitions.threat import require_radius_fits


def random_subsets(n_examples: int, n_models: int, generator: torch.Generator, *, share: float = 0.7) -> list[Tensor]:
    """Random subsets of a fixed share, one per network.

    Args:
        n_examples: of which they are drawn.
        n_models: how many subsets, >= 2.
        generator: of the draws.
        share: of the examples in each subset, in (0, 1); 0.7 is Feldman and Zhang's.

    Returns:
        Positions of examples, (share * n_examples,) each, in the order drawn.

    Raises:
        BadRequest: fewer than two networks, or a share outside (0, 1).

    Example:
        >>> [len(rows) for rows in random_subsets(10, 3, torch.Generator())]
        [7, 7, 7]
    """
    n_examples = count(n_examples, "n_examples")
    n_models = count(n_models, "n_models", low=2)
    share = number(share, "share")
    if not 0 < share < 1:
        raise bad("share", expected="a number in (0, 1)", got=share)
    size = max(1, round(share * n_examples))
    return [torch.randperm(n_examples, generator=generator, device=generator.device)[:size] for _ in range(n_models)]


@ordinary_tensors
def memorization_values(
    fit: Callable[[Tensor, int], Model],
    x: Tensor,
    y: Tensor,
    attack: Attack,
    subsets: Sequence[Tensor],
    *,
    batch: int = 256,
) -> Tensor:
    """Memorization values under attack (Feldman and Zhang, NeurIPS 2020), estimated by subsets:

        P[ i is robust | i trained on ] - P[ i is robust | i left out ].

    Exact leave-one-out needs N trainings; random subsets of a fixed share need a few dozen for all examples at once.
    The standard error of each entry is about 1 / sqrt(number of subsets): read averages.

    Args:
        fit: (rows, k) -> the k-th network, in eval mode, trained on these rows of the training examples. It is left as
            it comes.
        x: (N, *S) the first N training examples, those that are evaluated.
        y: (N,) their labels.
        attack: at the training radius.
        subsets: rows of each training, at least two, from `random_subsets`.
        batch: examples at a time; affects speed and memory only.

    Returns:
        (N,) in [-1, 1]; NaN for examples that were in all subsets, or in none.

    Raises:
        BadRequest: before the first training, what is wrong with examples or subsets; then a network in train mode,
            labels that do not fit its outputs, outputs that are not finite.

    Example:
        A table of the examples it was given is robust around them alone.

        >>> from cgro.definitions import PGD, ThreatModel
        >>> x, y = torch.tensor([[0.2], [0.8]]), torch.tensor([1, 1])
        >>> table = lambda rows, k: lambda v: ((v - x[rows].T).abs() < 0.1).any(1).float() - 0.5 + 0 * v[:, 0]
        >>> attack = PGD(ThreatModel("inf", 0.01), n_steps=1)
        >>> memorization_values(table, x, y, attack, [torch.tensor([0]), torch.tensor([1])]).tolist()
        [1.0, 1.0]
    """
    require_attack(attack)
    batch = count(batch, "batch")
    x, y = checked_examples(x, y)
    attack.threat.check_input(x)
    require_radius_fits(attack.threat, x.shape[1:])
    robust, inside = [], []
    for k, rows in enumerate(_checked_subsets(subsets)):
        robust.append(_is_robust(fit(rows, k), x, y, attack, batch))
        trained_on = torch.zeros(len(x), dtype=torch.bool, device="cpu")
        trained_on[rows[rows < len(x)].cpu()] = True
        inside.append(trained_on)
    r = torch.stack(robust).double().cpu()
    i = torch.stack(inside).double()
    return (r * i).sum(0) / i.sum(0) - (r * (1 - i)).sum(0) / (1 - i).sum(0)


def _checked_subsets(subsets: object) -> list[Tensor]:
    """Subsets as positions; each before the first network is trained, which takes long."""
    try:
        given = list(subsets)  # type: ignore[call-overload]  # whatever it is
    except TypeError:
        raise bad("subsets", expected="positions of examples, one tensor per network", got=describe(subsets)) from None
    if len(given) < 2:
        raise bad("subsets", expected="at least two", got=len(given), remedy="use random_subsets(n_examples, n_models)")
    return [_positions(rows) for rows in given]


def _positions(rows: object) -> Tensor:
    """Positions of any width, also in a list: bytes and booleans would be taken for a mask, -1 for the last example."""
    expected = "positions of examples, integers >= 0 of shape (n,)"
    if isinstance(rows, Tensor):
        found = rows
    else:
        try:
            found = torch.from_numpy(np.array(rows))
        except (TypeError, ValueError):
            raise bad("subsets", expected=expected, got=describe(rows)) from None
    are_whole = not (found.is_floating_point() or found.is_complex() or found.dtype == torch.bool)
    if found.ndim != 1 or not len(found) or not are_whole:
        raise bad("subsets", expected=expected, got=f"{found.dtype} of shape {tuple(found.shape)}")
    if bool((found < 0).any()):
        raise bad("subsets", expected=expected, got=int(found.min()))
    return found.long()


def _is_robust(model: Model, x: Tensor, y: Tensor, attack: Attack, batch: int) -> Tensor:
    """(N,) bool: which examples withstand the attack, each with the random numbers that it has in one batch of all."""
    model, x, y = check_set(model, x, y)
    draws = draws_for(None, len(x), x.device)
    found: list[Tensor] = []
    with preserve_state(model, x.device):
        for rows in torch.arange(len(x), device=x.device).split(batch):
            points = attack(model, x[rows], y[rows], generator=draws.rows(rows))
            require_inside(attack, points, x[rows])
            found.append(~is_wrong(checked_outputs(model, points, y[rows]), y[rows]))
    return torch.cat(found)
