# %% [markdown]
# # 6. The three stages
#
# The paper's second answer to *why*: gradient descent learns part of the true feature, stalls, and then memorizes the
# noise of the training examples (Theorem 5.9). Its model is small enough to be simulated exactly: closed-form worst
# case, closed-form gradient, float64.
#
# ## The model
#
# An example has two patches of dimension $d$: the signal $y\,\alpha\,w^*$, and Gaussian noise $\xi$. The network has
# $m$ filters, $f(X) = \sum_r \sum_j \phi(\langle w_r, X[j] \rangle)$ with $\phi(z) = \mathrm{sign}(z)\,|z|^q$.
# Training minimizes
#
# $$\frac{1}{N} \sum_i \Big[ (1-\lambda)\, \ell(X_i) + \lambda \max_{X' \in \mathcal{A}(X_i, \delta)} \ell(X') \Big]$$
#
# where the adversary moves the signal by at most $\delta < \alpha$ along $w^*$. Two numbers tell the story: the
# signal learned, $\alpha^q U$, and the noise learned of each training example, $V_i$.

# %%
from cgro.dynamics import PRESETS, detect_stages, simulate

setting = PRESETS["theorem"]
print(setting.data)
q = setting.activation_power
print(
    f"N = {setting.n_train}, m = {setting.n_filters}, q = {q:g},"
    f" lambda = {setting.robust_weight}"
)
print(f"delta / alpha = {setting.radius_ratio:.4f}")
run = simulate(setting, seeds=(0, 1), n_steps=30_000, n_records=120)
for seed, outcome in zip(run.seeds, run.outcomes):
    print(f"seed {seed}: {outcome.reason}")

# %% [markdown]
# ## Signal first, noise last

# %%
# Signal and noise learned, and the robust errors, against the training step
import matplotlib.pyplot as plt

figure, (top, bottom) = plt.subplots(2, 1, sharex=True, figsize=(6, 5))
steps = run.steps.clip(1)
top.semilogx(
    steps,
    run["signal_margin"][:, 0],
    color="#56B4E9",
    label=r"signal learned, $\alpha^q U$",
)
top.semilogx(
    steps,
    run["noise_learned"][:, 0].mean(1),
    color="#009E73",
    linestyle="-.",
    label=r"noise learned, mean $V_i$",
)
bottom.semilogx(
    steps,
    100 * run["robust_error/test"][:, 0],
    color="#D55E00",
    label="robust test error",
)
bottom.semilogx(
    steps,
    100 * run["robust_error/train"][:, 0],
    color="#D55E00",
    linestyle="--",
    label="robust training error",
)
bottom.semilogx(
    steps,
    100 * run["clean_error/test"][:, 0],
    color="#0072B2",
    label="clean test error",
)
for stages in detect_stages(run)[:1]:
    for boundary in (
        stages.signal_growth_end,
        stages.memorization_start,
        stages.memorization_end,
    ):
        for axis in (top, bottom):
            axis.axvline(boundary.step, color="#666666", linestyle=":")
top.set_ylabel("contribution to the margin")
bottom.set(xlabel="step", ylabel="error, %")
top.legend()
bottom.legend()

# %% [markdown]
# The dotted lines are the ends of stage I (the signal grows), II (it stalls) and III (noise is memorized), found on
# the curves by half-maximum rules:

# %%
for seed, stages in zip(run.seeds, detect_stages(run)):
    first, last = stages.memorization_start.step, stages.memorization_end.step
    print(
        f"seed {seed}: I ends at step {stages.signal_growth_end.step:.0f},"
        f" III lasts from {first:,.0f} to {last:,.0f}"
    )

# %% [markdown]
# ## The end: CGRO
#
# Clean test error 0, robust training error 0, robust test error one half: an unseen example's noise does not depend
# on its label, so the memorized filters push it to either side equally often.

# %%
for name in ("clean_error/test", "robust_error/train", "robust_error/test"):
    print(f"{name:20} {run.final(name)}")

# %% [markdown]
# ## What was predicted
#
# Each stage has an equation ([theory](../theory/dynamics.md)). None has a fitted number.

# %%
from cgro.dynamics import compare, sample_threshold

ends = [stages.signal_growth_end.step for stages in detect_stages(run)]
for name, row in compare(setting, run, ends).items():
    print(
        f"{name}: predicted {row.predicted:.1f},"
        f" measured {row.measured:.1f} ({row.statement})"
    )
found = sample_threshold(setting)
print(
    f"memorization ends beyond N = {found.half:.0f} examples;"
    f" here N = {setting.n_train}"
)

# %% [markdown]
# ## Two controls
#
# Standard training ($\lambda = 0$) on the same data learns the signal and memorizes nothing. And at a smaller radius
# the threshold lies below our $N$: the signal wins the race, nothing is memorized, and the network is robust.

# %%
from dataclasses import replace

smaller = replace(setting, radius_ratio=0.9)
for title, other in (
    ("lambda = 0", replace(setting, robust_weight=0.0)),
    ("delta = 0.9 alpha", smaller),
):
    done = simulate(other, seeds=(0,), n_steps=15_000, n_records=60)
    signal, noise = (
        done.final("signal_margin")[0],
        done.final("noise_learned").mean(),
    )
    error = done.final("robust_error/test")[0]
    print(
        f"{title:18} signal {signal:7.1f}, mean V {noise:8.2g},"
        f" robust test error {error:.3f}"
    )
print(
    f"at delta = 0.9 alpha memorization ends beyond"
    f" N = {sample_threshold(smaller).half:.1f} examples"
)

# %% [markdown]
# ## From the command line, and further
#
# ```sh
# cgro dynamics --preset theorem --seeds 10
# cgro dynamics --preset table2 --seeds 10
# cgro dynamics --preset control --seeds 10
# ```
#
# `table2` is calibrated to the paper's Table 2 and no evidence for the theory. What if the adversary may move every
# patch ([full_ball.md](../full_ball.md)); how much data ends CGRO ([threshold.md](../threshold.md)); which remedies
# move that threshold ([synthetic_remedies.md](../synthetic_remedies.md)).
#
# **Next:** [write your own](07_write_your_own.md).
