# %% [markdown]
# # 3. The monitor in your loop
#
# You have a training loop and want to see robust overfitting while it happens. Three lines, marked below, measure the
# four errors after every epoch, without changing a bit of the training, and give the verdict at the end.

# %%
import torch
from torch import nn

from cgro import Monitor  # 1
from cgro.data import load
from cgro.definitions import PGD, ThreatModel

torch.manual_seed(0)
digits = load("digits", n_train=150, n_test=300)
x, y = digits.train.x, digits.train.y
model = nn.Sequential(
    nn.Flatten(),
    nn.Linear(64, 128),
    nn.BatchNorm1d(128),
    nn.ReLU(),
    nn.Linear(128, 10),
)
optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
threat = ThreatModel("inf", 0.15)
attack = PGD(threat, n_steps=3)

monitor = Monitor(
    train=(x, y),
    test=(digits.test.x, digits.test.y),
    threat=threat,
    n=150,
    out="runs/mine",
)  # 2
for epoch in range(30):
    model.train()
    for rows in torch.randperm(len(x)).split(50):
        optimizer.zero_grad()
        nn.functional.cross_entropy(
            model(attack(model, x[rows], y[rows])), y[rows]
        ).backward()
        optimizer.step()
    row = monitor(model, epoch)  # 3
print(
    f"robust error in the last epoch: training {row['robust_error/train']:.2f},"
    f" test {row['robust_error/test']:.2f}"
)
verdict = monitor.verdict()
print(verdict.label)
print(verdict.reason)

# %% [markdown]
# ## What was written
#
# A run directory, which every command reads, also while training goes on. `verdict()` drew the curves.

# %%
from pathlib import Path

for path in sorted(Path("runs/mine").rglob("*")):
    if path.is_file() and path.name != ".lock":
        print(path)

# %%
# The monitor's curves
Path("runs/mine/figures/learning_curves.svg")

# %% [markdown]
# ```sh
# cgro diagnose runs/mine
# cgro report runs/mine --out mine.html
# ```
#
# ## It leaves the training alone
#
# A watched training has the bits of an unwatched one: modes, buffers, gradients and random numbers are given back.
# Two steps with dropout, once with an evaluation between them and once without:


# %%
def two_steps(watched: bool) -> torch.Tensor:
    torch.manual_seed(1)
    net = nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 32),
        nn.Dropout(0.5),
        nn.ReLU(),
        nn.Linear(32, 10),
    )
    descent = torch.optim.SGD(net.parameters(), lr=0.1)
    watch = Monitor(
        train=(x, y), test=(x, y), threat=threat, n=20, out=f"runs/two-{watched}"
    )
    for step in range(2):
        descent.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        descent.step()
        if watched:
            watch(net, step)
    return net[1].weight


torch.equal(two_steps(True), two_steps(False))

# %% [markdown]
# ## In the trainers of others
#
# The same monitor is a callback of Lightning, of the Trainer of Hugging Face, and of Keras on torch; with Accelerate
# and DistributedDataParallel the loop above works as it is. Complete files, each executed by a test:
# [Lightning](../../examples/lightning_callback.py), [Hugging Face](../../examples/hugging_face.py),
# [Keras](../../examples/keras_fit.py), [Accelerate](../../examples/accelerate_loop.py). Every argument, and what an
# evaluation costs, is in [monitor.md](../monitor.md).
#
# **Next:** [choose a remedy](04_remedies.md).
