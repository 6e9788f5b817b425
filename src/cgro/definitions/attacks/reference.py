"""AutoAttack as published: an adapter to the PyPI package pyautoattack, the reference our ensemble is compared with."""

import contextlib
import importlib
import logging
import sys
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from types import ModuleType

import torch
from torch import Tensor

from cgro._check import BadRequest, bad
from cgro.definitions.attacks.base import Attack
from cgro.definitions.attacks.evaluator import Evaluator
from cgro.definitions.attacks.passes import evaluated_outputs
from cgro.definitions.attacks.state import evaluation_flags
from cgro.definitions.draws import Draws
from cgro.definitions.inputs import logits_of
from cgro.definitions.losses import Model

NORMS = {1.0: "L1", 2.0: "L2", float("inf"): "Linf"}
GRADIENTS = {"apgd-ce": 100, "apgd-t": 900, "fab-t": 900, "square": 0}
"""Gradients per example of each part: 100 steps, for 9 targets where it is targeted. Croce and Hein (ICML 2020). With
fewer than ten classes there are fewer targets, and these are upper limits."""
VERSIONS = ("standard", *GRADIENTS)


@contextlib.contextmanager
def _process_preserved() -> Iterator[None]:
    """Restore the trace function; global generators the base class restores."""
    trace = sys.gettrace()
    level = logging.getLogger("auto-attack").level
    try:
        logging.getLogger("auto-attack").setLevel(logging.CRITICAL)
        yield
    finally:
        sys.settrace(trace)
        logging.getLogger("auto-attack").setLevel(level)


class _Logits(torch.nn.Module):
    """The model as the package wants it: a module."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        # Behind a function, so that it is no submodule, whose mode the package would set.
        self.call = lambda x: logits_of(model(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.call(x)


@dataclass(frozen=True)
class AutoAttack(Attack):
    """AutoAttack (Croce and Hein, ICML 2020) by the package pyautoattack. Needs four classes and the box [0, 1].

    The package does not say at which step an example fell: records show step 0. It seeds one generator a batch, so
    unlike our own attacks its numbers depend on the batch.

    Args:
        threat: where x_adv may lie; its box is [0, 1].
        version: `standard`, or one of its parts `apgd-ce`, `apgd-t`, `fab-t`, `square`, as the
            standard version runs it.
        batch: examples at a time inside the package.

    Raises:
        BadRequest: the package is missing, fewer than four classes, another box.
    """

    _: KW_ONLY
    version: str = "standard"
    batch: int = 250

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.version not in VERSIONS:
            raise bad("version", expected="one of " + ", ".join(VERSIONS), got=repr(self.version))
        if self.threat.box != (0.0, 1.0):
            raise bad("box", expected="(0, 1) for AutoAttack", got=self.threat.box, remedy="use the ensemble")

    @property
    def name(self) -> str:
        """autoattack, with the part if it is one."""
        if self.version == "standard":
            return "autoattack"
        return f"autoattack-{self.version}"

    @property
    def n_gradients(self) -> int:
        """As the package runs its parts, FAB-T counted by its steps. For an example that none of them breaks."""
        if self.version == "standard":
            return sum(GRADIENTS.values())
        return GRADIENTS[self.version]

    @property
    def reads_on_host(self) -> bool:
        """It is code of others."""
        return True

    def search(self, evaluator: Evaluator, draws: Draws) -> None:
        """Run the package; its generators are seeded from the first example's stream.

        Args:
            evaluator: the network and the batch.
            draws: (B,) streams.

        Raises:
            BadRequest: the package is missing, fewer than four classes, inputs that are no images.
        """
        model = evaluator.model
        x, y = evaluator.x, evaluator.y
        outputs = evaluated_outputs(model, x)
        n_classes = 2
        if outputs.ndim == 2:
            n_classes = outputs.shape[1]
        if n_classes < 4 or x.ndim != 4:
            raise bad(
                "autoattack",
                expected="images and four or more classes",
                got=f"{n_classes} classes, inputs of shape {tuple(x.shape[1:])}",
                remedy="use the ensemble, which takes any",
            )
        package = _package()
        seed = int(draws.keys[0]) % 2**31
        rows = evaluator.best.correct()
        if isinstance(model, torch.nn.Module):
            evaluation_flags(model)
        with _process_preserved():
            run = package.AutoAttack(
                _Logits(model).eval(), norm=NORMS[self.threat.p], eps=self.threat.radius, seed=seed, device=x.device
            )
            # Its targets are the likeliest wrong classes, nine by default (five for L1); of C classes C - 1 are wrong.
            run.apgd_targeted.n_target_classes = min(run.apgd_targeted.n_target_classes, n_classes - 1)
            run.fab.n_target_classes = min(run.fab.n_target_classes, n_classes - 1)
            if self.version != "standard":
                run.attacks_to_run = [self.version]
            x_adv, _ = run.run_standard_evaluation(x[rows], y[rows], batch_size=self.batch)
        part = evaluator.part(rows)
        part.update(self.threat.project(x_adv.detach(), part.x))


def _package() -> ModuleType:
    try:
        return importlib.import_module("pyautoattack")
    except ImportError:
        raise BadRequest("autoattack: needs the package pyautoattack; pip install 'cgro[autoattack]'") from None
