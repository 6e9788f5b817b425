"""Settings of a training run, or of a bare checkpoint as options describe it. A run is data: see `received_from`."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Protocol

from cgro._check import bad, listed, one_line
from cgro.commands._admission import admit
from cgro.commands._options import Precision, fits, options_of
from cgro.commands._training import Config as TrainConfig
from cgro.results import SeedsSummary, Summary, TrainSummary
from cgro.runs import Run, say
from cgro.seal import entry
from cgro.training.checkpoint import LAST
from cgro.trust import CommandLine, Received, Trust, path_of

USED_IN_TRAINING = ("objective", "extension")
"""Settings of a run that only training on builds: an evaluation needs no trust in the code that they name."""


class CheckpointTask(Protocol):
    """Options that describe checkpoints without a run, beside their network."""

    data: str
    classes: str | None
    width: int | None
    weights: str | None
    image_size: int | None
    seed: int
    device: str
    threads: int | None
    precision: Precision


class BareCheckpoint(CheckpointTask, Protocol):
    """Options that describe a checkpoint without a run."""

    model: str


def is_watched(run: Run) -> bool:
    """Whether a run was written by `cgro.Monitor` in a training loop of others.

    Args:
        run: any.

    Returns:
        True if so: its network and data were objects of that loop, and no name says how to make them again.
    """
    return run.config.get("command") == "monitor"


def watched(run: Run, settings: TrainConfig, model: str | None, data: str | None, trust: Trust) -> TrainConfig:
    """The settings of a run, with the network and data that the caller names where it was written by `cgro.Monitor`.

    The loop trained on all that it was given as training part: no validation part is cut from it.

    Args:
        run: of cgro train or `cgro.Monitor`.
        settings: that it has.
        model: that the caller names; None for the one that the run names.
        data: likewise.
        trust: what stands on the command line.

    Returns:
        Settings that `prepare` takes.

    Raises:
        BadRequest: network or data are named neither here nor in the run.
    """
    if not is_watched(run):
        return settings
    chosen: dict[str, str] = {}
    for name, asked in (("model", model), ("data", data)):
        # A default is not what the loop had: on a command line only a name that stands there counts.
        if asked is not None and (not isinstance(trust, CommandLine) or asked in trust.names):
            chosen[name] = asked
        elif getattr(settings, name) == "unknown":
            remedy = "add --model package.module:name and --data NAME: what the loop trained, and on what"
            raise bad(str(run.path), expected=f"--{name} for a run of cgro.Monitor", got="none", remedy=remedy)
    if run.config.get("normalize") is not None:
        say(f"remark: {run.path}: its loop normalized outside the network; the one of --model must do so inside")
    return replace(settings, validation=0.0, **chosen)


def described(options: CheckpointTask, *, model: str, p: str, radius: str) -> TrainConfig:
    """The settings of a bare checkpoint.

    Its training part is all that the data have: only `cgro train` cuts a validation part, and says so in its run.

    Args:
        options: what the caller says of it.
        model: its network, by name.
        p: norm of the threat.
        radius: of the threat.

    Returns:
        Settings that `prepare` takes.
    """
    return TrainConfig(
        data=options.data,
        classes=options.classes,
        model=model,
        width=options.width,
        image_size=options.image_size,
        validation=0.0,
        p=p,
        radius=radius,
        seed=options.seed,
        device=options.device,
        threads=options.threads,
        precision=options.precision,
    )


def trained(
    path: str | Path, name: str | None = None, *, trust: Trust = False, data: str | None = None
) -> tuple[Run, TrainConfig]:
    """One finished run of cgro train, and its settings.

    Args:
        path: of the run.
        name: what the path was given as, for the message.
        trust: see `settings_of`.
        data: see `settings_of`.

    Returns:
        The run, and settings that `prepare` takes.

    Raises:
        BadRequest: no run, one of another command, or a folder of several seeds.
        Untrusted: see `settings_of`.
    """
    run = Run.open(path)
    result = run.read(Summary)
    if isinstance(result, SeedsSummary) or not isinstance(result, TrainSummary):
        raise bad(
            name or str(run.path),
            expected="one run of cgro train",
            got=f"{run.path} of cgro {result.command}",
            remedy="of several seeds name one, DIR/seed-S",
        )
    if run.unchecked:
        say(f"{run.path}: written before runs had digests; its files are read unchecked")
    return run, settings_of(run, trust=trust, data=data)


def settings_of(run: Run, *, trust: Trust = False, data: str | None = None) -> TrainConfig:
    """The settings of a run of cgro train, of this version or of an older one with fewer or more options.

    A run is data: code that it names is imported later only if the caller trusts it, a path that it names read, and a
    data set of the hub that the cache does not have fetched. Of `USED_IN_TRAINING` that is asked when it is built.

    Args:
        run: finished or not.
        trust: True for all that the run names, or the names that are trusted. A command passes on what its own command
            line says.
        data: a path at which the caller says that the run's data are now, as from another folder; nothing else counts.
            Its checksum is compared when it is read.

    Returns:
        Settings that `prepare` takes.

    Raises:
        Untrusted: the run names code, or a path of data, that is not trusted.
    """
    known = {f.name for f in fields(TrainConfig)} - {"trust", "received", "typed"}
    settings = {name: value for name, value in run.config.items() if name in known}
    _say_unknown(run)
    # Where training held its images says nothing of this machine, and changes no result.
    settings.pop("stream", None)
    if data is not None and path_of(data) is not None and path_of(str(settings.get("data", ""))) is not None:
        settings["data"] = data
    received = received_from(run, trust)
    options = options_of(TrainConfig)
    now = dict(settings)
    for name in USED_IN_TRAINING:
        if name in now and fits(now[name], options[name].hint):
            del now[name]
    admit(received, now, TrainConfig, fetch=False)
    return TrainConfig(**settings, received=received)


def _say_unknown(run: Run) -> None:
    """Say which options of a run this version does not know: a later one may have changed data or network by them."""
    unknown = sorted(set(run.config) - {"command", *(f.name for f in fields(TrainConfig))})
    if unknown and not is_watched(run):
        say(
            f"warning: {run.path}: has options that this version does not know ({one_line(listed(unknown), 120)}), "
            "which are left out; if one changes data or network, these are numbers of others than the run's"
        )


def received_from(run: Run, trust: Trust) -> Received:
    """What messages and checks need of a run whose settings are used.

    Args:
        run: they are read from.
        trust: what of the names in it may be used.

    Returns:
        Where the settings come from.
    """
    file = run.path / "checkpoints" / LAST
    stored = file.stat().st_size if file.is_file() else None
    checksum = None
    if run.finished and not is_watched(run):  # a loop's data were tensors: their checksum is that of no file
        checksum = entry(run.summary, "data").get("sha256")
    return Received(str(run.path), trust, stored, run.renamed, checksum if isinstance(checksum, str) else None)
