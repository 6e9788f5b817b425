"""The remedies that have a name: an entry here makes one of `cgro train`, of YAML and of Python. No torch here.

From the table follow the command line's help, its errors, and what a text of others may name without naming code
(`cgro.trust`). The classes are imported when `cgro.training.registry` is.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class RemedyName:
    """What stands under a name.

    Args:
        place: `module:class` below `cgro.training`. An objective is called as class(attack, **parameters), an extension
            as class(**parameters).
        line: what it does, for help; below 60 characters.
        source: paper, venue and year.
        reads: parameters that name runs or data to be read, such as the teachers of `kd:standard=runs/a`.
    """

    place: str
    line: str
    source: str
    reads: tuple[str, ...] = ()


OBJECTIVE_NAMES = {
    "adversarial": RemedyName(
        "objectives.adversarial:Adversarial", "cross-entropy of adversarial and clean inputs", "Madry et al., ICLR 2018"
    ),
    "trades": RemedyName(
        "objectives.trades:TRADES", "clean loss plus divergence under attack", "Zhang et al., ICML 2019"
    ),
    "mart": RemedyName(
        "objectives.mart:MART", "boosted loss, divergence weighted by the clean mistake", "Wang et al., ICLR 2020"
    ),
    "kd": RemedyName(
        "objectives.kd:KD",
        "distills a standard and a robust run; with swa KD-SWA",
        "Chen et al., ICLR 2021",
        reads=("standard", "robust"),
    ),
    "free": RemedyName(
        "objectives.free:Free", "replays each batch, one pass for weights and attack", "Shafahi et al., NeurIPS 2019"
    ),
}
EXTENSION_NAMES = {
    "ema": RemedyName(
        "extensions.ema:EMA", "evaluates a moving average of the weights", "Rebuffi et al., NeurIPS 2021"
    ),
    "swa": RemedyName(
        "extensions.swa:SWA", "evaluates the mean of the weights after each epoch", "Izmailov et al., UAI 2018"
    ),
    "awp": RemedyName("extensions.awp:AWP", "gradient at weights moved against the loss", "Wu et al., NeurIPS 2020"),
    "mlcat-wp": RemedyName(
        "extensions.mlcat_wp:MLCATWP", "weights moved against the small losses", "Yu et al., ICML 2022"
    ),
    "mlcat-ls": RemedyName(
        "extensions.mlcat_ls:MLCATLS", "small losses raised to a minimum loss", "Yu et al., ICML 2022"
    ),
    "dom": RemedyName("extensions.dom:DOM", "leaves out examples of small clean loss", "Lin et al., ICLR 2024"),
    "adr": RemedyName("extensions.adr:ADR", "labels rectified by averaged weights", "Wu et al., ICLR 2024"),
    "label-smoothing": RemedyName(
        "extensions.label_smoothing:LabelSmoothing", "spreads part of each label", "Szegedy et al., CVPR 2016"
    ),
    "mixup": RemedyName("extensions.mixup:Mixup", "mixes two examples and labels", "Zhang et al., ICLR 2018"),
    "cutmix": RemedyName("extensions.cutmix:CutMix", "pastes a box, mixes labels by area", "Yun et al., ICCV 2019"),
    "same-class-boxes": RemedyName(
        "extensions.same_class_boxes:SameClassBoxes",
        "pastes a box of the same class",
        "this package, from the theory",
    ),
    "extra": RemedyName(
        "extensions.extra:Extra",
        "images of a second data set in every batch",
        "Carmon et al., NeurIPS 2019",
        reads=("data", "labels"),
    ),
    "grad-align": RemedyName(
        "extensions.grad_align:GradAlign",
        "keeps gradients in the ball parallel",
        "Andriushchenko et al., NeurIPS 2020",
    ),
}
REMEDY_NAMES = OBJECTIVE_NAMES | EXTENSION_NAMES
assert len(REMEDY_NAMES) == len(OBJECTIVE_NAMES) + len(EXTENSION_NAMES), "one name for two remedies"
