# %% [markdown]
# # 2. Diagnose your own model
#
# You have a network, or only the log of its training. What can be said about it? Three ways in, from the most to the
# least that you have: the model with its data, its curves, its log file.
#
# ## The model and its data
#
# Anything that maps images in [0, 1] to logits will do. Normalization belongs inside the model, since the radius is
# measured in [0, 1]. Here is one in plain PyTorch, trained adversarially by a plain loop.

# %%
import torch
from torch import nn

from cgro.data import load
from cgro.definitions import PGD, ThreatModel

torch.manual_seed(0)
digits = load("digits", n_train=200, n_test=300)
x, y = digits.train.x, digits.train.y
threat = ThreatModel("inf", 0.15)
attack = PGD(threat, n_steps=5)
net = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
optimizer = torch.optim.Adam(net.parameters(), lr=0.005)
for epoch in range(60):
    for rows in torch.randperm(len(x)).split(50):
        optimizer.zero_grad()
        nn.functional.cross_entropy(
            net(attack(net, x[rows], y[rows])), y[rows]
        ).backward()
        optimizer.step()
net = net.eval()

# %% [markdown]
# `diagnose_model` first looks for faults of the evaluation itself (range, normalization, order of classes, masked
# gradients), then measures the four errors with a small ensemble of attacks, then says what they mean.

# %%
from cgro.diagnosis import diagnose_model

found = diagnose_model(net, (x, y), (digits.test.x, digits.test.y), threat)
print(found.label)
print(found.reason)

# %% [markdown]
# ## Can the numbers be believed?
#
# A large robust error is proved by the points that were found. A small one is not: an attack that fails proves
# nothing. The usual cause is a masked gradient. Here the same network answers with logits multiplied by 10,000. Its
# decisions, and so its true robust error, are unchanged, but the cross-entropy saturates in float32 and its gradient
# vanishes.

# %%
from cgro.definitions import cross_entropy, robust_error
from cgro.diagnosis import lint


class Scaled(nn.Module):
    """The same decisions; a loss without a gradient."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return 10_000 * self.net(x)


test = digits.test.x, digits.test.y
weak = PGD(threat, n_steps=10, random_start=False, loss=cross_entropy)
print("PGD on the cross-entropy, as it is:  ", robust_error(net, *test, weak).value)
print(
    "PGD on the cross-entropy, scaled:    ",
    robust_error(Scaled(net).eval(), *test, weak).value,
)

# %%
for check in lint(Scaled(net).eval(), *test, threat):
    if check.status != "PASS":
        print(check.status, check.name, "-", check.finding)

# %% [markdown]
# ## A log
#
# Most published training scripts print a table. `cgro diagnose output.log` reads some thirty formats (the list is in
# [importing.md](../importing.md)); the content decides, not the name. From Python it is two functions. This log is
# made up: robust test accuracy rises to 50% until epoch 29, falls by a tenth of a point an epoch afterwards, and
# jitters.

# %%
import numpy as np

from cgro.diagnosis import diagnose, read_curves

rng = np.random.default_rng(0)
with open("output.log", "w") as log:
    print("epoch,train_robust_acc,test_acc,test_robust_acc", file=log)
    for epoch in range(60):
        jitter = rng.normal(0, 0.3)
        test_robust = 20 + epoch if epoch < 30 else 50 - 0.1 * (epoch - 30)
        print(
            f"{epoch},{20 + 1.2 * epoch:.2f},"
            f"{60 + 0.3 * epoch:.2f},{test_robust + jitter:.2f}",
            file=log,
        )

(curves,) = read_curves("output.log")
diagnosis = diagnose(curves)
print(diagnosis.label)
print(diagnosis.reason)

# %% [markdown]
# The rise is a number with an interval: noise between epochs alone also makes curves that end above their lowest
# point, and the test behind the label knows by how much
# ([diagnosis.md](../diagnosis.md#how-much-of-the-gap-is-real)).

# %%
rise = diagnosis.rise
low, high = (100 * end for end in rise.interval)
print(
    f"a rise of {100 * rise.size:.2f} points from epoch {rise.onset:g} on,"
    f" 95% interval {low:.2f} to {high:.2f}"
)
print(f"p = {rise.p_value:.3f} for no rise at all")
print(
    f"last epochs minus best epoch: {100 * rise.naive:.2f} points,"
    f" {100 * rise.bias:.2f} of them by choosing the best"
)

# %% [markdown]
# ## From the command line
#
# ```sh
# cgro diagnose output.log
# cgro diagnose output.log --fail-on robust_overfitting
# ```
#
# The second line exits with 1 if that is the verdict: a line for a nightly job. All labels are explained in
# [diagnosis.md](../diagnosis.md#labels).
#
# **Next:** [the monitor in your loop](03_monitor.md).
