"""The end of a training: final errors, the verdict, examples under attack. Shared by several processes."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from cgro.commands._target import (
    metrics_of,
    rule_for,
    warned_checks,
)
from cgro.commands._training import Config
from cgro.data import Dataset
from cgro.definitions import Attack, ErrorRate, cgro_verdict, predict
from cgro.diagnosis import faults, point_with_lint
from cgro.diagnosis.settings import attacks_nothing
from cgro.models import n_parameters
from cgro.ranks import ALONE, Ranks
from cgro.results import (
    DatasetRecord,
    Metric,
    ModelRecord,
    OutcomeRecord,
    SelectedEpoch,
    ThreatRecord,
    TrainSummary,
    VerdictRecord,
)
from cgro.results.keys import ON_VALIDATION
from cgro.runs import Run, write_arrays
from cgro.training import errors_on, shares_on
from cgro.training.checkpoint import SELECTED, checkpoint_of, load_checkpoint
from cgro.trajectory import Trajectory


def is_evaluated(trajectory: Trajectory) -> bool:
    """Whether a training ended with a network that is worth measuring.

    Args:
        trajectory: of the training.

    Returns:
        False where its numbers are not finite.
    """
    return trajectory.end.ok or trajectory.end.kind == "collapsed"


def final_errors(
    config: Config, data: Dataset, model: torch.nn.Module, attack: Attack, ranks: Ranks
) -> dict[str, ErrorRate]:
    """Final errors on the training and test parts.

    Args:
        config: the options.
        data: the parts.
        model: the trained network, in eval mode.
        attack: of the evaluation.
        ranks: the processes, which share the counting.

    Returns:
        `clean_error/PART` and `robust_error/PART`.
    """
    device = next(model.parameters()).device
    errors: dict[str, ErrorRate] = {}
    for name, part in (("train", data.train), ("test", data.test)):
        errors |= errors_on(model, part.to(device), attack, config.final_n, name, ranks=ranks)
    return errors


def evaluate(
    config: Config,
    data: Dataset,
    model: torch.nn.Module,
    attack: Attack,
    trajectory: Trajectory,
    run: Run,
    ranks: Ranks = ALONE,
) -> TrainSummary:
    """The final evaluation, the verdict and the example images.

    Args:
        config: the options.
        data: its training and test parts are evaluated.
        model: the trained network, in eval mode.
        attack: of the evaluation.
        trajectory: the epochs.
        run: takes the examples.
        ranks: the processes, which share the counting.

    Returns:
        The summary; without errors where training broke off.
    """
    device = next(model.parameters()).device
    outcome, verdict, metrics = trajectory.end, None, {}
    if is_evaluated(trajectory):
        errors = final_errors(config, data, model, attack, ranks)
        shares = shares_on(model, data.test.to(device), config.final_n)
        attacked = not attacks_nothing(vars(config))
        found = cgro_verdict(errors, prediction_share=shares, rule=rule_for(data), attacked=attacked)
        checks = warned_checks(model, data.test.to(device), config.threat())
        verdict = VerdictRecord.of(point_with_lint(found, checks).to_dict())
        if outcome.kind == "collapsed" and faults(checks):
            # Its reason would advise a warm-up of the radius, which mends no evaluation.
            outcome = replace(outcome, reason="the network answers one class; mend the evaluation before the training")
        metrics = metrics_of(errors, attack, config.eval_attack)
        save_examples(model, data, attack, run)
        metrics |= selected_errors(config, data, model, attack, run, ranks)
    selected = trajectory.meta["selected"]
    return TrainSummary(
        command="train",
        seed=config.seed,
        threat=ThreatRecord.of(config.threat().to_dict()),
        outcome=OutcomeRecord.of(vars(outcome)),
        verdict=verdict,
        metrics=metrics,
        data=DatasetRecord.of(data.describe()),
        selected=SelectedEpoch.of(selected) if isinstance(selected, Mapping) else None,
        model=ModelRecord(name=config.model, width=config.width, n_parameters=n_parameters(model)),
    )


def selected_errors(
    config: Config, data: Dataset, model: torch.nn.Module, attack: Attack, run: Run | None, ranks: Ranks
) -> dict[str, Metric]:
    """Test errors of the checkpoint that was selected on validation robust error, beside those of the last one.

    Args:
        config: the options.
        data: its test part is used.
        model: gets the weights of the last checkpoint back.
        attack: of the evaluation.
        run: has the checkpoints; None beside the first of several processes.
        ranks: the processes, which share the counting.

    Returns:
        Metrics with `@selected_on_validation` behind their keys; none where nothing was selected.
    """
    path = None
    if run is not None and (run.path / "checkpoints" / SELECTED).exists():
        path = run.path / "checkpoints" / SELECTED
    if ranks.of_first([int(path is not None)]) == [0]:
        return {}
    if path is not None:
        load_checkpoint(path, model)
    ranks.copy_first([*model.parameters(), *model.buffers()])
    test = data.test.to(next(model.parameters()).device)
    errors = errors_on(model, test, attack, config.final_n, "test", ranks=ranks)
    if run is not None:
        load_checkpoint(checkpoint_of(run), model)
    metrics = {}
    for key, error in errors.items():
        used = attack if key.startswith("robust") else None
        metrics[f"{key}{ON_VALIDATION}"] = Metric.of_error(error, used)
    return metrics


def save_examples(model: torch.nn.Module, data: Dataset, attack: Attack, run: Run, n: int = 8) -> None:
    """Keep some test images, their adversarial versions and the predictions, for the figures.

    Args:
        model: the trained network, in eval mode.
        data: whose first test images are taken.
        attack: makes the adversarial versions.
        run: takes `examples.npz`, written whole or not at all.
        n: how many images, or all test images if there are fewer.

    Raises:
        BadRequest: the disk is full or not writable; an old file is intact.
    """
    device = next(model.parameters()).device
    x, y = data.test.head(n).x.to(device), data.test.y[:n].to(device)
    x_adv = attack(model, x, y)
    with torch.no_grad():
        before, after = predict(model(x)), predict(model(x_adv))
    tensors = {"x": x, "x_adv": x_adv, "y": y, "prediction": before, "prediction_adv": after}
    arrays = {"classes": np.array(data.classes), "binary": np.array(data.n_outputs == 1)}
    arrays |= {key: values.cpu().numpy() for key, values in tensors.items()}
    write_arrays(run.path / "examples.npz", arrays)
