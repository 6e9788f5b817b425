"""What helps against each finding, with published numbers and where they stand, and the command that does it.

Text only; no computation. The commands are the beginning of one: data, network and threat are those of the reader, and
`with_options_of` adds them where a run of cgro has them. What was measured with this program stands behind what the
literature says (`cgro.diagnosis.measured_remedies`). docs/remedies.md has all that `cgro train` can do.
"""

import re
import shlex

from cgro.definitions import Label
from cgro.diagnosis.measured_remedies import measured_sentences

LARGER = "Otherwise a larger network"
"""How the advice begins that is given only to a network that cannot fit clean training data either."""

COMMAND = "cgro train --"
"""How every command in the sentences begins."""

RADIUS = " --radius R"
"""What stands in a command for the radius of the reader."""

OF_PGD = ("--objective trades", "--objective mart")
"""Options whose search is made of PGD with one start, and of no other attack."""

PATIENCE = 10
"""Evaluations without a lower error after which training is advised to stop; fewer where a run has few of them."""

_RICE = "Rice, Wong and Kolter, ICML 2020"
_AWP = "Wu et al., NeurIPS 2020"
_GENERATED = "CutMix with diffusion-made images gives ResNet-18 56.66% by AutoAttack"

REMEDIES: dict[Label, tuple[str, ...]] = {
    "robust_overfitting": (
        "Stop early, selected on a validation set: in the published PreActResNet-18 (CIFAR-10, l_inf 8/255) the robust "
        f"test error is 46.51% when selected on test and 53.92% over the last five epochs, 7.41 points ({_RICE}). Run: "
        f"cgro train --validation 0.05 --patience {PATIENCE}",
        "Flatten the loss in the weights (AWP): it took the gap (last minus best epoch) of PreActResNet-18 from 9.04 "
        "to 1.09 points and of WRN-34-10 from 8.24 to 0.92, and robust accuracy, selected on test, from 52.79% to "
        f"55.39% by PGD-20 ({_AWP}). Run: cgro train --extension awp:gamma=0.01",
        f"More or generated data with strong augmentation: {_GENERATED}; self-distillation (ADR) 50.39%, with weight "
        "averaging 50.86%, with AWP 51.24%. Run: cgro train --extension awp --extension ema --extension adr; CutMix, "
        "without generated data: cgro train --extension cutmix",
    ),
    "cgro": (
        "The training balls are memorized: regularize the weights (AWP took the robust training accuracy of "
        f"PreActResNet-18 from 80.9% to 49.8% and raised the robust test accuracy, {_AWP}). Run: cgro train "
        "--extension awp:gamma=0.01",
        f"Or give more data: {_GENERATED}. What needs no more data: cgro train --extension cutmix",
        "Stopping early helps where the curve over epochs shows that robust test error rises; here no rise is "
        "established.",
    ),
    "catastrophic_overfitting": (
        "Train with several steps, or with a random start and a step of at most 1.25 radii (Wong, Rice and Kolter, "
        "ICLR 2020); watch PGD accuracy on a few training batches each epoch and go back to the epoch before the jump. "
        "Run: cgro train --attack pgd10",
        "A single-step attack must not be used to evaluate it: the model hides from that very attack.",
    ),
    "clean_overfitting": (
        "Ordinary regularization comes first: augmentation (crop and flip), weight decay 5e-4, a smaller network, more "
        f"data (the recipe of {_RICE} has all of them). Run: cgro train --augment crop-flip --optimizer sgd --lr 0.1 "
        "--weight-decay 5e-4",
    ),
    "underfitting": (
        "Where the training was regularized on purpose (AWP, TRADES, mixup, strong augmentation), a high robust "
        "training error is what it should have, and no fault: compare the robust test error with other methods' "
        f"(AWP's PreActResNet-18 ends at 49.8% robust training accuracy with the better test accuracy, {_AWP}).",
        f"{LARGER} or longer training: in the published table WRN-34-1 ends at 53.26% robust training "
        f"accuracy and has a gap of only 1.22 points, WRN-34-10 at 97.80% with 8.18 ({_RICE}).",
        "Training errors that are running means, or measured on mixed or augmented images, are too high: measure them "
        "after the epoch on plain images.",
    ),
    "standard_training": (
        "Train adversarially: nothing was attacked in training, so nothing defends it, whatever the size of the "
        f"network (cgro train --attack pgd10{RADIUS}; Madry et al., ICLR 2018).",
        "If it was trained adversarially with a single-step attack, this is catastrophic overfitting: train with "
        "several steps. If its training did attack, check that radius and normalization here are the training's.",
    ),
    "collapsed": (
        "Where a loss is NaN or infinite, training diverged: lower the learning rate, clip gradients, and start again "
        "from the last epoch before it.",
        "Otherwise it answers a constant: lower the learning rate, widen the network or, in adversarial training, warm "
        "the radius up over the first epochs (MNIST at radius 0.3 is known for it).",
    ),
    "gradient_masking": (
        "Attack without gradients (Square), through a smooth surrogate, and with the margin loss; believe the largest "
        "error. MART with extra data: robust accuracy 65.04% by PGD, 56.29% by AutoAttack.",
    ),
    "too_little_evidence": (
        "Where curves are missing or short: record clean and robust error, train and test, every epoch on the same "
        "examples; ten epochs at least.",
        "Where an interval contains the rule's limit: evaluate on more examples, or train until the robust training "
        "error settles.",
    ),
    "robust": (),
}


def remedies_for(label: Label, *, too_small: bool = True, also: Label | None = None) -> tuple[str, ...]:
    """Sentences for a label, each with its number and its source.

    Args:
        label: of a diagnosis.
        too_small: whether the network may be too small or trained too short; else no larger one is advised.
        also: a second label whose first sentence is added, such as that of a clean rise beside a robust one.

    Returns:
        What helps, the first thing first, then what was measured with this program; nothing for `robust`.

    Example:
        >>> "7.41 points" in remedies_for("robust_overfitting")[0]
        True
    """
    found = [text for text in REMEDIES[label] if too_small or not text.startswith(LARGER)]
    found += measured_sentences(label)
    if also is not None:
        found.append(REMEDIES[also][0])
    return tuple(found)


def with_options_of(
    text: str, run: str, n_evaluations: int | None = None, *, attack: str = "pgd10", more: str = ""
) -> str:
    """A sentence whose commands take the options of a run, so that they can be typed as they stand.

    Args:
        text: of `remedies_for`.
        run: directory of a run of `cgro train`.
        n_evaluations: that the run makes; a patience that could not end so short a run is cut to a third of them. None
            if it is not known.
        attack: of the run. Where an objective cannot make its search of it, the command names PGD.
        more: words behind the options of the run, such as the names of the caller's own data and network, which a
            command uses only where they stand on its line.

    Returns:
        The sentence; one without a command as it is.

    Example:
        >>> with_options_of("Run: cgro train --extension awp:gamma=0.01", "runs/a")
        'Run: cgro train --config runs/a/config.yaml --extension awp:gamma=0.01'
        >>> with_options_of("Run: cgro train --patience 10", "runs/a", n_evaluations=9)
        'Run: cgro train --config runs/a/config.yaml --patience 3'
        >>> with_options_of("(cgro train --attack pgd10 --radius R; ...)", "runs/a")  # the run has a radius
        '(cgro train --config runs/a/config.yaml --attack pgd10; ...)'
        >>> with_options_of("Run: cgro train --objective trades:beta=6", "runs/a", attack="fgsm")
        'Run: cgro train --config runs/a/config.yaml --attack pgd10 --objective trades:beta=6'
    """
    text = text.replace(RADIUS, "")
    if not re.fullmatch("pgd[0-9]+", attack):
        for option in OF_PGD:
            text = text.replace(option, f"--attack pgd10 {option}")
    if n_evaluations is not None and n_evaluations <= PATIENCE + 1:
        text = text.replace(f"--patience {PATIENCE}", f"--patience {max(1, n_evaluations // 3)}")
    return text.replace(COMMAND, f"cgro train --config {shlex.quote(f'{run}/config.yaml')}{more} --")
