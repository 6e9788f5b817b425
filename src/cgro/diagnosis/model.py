"""The verdict on a model, or on a folder of checkpoints: measured here, then judged like any curve or point."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from cgro._check import BadRequest, bad, one_line
from cgro.data import Split
from cgro.data.raw import listed
from cgro.definitions import (
    APGD,
    DEFAULT_RULE,
    Attack,
    Ensemble,
    ErrorRate,
    Model,
    Square,
    ThreatModel,
    VerdictRule,
    cgro_verdict,
    predicted_shares,
    survey,
)
from cgro.definitions.attacks import judge
from cgro.diagnosis.lint import lint
from cgro.diagnosis.remedies import remedies_for
from cgro.diagnosis.verdict import Diagnosis, with_lint
from cgro.training.checkpoint import load_weights, read_weights

Examples = Split | tuple[Tensor, Tensor]
SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")


def quick_ensemble(threat: ThreatModel) -> Ensemble:
    """APGD on cross-entropy and on the margin (50 steps each), then 500 queries of Square: minutes, not hours.

    Weaker than `standard_ensemble`; it sees through saturated losses, and Square through masked gradients.
    """
    parts = (APGD(threat, n_steps=50), APGD(threat, n_steps=50, loss="margin"), Square(threat, n_queries=500))
    return Ensemble(threat, parts)


def diagnose_model(
    model: Model, train: Examples, test: Examples, threat: ThreatModel, *, attack: Attack | None = None, n: int = 1000,
    n_lint: int = 128, n_classes: int | None = None, seed: int = 0,
) -> Diagnosis:  # fmt: skip
    """Does this model generalize cleanly and overfit robustly? One point of training: label `cgro`, not a curve's.

    The evaluation lint runs first; then the four errors by `attack`, each a lower bound, and `cgro_verdict`. Signs of
    gradient masking overrule the label.

    Args:
        model: in eval mode if it is a module; inputs in [0, 1]. train, test: (x, y) or a `Split` of what it learned
            and of what it never saw. threat: the adversary.
        attack: None means `quick_ensemble`. n: examples of each part, at most. n_lint: of the lint; 0 leaves it out.
        n_classes: None takes the number of outputs. seed: of all random streams.

    Raises:
        BadRequest: train mode, inputs outside the box, labels that do not fit.

    Example:
        >>> import torch
        >>> g = torch.Generator().manual_seed(0)
        >>> x = torch.cat([0.4 * torch.rand(60, 4, generator=g), 1 - 0.4 * torch.rand(60, 4, generator=g)])
        >>> y = torch.cat([-torch.ones(60), torch.ones(60)]).long()
        >>> found = diagnose_model(lambda v: v.sum(1) - 2, (x[::2], y[::2]), (x[1::2], y[1::2]), ThreatModel("inf", 0.05))
        >>> found.label, found.scope
        ('robust', 'point')
    """
    attack = attack or quick_ensemble(threat)
    parts = {name: _pair(part, n) for name, part in (("train", train), ("test", test))}
    x_test = parts["test"][0]
    checks = lint(model, *_pair(test, n_lint), threat, n=n_lint, seed=seed) if n_lint else []
    errors: dict[str, ErrorRate] = {}
    for name, (x, y) in parts.items():
        record = survey(model, x, y, attack, seed=seed)
        errors[f"clean_error/{name}"] = ErrorRate(record.broken_by()["clean"], len(x))
        errors[f"robust_error/{name}"] = record.error("exact" if attack.exact else "lower")
    outputs = judge(model, x_test[:1])
    classes = n_classes or (2 if outputs.ndim == 1 else outputs.shape[1])
    rule = VerdictRule(**{**vars(DEFAULT_RULE), "n_classes": classes})
    shares = predicted_shares(model, x_test)
    verdict = cgro_verdict(errors, prediction_share=shares, rule=rule)
    evidence = {
        "errors": {k: e.to_dict(attack if "robust" in k else None) for k, e in errors.items()},
        "attack": repr(attack),
    }
    found = Diagnosis(verdict.label, "point", verdict.reason, "unknown", point=verdict,
                      remedies=remedies_for(verdict.label), evidence=evidence)  # fmt: skip
    return with_lint(found, checks) if checks else found


def _pair(part: Examples, n: int) -> tuple[Tensor, Tensor]:
    x, y = (part.x, part.y) if isinstance(part, Split) else part
    if len(x) != len(y):
        raise bad("labels", expected=f"{len(x)}, one per example", got=len(y))
    return x[:n], y[:n]


def checkpoint_files(folder: Path, pattern: str = "*") -> list[tuple[int, Path]]:
    """(epoch, file) of a folder of checkpoints, in the order of the last number in each name.

    Optimizer states (`opt...`) are left out. Without numbers the names' order counts from 1.

    Raises:
        BadRequest: no checkpoint in it, two of one epoch, some with and some without a number.
    """
    try:
        found = list(folder.glob(pattern))
    except (ValueError, NotImplementedError, OSError) as error:  # no pattern; an absolute one; a folder out of reach
        raise bad(
            "--pattern", expected="a pattern of names, such as model_*.pth", got=f"{pattern!r} ({error})"
        ) from None
    files = sorted(p for p in found if p.suffix in SUFFIXES and not p.name.startswith("opt"))
    if not files:
        there = ", ".join(sorted(p.name for p in folder.iterdir())[:5]) or "nothing"
        raise bad(str(folder), expected=f"checkpoints ({', '.join(SUFFIXES)})", got=there)
    numbers = [re.findall(r"[0-9]+", p.stem) for p in files]
    numbered = [p for p, found in zip(files, numbers, strict=True) if found]
    if not numbered:
        return list(enumerate(files, 1))
    files = numbered
    epochs = [int(found[-1]) for found in numbers if found]
    times = Counter(epochs)
    twice = next((e for e in epochs if times[e] > 1), None)
    if twice is not None:
        same = listed(p.name for p, e in zip(files, epochs, strict=True) if e == twice)
        text = f"{folder}: several checkpoints of epoch {twice}: {same}; choose with --pattern"
        raise BadRequest(one_line(text))
    return sorted(zip(epochs, files, strict=True))


def measured(
    model: nn.Module, files: list[tuple[int, Path]], parts: dict[str, Split], attack: Attack, *,
    rows: list[dict[str, Any]] | None = None, saved: Callable[[list[dict[str, Any]]], object] | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Clean and robust errors of each checkpoint, one row each; epochs that `rows` holds are not measured again.

    Args:
        model: of the checkpoints' architecture; holds the last one afterwards. parts: name -> examples.
        saved: called with all rows after each checkpoint.

    Raises:
        BadRequest: a checkpoint of another network (says which keys), a pickle that would execute code.
    """
    rows, weights = list(rows or []), {}
    for _, path in files:  # all are read before any work, so that a file that does not fit is found at once
        weights = read_weights(path)
        load_weights(model, weights, path)
    known = {row["epoch"] for row in rows}
    for epoch, path in files:
        if epoch in known:
            continue
        load_weights(model, read_weights(path), path)
        model.eval()
        row: dict[str, Any] = {"epoch": epoch}
        for name, split in parts.items():
            record = survey(model, split.x, split.y, attack, index=split.index)
            row[f"clean_error/{name}"] = record.broken_by()["clean"] / len(split)
            row[f"robust_error/{name}"] = record.error().value
        row["prediction_share"] = max(predicted_shares(model, parts["test"].x))
        rows.append(row)
        if saved:
            saved(rows)
    load_weights(model, weights, files[-1][1])
    return rows
