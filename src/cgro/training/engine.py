"""`fit`: standard and adversarial training that can be killed at any moment and resumed to the same bits.

Nothing random is carried from step to step: the order of an epoch, the attack's start and the network's own noise
(dropout) in a step are each drawn from a generator seeded by (seed, purpose, epoch, step). So a checkpoint needs no
generator states, and a resumed run draws what an undisturbed one would have drawn.
"""

import contextlib
import hashlib
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from cgro._check import BadRequest, bad
from cgro._interrupt import interrupt, stop_requests
from cgro._progress import Update, progress
from cgro.data import Dataset, augmentation_by_name
from cgro.definitions import Attack, NoAttack
from cgro.runs import Run
from cgro.seal import digest_of_rows
from cgro.training.checkpoint import LAST, SELECTED, check_checkpoints, epoch_file, load_checkpoint, save_checkpoint
from cgro.training.judging import Evaluation, Snapshot, errors_on, shares_on
from cgro.training.recipe import Recipe, mixed_loss
from cgro.trajectory import Outcome, Probe, Trajectory

COLLAPSE_SHARE = 0.99
DIVERGED_FACTOR = 10.0
"""A mean training loss above this many times that of guessing is called divergence. A choice, without a source."""
SECONDS_BETWEEN_SAVES = 300.0
"""At most so much work is lost to a kill; when a checkpoint is written changes no bit of the result. A choice."""
CURVES = ("robust_error/train", "robust_error/test", "clean_error/test")
"""Drawn in the terminal while training runs."""


def derive_seed(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed that depends on all of its arguments (SHA-256).

    >>> derive_seed(0, "order", 1) == derive_seed(0, "order", 1) != derive_seed(0, "order", 2)
    True
    """
    digest = hashlib.sha256(repr((seed, *purpose)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


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
        fabric: device, precision and trackers; None means one CPU in float32.
        probes: further observers, called with a `Snapshot`; they must change nothing.

    Returns:
        One record an evaluated epoch: the four errors (fractions), lr, radius, loss, seconds. NaN, divergence and
        collapse end in the outcome, never in an exception. An interrupt (Ctrl-C) saves after the step.

    Raises:
        BadRequest: a checkpoint of another network, a full disk, patience without a validation part.
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
        if recipe.patience and not len(data.validation):
            raise bad("patience", expected="a validation part", got="none", remedy="set --validation 0.05")
        self.augmentation = augmentation_by_name(recipe.augment)
        self.train = data.train.to(fabric.device)
        self.parts = {k: getattr(data, k).to(fabric.device) for k in ("validation", "test")} | {"train": self.train}
        self.plain = model.to(fabric.device)
        optimizer = recipe.build_optimizer(self.plain)
        self.model, self.optimizer = fabric.setup(self.plain, optimizer)
        self.n_steps = math.ceil(len(self.train) / recipe.batch_size)
        self.rows: list[dict[str, Any]] = []
        self.epoch, self.step, self.loss_sum = 0, 0, 0.0
        self.selected: dict[str, Any] | None = None
        self.stop_requested, self.saved_at = False, time.monotonic()
        self._resume()

    def _resume(self) -> None:
        if self.run is None or not (path := self.run.path / "checkpoints" / LAST).exists():
            return
        check_checkpoints(self.run)
        state = load_checkpoint(path, self.plain, self.optimizer.optimizer)
        try:
            self.epoch, self.step, self.loss_sum = int(state["epoch"]), int(state["step"]), float(state["loss_sum"])
            self.selected = state["selected"]
        except (KeyError, TypeError, ValueError):
            raise BadRequest(
                f"{path}: expected the state of a training, got another; is it {LAST} of this run?"
            ) from None
        self.rows = self._rows_before(state)

    def _rows_before(self, state: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The rows that were there when the checkpoint was written; the file may be ahead of it by one.

        Raises:
            BadRequest: rows are missing or changed.
        """
        assert self.run is not None
        rows = [row for row in self.run.rows() if row.get("epoch", math.inf) <= self.epoch]
        if "rows" in state and state["rows"] != _seal(rows):  # without it: of an older version, unchecked
            raise BadRequest(f"{self.run.path / 'metrics.jsonl'}: expected the {state['rows'][0]} rows that {LAST} was saved "
                             f"with, got {len(rows)} or changed ones; restore the file")  # fmt: skip
        return rows

    def _save(self) -> None:
        self.saved_at = time.monotonic()
        if not self.run:
            return
        self.run.write_rows(self.rows)
        state = {
            "epoch": self.epoch, "step": self.step, "loss_sum": self.loss_sum, "selected": self.selected,
            "rows": _seal(self.rows),
        }  # fmt: skip
        path = self.run.file("checkpoints", LAST)
        save_checkpoint(path, self.plain, self.optimizer.optimizer, state)

    def run_all(self) -> Trajectory:
        with self._interrupt_after_step(), progress(self.recipe.epochs * self.n_steps, "training") as update:
            while self.epoch < self.recipe.epochs and not self._out_of_patience():
                failure = self._epoch(update)
                self._save()
                if failure:
                    return self._result(failure)
                if self.stop_requested:
                    return self._result(Outcome("interrupted", "stopped on request; resumable", self.epoch))
        return self._result(self._ending())

    def _epoch(self, update: Update) -> Outcome | None:
        """The rest of the current epoch and its evaluation; an interrupt leaves `step` in the middle of it."""
        started, attacking = time.perf_counter(), 0.0
        order = torch.randperm(len(self.train), generator=self._generator("order", self.epoch, device="cpu"))
        for step in range(self.step, self.n_steps):
            rows = order[step * self.recipe.batch_size : (step + 1) * self.recipe.batch_size].to(self.fabric.device)
            x, y = self.train.batch(rows)
            x = self.augmentation(x, generator=self._generator("augment", self.epoch, step, device=x.device))
            loss, seconds = self._train_step(x, y, step)
            attacking += seconds
            update(self.epoch * self.n_steps + step + 1, self._note(), self._curves())
            self.loss_sum += loss * len(rows)
            self.step = step + 1
            if not math.isfinite(loss):
                return self._explain_non_finite(step)
            if self.stop_requested:
                return None
            if time.monotonic() - self.saved_at > SECONDS_BETWEEN_SAVES or self.step == self.n_steps:
                self._save()
        row = {"epoch": self.epoch + 1, "train_loss": self.loss_sum / len(self.train), "lr": self._lr(self.n_steps - 1)}
        row |= {"seconds": time.perf_counter() - started, "attack_seconds": attacking}
        self.epoch, self.step, self.loss_sum = self.epoch + 1, 0, 0.0
        row["radius"] = self._threat_radius(self.epoch)
        return self._finish_epoch(row)

    def _lr(self, step: int) -> float:
        return self.recipe.lr_at(self.epoch + step / self.n_steps)

    def _train_step(self, x: Tensor, y: Tensor, step: int) -> tuple[float, float]:
        started = time.perf_counter()
        for group in self.optimizer.param_groups:
            group["lr"] = self._lr(step)
        x_adv = self._craft(x, y, step) if self.recipe.robust_weight > 0 else None
        seconds = time.perf_counter() - started
        self.model.train()
        cuda = [x.device] if x.device.type == "cuda" else []
        with torch.random.fork_rng(devices=cuda):
            torch.random.manual_seed(derive_seed(self.seed, "network", self.epoch, step))
            loss = mixed_loss(self.model, x, x_adv, y, self.recipe.robust_weight)
            self.optimizer.zero_grad(set_to_none=True)
            self.fabric.backward(loss)
            if self.recipe.clip:
                self.fabric.clip_gradients(self.model, self.optimizer, max_norm=self.recipe.clip)
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
        if self.run and self.evaluation.keep_every and self.epoch % self.evaluation.keep_every == 0:
            kept = self.run.file("checkpoints", epoch_file(self.epoch))
            save_checkpoint(kept, self.plain, None, {"epoch": self.epoch})
        last = self.epoch == self.recipe.epochs
        if last or self.epoch % self.evaluation.every == 0:
            row |= self._evaluate()
        self.rows.append(row)
        numbers = {k: v for k, v in row.items() if isinstance(v, int | float)}
        self.fabric.log_dict(numbers, step=self.epoch)
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

    def _out_of_patience(self) -> bool:
        if not self.recipe.patience or self.selected is None:
            return False
        after = [r for r in self.rows if "robust_error/validation" in r and r["epoch"] > self.selected["epoch"]]
        return len(after) >= self.recipe.patience

    def _explain_non_finite(self, step: int) -> Outcome:
        reason = (f"the loss was NaN or infinite in epoch {self.epoch + 1}, step {step + 1}; lower lr (now "
                  f"{self._lr(step):g}) or warm the radius up")  # fmt: skip
        return Outcome("non_finite", reason, self.epoch + 1)

    def _ending(self) -> Outcome:
        shares = [(r["epoch"], r["prediction_share"]) for r in self.rows if "prediction_share" in r]
        if shares and shares[-1][1] >= COLLAPSE_SHARE:
            healthy = [e for e, share in shares if share < COLLAPSE_SHARE]
            since = "the start" if not healthy else f"epoch {max(healthy) + 1}"
            reason = (f"the network has answered one class since {since}: the constant solution; warm the radius up, "
                      "train longer, lower lr, or widen the network")  # fmt: skip
            return Outcome("collapsed", reason, self.epoch)
        if self.epoch < self.recipe.epochs and self.selected:
            reason = (f"no lower validation robust error in {self.recipe.patience} evaluations since epoch "
                      f"{self.selected['epoch']}")  # fmt: skip
            return Outcome("stopped", reason, self.epoch)
        return Outcome("completed", f"{self.recipe.epochs} epochs", self.epoch)

    def _result(self, outcome: Outcome) -> Trajectory:
        self.plain.eval()
        rows = [r for r in self.rows if "clean_error/test" in r]
        return Trajectory.from_rows(rows, "epoch", outcome, {"selected": self.selected})

    def _note(self) -> str:
        stuck = bool(self.rows) and self.rows[-1].get("prediction_share", 0) >= COLLAPSE_SHARE
        return "stuck at a constant" if stuck else ""

    def _curves(self) -> dict[str, list[float]]:
        return {key.replace("_", " ").replace("/", ", "): [r[key] for r in self.rows if key in r] for key in CURVES}

    def _generator(self, *purpose: str | int, device: Any) -> torch.Generator:
        return torch.Generator(device).manual_seed(derive_seed(self.seed, *purpose))

    @contextlib.contextmanager
    def _interrupt_after_step(self) -> Iterator[None]:
        """Turn Ctrl-C, and what a command takes for the same, into a request that is met after the step. A second one
        interrupts at once.
        """

        def request() -> None:
            if self.stop_requested:
                interrupt()
            self.stop_requested = True

        with stop_requests(request):
            yield


def _seal(rows: list[dict[str, Any]]) -> list[int | str]:
    """Number and digest of rows, by which a checkpoint knows them again."""
    return [len(rows), digest_of_rows(rows)]


def training_attack(attack: Attack, robust_weight: float) -> Attack:
    """The attack that training needs: none at all when its weight is 0."""
    return attack if robust_weight > 0 else NoAttack(attack.threat.at(0.0))
