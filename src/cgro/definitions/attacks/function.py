"""A plain function as an attack: code of others, from a paper or another library, judged like our own."""

import inspect
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field

import torch
from torch import Tensor

from cgro._check import bad
from cgro.definitions.attacks.base import Attack
from cgro.definitions.attacks.evaluator import Evaluator
from cgro.definitions.attacks.state import code_of_others
from cgro.definitions.draws import Draws
from cgro.definitions.inputs import describe, shape_of
from cgro.definitions.losses import Model
from cgro.definitions.random_state import seeded
from cgro.definitions.threat import ThreatModel
from cgro.named import misfit

AttackFunction = Callable[[Model, Tensor, Tensor], object]
"""(model, x, y) -> x_adv, as most published code has it. That it is a tensor is checked, not believed."""


@dataclass(frozen=True)
class FunctionAttack(Attack):
    """What a function finds. Its points are evaluated anew, and refused outside ball and box.

    It works on copies of the network's weights: what it does to them, to layers, hooks, attributes and modes, and to
    the flags of torch is undone before its points are evaluated; see `code_of_others` for what is not.

    How many gradients it takes is not known, and counts as 0. The global generators of torch, NumPy and Python are
    seeded from the first example's stream while it runs, so numbers that it draws from them depend on the batch.

    Args:
        threat: what the function is taken to stay in.
        function: (model, x, y) -> x_adv.
        label: what results call it; "" takes the function's own name.

    Example:
        >>> darker = lambda model, x, y: (x - 0.1).clamp_min(0)
        >>> attack = FunctionAttack(ThreatModel("inf", 0.1), darker)
        >>> x, y = torch.tensor([[0.3], [0.55], [0.9]]), torch.tensor([-1, 1, 1])
        >>> attack.find(lambda v: v[:, 0] - 0.5, x, y).margins > 0
        tensor([ True, False,  True])
    """

    threat: ThreatModel
    function: AttackFunction = field(repr=False)  # its text has an address, which no second process repeats
    _: KW_ONLY
    label: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.function, type) or not callable(self.function):
            raise bad("attack", expected="a function (model, x, y) -> x_adv", got=describe(self.function))
        if not self.label:
            name = getattr(self.function, "__name__", type(self.function).__name__)
            object.__setattr__(self, "label", str(name).strip("<>").lower())
        reason = misfit(self.function, *"mxy")
        if reason:
            remedy = (
                "set further parameters by functools.partial, or by :parameter=value behind its name; wrap any other "
                "in a function of these three"
            )
            got = f"{self.label}{inspect.signature(self.function)}: {reason}"
            raise bad("attack", expected="a function (model, x, y) -> x_adv", got=got, remedy=remedy)

    @property
    def name(self) -> str:
        """The name of the function."""
        return self.label

    @property
    def reads_on_host(self) -> bool:
        """It is code of others."""
        return True

    def search(self, evaluator: Evaluator, draws: Draws) -> None:
        """Call the function once, on copies.

        Args:
            evaluator: the network and the batch.
            draws: (B,) streams.

        Raises:
            BadRequest: something that is no tensor of the shape of x, or lies outside ball or box.
        """
        x = evaluator.x
        seed = draws.seed()
        with code_of_others(evaluator.model, x.device), torch.enable_grad(), seeded(seed, x.device):
            found = self.function(evaluator.model, x.clone(), evaluator.y.clone())
        if not isinstance(found, Tensor) or found.shape != x.shape:
            expected = f"x_adv of shape {tuple(x.shape)}"
            raise bad(f"attack {self.name}", expected=expected, got=shape_of(found))
        x_adv = found.detach().to(x)
        outside = int((~self.threat.contains(x_adv, x)).sum())
        if outside:
            raise bad(
                f"attack {self.name}",
                expected=f"points within {self.threat.radius:g} of x and in the box",
                got=f"{outside} of {len(x)} outside",
                remedy="end it with threat.project(x_adv, x)",
            )
        evaluator.update(x_adv)


def takes_model(function: object, parameters: str = "") -> bool:
    """Whether a function is an attack itself, rather than one that makes an attack from a threat model.

    Args:
        function: whatever a name stands for.
        parameters: the text behind the name, such as `eps=0.02,steps=3`.

    Returns:
        True for a function that is to be given three values or more: of its positional parameters so many have no
        default, and no value in the text.

    Example:
        >>> takes_model(lambda net, images, labels: images), takes_model(lambda threat, n_steps=3: None)
        (True, False)
        >>> takes_model(lambda threat, size, steps: None, "size=2,steps=3")
        False
    """
    if isinstance(function, type) or not callable(function):
        return False
    try:
        known = inspect.signature(function).parameters.values()
    except ValueError:  # of C code, about which Python knows nothing
        return False
    said = {part.partition("=")[0] for part in parameters.split(",")}
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    open_ = [p for p in known if p.kind in positional and p.default is p.empty and p.name not in said]
    return len(open_) >= 3
