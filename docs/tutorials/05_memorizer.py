# %% [markdown]
# # 5. The memorizer and its certificate
#
# The paper's first answer to *why*: for a network it is cheap to be robust on the training set alone. Lemma 4.5
# writes such a classifier down. It answers from memory inside the $\delta$-balls of the training points, and as a
# clean model elsewhere:
#
# $$f_S(X) = f_{\mathrm{clean}}(X)\,\Big(1 - \mathbf{1}\big\{X \in \textstyle\bigcup_i B_p(X_i, \delta)\big\}\Big)
# + \sum_{i} y_i\, \mathbf{1}\{X \in B_p(X_i, \delta)\}$$
#
# Theorem 4.4 makes a ReLU network $F$ of it, with $\mathrm{poly}(D) + \tilde{O}(ND)$ parameters. We build it on real
# digits, prove that its robust training error is 0, and look at what that says about test images: nothing.
#
# ## A clean model, and how far apart the classes are

# %%
import torch

from cgro.data import load
from cgro.definitions import PGD, ThreatModel, clean_error, robust_error
from cgro.models import build
from cgro.representation import (
    RobustMemorizer,
    bracket_robust_error,
    certify,
    separation,
)
from cgro.training import train_clean_model

data = load("mnist5k", classes="3,8", n_train=200, n_test=100)
x, y = data.train.x, data.train.y
torch.manual_seed(0)
f_clean = train_clean_model(build("mlp", data.shape, data.n_outputs), x, y)
apart = separation(x, y, "inf")
print(
    f"separation {apart.value:.3f}: every radius below {apart.max_radius:.3f}"
    " is admissible (Assumption 4.2)"
)
print(
    f"clean test error of f_clean"
    f" {clean_error(f_clean, data.test.x, data.test.y).value:.1%}"
)

# %% [markdown]
# ## The network of Theorem 4.4

# %%
threat = ThreatModel("inf", 0.1)
F = RobustMemorizer(f_clean, x, y, threat, separation=apart)
count = F.parameters_of()
print(count)
print(f"per N D: {count.generic / x.numel():.3f}")

# %% [markdown]
# ## The certificate
#
# `certify` proves $y_i F \ge 1$ on *every* point of every training ball, here in rational arithmetic: pixels are
# $k/255$. An attack could never do that.

# %%
proof = certify(F, exact=True)
print(f"holds: {proof.holds}, least margin {proof.min_margin}, by {proof.method}")

# %% [markdown]
# A certificate that cannot fail would be worth nothing. Forget one image, and it finds the ball:

# %%
forgotten = torch.ones(len(x), dtype=torch.bool)
forgotten[7] = False
without = certify(
    RobustMemorizer(f_clean, x, y, threat, separation=apart, memorize=forgotten)
)
print(
    f"least margin: {without.margin[7]:.3f} on the ball of image 7,"
    f" {without.margin[forgotten].min():.3f} elsewhere"
)

# %% [markdown]
# ## What it says about test images
#
# Clean test error is that of $f_{\mathrm{clean}}$, and so is robust test error: the network is CGRO by construction.
# The truth lies between what attacks find and what a certificate excludes. PGD through $F$ finds a small part of it,
# because $F$ masks its gradient; that number alone would call the network rather robust.

# %%
found = bracket_robust_error(F, data.test.x, data.test.y)
print(
    "clean test error of F         "
    f"{clean_error(F, data.test.x, data.test.y).value:6.1%}"
)
print(
    "robust training error         "
    f"{robust_error(F, x, y, PGD(threat, n_steps=10)).value:6.1%}"
    "   (and 0% is proved)"
)
print(f"robust test error, PGD on F   {found.naive.value:6.1%}")
print(
    "robust test error             "
    f"{found.lower.value:6.1%} to {found.upper.value:6.1%}"
)

# %% [markdown]
# ## In two dimensions
#
# Twelve points, a linear clean model that is wrong on three of them, and balls of a radius below half the separation.
# Left the clean model, right the network $F$: it changes its answer only in and just around the balls.

# %%
# Decision regions of a linear clean model, and of the memorizer of twelve l2 balls
import matplotlib.pyplot as plt

g = torch.Generator().manual_seed(3)
points = torch.rand(12, 2, generator=g) * 0.8 + 0.1
labels = torch.where(points.sum(1) > 1, 1, -1)
labels[[2, 5, 8]] *= -1


def linear(v):
    return v.flatten(1).sum(1) - 1


small = ThreatModel(2, min(0.07, 0.45 * separation(points, labels, 2).value))
memory = RobustMemorizer(linear, points, labels, small)
side = torch.linspace(0, 1, 201)
grid = torch.cartesian_prod(side, side)
figure, axes = plt.subplots(1, 2, figsize=(7, 3.4), sharey=True)
for axis, model, title in (
    (axes[0], linear, "clean model"),
    (axes[1], memory, "memorizer F"),
):
    with torch.no_grad():
        axis.contourf(
            side,
            side,
            model(grid).reshape(201, 201).T,
            levels=[-9, 0, 9],
            colors=["#999933", "#882255"],
            alpha=0.4,
        )
    axis.scatter(
        *points.T,
        c=["#882255" if label > 0 else "#999933" for label in labels],
        edgecolors="black",
        zorder=3,
    )
    for point in points:
        axis.add_patch(
            plt.Circle(point.tolist(), small.radius, fill=False, linestyle=":")
        )
    axis.set(title=title, aspect="equal", xlabel="first coordinate")
axes[0].set_ylabel("second coordinate")
print("certified:", certify(memory).holds, f"at radius {small.radius:.3f}")

# %% [markdown]
# ## From the command line, and further
#
# ```sh
# cgro memorize --data mnist5k --classes 3,8 --p inf --radius 0.1
# cgro lower-bound --radius 0.1 --dims 2:100
# ```
#
# The second command is the other half of the story, Theorem 4.7: robust *generalization* needs exponentially many
# parameters in the worst case. The theory with its equations is on [one page](../theory/representation.md);
# measurements on all of MNIST are in [representation.md](../representation.md).
#
# **Next:** [the three stages](06_three_stages.md).
