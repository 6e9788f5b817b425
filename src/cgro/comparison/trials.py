"""The trainings and measurements of a plan, at equal compute: every remedy gets as many gradient passes.

A gradient pass is one example once forward and once backward through the network: a step of an attack, or a term of the
loss. One training makes epochs * N * (passes of one example in one step), by `Objective.cost` and what extensions add.
Forward passes alone are left out: under PGD with ten steps they are a twelfth of the operations.
"""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import nn

from cgro._check import BadRequest
from cgro.commands import train
from cgro.commands._target import prepare
from cgro.comparison.plan_file import Plan, Settings
from cgro.data import Dataset
from cgro.definitions import attack_by_name
from cgro.definitions.random_state import preserve_random_state
from cgro.diagnosis.settings import attacks_nothing
from cgro.jobs.plan import HERE, Job
from cgro.training import make_fabric
from cgro.training.extensions import step_cost
from cgro.training.extensions.base import prepare_extensions
from cgro.training.extensions.carried import with_memory
from cgro.training.objectives.cost import Cost, attack_cost
from cgro.training.steps import Steps
from cgro.trust import Trust

N_FLATNESS = 64
"""Examples of each part whose flatness is measured. A choice: their mean has a tenth of their spread."""
GRADIENT_OF_GRADIENT = 2
"""Operations of one step of the search for flatness, in units of an update: a gradient of a gradient. Rough."""
FLATNESS_STEPS = 30
"""Steps of `cgro flatness` per radius by default, of both searches."""
MEMORY_N = 500
"""Examples of each part for the memory score. A choice."""
UPDATE = Cost(n_updates=1)
Task: TypeAlias = tuple[Dataset, nn.Module]
"""Data and network of a training."""
TASK = ("data", "classes", "n_train", "n_test", "validation", "seed", "model", "width")
"""Options that say which data are read and which network is built."""


@dataclass(frozen=True)
class Evaluated:
    """How every network is evaluated at the end.

    Args:
        attack: the strong one, by name.
        n: examples of each part, at most; and at most `final_n` of the base.
    """

    attack: str = "ensemble"
    n: int = 500


@dataclass(frozen=True)
class Trial:
    """One remedy at one width.

    Args:
        remedy: its name.
        width: of the network; None where the plan has no widths.
        settings: options of `cgro train` that are not at their default, epochs among them, without the seed.
        passes: gradient passes of one example in one step.
        n_train: training examples.
        idle: (epochs, passes) of each extension that does nothing in the first epochs: so many passes less.
        trust: what of the names in the settings, and in the runs that they name, may be used.
    """

    remedy: str
    width: int | None
    settings: Settings
    passes: int
    n_train: int
    idle: tuple[tuple[int, int], ...] = ()
    trust: Trust = False

    @property
    def name(self) -> str:
        """Of its folder.

        >>> Trial("ema", 8, {}, 11, 100).name, Trial("ema", None, {}, 11, 100).name
        ('ema/width-8', 'ema')
        """
        return self.remedy if self.width is None else f"{self.remedy}/width-{self.width}"

    @property
    def config(self) -> train.Config:
        """All options, defaults among them."""
        return train.Config(**self.settings, trust=self.trust)  # checked when the plan was read

    @property
    def total(self) -> int:
        """Gradient passes of the whole training."""
        return self.passes_in(self.config.epochs)

    def passes_in(self, epochs: int) -> int:
        """Gradient passes of the first epochs.

        Args:
            epochs: of the training.

        Returns:
            Of all examples.

        Example:
            AWP with a warm-up of 10 epochs.

            >>> Trial("awp", None, {}, 12, 100, idle=((10, 1),)).passes_in(30)
            35000
        """
        saved = sum(min(epochs, idle) * passes for idle, passes in self.idle)
        return self.n_train * (epochs * self.passes - saved)


@dataclass(frozen=True)
class Jobs:
    """The calls of commands for one seed of a trial.

    Args:
        training: `cgro train`.
        last: the network of the last epoch under the strong attack, training and test examples.
        selected: the network that validation selected, test examples; None without a validation part.
        flatness: at the training radius.
        memory: the memory score; None without an attack in training.
    """

    training: Job
    last: Job
    selected: Job | None
    flatness: Job
    memory: Job | None

    @property
    def all(self) -> list[Job]:
        """Them in the order in which they are made."""
        jobs = (self.training, self.last, self.selected, self.flatness, self.memory)
        return [job for job in jobs if job is not None]


def trials_of(plan: Plan, trust: Trust = False) -> list[Trial]:
    """Build every remedy once, refuse what does not fit, and set the epochs so that all make as many gradient passes.

    Epochs are rounded to whole ones, so passes differ by at most half an epoch. A remedy that sets `epochs` itself
    keeps them. Epochs after which the learning rate drops, and the warm-up of the radius, move with the epochs unless
    the remedy sets them.

    Args:
        plan: as read: what it names has been admitted.
        trust: what the caller trusts; of a run that a remedy reads, such as a teacher, the names are admitted here.

    Returns:
        One trial per remedy and width, widths of one remedy together.

    Raises:
        BadRequest: a remedy does not fit the setting, with the message of its option.
        Untrusted: a run that a remedy reads names what is not trusted.
    """
    found: list[Trial] = []
    tasks: dict[str, Task] = {}
    for width in plan.widths or (None,):
        budget = _checked(plan, plan.reference, width, tasks, trust).total
        for remedy, options in plan.remedies.items():
            trial = _checked(plan, remedy, width, tasks, trust)
            if "epochs" not in options:
                trial = _with_budget(trial, budget, options)
            _require_fit(trial, tasks)
            found.append(trial)
    order = list(plan.remedies)
    return sorted(found, key=lambda trial: order.index(trial.remedy))


def _checked(plan: Plan, remedy: str, width: int | None, tasks: dict[str, "Task"], trust: Trust) -> Trial:
    """A trial with the epochs of the plan; everything that its options stand for has been built.

    Args:
        plan: as read.
        remedy: its name.
        width: of the network.
        tasks: data and network by what names them; each pair is read once.
        trust: see `trials_of`.
    """
    settings = plan.settings(remedy, width)
    try:
        config = train.Config(**settings, trust=trust)  # checked by `read_plan`
        config.recipe()
        attack_by_name(config.eval_attack, config.threat())
        objective, extensions = config.build_objective(), config.build_extensions()
        passes = passes_of(step_cost(objective, extensions))
        idle: list[tuple[int, int]] = []
        for extension in extensions:
            if extension.idle_epochs:
                others = [other for other in extensions if other is not extension]
                idle.append((extension.idle_epochs, passes - passes_of(step_cost(objective, others))))
        key = task_of(config)
        if key not in tasks:
            tasks[key] = prepare(config)
    except BadRequest as error:
        raise BadRequest(f"remedy {remedy}: {error}") from error
    data, _ = tasks[key]
    return Trial(remedy, width, settings, passes, len(data.train), tuple(idle), trust)


def task_of(config: train.Config) -> str:
    """What names data and network of a training.

    Args:
        config: of the training.

    Returns:
        The same text for trainings that read the same data and build the same network.
    """
    return repr([getattr(config, name) for name in TASK])


def _require_fit(trial: Trial, tasks: Mapping[str, "Task"]) -> None:
    """Have a trial refuse what does not fit its epochs, network or data before any work, by a step on two examples."""
    config = trial.config
    data, model = tasks[task_of(config)]
    try:
        recipe = replace(config.recipe(), batch_size=2)
        objective = config.build_objective()
        extensions = with_memory(objective, config.build_extensions())
        prepare_extensions(extensions, model, recipe, data, data.train)
        few = data.train.head(4)  # two steps in an epoch: the first does not end it
        steps = Steps(copy.deepcopy(model), few, objective, recipe, extensions, config.seed, make_fabric("cpu"))
        with preserve_random_state():
            steps.take(steps.make(0, 0, torch.arange(2)), 0, 0)
    except BadRequest as error:
        epochs = f"{config.epochs} epochs, for as many gradient passes as the reference"
        raise BadRequest(f"remedy {trial.remedy} ({epochs}): {error}") from error
    except Exception:  # code of the caller's: its job says so, and stops no other
        return


def passes_of(cost: Cost) -> int:
    """Gradient passes of one example in one step.

    Args:
        cost: of the step.

    Returns:
        Passes with a gradient, whatever it is of.

    Example:
        >>> passes_of(Cost(n_forward=2, n_gradients=10, n_updates=1))
        11
    """
    return cost.n_gradients + cost.n_updates


def _with_budget(trial: Trial, budget: int, own: Mapping[str, object]) -> Trial:
    """The trial with the epochs that come nearest to a number of gradient passes."""
    config = trial.config
    saved = sum(idle * passes for idle, passes in trial.idle)
    epochs = max(1, round((budget / trial.n_train + saved) / trial.passes))
    settings = {**trial.settings, "epochs": epochs}
    share = epochs / config.epochs
    if share == 1:
        return replace(trial, settings=settings)
    if config.lr_drops and "lr_drops" not in own:
        # Each between 1 and epochs - 1, as a recipe must have it; so in one epoch there is none.
        drops = {min(max(1, round(share * drop)), epochs - 1) for drop in config.recipe().lr_drops} - {0}
        settings |= {"lr_drops": ",".join(str(drop) for drop in sorted(drops))}
    if config.radius_warmup and "radius_warmup" not in own:
        settings |= {"radius_warmup": share * config.radius_warmup}
    return replace(trial, settings=settings)


def jobs_of(trial: Trial, seed: int, evaluated: Evaluated, seconds: float = 0.0) -> Jobs:
    """The calls of commands for one seed.

    Args:
        trial: the remedy.
        seed: of the training.
        evaluated: how.
        seconds: of one operation of one example, measured; see `operations_of`. 0: not measured.

    Returns:
        Training and measurements.
    """
    config = trial.config
    label = f"{trial.name}/seed-{seed}"
    training = Job(f"training/{label}", "train", {**trial.settings, "seed": seed}, seconds * operations_of(trial))
    target: Settings = {"target": f"{HERE}{training.name}"}
    n = min(evaluated.n, config.final_n)
    attacked = attack_cost(attack_by_name(evaluated.attack, config.threat())).operations * seconds * n
    strong: Settings = {**target, "attack": evaluated.attack, "n": n}
    selected = None
    if config.validation > 0:
        settings: Settings = {**strong, "parts": "test", "selected": True}
        selected = Job(f"evaluations/{label}/selected", "evaluate", settings, attacked)
    memory = None
    n_memory = max(4, min(MEMORY_N, config.final_n))
    if not attacks_nothing(vars(config)):
        settings = {**target, "attack": config.eval_attack, "n": n_memory}
        weak = attack_cost(attack_by_name(config.eval_attack, config.threat())).operations
        memory = Job(f"memory/{label}", "memory", settings, 2 * weak * seconds * n_memory)
    n_flat = min(N_FLATNESS, config.final_n)
    flat = GRADIENT_OF_GRADIENT * UPDATE.operations * FLATNESS_STEPS * seconds * n_flat
    return Jobs(
        training=training,
        last=Job(f"evaluations/{label}/last", "evaluate", {**strong, "parts": "train,test"}, 2 * attacked),
        selected=selected,
        flatness=Job(
            f"flatness/{label}", "flatness", {"targets": [f"{HERE}{training.name}"], **_at_radius(config, n_flat)}, flat
        ),
        memory=memory,
    )


def _at_radius(config: train.Config, n: int) -> Settings:
    return {"radii": str(config.radius), "n": n}


def operations_of(trial: Trial) -> float:
    """What a training costs, its evaluations after epochs among it, in passes forward of one example.

    Args:
        trial: the remedy.

    Returns:
        Their number; of an evaluation at most, since examples that are broken are attacked no more.
    """
    config = trial.config
    cost = step_cost(config.build_objective(), config.build_extensions())
    n_evaluated = 3 * min(config.eval_n, trial.n_train) * (config.epochs // config.eval_every + 2)
    attack = attack_cost(attack_by_name(config.eval_attack, config.threat()))
    return cost.operations * trial.n_train * config.epochs + attack.operations * n_evaluated


def seconds_per_operation(trials: Iterable[Trial], **computing: object) -> dict[int | None, float]:
    """Measure one step of each network.

    Args:
        trials: of the plan.
        computing: device and threads, as options of `cgro train`.

    Returns:
        Width of the trial -> seconds of one pass forward of one example. Networks that remedies widen count as the
        reference's.
    """
    found: dict[int | None, float] = {}
    for trial in trials:
        if trial.width not in found:
            config = replace(trial.config, **computing)
            seconds = train.seconds_per_example(config)
            found[trial.width] = seconds / step_cost(config.build_objective(), config.build_extensions()).operations
    return found
