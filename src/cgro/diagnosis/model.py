"""The verdict on a model, or on a folder of checkpoints: measured here, then judged like any curve or point."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from cgro.data import Split
from cgro.data.overlap import overlap_remark
from cgro.definitions import (
    APGD,
    DEFAULT_RULE,
    Attack,
    Ensemble,
    ErrorRate,
    Model,
    Square,
    ThreatModel,
    cgro_verdict,
    predicted_shares,
    survey,
)
from cgro.definitions.attacks import evaluated_outputs
from cgro.definitions.examples import is_collection, take_examples
from cgro.definitions.inputs import in_full_precision
from cgro.definitions.rounds import alike
from cgro.definitions.threat import require_threat
from cgro.diagnosis.findings import Check
from cgro.diagnosis.headline import with_lint
from cgro.diagnosis.lint import lint
from cgro.diagnosis.remedies import remedies_for
from cgro.diagnosis.verdict import Diagnosis
from cgro.ranks import ALONE, Ranks
from cgro.training.weights import load_file

Examples = Split | tuple[Tensor, Tensor] | Mapping[str, Tensor] | DataLoader | TorchDataset
"""A set of examples, see `cgro.definitions.examples.take_examples`: arrays are taken as well."""


def quick_ensemble(threat: ThreatModel) -> Ensemble:
    """APGD on cross-entropy and on the margin (50 steps each), then 500 queries of Square: minutes, not hours.

    Weaker than `standard_ensemble`; it sees through saturated losses, and Square through masked gradients.

    Args:
        threat: the adversary.

    Returns:
        The attack.
    """
    parts = (
        APGD(threat, n_steps=50, precision="float32"),
        APGD(threat, n_steps=50, loss="margin", precision="float32"),
        Square(threat, n_queries=500, precision="float32"),
    )
    return Ensemble(threat, parts)


def diagnose_model(
    model: Model,
    train: Examples,
    test: Examples,
    threat: ThreatModel,
    *,
    attack: Attack | None = None,
    n: int = 1000,
    n_lint: int = 128,
    n_classes: int | None = None,
    seed: int = 0,
    ranks: Ranks = ALONE,
) -> Diagnosis:
    """Does this model generalize cleanly and overfit robustly? One point of training: label `cgro`, not a curve's.

    The evaluation lint runs first; then the four errors by `attack`, each a lower bound, and `cgro_verdict`. Signs of
    gradient masking overrule the label.

    Args:
        model: in eval mode if it is a module; inputs in [0, 1].
        train: (x, y), a dictionary of them, a `Split`, a DataLoader or a Dataset of what it learned.
        test: of what it never saw.
        threat: the adversary.
        attack: None means `quick_ensemble`.
        n: examples of each part, at most: of arrays the first ones, of a DataLoader or a Dataset a sample by the seed,
            since those are often sorted by class.
        n_lint: examples of the lint; 0 leaves it out.
        n_classes: None takes the number of outputs.
        seed: of all random streams.
        ranks: the processes that search together, each called with the same arguments; all of them get the verdict.

    Returns:
        The verdict on this point.

    Raises:
        BadRequest: train mode, inputs outside the box, labels that do not fit.

    Example:
        >>> import torch
        >>> g = torch.Generator().manual_seed(0)
        >>> x = torch.cat([0.4 * torch.rand(60, 4, generator=g), 1 - 0.4 * torch.rand(60, 4, generator=g)])
        >>> y = torch.cat([-torch.ones(60), torch.ones(60)]).long()
        >>> threat = ThreatModel("inf", 0.05)
        >>> found = diagnose_model(lambda v: v.sum(1) - 2, (x[::2], y[::2]), (x[1::2], y[1::2]), threat)
        >>> found.label, found.scope
        ('robust', 'point')
    """
    require_threat(threat)
    attack = attack or quick_ensemble(threat)
    x_test, y_test = _pair(test, n, seed)
    parts = {"train": _pair(train, n, seed), "test": (x_test, y_test)}
    shared = overlap_remark("test", x_test, parts["train"][0])
    checks: list[Check] = []
    if n_lint:
        of_lint = (x_test, y_test)
        if n_lint > n:
            of_lint = _pair(test, n_lint, seed)
        checks = lint(model, *of_lint, threat, n=n_lint, seed=seed, ranks=ranks)
    errors: dict[str, ErrorRate] = {}
    for name, (x, y) in parts.items():
        record = survey(model, x, y, attack, seed=seed, ranks=ranks)
        errors[f"clean_error/{name}"] = ErrorRate(record.broken_by()["clean"], len(x))
        errors[f"robust_error/{name}"] = record.error("exact" if attack.exact else "lower")
    outputs = evaluated_outputs(*in_full_precision(model, x_test[:1]))
    classes = n_classes
    if classes is None:
        classes = 2 if outputs.ndim == 1 else outputs.shape[1]
    rule = replace(DEFAULT_RULE, n_classes=classes)
    verdict = cgro_verdict(errors, prediction_share=predicted_shares(model, x_test), rule=rule)
    plain: dict[str, object] = {}
    for name, error in errors.items():
        used = attack if name.startswith("robust") else None
        plain[name] = error.to_dict(used)
    found = Diagnosis(
        verdict.label,
        "point",
        verdict.reason,
        "unknown",
        findings=() if shared is None else (f"{shared}.",),
        point=verdict,
        remedies=remedies_for(verdict.label),
        evidence={"errors": plain, "attack": repr(attack)},
    )
    if not checks:
        return found
    return with_lint(found, checks)


def _pair(part: Examples, n: int, seed: int) -> tuple[Tensor, Tensor]:
    if is_collection(part):
        sample = take_examples(part, n, seed=seed)
        return sample.x, sample.y
    if isinstance(part, Split):
        part = part.head(n)
    sample = take_examples(part, n)
    return sample.x, sample.y


def measured(
    model: nn.Module,
    files: Sequence[tuple[int, Path]],
    parts: Mapping[str, Split],
    attack: Attack,
    *,
    rows: Sequence[dict[str, float]] | None = None,
    saved: Callable[[list[dict[str, float]]], object] | None = None,
    entry: str | None = None,
    ranks: Ranks = ALONE,
) -> list[dict[str, float]]:
    """Clean and robust errors of each checkpoint, one row each; epochs that `rows` holds are not measured again.

    Args:
        model: of the checkpoints' architecture; holds the last one afterwards.
        files: epochs and checkpoints, see `cgro.training.weights.checkpoint_series`.
        parts: name -> examples.
        attack: finds the robust errors.
        rows: of an earlier call.
        saved: called with all rows after each checkpoint, in the first process.
        entry: which weights of files that hold several; see `cgro.training.weights.load_file`.
        ranks: the processes that attack together, each called with the same arguments; all of them get the rows.

    Returns:
        All rows, those of `rows` first.

    Raises:
        BadRequest: a checkpoint of another network (says which keys), a pickle that would execute code.
    """
    done = list(rows or [])
    with alike(ranks):
        for _, path in files:  # all are read before any work, so that a file that does not fit is found at once
            load_file(model, path, entry=entry)
    known = {row["epoch"] for row in done}
    for epoch, path in files:
        if epoch in known:
            continue
        with alike(ranks):
            load_file(model, path, entry=entry)
        model.eval()
        row: dict[str, float] = {"epoch": epoch}
        for name, split in parts.items():
            record = survey(model, split.x, split.y, attack, index=split.index, ranks=ranks)
            row[f"clean_error/{name}"] = record.broken_by()["clean"] / len(split)
            row[f"robust_error/{name}"] = record.error().value
        row["prediction_share"] = max(predicted_shares(model, parts["test"].x))
        done.append(row)
        with alike(ranks):
            if saved and ranks.writes:
                saved(done)
    load_file(model, files[-1][1], entry=entry)
    return done
