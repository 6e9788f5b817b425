# %% [markdown]
# # 7. Write your own
#
# An attack, an objective, an extension, an importer, an artifact: each is one file, one test, and one line in a
# registry if everyone shall have it. Nothing else has to change; this page writes one of each. The full protocols are
# in [extending.md](../extending.md).
#
# ## An attack
#
# An attack is a frozen value with one method. It proposes points to an `evaluator`, which keeps for every example the
# point of lowest margin; the base class does the rest, and never believes it: ball and box, modes, gradients and
# random numbers are its business. This one tries random corners of the ball.

# %%
from dataclasses import dataclass

import torch

from cgro.data import load
from cgro.definitions import Attack, ThreatModel, clean_error, robust_error
from cgro.models import build
from cgro.training import Recipe, fit


@dataclass(frozen=True)
class Corners(Attack):
    """Random corners of an l_inf ball."""

    n_tries: int = 20

    def search(self, evaluator, draws):
        x = evaluator.x
        for step in range(self.n_tries):
            signs = draws.normal(x[0].numel()).sign().to(x).reshape(x.shape)
            evaluator.update(
                self.threat.project(x + self.threat.radius * signs, x), step
            )


data = load("digits", n_train=200, n_test=200)
threat = ThreatModel("inf", 0.15)
torch.manual_seed(0)
model = build("mlp", data.shape, data.n_outputs)

# %% [markdown]
# ## An objective
#
# What is minimized: a function of a `step`, which gives the model, the batch, and adversarial examples on demand
# (`step.craft()`). It returns one loss per example. This one stops fitting an example once its loss is above a cap.

# %%
from cgro.definitions import PGD
from cgro.training import Cost
from cgro.training.objectives import attack_cost


@dataclass(frozen=True)
class Capped:
    """Adversarial training whose loss per example is at most `cap`."""

    attack: Attack
    cap: float = 4.0

    @property
    def cost(self):
        return attack_cost(self.attack) + Cost(n_updates=1)

    def __call__(self, step):
        return step.loss(step.model(step.craft())).clamp(max=self.cap)


# %% [markdown]
# ## An extension
#
# What is added beside the objective, to weights or data; here it only keeps the norm of the weights below a bound.
# Every method of `Extension` that is not overridden does nothing.

# %%
from cgro.training import Extension


class Bounded(Extension):
    """Weights of norm at most `bound`, after every step."""

    def __init__(self, bound: float = 10.0):
        self.bound = bound

    def after_step(self, model, k):
        with torch.no_grad():
            norm = torch.nn.utils.parameters_to_vector(model.parameters()).norm()
            for p in model.parameters():
                p.mul_((self.bound / norm).clamp(max=1.0))


search = PGD(threat, n_steps=3)
history = fit(
    model,
    data,
    Capped(search),
    Recipe(epochs=15, batch_size=50, lr=0.005),
    extensions=(Bounded(8.0),),
)
network = model.eval()
norm = torch.nn.utils.parameters_to_vector(network.parameters()).norm()
print(f"{history.outcome.reason}; the weights have norm {norm:.2f}")
test = data.test.x, data.test.y
print(f"clean error {clean_error(network, *test).value:.3f}")
for attack in (Corners(threat), PGD(threat, n_steps=10)):
    print(f"robust error by {attack.name}: {robust_error(network, *test, attack)}")

# %% [markdown]
# Random corners find far less than gradients do: a lower bound is as good as its attack.
#
# On a command line the same three are named as `module:attribute`, and options follow a colon. Save them as
# `mine.py`:

# %%
from pathlib import Path

Path("mine.py").write_text('''
from dataclasses import dataclass

from cgro.definitions import Attack
from cgro.training import Cost, Extension
from cgro.training.objectives import attack_cost


@dataclass(frozen=True)
class Capped:
    attack: Attack
    cap: float = 4.0

    @property
    def cost(self):
        return attack_cost(self.attack) + Cost(n_updates=1)

    def __call__(self, step):
        return step.loss(step.model(step.craft())).clamp(max=self.cap)


def darker(model, x, y):
    """An attack may also be a plain function; its points are checked."""
    return (x - 0.1).clamp_min(0)
''')
from cgro.cli import main

words = "train --data digits --model mlp --n-train 200 --n-test 100 --epochs 8"
words += " --lr 0.01 --batch-size 50 --radius 0.1"
words += " --attack pgd2 --eval-attack mine:darker --eval-n 100 --final-n 100"
code = main(
    [*words.split(), "--objective", "mine:Capped:cap=3.5", "--out", "runs/capped"]
)

# %% [markdown]
# ## An importer
#
# `cgro diagnose` reads logs by importers. One says how sure it is that a text is its format, and turns lines into
# named columns with their meaning; units, checks and refusals are shared. This one reads `[12] rob-te=0.53
# rob-tr=0.33`.

# %%
import re

from cgro.diagnosis import diagnose
from cgro.diagnosis.importers import Told
from cgro.diagnosis.importers.base import Text
from cgro.diagnosis.importers.table import Table, curves_of
from cgro.diagnosis.words import Meaning

LINE = re.compile(r"\[(\d+)\] rob-te=([\d.]+) rob-tr=([\d.]+)")
MEANINGS = {
    "rob-te": Meaning("robust_error/test"),
    "rob-tr": Meaning("robust_error/train"),
}


class Brackets:
    """The format of this page."""

    name = "log with epochs in brackets"

    def recognizes(self, text):
        return 0.9 if LINE.match(text.start) else 0.0

    def read(self, text, told):
        rows = [
            dict(
                zip(
                    ("epoch", "rob-te", "rob-tr"),
                    map(float, LINE.match(line).groups()),
                )
            )
            for line in text.lines
        ]
        return curves_of(
            Table(
                text.source, lambda: rows, ["epoch", *MEANINGS], {}, (), MEANINGS
            ),
            told,
        )


written = "\n".join(
    f"[{e}] rob-te={0.8 - 0.01 * e if e < 25 else 0.55 + 0.002 * (e - 25):.4f}"
    f" rob-tr={0.8 - 0.012 * e:.4f}"
    for e in range(50)
)
text = Text(written, "output.log")
(curves,) = Brackets().read(text, Told.of(None))
print(f"sure: {Brackets().recognizes(text)}; columns: {', '.join(curves.values)}")
print(diagnose(curves, n_classes=10).label)

# %% [markdown]
# Saved as `brackets.py`, it reads a file by `cgro diagnose output.log --importer brackets:Brackets`, or by
# `read_curves("output.log", importer=Brackets())`.
#
# To give it to everyone: this class in a file beside the others, its name in `IMPORTERS` of
# `cgro.diagnosis.importers`, a row in [importing.md](../importing.md), and a test that the curves equal the truth
# that a file was written from.
#
# ## An artifact
#
# A table or figure of the paper, or of your own: which runs it needs (`jobs`), what it reads from them (`run`), what
# it claims (`check`), and what it shows (`tables`, `draw`). `cgro reproduce` makes the runs, keeps them, and judges.
# A small one: does the simulated training of Section 5 end at one half robust test error?

# %%
from cgro.experiments import findings
from cgro.experiments.artifact import claims_of
from cgro.experiments.claims import Statement, holds
from cgro.experiments.findings import Part
from cgro.experiments.tables import Table as Shown
from cgro.jobs.plan import Job
from cgro.jobs.workspace import Workspace
from cgro.results import DynamicsSummary


class Paper(Part, frozen=True, kw_only=True):
    """What the theorem says: the limit of the robust test error."""

    robust_test: float = 0.5


class Found(findings.Findings, frozen=True, kw_only=True):
    """What was read."""

    robust_test: float


class Half:
    """An artifact; in the package it is a module with these names."""

    NAME = "half"
    TITLE = "One half"
    NEEDS_TRAINING = False
    PAPER = Paper()
    CAPTIONS = {}
    Findings = Found

    def jobs(self, scale):
        return [
            Job(
                "half",
                "dynamics",
                {
                    "preset": "theorem",
                    "seeds": 1,
                    "n_steps": 25_000,
                    "n_test": 2_000,
                },
            )
        ]

    def run(self, scale, workspace):
        metrics = workspace.read(self.jobs(scale)[0]).read(DynamicsSummary).metrics
        return Found(scale=scale, robust_test=metrics["robust_error/test"].value)

    def check(self, found, paper):
        said = Statement(
            "half/robust_test",
            "robust test error tends to 1/2",
            paper=str(paper.robust_test),
        )
        near = {
            "within two points": abs(found.robust_test - paper.robust_test) < 0.02
        }
        return [
            holds(
                said,
                near,
                ours=f"{found.robust_test:.3f}",
                rule="within two points",
            )
        ]

    def tables(self, found):
        table = Shown("half", "Robust test error", ["error"])
        table.add(f"{found.robust_test:.3f}")
        return [table]

    def draw(self, found, folder, workspace):
        """No figure."""


half = Half()
workspace = Workspace(Path("runs/reproduction"))
for job in half.jobs("smoke"):
    options = [
        word
        for name, value in job.settings.items()
        for word in (f"--{name.replace('_', '-')}", str(value))
    ]
    main([job.command, *options, "--out", str(workspace.folder(job))])
for claim in claims_of(half, half.run("smoke", workspace)):
    print(claim.name, claim.verdict, claim.ours)

# %% [markdown]
# In the package the loop is that of `cgro reproduce`, and the artifact's test holds findings in which the paper is
# right, and wrong ones that the claim must notice.
