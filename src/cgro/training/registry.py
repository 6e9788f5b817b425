"""Objectives and extensions by name: one line in a table here, from which the command line's help and errors follow."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from cgro._check import bad
from cgro.data import Dataset
from cgro.definitions import Attack, Model
from cgro.named import Factory, build, listed, look_up, parameters_of
from cgro.training.extensions import (
    ADR,
    AWP,
    DOM,
    EMA,
    MLCATLS,
    MLCATWP,
    SWA,
    CutMix,
    Extension,
    Extra,
    GradAlign,
    LabelSmoothing,
    Mixup,
    SameClassBoxes,
    require_extensions,
)
from cgro.training.extensions.extra import extra_by_name
from cgro.training.objectives import KD, MART, TRADES, Adversarial, Free, Objective, require_objective
from cgro.training.objectives.kd import kd_by_name
from cgro.trust import PREFIXES

__all__ = [
    "EXTENSIONS",
    "OBJECTIVES",
    "Entry",
    "extension_by_name",
    "listed",
    "objective_by_name",
    "summary_of",
    "takes",
]


@dataclass(frozen=True)
class Entry:
    """What stands under a name.

    Args:
        factory: called as factory(attack, **parameters) for an objective, factory(**parameters) for an extension.
        line: what it does, for help.
        source: paper, venue and year.
    """

    factory: Factory
    line: str
    source: str


OBJECTIVE_ENTRIES: dict[str, Entry] = {
    "adversarial": Entry(Adversarial, "cross-entropy of adversarial and clean inputs", "Madry et al., ICLR 2018"),
    "trades": Entry(TRADES, "clean loss plus divergence under attack", "Zhang et al., ICML 2019"),
    "mart": Entry(MART, "boosted loss, divergence weighted by the clean mistake", "Wang et al., ICLR 2020"),
    "kd": Entry(KD, "distills a standard and a robust run; with swa KD-SWA", "Chen et al., ICLR 2021"),
    "free": Entry(Free, "replays each batch, one pass for weights and attack", "Shafahi et al., NeurIPS 2019"),
}
EXTENSION_ENTRIES: dict[str, Entry] = {
    "ema": Entry(EMA, "evaluates a moving average of the weights", "Rebuffi et al., NeurIPS 2021"),
    "swa": Entry(SWA, "evaluates the mean of the weights after each epoch", "Izmailov et al., UAI 2018"),
    "awp": Entry(AWP, "gradient at weights moved against the loss", "Wu et al., NeurIPS 2020"),
    "mlcat-wp": Entry(MLCATWP, "weights moved against the small losses", "Yu et al., ICML 2022"),
    "mlcat-ls": Entry(MLCATLS, "small losses raised to a minimum loss", "Yu et al., ICML 2022"),
    "dom": Entry(DOM, "leaves out examples of small clean loss", "Lin et al., ICLR 2024"),
    "adr": Entry(ADR, "labels rectified by averaged weights", "Wu et al., ICLR 2024"),
    "label-smoothing": Entry(LabelSmoothing, "spreads part of each label", "Szegedy et al., CVPR 2016"),
    "mixup": Entry(Mixup, "mixes two examples and labels", "Zhang et al., ICLR 2018"),
    "cutmix": Entry(CutMix, "pastes a box, mixes labels by area", "Yun et al., ICCV 2019"),
    "same-class-boxes": Entry(SameClassBoxes, "pastes a box of the same class", "this package, from the theory"),
    "extra": Entry(Extra, "images of a second data set in every batch", "Carmon et al., NeurIPS 2019"),
    "grad-align": Entry(GradAlign, "keeps gradients in the ball parallel", "Andriushchenko et al., NeurIPS 2020"),
}
OBJECTIVES: dict[str, Factory] = {name: entry.factory for name, entry in OBJECTIVE_ENTRIES.items()}
"""Called as factory(attack, **parameters)."""
EXTENSIONS: dict[str, Factory] = {name: entry.factory for name, entry in EXTENSION_ENTRIES.items()}
"""Called as factory(**parameters)."""
assert set(OBJECTIVES) | set(EXTENSIONS) <= set(PREFIXES), "a name that is not registered would be taken for code"


def summary_of(entries: dict[str, Entry]) -> str:
    """Names with a line and the source of each, for help.

    Args:
        entries: by name.

    Returns:
        One line each, indented.

    Example:
        >>> print(summary_of({"ema": EXTENSION_ENTRIES["ema"]}))
          ema               evaluates a moving average of the weights (Rebuffi et al., NeurIPS 2021)
    """
    return "\n".join(f"  {name:17} {entry.line} ({entry.source})" for name, entry in entries.items())


def _no_teacher(run: str, what: str) -> Model:
    raise bad(what, expected="a network", got=repr(run), remedy="in Python use KD(attack, standard=network)")


def _no_data(name: str, has_labels: bool) -> Dataset:
    raise bad("extra: data", expected="a data set", got=repr(name), remedy="in Python use Extra(load(name))")


def objective_by_name(
    text: str, attack: Attack, *, teacher: Callable[[str, str], Model] = _no_teacher, **options: float
) -> Objective:
    """The objective that a text stands for.

    Args:
        text: `NAME` or `NAME:parameter=value,...`; a name of `OBJECTIVES`, or `package.module:name`, which is imported
            and called as name(attack, **parameters). Only for texts that the caller said or trusts.
        attack: of the training.
        teacher: (run, what for) -> network, for `kd`.
        options: further parameters, for factories that have them; the text goes first.

    Returns:
        The objective.

    Raises:
        BadRequest: an unknown name or parameter, a value of the wrong type, code of the caller's that fails.

    Example:
        >>> from cgro.definitions import PGD, ThreatModel
        >>> objective_by_name("trades:beta=3", PGD(ThreatModel("inf", 0.1), n_steps=2)).beta
        3.0
    """
    table = {**OBJECTIVES, "kd": kd_by_name(teacher)}
    objective = build(text, "--objective", table, (attack,), options)
    require_objective(objective)
    return cast(Objective, objective)


def extension_by_name(
    text: str,
    *,
    second: Callable[[str, bool], Dataset] = _no_data,
    teacher: Callable[[str, str], Model] = _no_teacher,
) -> Extension:
    """The extension that a text stands for.

    Args:
        text: `NAME` or `NAME:parameter=value,...`; a name of `EXTENSIONS`, or `package.module:name`, which is imported
            and called as name(**parameters). Only for texts that the caller said or trusts.
        second: (name, whether its own labels count) -> data set, for `extra`.
        teacher: (run, what for) -> network, for `extra`.

    Returns:
        A new one.

    Raises:
        BadRequest: as `objective_by_name`.

    Example:
        >>> extension_by_name("ema:decay=0.99")
        EMA(decay=0.99)
    """
    table = {**EXTENSIONS, "extra": extra_by_name(second, teacher)}
    extension = cast(Extension, build(text, "--extension", table))
    require_extensions([extension])
    return extension


def takes(text: str, parameter: str) -> bool:
    """Whether the objective that a text names has a parameter of some name.

    Args:
        text: as of `objective_by_name`; code of the caller's is imported.
        parameter: the name.

    Returns:
        Whether it can be set.
    """
    named = look_up(text, "--objective", OBJECTIVES)
    return parameter in parameters_of(named.factory, skip=1)
