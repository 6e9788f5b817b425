# %% [markdown]
# # 1. The phenomenon on your laptop
#
# We train a small network adversarially on 200 handwritten digits, and watch four numbers: the clean and the robust
# error, on the images it learns from and on images it has never seen. All takes less than a minute on two cores.
#
# The **robust error** at radius $\delta$ is the share of images for which some perturbation of norm at most $\delta$
# makes the network wrong (Definitions 3.2 and 3.3 of the paper):
#
# $$\mathrm{err}_\delta(f) = \mathbb{P}\Big[ \max_{\|X' - X\|_p \le \delta} \mathbf{1}\{ f(X') \ne y \} \Big]$$
#
# At $\delta = 0$ it is the clean error.

# %%
import torch

from cgro.data import load
from cgro.definitions import (
    PGD,
    ThreatModel,
    cgro_verdict,
    clean_error,
    robust_error,
)
from cgro.models import build
from cgro.training import Adversarial, Evaluation, Recipe, fit

data = load("mnist5k", n_train=200, n_test=300)
threat = ThreatModel(
    "inf", 0.15
)  # each pixel may move by at most 0.15; pixels lie in [0, 1]
torch.manual_seed(0)
model = build("lenet", data.shape, data.n_outputs, width=2)
print(f"{sum(p.numel() for p in model.parameters()):,} parameters")

# %% [markdown]
# ## Training
#
# Adversarial training takes gradient steps on attacked images. The attack is projected gradient ascent (PGD) with
# five steps; the radius grows during the first eight epochs, without which small networks often collapse to one
# class. After every fourth epoch the errors are measured with a stronger attack.

# %%
recipe = Recipe(epochs=48, batch_size=50, lr=0.003, radius_warmup=8)
evaluation = Evaluation(PGD(threat, n_steps=10), n=200, every=4)
history = fit(
    model, data, Adversarial(PGD(threat, n_steps=5)), recipe, evaluation=evaluation
)
history.outcome

# %% [markdown]
# ## Four curves
#
# Robust training error keeps falling. Robust test error stops falling early, while clean test error is small: what
# the network learns about robustness after that is true of its training images only.

# %%
# Clean and robust error on training and test images over the epochs
import matplotlib.pyplot as plt

plt.figure(figsize=(6, 3.6))
for name, color, style in (
    ("robust_error/test", "#D55E00", "-"),
    ("robust_error/train", "#D55E00", "--"),
    ("clean_error/test", "#0072B2", "-"),
    ("clean_error/train", "#0072B2", "--"),
):
    plt.plot(history.steps, 100 * history[name], style, color=color, label=name)
plt.xlabel("epoch")
plt.ylabel("error, %")
plt.ylim(0, 100)
plt.legend()

# %% [markdown]
# ## The verdict
#
# A classifier shows *clean generalization and robust overfitting* (CGRO, Definition 3.4) if its clean test error and
# its robust training error are small, but its robust test error is not. Each number says what it proves: `lower` was
# found by an attack, so the truth may be larger; `exact` was counted.

# %%
attack = PGD(threat, n_steps=20)
model.eval()
errors = {
    "clean_error/train": clean_error(model, data.train.x, data.train.y),
    "clean_error/test": clean_error(model, data.test.x, data.test.y),
    "robust_error/train": robust_error(model, data.train.x, data.train.y, attack),
    "robust_error/test": robust_error(model, data.test.x, data.test.y, attack),
}
for name, error in errors.items():
    low, high = error.interval
    print(
        f"{name:20} {error.value:6.1%}   95% interval {low:.1%} to {high:.1%}"
        f"   {error.bound}"
    )
verdict = cgro_verdict(errors)
print(verdict.label, "-", verdict.reason)

# %% [markdown]
# ## What such a perturbation looks like
#
# A test image that the network classifies correctly, what the attack adds to it, and what the network then answers.

# %%
# A test image, its perturbation, and the attacked image
x, y = data.test.x[:64], data.test.y[:64]
x_adv = attack(model, x, y)
fooled = (model(x).argmax(1) == y) & (model(x_adv).argmax(1) != y)
i = int(fooled.nonzero()[0])
figure, axes = plt.subplots(1, 3, figsize=(6, 2.3))
shown = (
    (x[i, 0], f"a {int(y[i])}"),
    (x_adv[i, 0] - x[i, 0], "perturbation"),
    (x_adv[i, 0], f"now a {int(model(x_adv[i : i + 1]).argmax())}"),
)
for axis, (image, title) in zip(axes, shown):
    axis.imshow(image.numpy(), cmap="gray" if title != "perturbation" else "RdBu")
    axis.set_title(title)
    axis.axis("off")

# %% [markdown]
# ## From the command line
#
# The same training as one command, with a verdict and a report to send to a colleague:
#
# ```sh
# cgro train --data mnist5k --n-train 200 --width 2 --radius 0.15 --attack pgd5 \
#     --epochs 48 --batch-size 50 --lr 0.003 --radius-warmup 8 --eval-every 4 \
#     --out runs/first
# cgro diagnose runs/first
# cgro report runs/first --out first.html
# ```
#
# **Next:** [diagnose your own model](02_your_model.md). Why does this happen? The paper gives two answers: memorizing
# is cheap ([tutorial 5](05_memorizer.md)), and gradient descent gets to it last ([tutorial 6](06_three_stages.md)).
