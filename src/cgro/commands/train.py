"""Train a network, clean or adversarially, and measure it: the four errors over the epochs and the verdict.

examples:
  cgro train --data mnist5k --radius 0.2 --epochs 20 --out runs/mnist5k
  cgro train --data mnist --model lenet --width 4 --radius 0.1 --attack pgd10 --epochs 2 --out runs/mnist
  cgro train --data mnist5k --classes 3,8 --p 2 --radius 1.5 --seeds 3 --out runs/three-eight
  cgro train --data digits --attack none --model my_package.networks:Net
  cgro train --recipe small-cifar10 --seeds 3 --out runs/cifar10
  cgro train --data mnist5k --objective trades:beta=6 --extension ema:decay=0.999
  cgro train --data mnist5k --objective mart:beta=5 --extension awp:gamma=0.01 --extension swa
  cgro train --data mnist5k --objective kd:standard=runs/clean,robust=runs/mnist5k --extension swa
  cgro train --data digits --objective my_package.remedies:Mart:beta=5
  cgro train --resume runs/mnist
  cgro train --recipe small-cifar10 --out runs/cifar10 --max-seconds 3000      (call it again, until it exits with 0)
  cgro train --resume runs/mine --model my_package.networks:Net
  torchrun --nproc-per-node 4 -m -- cgro train --recipe rice2020 --batch-norm synchronized --out runs/rice

What a run that is resumed, or the file of --config, names is not imported, read or fetched unless you name it as well,
or add --trust: it may be of others.

recipes, as defaults for every option that is not given: rice2020 and fast2020 (CIFAR-10, as published: Rice, Wong,
Kolter, ICML 2020; Wong, Rice, Kolter, ICLR 2020), small-cifar10 (robust overfitting on two CPU cores within half an
hour).
"""

import contextlib
import math
import shlex
import time
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from cgro._check import BadRequest, bad, one_of
from cgro._exits import INTERRUPTED
from cgro._interrupt import stopping_after
from cgro.commands._admission import admit
from cgro.commands._common import begin, for_seeds, lines_of, set_up
from cgro.commands._final import evaluate, final_errors, is_evaluated, selected_errors
from cgro.commands._options import NOT_STORED, options_of
from cgro.commands._said import require_own
from cgro.commands._settings import received_from, settings_of, trained
from cgro.commands._target import network, prepare
from cgro.commands._together import Beside, begun_by_first, beside
from cgro.commands._training import RECIPES, Config
from cgro.data import Dataset
from cgro.data.sources import kind_of
from cgro.data.storage import StreamChoice
from cgro.definitions import Attack, NoAttack, attack_by_name
from cgro.definitions.rounds import alike
from cgro.ranks import ALONE, Ranks, joined, launched
from cgro.remedy_names import EXTENSION_NAMES, OBJECTIVE_NAMES
from cgro.report.training import adversarial_grid, learning_curves
from cgro.results import Summary
from cgro.runs import Run, dump_json, read_json, say, write_atomic
from cgro.training import Adversarial, Evaluation, evaluated, fit, make_fabric, step_cost
from cgro.training.alignment import alignment_probes
from cgro.training.compiling import OPTIONS
from cgro.training.engine import require_validation
from cgro.training.extensions.base import prepare_extensions
from cgro.training.fabric import PRECISIONS, step_precision
from cgro.training.given import given_to
from cgro.training.objectives import attack_of
from cgro.training.registry import summary_of
from cgro.training.steps import Steps
from cgro.trajectory import Trajectory
from cgro.trust import code_of, failure_of, runs_in

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__doc__ = f"""{__doc__}
objectives, what training minimizes:
{summary_of(OBJECTIVE_NAMES)}

extensions, beside it:
{summary_of(EXTENSION_NAMES)}
"""

__all__ = [
    "RECIPES",
    "Config",
    "describe",
    "network",
    "prepare",
    "run",
    "seconds_per_example",
    "settings_of",
    "trained",
]

NEXT = "cgro diagnose {run}"
"""Mostly follows; see `cgro.cli` and `next_of`."""
FEW_FOR_VALIDATION = 50
"""Examples below which a validation part is remarked on. A choice: the standard error is 7 points there."""


def run(config: Config) -> Run | Beside:
    """Train and evaluate; one seed or several.

    Args:
        config: the options; `resume` takes up an unfinished run with its own.

    Returns:
        The finished run; in a process that torchrun started beside the first, an exit code.

    Raises:
        BadRequest: options that do not fit, before any work.
    """
    if launched() > 1:
        return _in_several(config)
    config = _begun(config)
    with stopping_after(config.max_seconds):
        return for_seeds("train", config, _one, learning_curves)


def _begun(config: Config) -> Config:
    """The settings of the run to resume, if one is, and the process set up for them."""
    if config.resume is not None:
        config = _as_before(config)
    set_up(config)
    return config


def _in_several(config: Config) -> Run | Beside:
    """One seed, in a process that was started with others."""
    device = "cpu"
    if config.device != "cpu" and torch.cuda.is_available():
        device = "cuda"
    with joined(device) as ranks, stopping_after(config.max_seconds):
        if ranks.writes:
            return _one_seed(config, ranks)
        return beside(lambda: _one_seed(config, ranks))


def _one_seed(config: Config, ranks: Ranks) -> Run | Beside:
    with alike(ranks):
        config = _begun(config)
        if config.seeds != 1:
            raise bad("--seeds", expected="1 in several processes", got=config.seeds, remedy="one call per seed")
    return _trained(config, config.out, ranks)


def _as_before(config: Config) -> Config:
    """The settings of the run to resume: other ones are refused, since they would have no effect."""
    before = Run.open(config.resume or "")
    if before.finished:
        raise BadRequest(f"{before.path}: nothing to resume, it is finished")
    settings = before.config
    if settings.pop("command") != "train":
        raise bad("--resume", expected="a run of cgro train", got=before.path)
    before.check_known(settings, (f.name for f in fields(Config)))
    received = received_from(before, config.trust)
    admit(received, settings, Config, fetch=False)
    _require_nothing_else(config, settings, before)
    settings |= {"out": str(before.path), "json": config.json, "trust": config.trust, "received": received}
    settings |= {"max_seconds": config.max_seconds}
    return Config(**settings)


def _require_nothing_else(config: Config, settings: Mapping[str, object], before: Run) -> None:
    """Refuse what stands beside --resume and would be left out: settings that the run does not have, another folder."""
    if config.overwrite:
        raise bad("--overwrite", expected="none beside --resume", got="both", remedy="leave one of them out")
    if config.out is not None and Path(config.out).resolve() != before.path.resolve():
        remedy = "leave it out: a run goes on where it is"
        raise bad("--out", expected=f"{before.path}, which --resume names", got=config.out, remedy=remedy)
    names = [name for name in options_of(Config) if name not in (*NOT_STORED, "resume")]
    remedy = "a run goes on with its own settings: leave it out, or start anew with another --out"
    require_own(config, settings, names, where=str(before.path), remedy=remedy)


def _one(config: Config, path: str | Path | None) -> Run:
    """One seed in one process."""
    done = _trained(config, path, ALONE)
    assert isinstance(done, Run), "the only process is the first"
    return done


def _trained(config: Config, path: str | Path | None, ranks: Ranks) -> Run | Beside:
    with alike(ranks):
        recipe, objective, extensions = config.recipe(), config.build_objective(), config.build_extensions()
        attack = attack_by_name(config.eval_attack, config.threat(), precision=config.precision)
        evaluation = Evaluation(attack, config.eval_n, config.eval_every, config.keep_every)
        make_fabric(config.device, precision=config.train_precision, track=config.track)
        one_of(config.compile, "--compile", OPTIONS)
        data, model = prepare(replace(config, stream=_stream(config, path)))
        precision = _step_precision(config, path, model)
    (chosen,) = ranks.of_first([PRECISIONS.index(precision)])
    config = replace(config, train_precision=PRECISIONS[chosen])
    if data.on_disk:
        config = replace(config, stream="yes")
    with alike(ranks):
        require_validation(recipe, data, evaluation)
        prepare_extensions(extensions, model, recipe, data, data.train)
    _warn_of_few_for_validation(len(data.validation))
    for remark in config.without_effect():
        say(f"remark: {remark}")
    begun = begun_by_first(begin("train", config, path), ranks)
    with begun as run, _resumable(config, run), _fabric(config, run) as fabric:
        if ranks.shared:
            fabric.launch()
        with ranks.failing_together("the run directory"):
            if run is not None:
                keep_examples(data, run)
                keep_given(given_to(objective, extensions), run)
        trajectory = fit(
            model,
            data,
            objective,
            recipe,
            extensions=extensions,
            evaluation=evaluation,
            seed=config.seed,
            run=run,
            fabric=fabric,
            probes=alignment_probes(attack_of(objective)),
            compiling=config.compile,
        )
        trained_model = evaluated(model, extensions).eval()
        if run is None:
            return _beside(config, data, trained_model, attack, trajectory, ranks)
        if trajectory.end.kind == "interrupted":
            raise KeyboardInterrupt(f"everything is saved; {resume_command(config, run)}")
        result = evaluate(config, data, trained_model, attack, trajectory, run, ranks)
        learning_curves(run.path)
        adversarial_grid(run.path)
        run.finish(result)
    return run


@contextlib.contextmanager
def _fabric(config: Config, run: Run | None) -> Iterator["Fabric"]:
    """With its trackers, which are told at the end how it ended, and closed: the next seed would go on in the curves of
    this one."""
    folder = None if run is None else run.path
    fabric = make_fabric(config.device, precision=config.train_precision, track=config.track, folder=folder)
    status = "failed"
    try:
        yield fabric
        status = "finished"
    except KeyboardInterrupt:
        status = "interrupted"
        raise
    finally:
        for logger in fabric.loggers:
            logger.finalize(status)


def _beside(
    config: Config, data: Dataset, model: torch.nn.Module, attack: Attack, trajectory: Trajectory, ranks: Ranks
) -> Beside:
    """What a process beside the first does of the final evaluation: its share of every count."""
    if trajectory.end.kind == "interrupted":
        return Beside(INTERRUPTED)
    if is_evaluated(trajectory):
        final_errors(config, data, model, attack, ranks)
        selected_errors(config, data, model, attack, None, ranks)
    return Beside(0)


def next_of(config: Config) -> str:
    """What mostly follows: the diagnosis, which names the caller's own network and data, so that it may use them.

    Args:
        config: of the training.

    Returns:
        A template as `NEXT`.

    Example:
        >>> next_of(Config()), next_of(Config(model="net:MyNet"))
        ('cgro diagnose {run}', 'cgro diagnose {run} --model {model}')
    """
    template = NEXT
    if code_of(config.model) is not None:
        template += " --model {model}"
    if code_of(config.data) is not None or kind_of(config.data) == "path":
        template += " --data {data}"
    return template


def resume_command(config: Config, run: Run) -> str:
    """The command that goes on with a run, ready to be pasted.

    Args:
        config: of the training.
        run: that it keeps.

    Returns:
        With --trust where the run names what is used only if the caller says so: code, or a path.

    Example:
        >>> resume_command(Config(), Run(Path("runs/a b")))
        "cgro train --resume 'runs/a b'"
        >>> resume_command(Config(model="net:MyNet"), Run(Path("runs/a")))
        'cgro train --resume runs/a --trust'
    """
    command = f"cgro train --resume {shlex.quote(str(run.path))}"
    for name, entry in options_of(Config).items():
        value = getattr(config, name)
        if entry.names is None:
            continue
        for word in value if isinstance(value, list) else [value]:
            if word is not None and (code_of(word) or runs_in(word) or (name == "data" and kind_of(word) == "path")):
                return f"{command} --trust"
    return command


@contextlib.contextmanager
def _resumable(config: Config, run: Run | None) -> Iterator[None]:
    """Have an error inside the caller's own code say how the training is gone on with."""
    try:
        yield
    except Exception as error:
        failed = None
        if run is not None:
            remedy = f"-v shows where; mend it, then {resume_command(config, run)} goes on where it was saved"
            failed = failure_of(error, expected="code that trains", remedy=remedy)
        if failed is None:
            raise
        raise failed from error


def _warn_of_few_for_validation(n: int) -> None:
    if 0 < n < FEW_FOR_VALIDATION:
        # the standard error of a proportion is largest at 1/2
        error = 0.5 / math.sqrt(n)
        say(
            f"remark: only {n} validation examples; errors on them are uncertain by up to {error:.0%} (one standard "
            "error), and so is the checkpoint that they select; raise --validation"
        )


def _step_precision(config: Config, path: str | Path | None, model: torch.nn.Module) -> str:
    """What `auto` stands for: as an unfinished run in the directory was begun, or by processor and network."""
    if config.train_precision == "auto" and path is not None and not config.overwrite and Run(Path(path)).is_run():
        begun = Run(Path(path)).config.get("train_precision")
        if begun in PRECISIONS:
            return str(begun)
    return step_precision(config.train_precision, config.device, model)


def _stream(config: Config, path: str | Path | None) -> StreamChoice:
    """What `auto` stands for where a run was begun: as it was then, since a streamed set has another checksum."""
    if config.stream == "auto" and path is not None and not config.overwrite and Run(Path(path)).is_run():
        if Run(Path(path)).config.get("stream") == "yes":
            return "yes"
        return "no"
    return config.stream


def keep_examples(data: Dataset, run: Run) -> None:
    """Record which examples are used; a resumed run must find the same ones.

    Args:
        data: with the positions of its examples in the source.
        run: takes `index_sets.json`.

    Raises:
        BadRequest: the data have changed since the run was started.
    """
    used: dict[str, object] = {part: getattr(data, part).index.tolist() for part in ("train", "validation", "test")}
    used["sha256"] = data.sha256
    path = run.file("index_sets.json")
    if path.exists() and read_json(path) != used:
        raise bad(
            "--data",
            expected=f"{data.name} as it was when {run.path} was started",
            got="other contents",
            remedy="restore the data, or start anew with --overwrite",
        )
    write_atomic(path, dump_json(used))


def keep_given(given: Mapping[str, str], run: Run) -> None:
    """Record what the training is given beside its options; a resumed run must find the same.

    Args:
        given: name -> digest, such as of a teacher's weights.
        run: takes `given.json`, where there is anything.

    Raises:
        BadRequest: something has changed since the run was started.
    """
    path = run.file("given.json")
    if path.exists():
        before = read_json(path)
        if not isinstance(before, dict):
            raise bad(str(path), expected="names and digests", got=type(before).__name__)
        for name in sorted({*given, *before}):
            if given.get(name) != before.get(name):
                expected = f"what {run.path} was started with"
                remedy = "restore it, or start anew with --overwrite"
                raise bad(name, expected=expected, got="another, or none", remedy=remedy)
    if given:
        write_atomic(path, dump_json(dict(given)))


def describe(result: Summary) -> str:
    """Outcome, verdict and the numbers.

    Args:
        result: of one training or of several seeds.

    Returns:
        Text for the terminal.
    """
    text = lines_of(result)
    if result.outcome.kind == "completed":
        return text
    end = f"{result.outcome.kind}: {result.outcome.reason}"
    if result.verdict is not None and result.verdict.label == "too_little_evidence":
        return f"{text}\n\n{end}"  # a fault of the evaluation stands first
    return f"{end}\n{text}"


def seconds_per_example(config: Config, batch: int | None = None) -> float:
    """What one training example costs in one epoch on this machine, its attack included, from one measured step.

    The step is one of standard training, taken after one to warm up. Its time is multiplied by the operations of the
    training's step, with its extensions, over those of the measured one. Evaluations come on top.

    Args:
        config: the options.
        batch: examples in the measured step; default the recipe's.

    Returns:
        Seconds per example and epoch.
    """
    data, model = prepare(config)
    precision = step_precision(config.train_precision, config.device, model)
    fabric = make_fabric(config.device, precision=precision)
    part = data.train.head(batch or config.batch_size).to(fabric.device)
    recipe = replace(config.recipe(), augment="none")
    standard = Adversarial(NoAttack(), robust_weight=0.0)
    steps = Steps(model.to(fabric.device), part, standard, recipe, (), config.seed, fabric)
    started = 0.0
    for _ in range(2):
        started = time.perf_counter()
        float(steps.take(steps.make(0, 0, torch.arange(len(part))), 0, 0))  # waits for the device
    seconds = time.perf_counter() - started
    cost = step_cost(config.build_objective(), config.build_extensions())
    return seconds / len(part) * cost.operations / standard.cost.operations
