"""`fit`: standard and adversarial training that can be killed at any moment and resumed to the same bits.

Nothing random is carried from step to step: the order of an epoch, the attack's start and the network's own noise
(dropout) in a step are each drawn from a generator seeded by (seed, purpose, epoch, step). So a checkpoint needs no
generator states, and a resumed run draws what an undisturbed one would have drawn.
"""

import contextlib
import hashlib
import math
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from cgro._check import BadRequest, count
from cgro._progress import Update, progress
from cgro.data import Dataset, Split
from cgro.definitions import Attack, ErrorRate, NoAttack, clean_error, predicted_shares, wrong_under
from cgro.runs import Run
from cgro.training.checkpoint import LAST, SELECTED, load_checkpoint, save_checkpoint
from cgro.training.recipe import Recipe, mixed_loss
from cgro.trajectory import Outcome, Probe, Trajectory

COLLAPSE_SHARE = 0.99
DIVERGED_FACTOR = 10.0
"""A mean training loss above this many times that of guessing is called divergence. A choice, without a source."""


@dataclass(frozen=True)
class Evaluation:
    """The separate evaluation after an epoch, on the first examples of each part (fixed and recorded).

    Args:
        attack: judged errors are lower bounds by this attack. n: at most so many examples of each part.
        every: epochs between evaluations; the last epoch is always evaluated.
    """

    attack: Attack
    n: int = 1000
    every: int = 1

    def __post_init__(self) -> None:
        count(self.n, "n")
        count(self.every, "every")


@dataclass(frozen=True)
class Snapshot:
    """What a probe sees after an epoch."""

    model: nn.Module
    data: Dataset
    epoch: int


def derive_seed(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed that depends on all of its arguments (SHA-256).

    >>> derive_seed(0, "order", 1) == derive_seed(0, "order", 1) != derive_seed(0, "order", 2)
    True
    """
    digest = hashlib.sha256(repr((seed, *purpose)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def errors_on(
    model: nn.Module, split: Split, attack: Attack, n: int, part: str, *, show: bool = True
) -> dict[str, ErrorRate]:
    """Clean and robust error on the first n examples of a part, under the keys of `summary.json`.

    `show` draws a progress bar; training, which has its own, switches it off.
    """
    x, y = split.head(n).x, split.y[:n]
    generator = torch.Generator(x.device).manual_seed(0)
    bar = progress(len(x), f"attacking {part}") if show else contextlib.nullcontext()
    with bar as update:
        wrong = wrong_under(model, x, y, attack, generator=generator, progress=update)
    bound = "exact" if attack.exact else "lower"
    return {
        f"clean_error/{part}": clean_error(model, x, y),
        f"robust_error/{part}": ErrorRate(int(wrong.sum()), len(x), bound),
    }


def shares_on(model: nn.Module, split: Split, n: int) -> list[float]:
    """The share of predictions that each class takes on the first n examples."""
    return predicted_shares(model, split.head(n).x)


def fit(
    model: nn.Module,
    data: Dataset,
    attack: Attack,
    recipe: Recipe,
    *,
    evaluation: Evaluation,
    seed: int = 0,
    run: Run | None = None,
    fabric: Fabric | None = None,
    probes: Sequence[Probe] = (),
) -> Trajectory:
    """Train a network to minimise the mix of clean and robust loss (Section 5's objective, Section 6's training).

    Args:
        model: trained in place. data: its `train` part is learned, `validation` selects, `test` is only measured.
        attack: crafts the training examples; `NoAttack` or robust_weight 0 is standard training.
        recipe: the loop. evaluation: train and test errors after an epoch. seed: of order, attack and dropout.
        run: where rows and checkpoints go; a run that has a checkpoint is resumed from it.
        fabric: device and precision; None means one CPU.
        probes: further observers, called with a `Snapshot`; they must change nothing.

    Returns:
        One record an evaluated epoch: the four errors (fractions), lr, radius, loss, seconds. NaN, divergence and
        collapse end in the outcome, never in an exception. An interrupt (Ctrl-C) saves after the step.

    Raises:
        BadRequest: a checkpoint of another network, a full disk.
    """
    fabric = fabric or Fabric(accelerator="cpu", devices=1)
    return _Loop(model, data, attack, recipe, evaluation, seed, run, fabric, probes).run_all()


class _Loop:
    """The state of one call of `fit`."""

    def __init__(
        self,
        model: nn.Module,
        data: Dataset,
        attack: Attack,
        recipe: Recipe,
        evaluation: Evaluation,
        seed: int,
        run: Run | None,
        fabric: Fabric,
        probes: Sequence[Probe],
    ) -> None:
        self.attack, self.recipe, self.evaluation = attack, recipe, evaluation
        self.seed, self.run, self.fabric, self.probes = seed, run, fabric, probes
        self.data = data
        self.train = data.train.to(fabric.device)
        self.parts = {k: getattr(data, k).to(fabric.device) for k in ("validation", "test")} | {"train": self.train}
        self.plain = model.to(fabric.device)
        optimizer = recipe.build_optimizer(self.plain)
        self.model, self.optimizer = fabric.setup(self.plain, optimizer)
        self.n_steps = math.ceil(len(self.train) / recipe.batch_size)
        self.rows: list[dict[str, Any]] = []
        self.epoch, self.step, self.loss_sum = 0, 0, 0.0
        self.selected: dict[str, Any] | None = None
        self.stop_requested = False
        self._resume()

    def _resume(self) -> None:
        if self.run is None or not (path := self.run.path / "checkpoints" / LAST).exists():
            return
        state = load_checkpoint(path, self.plain, self.optimizer.optimizer)
        self.epoch, self.step, self.loss_sum = state["epoch"], state["step"], state["loss_sum"]
        self.selected = state["selected"]
        self.rows = [row for row in self.run.rows() if row["epoch"] <= self.epoch]

    def _save(self) -> None:
        if not self.run:
            return
        self.run.write_rows(self.rows)
        state = {"epoch": self.epoch, "step": self.step, "loss_sum": self.loss_sum, "selected": self.selected}
        path = self.run.file("checkpoints", LAST)
        save_checkpoint(path, self.plain, self.optimizer.optimizer, state)

    def run_all(self) -> Trajectory:
        with self._interrupt_after_step(), progress(self.recipe.epochs * self.n_steps, "training") as update:
            while self.epoch < self.recipe.epochs:
                failure = self._epoch(update)
                self._save()
                if failure:
                    return self._result(failure)
                if self.stop_requested:
                    return self._result(Outcome("interrupted", "stopped on request; resumable", self.epoch))
        return self._result(self._ending())

    def _epoch(self, update: Update) -> Outcome | None:
        """The rest of the current epoch; an interrupt leaves `step` in the middle of it."""
        started, attacking = time.perf_counter(), 0.0
        order = torch.randperm(len(self.train), generator=self._generator("order", self.epoch, device="cpu"))
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.lr_at(self.epoch)
        for step in range(self.step, self.n_steps):
            rows = order[step * self.recipe.batch_size : (step + 1) * self.recipe.batch_size].to(self.fabric.device)
            loss, seconds = self._train_step(*self.train.batch(rows), step)
            attacking += seconds
            update(self.epoch * self.n_steps + step + 1, self._note())
            self.loss_sum += loss * len(rows)
            self.step = step + 1
            if not math.isfinite(loss):
                return self._explain_non_finite(step)
            if self.stop_requested:
                return None
        mean_loss = self.loss_sum / len(self.train)
        self.epoch, self.step, self.loss_sum = self.epoch + 1, 0, 0.0
        row = {"epoch": self.epoch, "train_loss": mean_loss, "lr": self.recipe.lr_at(self.epoch - 1)}
        row["radius"] = self._threat_radius(self.epoch)
        row |= {"seconds": time.perf_counter() - started, "attack_seconds": attacking}
        return self._finish_epoch(row)

    def _train_step(self, x: Tensor, y: Tensor, step: int) -> tuple[float, float]:
        started = time.perf_counter()
        x_adv = self._craft(x, y, step) if self.recipe.robust_weight > 0 else None
        seconds = time.perf_counter() - started
        self.model.train()
        cuda = [x.device] if x.device.type == "cuda" else []
        with torch.random.fork_rng(devices=cuda):
            torch.random.manual_seed(derive_seed(self.seed, "network", self.epoch, step))
            loss = mixed_loss(self.model, x, x_adv, y, self.recipe.robust_weight)
            self.optimizer.zero_grad(set_to_none=True)
            self.fabric.backward(loss)
            self.optimizer.step()
        return float(loss.detach()), seconds

    def _craft(self, x: Tensor, y: Tensor, step: int) -> Tensor:
        attack = self.attack
        if attack.threat.radius > 0 and self.recipe.radius_warmup:
            attack = attack.at(self._threat_radius(self.epoch + (step + 1) / self.n_steps))
        self.plain.train(self.recipe.craft_mode != "eval")
        # An attack restores a module's buffers; behind a plain function it cannot see them, and the updates stay.
        target = self.plain if self.recipe.craft_mode != "train_update_bn" else (lambda v: self.plain(v))
        return attack(target, x, y, generator=self._generator("attack", self.epoch, step, device=x.device))

    def _threat_radius(self, progress_epochs: float) -> float:
        return self.attack.threat.radius * self.recipe.radius_fraction(progress_epochs)

    def _finish_epoch(self, row: dict[str, Any]) -> Outcome | None:
        guessing = math.log(max(2, self.data.n_outputs))
        if row["train_loss"] > DIVERGED_FACTOR * guessing:
            self.rows.append(row)
            reason = (f"training loss {row['train_loss']:.3g} in epoch {self.epoch}, more than {DIVERGED_FACTOR:g} "
                      f"times that of guessing ({guessing:.2f}); lower lr (now {row['lr']:g})")  # fmt: skip
            return Outcome("diverged", reason, self.epoch)
        last = self.epoch == self.recipe.epochs
        if last or self.epoch % self.evaluation.every == 0:
            row |= self._evaluate()
        self.rows.append(row)
        return None

    def _evaluate(self) -> dict[str, Any]:
        self.plain.eval()
        row: dict[str, Any] = {}
        for part, split in self.parts.items():
            if len(split):
                errors = errors_on(self.plain, split, self.evaluation.attack, self.evaluation.n, part, show=False)
                row |= {k: e.value for k, e in errors.items()}
        row["prediction_share"] = max(shares_on(self.plain, self.parts["test"], self.evaluation.n))
        for probe in self.probes:
            row |= dict(probe(Snapshot(self.plain, self.data, self.epoch)))
        self._select(row)
        return row

    def _select(self, row: dict[str, Any]) -> None:
        """Keep the network of lowest validation error (robust, then clean; the earliest of equals)."""
        if "robust_error/validation" not in row:
            return
        score = [row["robust_error/validation"], row["clean_error/validation"]]
        if self.selected is None or score < self.selected["score"]:
            self.selected = {"epoch": self.epoch, "score": score}
            if self.run:
                save_checkpoint(self.run.file("checkpoints", SELECTED), self.plain, None, self.selected)

    def _explain_non_finite(self, step: int) -> Outcome:
        reason = (f"the loss was NaN or infinite in epoch {self.epoch + 1}, step {step + 1}; lower lr (now "
                  f"{self.recipe.lr_at(self.epoch):g}) or warm the radius up")  # fmt: skip
        return Outcome("non_finite", reason, self.epoch + 1)

    def _ending(self) -> Outcome:
        shares = [(r["epoch"], r["prediction_share"]) for r in self.rows if "prediction_share" in r]
        if shares and shares[-1][1] >= COLLAPSE_SHARE:
            healthy = [e for e, share in shares if share < COLLAPSE_SHARE]
            since = "the start" if not healthy else f"epoch {max(healthy) + 1}"
            reason = (f"the network has answered one class since {since}: the constant solution; warm the radius up, "
                      "train longer, lower lr, or widen the network")  # fmt: skip
            return Outcome("collapsed", reason, self.epoch)
        return Outcome("completed", f"{self.recipe.epochs} epochs", self.epoch)

    def _result(self, outcome: Outcome) -> Trajectory:
        self.plain.eval()
        rows = [r for r in self.rows if "clean_error/test" in r]
        return Trajectory.from_rows(rows, "epoch", outcome, {"selected": self.selected})

    def _note(self) -> str:
        row = self.rows[-1] if self.rows else {}
        names = ("robust_error/train", "robust_error/test")
        text = ", ".join(f"{k.split('/')[1]} {row[k]:.0%}" for k in names if k in row)
        alarm = "  stuck at a constant" if row.get("prediction_share", 0) >= COLLAPSE_SHARE else ""
        return (f"robust error: {text}" if text else "") + alarm

    def _generator(self, *purpose: str | int, device: Any) -> torch.Generator:
        return torch.Generator(device).manual_seed(derive_seed(self.seed, *purpose))

    @contextlib.contextmanager
    def _interrupt_after_step(self) -> Iterator[None]:
        """Turn Ctrl-C into a request that is met after the step. A second one interrupts at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def request(*_: object) -> None:
            if self.stop_requested:
                raise KeyboardInterrupt
            self.stop_requested = True

        before = signal.signal(signal.SIGINT, request)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


def training_attack(attack: Attack, robust_weight: float) -> Attack:
    """The attack that training needs: none at all when its weight is 0."""
    return attack if robust_weight > 0 else NoAttack(attack.threat.at(0.0))


def make_fabric(device: str) -> Fabric:
    """Fabric on `auto`, `cpu`, `cuda` or `cuda:N`.

    Raises:
        BadRequest: a device that is not here.
    """
    kind, _, number = device.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (number and not number.isdigit()):
        raise BadRequest(f"--device: expected auto, cpu, cuda or cuda:N, got {device!r}")
    available = torch.cuda.device_count()
    if kind == "cuda" and int(number or 0) >= available:
        raise BadRequest(f"--device: expected one of {available} CUDA devices, got {device!r}; use --device auto")
    if kind == "auto":
        kind = "cuda" if available else "cpu"
    return Fabric(accelerator=kind, devices=[int(number or 0)] if kind == "cuda" else 1)
