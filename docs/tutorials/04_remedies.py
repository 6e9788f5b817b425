# %% [markdown]
# # 4. Choose a remedy
#
# Your model overfits robustly. Sixteen published remedies have a name here ([remedies.md](../remedies.md)). Which
# one helps *you* is a question for an experiment: same data, same network, several seeds, one strong attack. This
# page does a small one by hand, and then shows the command that does it properly.
#
# ## Two remedies, by hand
#
# TRADES changes what is minimized: $\mathcal{L}(f(X), y) + \beta\, \mathrm{KL}\big(f(X) \,\|\, f(X')\big)$. An
# exponential average of the weights (EMA) changes nothing in the training, and evaluates another network.

# %%
import torch

from cgro.data import load
from cgro.definitions import APGD, PGD, ThreatModel, clean_error, robust_error
from cgro.models import build
from cgro.training import EMA, TRADES, Adversarial, Recipe, evaluated, fit

data = load("digits", n_train=150, n_test=300)
threat = ThreatModel("inf", 0.15)
attack = PGD(threat, n_steps=3)
judge = APGD(threat, n_steps=15)
recipe = Recipe(epochs=30, batch_size=50, lr=0.005)


def errors(objective, extensions=(), seed=0):
    """Errors at the end, in percent: clean test, robust training, robust test."""
    torch.manual_seed(seed)
    model = build("mlp", data.shape, data.n_outputs)
    fit(model, data, objective, recipe, extensions=extensions, seed=seed)
    network = evaluated(model, extensions).eval()
    train, test = data.train, data.test
    found = (
        clean_error(network, test.x, test.y),
        robust_error(network, train.x, train.y, judge),
        robust_error(network, test.x, test.y, judge),
    )
    return [100 * error.value for error in found]


remedies = {
    "plain": lambda: (Adversarial(attack), ()),
    "TRADES, beta 6": lambda: (TRADES(attack, beta=6.0), ()),
    "EMA, decay 0.98": lambda: (Adversarial(attack), (EMA(decay=0.98),)),
}
table = {
    name: torch.tensor([errors(*make(), seed=seed) for seed in range(3)])
    for name, make in remedies.items()
}
print(
    f"{'mean (sd) of 3 seeds, %':24} {'clean test':>14}"
    f" {'robust training':>16} {'robust test':>14}"
)
for name, found in table.items():
    mean, sd = found.mean(0), found.std(0)
    print(f"{name:24}", *(f"{m:8.1f} ({s:3.1f})" for m, s in zip(mean, sd)))

# %% [markdown]
# ## How to read it
#
# A smaller gap is not enough. If robust *training* error rose to meet the test error, the network fits less, and is
# no more robust on any other image. What counts is the robust **test** error, paired by seed: the same start and the
# same order of images.

# %%
for name in list(table)[1:]:
    change = table[name] - table["plain"]
    mean, sd = change.mean(0), change.std(0)
    print(
        f"{name:18} robust training {mean[1]:+5.1f} ({sd[1]:.1f}),"
        f" robust test {mean[2]:+5.1f} ({sd[2]:.1f}), points"
    )

# %% [markdown]
# Three seeds and 300 images decide little: a difference below twice its spread is no difference. This table shows how
# to look, not which remedy to take.
#
# ## The command that does it properly
#
# A plan names remedies by their options; every remedy gets the same number of gradient passes, the time is estimated
# first, and one page says per remedy `helps`, `only fits less`, `harms`, or that the seeds do not
# decide it ([compare.md](../compare.md)).

# %%
from pathlib import Path

from cgro.cli import main

Path("plan.yaml").write_text("""
base: {data: digits, model: mlp, n_train: 90, n_test: 60, epochs: 6, batch_size: 30,
       lr: 0.005, radius: 0.15, attack: pgd2, eval_attack: pgd5, eval_n: 40,
       final_n: 60}
remedies:
  plain: {}
  averaged: {extension: ["ema:decay=0.9"]}
seeds: 2
""")
code = main(["compare", "plan.yaml", "--strong", "pgd5", "--out", "runs/compare"])

# %% [markdown]
# ```sh
# cgro compare plan.yaml --out runs/compare
# cgro diagnose runs/mine
# ```
#
# The second command proposes remedies for a run that overfits, as commands to paste; [what_now.md](../what_now.md)
# has them in the order of their cost. A remedy of your own is one file: [tutorial 7](07_write_your_own.md).
