"""Evaluation lint: can the robust numbers of this model be believed? Each check says what it found, what it means, what
to do.

The signs of gradient masking are those of Athalye, Carlini and Wagner (ICML 2018) and Carlini et al. (arXiv
1902.06705)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from cgro._check import BadRequest, bad, count
from cgro._progress import Update, progress
from cgro.definitions import (
    APGD,
    PGD,
    Attack,
    NoAttack,
    Square,
    ThreatModel,
    default_loss,
    margin,
    negative_margin,
    predict,
)
from cgro.definitions.attacks import evaluated_outputs, first_pass, loss_gradient, per_example, preserve_state
from cgro.definitions.draws import Draws
from cgro.definitions.examples import pair_or_sample
from cgro.definitions.inputs import in_full_precision, ordinary_tensors
from cgro.definitions.losses import Model
from cgro.definitions.rounds import alike, require_same_task, rounds, stopping_alike
from cgro.definitions.threat import require_threat
from cgro.diagnosis.findings import Check, check, masked, missed_by_masking
from cgro.diagnosis.setup_checks import EDGE, setup_checks
from cgro.ranks import ALONE, Ranks
from cgro.training import Adversarial, Step
from cgro.training.step import descend

__all__ = ["Check", "distil", "lint", "masked", "quick_lint"]

Inputs = Tensor | DataLoader | Dataset
SLACK = 0.02
"""Share of the examples by which two attacks may differ before it counts. A choice: one or two examples of 100."""
ZERO_GRADIENTS = 0.05
"""Share of examples without a gradient that is still harmless. A choice."""


@ordinary_tensors
def lint(
    model: Model,
    x: Inputs,
    y: Tensor | None,
    threat: ThreatModel,
    *,
    n: int = 128,
    seed: int = 0,
    surrogate: Model | None = None,
    n_queries: int = 300,
    ranks: Ranks = ALONE,
) -> list[Check]:
    """Run every check on a model and some of its test examples; the model is left as it was.

    A PASS is no proof: it says that this sign of a bad evaluation did not show on these examples. Inputs outside the
    box end the lint after the checks that need no attack, since every attack would refuse them.

    Args:
        model: any; it is attacked in eval mode whatever its mode.
        x: (N, *S) examples; a DataLoader or a Dataset where `y` is None.
        y: (N,) labels.
        threat: what the robust numbers are about.
        n: examples used, from the front; of a DataLoader or a Dataset a sample by the seed.
        seed: of noise, starts and surrogate.
        surrogate: the model for transfer; None distils a small network from the answers.
        n_queries: of Square.
        ranks: the processes that attack together, each called with the same arguments: they have an attack each, so
            that every attack has its examples in one piece. All of them get the checks.

    Returns:
        One `Check` each, in a fixed order.

    Raises:
        BadRequest: no examples, labels that do not fit, outputs that are not finite.

    Example:
        >>> x, y = torch.rand(40, 4, generator=torch.Generator().manual_seed(0)), torch.ones(40, dtype=torch.long)
        >>> y[x.sum(1) < 2] = -1
        >>> checks = lint(lambda v: v.sum(1) - 2, x, y, ThreatModel("inf", 0.1))
        >>> {c.status for c in checks}, masked(checks)
        ({'PASS'}, False)
    """
    with alike(ranks):
        require_threat(threat)
        x, y = pair_or_sample(x, y, n, seed)
        model, x = in_full_precision(model, x)
        if not len(x):
            raise bad("examples", expected="at least one", got=0)
        x, y = x[: count(n, "n")], y[:n]
    require_same_task(ranks, model, repr((threat, seed, n_queries)), y)
    with preserve_state(model, x.device), stopping_alike(ranks):
        with alike(ranks):
            checks = setup_checks(model, x, y, threat)
            outputs, model = first_pass(model, x)
            right = margin(outputs, y) > 0
        if _is_outside(x, threat) or not bool(right.any()):
            return checks
        torch.manual_seed(seed)  # of the surrogate; `preserve_state` gives the global generator back
        with alike(ranks):
            attacked = _Attacked(model, x[right], y[right], threat, seed, ranks)
        searches = attacked.searches(n_queries)
        with alike(ranks):
            return checks + attacked.checks(searches, surrogate, n_queries)


@ordinary_tensors
def quick_lint(model: Model, x: Inputs, y: Tensor | None, threat: ThreatModel, *, n: int = 128) -> list[Check]:
    """Run the checks that attack nothing, and look for gradients: some passes, for beside an evaluation.

    Args:
        model: any; it is left as it was.
        x: (N, *S) examples; a DataLoader or a Dataset where `y` is None.
        y: (N,) labels.
        threat: what the robust numbers are about.
        n: examples used, from the front; of a DataLoader or a Dataset a fixed sample.

    Returns:
        The first checks of `lint`.

    Raises:
        BadRequest: see `lint`.
    """
    require_threat(threat)
    x, y = pair_or_sample(x, y, n, 0)
    model, x = in_full_precision(model, x)
    x, y = x[:n], y[:n]
    with preserve_state(model, x.device):
        checks = setup_checks(model, x, y, threat)
        outputs, model = first_pass(model, x)
        right = margin(outputs, y) > 0
        if bool(right.any()):
            checks.append(_gradients(model, x[right], y[right])[0])
        return checks


def _is_outside(x: Tensor, threat: ThreatModel) -> bool:
    """Whether inputs lie outside of the box by more than rounding."""
    if threat.box is None:
        return False
    low, high = threat.box
    return bool(x.min() < low - EDGE or x.max() > high + EDGE)


def _gradients(model: Model, x: Tensor, y: Tensor) -> tuple[Check, bool]:
    """The check of gradients, and whether there are any to follow."""
    shares: list[float] = []
    for loss in (default_loss, negative_margin):
        try:
            gradient = loss_gradient(model, x, y, loss)[1]
        except (BadRequest, RuntimeError):
            text = "the output does not depend differentiably on the input"
            return check("gradients", False, text, masking=True), False
        singular = float((~torch.isfinite(gradient).flatten(1).all(1)).double().mean())
        if singular:  # such as of a square root at 0
            text = f"the gradient is NaN or infinite on {singular:.1%} of the examples: the network is singular there"
            return check("gradients", False, text, masking=True), False
        shares.append(float((gradient.flatten(1).abs().amax(1) == 0).double().mean()))
    of_loss, of_margin = shares
    text = f"zero gradient: {of_loss:.1%} of the examples for the loss, {of_margin:.1%} for the margin"
    if of_loss > ZERO_GRADIENTS >= of_margin:
        text += "; the loss is saturated (very large logits), the margin is not"
    return check("gradients", max(of_loss, of_margin) <= ZERO_GRADIENTS, text, masking=True), True


@dataclass(frozen=True)
class _Searches:
    """What each attack did to all examples: (B,) bool which are wrong, or (B,) margins.

    Args:
        strong: wrong after one of two APGD.
        strong_x: (B, *S) the points of these.
        usual: wrong after PGD with 20 steps, the one that most trainings record.
        square: wrong after Square.
        more: wrong after PGD with more steps and restarts.
        wide: wrong after PGD with every input of the box allowed.
        rising: wrong after PGD of 1, 5 and 20 steps without a random start.
        margins: after these.
    """

    strong: Tensor
    strong_x: Tensor
    usual: Tensor
    square: Tensor
    more: Tensor
    wide: Tensor
    rising: Sequence[Tensor]
    margins: Sequence[Tensor]


class _Attacked:
    """The checks that attack, on the examples that the model answers rightly."""

    def __init__(self, model: Model, x: Tensor, y: Tensor, threat: ThreatModel, seed: int, ranks: Ranks) -> None:
        self.model, self.x, self.y, self.threat, self.seed, self.ranks = model, x, y, threat, seed, ranks
        self.slack = max(1.0, SLACK * len(x))
        self.gradients, self.usable = _gradients(model, x, y)

    def searches(self, n_queries: int) -> _Searches:
        """All attacks, each by one process. Dear ones stand beside dear ones: a round takes as long as its longest."""
        threat = self.threat
        apgd = (
            APGD(threat, n_steps=40, precision="float32"),
            APGD(threat, n_steps=40, loss="margin", precision="float32"),
        )
        rising = [PGD(threat, n_steps=n, random_start=False, precision="float32") for n in (20, 5, 1)]
        others = (
            PGD(threat, n_steps=60, n_restarts=3, precision="float32"),
            Square(threat, n_queries=n_queries, precision="float32"),
            *self._wide_attacks(),
            PGD(threat, n_steps=20, precision="float32"),
            *rising,
        )
        with progress(len(apgd) + len(others), "evaluation lint") as show:
            (strong, _, strong_x), (margin_too, _, margin_x) = self._search(apgd, show, 0, points=True)
            more, square, wide, wide_too, usual, *steps = self._search(others, show, len(apgd), points=False)
        gained = margin_too & ~strong
        strong_x = torch.where(per_example(gained, strong_x), margin_x, strong_x)
        steps.reverse()
        return _Searches(
            strong=strong | margin_too,
            strong_x=strong_x,
            usual=usual[0],
            square=square[0],
            more=more[0],
            wide=wide[0] | wide_too[0],
            rising=[wrong for wrong, _ in steps],
            margins=[margins for _, margins in steps],
        )

    def _search(self, attacks: Sequence[Attack], show: Update, n_done: int, *, points: bool) -> list[list[Tensor]]:
        """What each attack did: who is wrong, margins, and the points if they are asked for."""

        def find(chunk: Tensor) -> list[Tensor]:
            wrong, x_adv = self._broken(attacks[int(chunk)])
            margins = margin(evaluated_outputs(self.model, x_adv), self.y)
            return [one[None] for one in (wrong, margins, x_adv)[: 2 + points]]

        found: list[list[Tensor]] = []
        for some in rounds(torch.arange(len(attacks), device="cpu"), 1, self.ranks):
            values = [one.to(self.x.device) for one in some.found(find)]
            for row in range(len(some.rows)):
                found.append([one[row] for one in values])
            show(n_done + len(found), attacks[len(found) - 1].name)
        return found

    def checks(self, found: _Searches, surrogate: Model | None, n_queries: int) -> list[Check]:
        return [
            self.gradients,
            self._rises(found),
            self._large_radius(found.wide),
            self._noise(found.strong),
            self._effort(found),
            self._strength(found),
            self._beaten("order of attacks", found.square, found.strong, f"{n_queries} queries of Square"),
            self._transfer(found.strong, surrogate),
            self._rounding(found.strong, found.strong_x),
        ]

    def _generator(self) -> torch.Generator:
        return torch.Generator(self.x.device).manual_seed(self.seed)

    def _broken(self, attack: Attack) -> tuple[Tensor, Tensor]:
        """Which examples an attack breaks, (B,) bool, and its points.

        Without a gradient a gradient attack moves nothing.
        """
        if not self.usable and attack.uses_gradient:
            return torch.zeros(len(self.x), dtype=torch.bool, device=self.x.device), self.x
        found = attack.find(self.model, self.x, self.y, generator=self._generator())
        return ~(found.margins > 0), found.x

    def _rises(self, found: _Searches) -> Check:
        clean = float(margin(evaluated_outputs(self.model, self.x), self.y).mean())
        means = [float(margins.mean()) for margins in found.margins]
        broken = [int(wrong.sum()) for wrong in found.rising]
        text = (
            f"mean margin {clean:.3g} clean, {means[0]:.3g}, {means[1]:.3g}, {means[2]:.3g} after 1, 5, 20 steps; "
            f"broken {broken[0]}, {broken[1]}, {broken[2]} of {len(self.x)}"
        )
        moves = means[2] < clean - 1e-6 * max(1.0, abs(clean))
        passed = moves and broken[2] >= broken[0] - self.slack
        lost = int((found.rising[0] & ~found.rising[2]).sum())
        return check("loss rises with steps", passed, text, masking=not moves or missed_by_masking(lost, broken[2]))

    def _wide_attacks(self) -> tuple[Attack, Attack]:
        """Every input of the box is allowed."""
        low, high = self.threat.box or (float(self.x.min()), float(self.x.max()))
        widest = high - low
        if self.threat.p != math.inf:
            widest = widest * self.x[0].numel() ** (1 / self.threat.p)
        threat = replace(self.threat, radius=widest, box=(low, high))
        return (
            PGD(threat, n_steps=20, n_restarts=3, loss="margin", precision="float32"),
            PGD(threat, n_steps=20, loss="margin", random_start=False, precision="float32"),
        )

    def _large_radius(self, wrong: Tensor) -> Check:
        share = float(wrong.double().mean())
        single = len(predict(evaluated_outputs(self.model, self.x)).unique()) == 1
        text = f"with every input of the box allowed {share:.1%} are broken"
        if single and share < 0.99:
            text += "; the model answers one class on these examples"
        return check("large radius", share >= 0.99, text, masking=not single)

    def _noise(self, strong: Tensor) -> Check:
        generator = torch.Generator(self.x.device).manual_seed(self.seed + 1)
        wrong = torch.zeros_like(strong)
        for _ in range(50):
            wrong |= ~(margin(evaluated_outputs(self.model, self.threat.sample(self.x, generator)), self.y) > 0)
        return self._beaten("random noise", wrong, strong, "50 random points of the ball")

    def _beaten(self, name: str, wrong: Tensor, strong: Tensor, what: str) -> Check:
        """Fails if something weak breaks what the white-box attack leaves; `missed_by_masking` says what that means."""
        alone, n_strong = int((wrong & ~strong).sum()), int(strong.sum())
        text = f"{what} break {int(wrong.sum())} of {len(self.x)}, the attack {n_strong}; {alone} only the former"
        masking = missed_by_masking(alone, n_strong)
        if alone > self.slack and not masking:
            text += ", too few to call the gradient masked"
        return check(name, alone <= self.slack, text, masking=masking)

    def _effort(self, found: _Searches) -> Check:
        n_usual, n_more = int(found.usual.sum()), int(found.more.sum())
        text = f"20 steps break {n_usual} of {len(self.x)}, 60 steps with 3 restarts {n_more}"
        return check("steps and restarts", n_more - n_usual <= self.slack, text)

    def _strength(self, found: _Searches) -> Check:
        """What PGD with the usual 20 steps misses: its robust error is the one that most trainings record."""
        n_usual = int(found.usual.sum())
        n_all = int((found.usual | found.strong | found.square).sum())
        text = f"PGD with 20 steps breaks {n_usual} of {len(self.x)}, with APGD on two losses and Square {n_all}"
        if n_all - n_usual <= self.slack:
            return check("attack strength", True, text)
        if n_usual:
            text += f": an error by PGD-20 is too low by a factor of about {n_all / n_usual:.1f}"
        return check("attack strength", False, text)

    def _transfer(self, strong: Tensor, surrogate: Model | None) -> Check:
        other = surrogate
        if other is None:
            other = distil(self.model, self.x, self.threat)
        attack = PGD(self.threat, n_steps=20, loss="margin", precision="float32")
        x_adv = attack(other, self.x, self.y, generator=self._generator())
        wrong = ~(margin(evaluated_outputs(self.model, x_adv), self.y) > 0)
        return self._beaten("transfer", wrong, strong, "adversarial examples of a surrogate")

    def _rounding(self, strong: Tensor, x_adv: Tensor) -> Check:
        low, high = self.threat.box or (0.0, 1.0)
        n = int(strong.sum())
        if not n:
            return check("8-bit rounding", True, "no adversarial example to round")
        rounded = ((x_adv[strong] - low) / (high - low) * 255).round() / 255 * (high - low) + low
        still = int((~(margin(evaluated_outputs(self.model, rounded), self.y[strong]) > 0)).sum())
        return check("8-bit rounding", still >= n - max(1.0, 0.05 * n), f"{still} of {n} are wrong after rounding")


def distil(model: Model, x: Tensor, threat: ThreatModel, *, width: int = 128, n_steps: int = 200) -> nn.Module:
    """A small smooth network that learned the model's answers near x, from the global generator's seed.

    Its gradients exist where the model's are hidden, so its adversarial examples are a second opinion.

    Args:
        model: (B, *S) -> (B, C) or (B,).
        x: (N, *S) inputs.
        threat: inputs are drawn from the balls around x.
        width: of the hidden layer.
        n_steps: steps of Adam, each on one input near every x.

    Returns:
        The network, in evaluation mode.
    """
    answers = evaluated_outputs(model, x)
    network = _surrogate(x, answers, width)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    generator = torch.Generator(x.device).manual_seed(int(torch.randint(2**31, (), device="cpu").item()))
    objective = Adversarial(NoAttack(), robust_weight=0.0)

    def streams(purpose: str) -> Draws:
        return Draws.from_generator(generator, len(x))

    for _ in range(n_steps):
        near = threat.sample(x, generator)
        labels = predict(evaluated_outputs(model, near))
        with torch.enable_grad():
            descend(Step(network, near, labels, network, streams), objective, optimizer)
    return network.eval()


def _surrogate(x: Tensor, outputs: Tensor, width: int) -> nn.Module:
    """One hidden layer, from inputs to outputs of these shapes."""
    size = x[0].numel()
    n_outputs = 1
    if outputs.ndim > 1:
        n_outputs = outputs.shape[1]
    with torch.device("cpu"):  # whose generator was seeded, whatever the caller's default device is
        layers = [nn.Flatten(), nn.Linear(size, width), nn.Softplus(), nn.Linear(width, n_outputs)]
    if outputs.ndim == 1:
        layers.append(nn.Flatten(0))
    return nn.Sequential(*layers).to(x.device, x.dtype)
