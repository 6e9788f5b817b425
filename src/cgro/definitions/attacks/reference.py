"""AutoAttack as published: an adapter to the PyPI package pyautoattack, the reference our ensemble is compared with."""

import contextlib
import importlib
import logging
import random
import sys
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cgro._check import BadRequest, bad
from cgro.definitions.attacks.base import Attack, Best
from cgro.definitions.attacks.passes import judge
from cgro.definitions.draws import Draws
from cgro.definitions.losses import Model, margin

NORMS = {1.0: "L1", 2.0: "L2", float("inf"): "Linf"}
VERSIONS = ("standard", "apgd-ce", "apgd-t", "fab-t", "square")


@contextlib.contextmanager
def _process_untouched() -> Iterator[None]:
    """Restore the trace function and the global generators of Python and NumPy; torch's the base class restores."""
    trace, python, numpy = sys.gettrace(), random.getstate(), np.random.get_state()  # noqa: NPY002
    level = logging.getLogger("auto-attack").level
    try:
        logging.getLogger("auto-attack").setLevel(logging.CRITICAL)
        yield
    finally:
        sys.settrace(trace)
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        logging.getLogger("auto-attack").setLevel(level)


class _Logits(torch.nn.Module):
    """The model as the package wants it: a module."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.call = lambda x: model(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.call(x)


@dataclass(frozen=True)
class AutoAttack(Attack):
    """AutoAttack (Croce and Hein, ICML 2020) by the package pyautoattack. Needs four classes and the box [0, 1].

    The package does not say at which step an example fell: records show step 0. It seeds one generator a batch, so
    unlike our own attacks its numbers depend on the batch.

    Args:
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
        if self.version not in VERSIONS:
            raise bad("version", expected="one of " + ", ".join(VERSIONS), got=repr(self.version))
        if self.threat.box != (0.0, 1.0):
            raise bad("box", expected="(0, 1) for AutoAttack", got=self.threat.box, remedy="use the ensemble")

    @property
    def name(self) -> str:
        """autoattack, with the part if it is one."""
        return "autoattack" + ("" if self.version == "standard" else f"-{self.version}")

    def search(self, model: Model, x: Tensor, y: Tensor, draws: Draws, best: Best) -> None:
        """Run the package; its generators are seeded from the first example's stream."""
        outputs = judge(model, x)
        n_classes = outputs.shape[1] if outputs.ndim == 2 else 2
        if n_classes < 4 or x.ndim != 4:
            raise bad("autoattack", expected="images and four or more classes", got=f"{n_classes} classes, inputs of "
                      f"shape {tuple(x.shape[1:])}", remedy="use the ensemble, which takes any")  # fmt: skip
        try:
            package: Any = importlib.import_module("pyautoattack")
        except ImportError:
            raise BadRequest("autoattack: needs the package pyautoattack; pip install 'cgro[autoattack]'") from None
        seed = int(draws.keys[0]) % 2**31
        rows = best.standing()
        if isinstance(model, torch.nn.Module):
            model.eval()
        with _process_untouched():
            run = package.AutoAttack(
                _Logits(model).eval(), norm=NORMS[self.threat.p], eps=self.threat.radius, seed=seed, device=x.device,
            )  # fmt: skip
            if self.version != "standard":
                run.attacks_to_run = [self.version]
            x_adv, _ = run.run_standard_evaluation(x[rows], y[rows], batch_size=self.batch)
        x_adv = self.threat.project(x_adv.detach(), x[rows])
        best.offer(x_adv, margin(judge(model, x_adv), y[rows]), rows, 0)
