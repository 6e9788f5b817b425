"""Attacks of a training without a wait: what they would have to check is noted on the device and read once an epoch."""

import torch
from torch import Tensor

from cgro._check import bad
from cgro.definitions import Attack, Draws, Model
from cgro.definitions.attacks import SearchOptions
from cgro.definitions.attacks.captured import is_plain
from cgro.definitions.attacks.dropping import Dropping
from cgro.definitions.attacks.passes import on_copies
from cgro.definitions.attacks.reads import LabelRange, require_fine_search
from cgro.definitions.inputs import as_inputs, as_labels, in_full_precision, in_type_of
from cgro.definitions.threat import require_radius_fits


class CraftChecks:
    """Calls attacks for one training, and remembers what is wrong with any of them until somebody reads it.

    Whether the network writes on its input is read at the first attack, as no later one could be trusted otherwise.

    Args:
        labels: of all examples.
        reads: whether an attack may read while it searches, as on a CPU, where that costs nothing and spares passes.

    Example:
        >>> from cgro.definitions import FGSM, ThreatModel
        >>> checks = CraftChecks(LabelRange(-1, 1, are_signs=True))
        >>> x, y = torch.tensor([[0.5]]), torch.tensor([1])
        >>> draws = Draws.of(0, "attack", torch.arange(1))
        >>> checks.craft(FGSM(ThreatModel("inf", 0.125)), lambda v: v[:, 0], x, y, draws)
        tensor([[0.3750]])
        >>> checks.require()
    """

    def __init__(self, labels: LabelRange, *, reads: bool = True) -> None:
        self._labels = labels
        self._reads = reads
        self._fine: Tensor | None = None
        self._writes: bool | None = None

    def craft(self, attack: Attack, model: Model, x: Tensor, y: Tensor, draws: Draws, *, whole: bool = False) -> Tensor:
        """What `attack(model, x, y, generator=draws)` returns, on a GPU without a read.

        Args:
            attack: any. One that reads on the host, or has a call of its own, is called as usual.
            model: (B, *S) -> (B, C) or (B,).
            x: (B, *S) in the box.
            y: (B,) labels.
            draws: (B,) streams.
            whole: call the network on whole batches alone, as in training mode, where BatchNorm mixes the examples.

        Returns:
            (B, *S).

        Raises:
            BadRequest: labels that do not fit the outputs, a radius that does not fit the box.
        """
        if attack.reads_on_host or not is_plain(attack):
            return attack(model, x, y, generator=draws)
        given = as_inputs(x)
        network = model
        model, x = in_full_precision(model, given)
        y = as_labels(y, x.device)
        require_radius_fits(attack.threat, x.shape[1:])
        dropping: Dropping = "never"
        if x.device.type == "cpu" and self._reads and not whole:
            dropping = "exact"  # reads cost nothing here
        options = SearchOptions(dropping=dropping, labels=self._labels)
        rounds = model is not network
        if self._writes:
            model = on_copies(model)
        found = attack.search_unread(model, x, y, draws, options)
        if self._writes is None:
            self._writes = not bool(found.watch.flags()[0])
            if self._writes:
                found = attack.search_unread(on_copies(model), x, y, draws, options)
        self._note(torch.cat([_inside(attack, x)[None], found.watch.flags()]))
        return in_type_of(given, found.best.x, rounds=rounds)

    def _note(self, fine: Tensor) -> None:
        if self._fine is None:
            self._fine = fine.clone()
        else:
            self._fine &= fine  # in place: a captured step goes on with this very tensor

    @property
    def noted(self) -> Tensor | None:
        """(5,) bool: what was fine in all attacks since the last read; None before the first attack."""
        return self._fine

    def forget(self) -> None:
        """Be as before the first attack."""
        self._fine = None

    def require(self) -> None:
        """The one read: refuse what any attack since the last call would have refused.

        Raises:
            BadRequest: inputs outside the box, a network that writes on its input now and then, outputs or gradients
                that were not finite, points that left ball or box.
        """
        if self._fine is None:
            return
        inside, unwritten, *fine = self._fine.tolist()
        self._fine.fill_(True)
        if not inside:
            raise bad("inputs", expected="finite values in the box of the threat model", got="others in some batch")
        if not unwritten:
            raise bad("model", expected="an input that is left as it is", got="a network that wrote on it")
        require_fine_search(*fine)


def _inside(attack: Attack, x: Tensor) -> Tensor:
    """() bool, as `ThreatModel.check_input`; NaN is not inside."""
    low, high = torch.aminmax(x)
    if attack.threat.box is None:
        return torch.isfinite(low) & torch.isfinite(high)
    rounding = attack.threat.rounding
    return (low >= attack.threat.box[0] - rounding) & (high <= attack.threat.box[1] + rounding)
