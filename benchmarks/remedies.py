"""What a step with each remedy of a plan costs beside plain training: CPU time, passes, and minutes for the whole plan.

  python benchmarks/remedies.py benchmarks/plans/cifar10.yaml                 about 4 minutes on one core
  python benchmarks/remedies.py benchmarks/plans/mnist.yaml --repeats 30

In each repetition every remedy takes one step in turn, on the same batch of the plan's own data and network, in one
process with one thread. Ratios to the reference are within a repetition and of CPU time, so that neighbors of the
machine count for little. The first repetition does not count. Evaluations are not measured here; steps are taken in
float32, whatever the plan says.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from cgro.commands._target import prepare
from cgro.comparison.plan_file import read_plan
from cgro.comparison.trials import Trial, trials_of
from cgro.environment import environment
from cgro.results import Spread
from cgro.speed import alternated
from cgro.training import make_fabric, step_cost
from cgro.training.extensions.base import prepare_extensions
from cgro.training.steps import Steps
from cgro.writing import dump_json, write_atomic

DIGITS = 4


@dataclass
class Stepping:
    """A training in its second half, which takes a step whenever it is called."""

    trial: Trial

    def __post_init__(self) -> None:
        config = self.trial.config
        data, model = prepare(config)
        recipe = config.recipe()
        self.objective = config.build_objective()
        self.extensions = config.build_extensions()
        prepare_extensions(self.extensions, model, recipe, data, data.train)
        fabric = make_fabric("cpu")
        self.steps = Steps(model, data.train, self.objective, recipe, self.extensions, config.seed, fabric)
        self.epoch = recipe.epochs // 2
        self.rows = self.steps.order(self.epoch)[: recipe.batch_size]

    def __call__(self) -> None:
        float(self.steps.take(self.steps.make(self.epoch, 0, self.rows), self.epoch, 0))

    @property
    def passes(self) -> int:
        """With a gradient, of one example."""
        cost = step_cost(self.objective, self.extensions)
        return cost.n_gradients + cost.n_updates


def row_of(stepping: Stepping, seconds: list[float], reference: list[float]) -> dict[str, object]:
    """One remedy."""
    spread = Spread.of_ratio(seconds, reference)
    per_epoch = stepping.steps.per_epoch
    step = Spread.over(seconds).median
    epochs = stepping.trial.config.epochs
    return {
        "passes": stepping.passes,
        "epochs": epochs,
        "cpu_seconds_of_a_step": round(step, DIGITS),
        "over_plain": {name: round(getattr(spread, name), DIGITS) for name in ("low", "median", "high")},
        "cpu_minutes_of_an_epoch": round(step * per_epoch / 60, DIGITS),
        "cpu_minutes_of_a_training": round(step * per_epoch * epochs / 60, DIGITS),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plan", type=Path)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--only", default="", help="remedies beside the reference, separated by commas")
    options = parser.parse_args()
    torch.set_num_threads(1)
    plan = read_plan(options.plan)
    wanted = [plan.reference, *options.only.split(",")]
    trials = [trial for trial in trials_of(plan) if not options.only or trial.remedy in wanted]
    steppings = {trial.name: Stepping(trial) for trial in trials}
    times = alternated(steppings, options.repeats, clock=time.process_time)
    reference = list(times[plan.reference].seconds)
    rows = {name: row_of(one, list(times[name].seconds), reference) for name, one in steppings.items()}
    total = plan.seeds * sum(float(str(row["cpu_minutes_of_a_training"])) for row in rows.values())
    about = {"plan": options.plan.name, "repeats": options.repeats, "reference": plan.reference, "seeds": plan.seeds}
    result = {"environment": environment(0), "about": about, "rows": rows, "cpu_minutes_of_all_trainings": total}
    path = Path(__file__).parent / "results" / f"remedies-{options.plan.stem}.json"
    write_atomic(path, dump_json(result))
    print(dump_json(result).decode())


if __name__ == "__main__":
    main()
