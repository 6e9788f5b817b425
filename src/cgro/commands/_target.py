"""From options or a run to a target: a network with its weights, its data, its threat, and how it was trained.

A run is data that may come from somebody else: nothing it names is imported, read or fetched unless it is trusted
(`cgro.trust`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from cgro._check import bad
from cgro.commands._common import say_remarks
from cgro.commands._options import Precision, option
from cgro.commands._said import OF_A_CHECKPOINT, require_own
from cgro.commands._settings import BareCheckpoint, described, is_watched, trained, watched
from cgro.commands._training import Config as TrainConfig
from cgro.commands._training import Task
from cgro.data import Dataset, Split, load
from cgro.data.hub import NotCached
from cgro.definitions import DEFAULT_RULE, FOUR, Attack, ErrorRate, ThreatModel, VerdictRule, attack_by_name
from cgro.diagnosis import Check, quick_lint
from cgro.diagnosis.settings import attacks_nothing
from cgro.models import build, fast_layout
from cgro.results import Metric
from cgro.runs import Run, say
from cgro.training.checkpoint import checkpoint_of, kept_epochs, read_run_weights
from cgro.training.weights import load_file, load_weights, weights_inside
from cgro.trust import Received, Trust, code_of, path_of

LINT_N = 128
"""Test examples of the checks beside an evaluation. A choice, as in the lint."""


@dataclass(kw_only=True)
class CheckpointOptions:
    """What a checkpoint without a run is."""

    data: str = option("mnist5k", "data set of a bare checkpoint; of a run, says that its own is yours", names="data")
    classes: str | None = option(None, "task of a bare checkpoint")
    model: str = option("lenet", "network of a bare checkpoint; of a run, says that its own is yours", names="network")
    width: int | None = option(None, "its width", low=1)
    weights: str | None = option(
        None, "which weights of a bare checkpoint that holds several, such as state_dict_ema or student."
    )
    image_size: int | None = option(None, "of a bare checkpoint, side to which images are cut and scaled", low=1)


@dataclass(frozen=True)
class Target:
    """A network to look at.

    Attributes:
        settings: of its training; of a bare checkpoint, what the caller says of it.
        run: it was trained by; None for a bare checkpoint.
        checkpoints: label -> file; the one that counts is the last.
        entry: which weights of a bare checkpoint, where it holds several; see `cgro.training.weights.load_file`.
    """

    settings: TrainConfig
    run: Run | None
    checkpoints: Mapping[str, Path] = field(default_factory=dict)
    entry: str | None = None

    @property
    def file(self) -> Path:
        """The checkpoint that counts."""
        return list(self.checkpoints.values())[-1]

    @property
    def threat(self) -> ThreatModel:
        """Norm, radius and box."""
        return self.settings.threat()

    @property
    def attacked(self) -> bool | None:
        """Whether anything was attacked in training; None for a bare checkpoint, of which that is not known."""
        if self.run is None or is_watched(self.run):
            return None
        return not attacks_nothing(vars(self.settings))

    def at(self, p: str | None, radius: str | None) -> "Target":
        """The same network against another threat.

        Args:
            p: the norm; None for its own.
            radius: None for its own.

        Returns:
            A target of the same network and data.
        """
        return replace(
            self, settings=replace(self.settings, p=p or self.settings.p, radius=radius or self.settings.radius)
        )

    def attack(self, name: str, precision: Precision) -> Attack:
        """An attack by name, against this threat.

        Args:
            name: such as pgd20; see `cgro.definitions.attack_by_name`.
            precision: of its gradients.

        Returns:
            The attack.

        Raises:
            BadRequest: no such attack.
        """
        return attack_by_name(name, self.threat, precision=precision)

    def load_weights(self, model: torch.nn.Module, file: Path | None = None) -> torch.nn.Module:
        """Put the weights of a checkpoint into a network. Which ones is said where there was a choice.

        Args:
            model: as `prepare` builds it; changed in place.
            file: one of the checkpoints; default the one that counts.

        Returns:
            The same network.

        Raises:
            BadRequest: damaged, weights that do not fit, or several that do and none named.
        """
        file = file or self.file
        if self.run is not None:
            # A loop of others may have had the network that the caller names inside of another.
            inside = is_watched(self.run)
            said = load_weights(model, read_run_weights(self.run, file), file, inside=inside).sentence()
        else:
            said = load_file(model, file, entry=self.entry).sentence()
        if said:
            say(said)
        return model

    def require_own(self, config: CheckpointOptions, *further: str) -> "Target":
        """Refuse options that say something else of a run than it says of itself; a bare checkpoint has no others.

        What a loop trained under `cgro.Monitor`, and on what, its run does not know: that the caller may say.

        Args:
            config: options of the command.
            further: names of options, beside those of `CheckpointOptions`, that only describe a bare checkpoint.

        Returns:
            This target.

        Raises:
            BadRequest: an option that would have no effect.
        """
        if self.run is not None:
            names = further if is_watched(self.run) else (*OF_A_CHECKPOINT, *further)
            require_own(config, vars(self.settings), names, where=str(self.run.path))
        return self

    def load(self) -> tuple[Dataset, torch.nn.Module]:
        """Data, and the network with the weights that count.

        Returns:
            The data set and the network, in the mode in which it was built.

        Raises:
            Untrusted: the run names code, a path or a download that is not trusted.
            BadRequest: see `prepare` and `load_weights`.
        """
        data, model = prepare(self.settings)
        return data, self.load_weights(model)


def load_target(
    path: str | Path,
    options: BareCheckpoint,
    *,
    p: str | None = None,
    radius: str | None = None,
    trust: Trust = False,
    selected: bool = False,
    name: str = "TARGET",
) -> Target:
    """The target at a path: one run of cgro train, or a checkpoint that the options describe.

    Args:
        path: of a run directory or a file of weights.
        options: say what a bare checkpoint is.
        p: norm of a bare checkpoint's threat; default inf. A run has its own, see `Target.at`.
        radius: of a bare checkpoint's threat, which needs one.
        trust: what of the names in a run may be used.
        selected: of a run, the checkpoint that validation selected instead of the last.
        name: what the path was given as, for messages.

    Returns:
        The target; neither data nor weights are read yet.

    Raises:
        BadRequest: nothing is there, or no run of cgro train, or a checkpoint without a radius.
        Untrusted: see `settings_of`.
    """
    path = Path(path)
    if not path.exists():
        raise bad(name, expected="a run directory or a checkpoint", got=f"{path}, which does not exist")
    if not Run(path).is_begun():
        path = weights_inside(path) or path
    if path.is_dir():
        if options.weights is not None:
            raise bad("--weights", expected="a checkpoint without a run", got=f"a run, {path}", remedy="leave it out")
        run, settings = trained(path, trust=trust, data=options.data)
        settings = watched(run, settings, options.model, options.data, trust)
        if is_watched(run):
            settings = replace(settings, width=options.width, classes=options.classes, image_size=options.image_size)
        return Target(settings, run, {"last": checkpoint_of(run, selected=selected)})
    if radius is None:
        raise bad("--radius", expected="the radius to attack at, such as 0.1 or 8/255", got="none")
    settings = described(options, model=options.model, p=p or "inf", radius=radius)
    return Target(settings, None, {path.stem: path}, options.weights)


def load_teacher(run: str, student: TrainConfig, what: str) -> torch.nn.Module:
    """The network of a run that another training learns from.

    Args:
        run: its directory.
        student: the training; what its command line trusts counts for the teacher's run too.
        what: it is for, such as "kd: robust".

    Returns:
        The network with the weights that count.

    Raises:
        BadRequest: no run of cgro train, or one whose task is another.
        Untrusted: see `settings_of`.
    """
    if not Path(run).is_dir():
        raise bad(what, expected="the directory of a run of cgro train", got=run)
    found, settings = trained(run, what, trust=student.trust)
    if (settings.data, settings.classes) != (student.data, student.classes):
        expected = f"a run on {student.data}, classes {student.classes or 'all'}, as this training"
        raise bad(what, expected=expected, got=f"{run}, on {settings.data}, {settings.classes or 'all'}")
    return Target(settings, found, {"last": checkpoint_of(found)}).load()[1]


def every_checkpoint(target: Target) -> Target:
    """The same run with the checkpoints that training kept before the last one.

    Args:
        target: a run.

    Returns:
        The target with `epoch-0001` and so on, the last one at the end.

    Raises:
        BadRequest: training kept none.
    """
    assert target.run is not None, "a bare checkpoint has no others"
    kept = {file.stem: file for file in kept_epochs(target.run).values()}
    if not kept:
        raise bad(
            f"{target.run.path}/checkpoints",
            expected="epoch-*.safetensors",
            got="none",
            remedy="train with checkpoints every k epochs, or leave --per-epoch out",
        )
    return replace(target, checkpoints={**kept, **target.checkpoints})


def prepare(task: Task) -> tuple[Dataset, torch.nn.Module]:
    """Data and network, checked against each other before any work.

    Of settings that came with a run the data are taken from the cache of the hub, unless they are trusted.

    Args:
        task: settings of the caller's own, or as `settings_of` gives them.

    Returns:
        The data set, and a network with its initial weights.

    Raises:
        Untrusted: the cache of the hub does not have what the run names.
        BadRequest: see `cgro.data.load` and `cgro.models.build`.
    """
    data = _data(task)
    say_remarks(data)
    model = fast_layout(network(task, data))
    if task.received is not None and task.received.renamed:
        say(f"{task.received.where}: its config.yaml was changed: {task.received.renamed}")
    return data, model


def _data(task: Task) -> Dataset:
    received = task.received
    try:
        data = load(
            task.data,
            classes=task.classes,
            n_train=task.n_train,
            n_test=task.n_test,
            validation=task.validation,
            seed=task.seed,
            download=received is None or received.trusts(task.data),
            stream=task.stream,
            image_size=task.image_size,
        )
    except NotCached:
        assert received is not None, "what the caller names is fetched"
        raise received.untrusted("data", task.data, "data", "hub") from None
    if received is not None and received.checksum not in (None, data.sha256):
        _other_data(received, task.data, data)
    return data


def _other_data(received: Received, name: str, data: Dataset) -> None:
    """Refuse arrays that are not those of the run. Of images in files it is said: the same ones may be stored in other
    files, as those of a mirror, and a set that is streamed has a checksum of its own."""
    path = path_of(name)
    there, here = str(received.checksum)[:12], data.sha256[:12]
    if code_of(name) is None and (path is None or path.suffix != ".npz"):
        say(
            f"warning: {received.where}: its data are {data.name} of checksum {there}, and those here have {here}; if "
            "the images are others, these are numbers of other data than the run's"
        )
        return
    raise bad(
        received.where,
        expected=f"{data.name} as it was when the run was trained (checksum {there})",
        got=f"other contents ({here})",
        remedy="restore the data, or evaluate its checkpoint on these as one without a run",
    )


def network(task: Task, data: Dataset) -> torch.nn.Module:
    """The network that the settings name, with its initial weights, for these data.

    One that came with a run is not allocated if it is hundreds of times as large as the run's own checkpoint.

    Args:
        task: names it, its width and its seed.
        data: says the shape of its inputs and the number of its outputs.

    Returns:
        The network.

    Raises:
        BadRequest: see `cgro.models.build`.
    """
    stored = None if task.received is None else task.received.stored
    return build(task.model, data.shape, data.n_outputs, width=task.width, seed=task.seed, stored=stored)


def rule_for(data: Dataset) -> VerdictRule:
    """The default rule with the number of classes of the task.

    Args:
        data: of the task.

    Returns:
        Thresholds of the verdict.
    """
    return replace(DEFAULT_RULE, n_classes=max(2, data.n_outputs))


def metrics_of(errors: Mapping[str, ErrorRate], attack: Attack, name: str) -> dict[str, Metric]:
    """Entries of `summary.json`: the strongest bound under the plain key, and each under its attack's name.

    Args:
        errors: some of the four, and of other parts.
        attack: found the robust ones.
        name: of the attack on the command line.

    Returns:
        Key -> metric.
    """
    metrics = {}
    for key in [*FOUR, *(key for key in errors if key not in FOUR)]:
        if key not in errors:
            continue
        if key.startswith("robust"):
            metrics[key] = Metric.of_error(errors[key], attack)
            metrics[f"{key}@{name}"] = Metric.of_error(errors[key], attack)
        else:
            metrics[key] = Metric.of_error(errors[key])
    return metrics


def warned_checks(model: torch.nn.Module, test: Split, threat: ThreatModel) -> list[Check]:
    """The checks of the lint that attack nothing, beside an evaluation; each WARN is told on stderr.

    Args:
        model: that was evaluated.
        test: of its device.
        threat: that it was evaluated against.

    Returns:
        Those that warn.
    """
    few = test.head(LINT_N)
    return say_checks([one for one in quick_lint(model, few.x, few.y, threat, n=LINT_N) if one.status == "WARN"])


def say_checks(found: list[Check]) -> list[Check]:
    """Tell warnings on stderr.

    Args:
        found: checks that warn.

    Returns:
        The same.
    """
    for one in found:
        say(f"warning: {one.name}: {one.finding}. To do: {one.remedy}")
    return found
