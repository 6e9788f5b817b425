"""What the name of a column says of the run or the part that it belongs to. Pure functions."""

import re
from collections.abc import Iterable, Sequence

from cgro.diagnosis.columns import CURVES
from cgro.diagnosis.vocabulary import all_known, is_other_value, kinds_of, parts_of, words_of
from cgro.diagnosis.words import compares, is_error, may_name_attack, meaning_of

_MINUENDS = ("1", "100")
"""What stands before the dash in "1 - test_acc"."""
_EVAL = re.compile(r"(?<![A-Za-z])(?:eval|Eval|EVAL)(?![a-z])")
"""The word in any spelling of a name, and not the beginning of evaluation."""
_ONE = re.compile(r"(?<![0-9.])1(?![0-9.])")


def without_run_names(names: Iterable[str]) -> dict[str, str]:
    """Names without what Weights & Biases and others put before them: the name of a run, which means nothing.

    "run - metric" begins with a run's name, unless that is a part which the metric lacks, or may be an attack: its
    words are all known, and no metric of that run says robust. The beginning of "group/metric" is one if its words are
    not all known and every such column has the same. "best" and "ema" say of a value what it is, and name no run.

    Args:
        names: of all columns.

    Returns:
        Name -> what is left of it.

    Example:
        >>> without_run_names(["pgd_at/train_acc", "pgd_at/test_acc", "epoch"])
        {'pgd_at/train_acc': 'train_acc', 'pgd_at/test_acc': 'test_acc', 'epoch': 'epoch'}
        >>> without_run_names(["val/adv_acc", "pgd - test_acc"])
        {'val/adv_acc': 'val/adv_acc', 'pgd - test_acc': 'pgd - test_acc'}
        >>> without_run_names(["pgd - test_acc", "pgd - test_adv_acc"])
        {'pgd - test_acc': 'test_acc', 'pgd - test_adv_acc': 'test_adv_acc'}
    """
    left = _without_dashes(list(names))
    groups = set()
    for name in left.values():
        if "/" in name and name not in CURVES and meaning_of(name.partition("/")[2]) is not None:
            groups.add(name.partition("/")[0])
    if len(groups) != 1:
        return left
    group = groups.pop()
    words = words_of(group)
    if all_known(words) or is_other_value(words):
        return left
    return {name: short.removeprefix(f"{group}/") for name, short in left.items()}


def _without_dashes(names: Sequence[str]) -> dict[str, str]:
    """Names without what stands before " - ", where that names a run."""
    runs: set[str] = set()
    for name in names:
        before, _, after = name.rpartition(" - ")
        if "robust" in kinds_of(words_of(after)):
            runs.add(before)
    left: dict[str, str] = {}
    for name in names:
        before, _, after = name.rpartition(" - ")
        words = words_of(before)
        is_part = parts_of(words) and not parts_of(words_of(after)) and all_known(words)
        stays = is_part or is_other_value(words) or compares(name) or (before not in runs and may_name_attack(name))
        left[name] = name if stays or before in _MINUENDS else after
    return left


def keras_training(names: Iterable[str]) -> dict[str, str]:
    """Columns without a part that have a twin with `val_` before it: those of the training, as Keras names them.

    Args:
        names: of all columns.

    Returns:
        Name -> the name with its part.

    Example:
        >>> keras_training(["accuracy", "val_accuracy", "adv_accuracy"])
        {'accuracy': 'train_accuracy'}
    """
    there = set(names)
    return {name: f"train_{name}" for name in sorted(there) if f"val_{name}" in there}


def eval_beside_test(names: Iterable[str]) -> dict[str, str]:
    """Columns of errors that say eval, where others say test and none says validation: those of held-out training data.

    Args:
        names: of all columns.

    Returns:
        Name -> the name with its part; none where eval may be the test set.

    Example:
        >>> eval_beside_test(["test_acc", "eval_adv_acc"]), eval_beside_test(["eval_acc", "eval_adv_acc"])
        ({'eval_adv_acc': 'validation_adv_acc'}, {})
    """
    errors = list(filter(is_error, names))
    evals = [name for name in errors if "eval" in words_of(name)]
    parts = parts_of(word for name in errors if name not in evals for word in words_of(name))
    if "test" not in parts or "validation" in parts:
        return {}
    renamed = {name: _EVAL.sub("validation", name) for name in evals if _says_eval_alone(name)}
    return {name: other for name, other in renamed.items() if other != name}


def _says_eval_alone(name: str) -> bool:
    return not parts_of(word for word in words_of(name) if word != "eval")


def norms_beside(names: Iterable[str]) -> dict[str, str]:
    """Columns whose 1 stands for a norm, as "Acc 1" beside "Acc 2" and "Acc inf" does; else it is the top-1 accuracy.

    Args:
        names: of all columns.

    Returns:
        Name -> the name with its norm.

    Example:
        >>> norms_beside(["Test Acc 1", "Test Acc inf"]), norms_beside(["Test Acc 1", "Test Acc 5"])
        ({'Test Acc 1': 'Test Acc l1'}, {})
    """
    words = {name: words_of(name) for name in names}
    there = {tuple(one) for one in words.values()}
    found: dict[str, str] = {}
    for name, one in words.items():
        twins = (tuple(norm if word == "1" else word for word in one) for norm in ("2", "inf", "linf"))
        if "1" in one and not there.isdisjoint(twins):
            found[name] = _ONE.sub("l1", name)
    return found
