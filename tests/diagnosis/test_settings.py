"""What the settings of a log say: classes, mixed images, regularization, and only where a word is there."""

import numpy as np
import pytest
from tests.diagnosis.writers import four, write_log

from cgro.diagnosis import CurveRule, Curves, diagnose, read_log
from cgro.diagnosis.settings import (
    attacks_nothing,
    classes_in,
    classes_sentence,
    mixed_images,
    regularized,
    settings_of,
)

FAST = CurveRule(n_boot=99)


@pytest.mark.parametrize(
    ("settings", "n"),
    [
        ({"dataset": "CIFAR100"}, 100),
        ({"data": "cifar-100"}, 100),
        ({"fname": "cifar100_l2/preactresnet18"}, 100),
        ({"fname": "out/cifar10-awp"}, 10),
        ({"data_dir": "../tiny-imagenet-200"}, 200),
        ({"data_dir": "/data/ImageNet"}, 1000),
        ({"dataset": "svhn", "fname": "cifar100"}, 10),  # the plainest word wins
        ({"data_dir": "../cifar-data"}, None),
        ({"dataset": "cifar1000"}, None),
        ({"dataset": "emnist"}, None),
        ({"dataset": "CIFAR-100"}, 100),
        ({"dataset": "fashion_mnist"}, 10),
        ({"model": "cifar10"}, None),  # names no data
    ],
)
def test_classes_come_from_the_words_for_data(settings: dict[str, str], n: int | None) -> None:
    found = classes_in(settings)
    assert (found and found[0]) == n


def log_with(**settings: str) -> Curves:
    """A flat training whose training errors are high, with settings of its own."""
    errors = four(40, 39, 0.0)
    errors["robust_error/train"] = errors["robust_error/train"] + 0.25
    text = write_log(errors, rng=np.random.default_rng(0))
    words = ", ".join(f"{name}={value!r}" for name, value in settings.items())
    return read_log(text.replace("fname='a(b)_c'", words))


def test_the_number_of_classes_is_told_with_its_source() -> None:
    told = diagnose(log_with(fname="cifar100_l2"), rule=FAST)
    assert any("Classes: 100, as the log says (fname=cifar100_l2)" in line for line in told.findings)
    assert told.evidence["rule"]["point"]["n_classes"] == 100  # type: ignore[index]
    assumed = diagnose(log_with(fname="run"), rule=FAST)
    assert any("Classes: 2 are assumed" in line for line in assumed.findings)
    given = diagnose(log_with(fname="cifar100_l2"), rule=FAST, n_classes=2)
    assert not any("Classes:" in line for line in given.findings)


def test_training_errors_on_mixed_images_are_not_believed() -> None:
    plain = diagnose(log_with(mixup="False", mixup_alpha="1.4"), rule=FAST)
    assert plain.point is not None
    assert "robust_error/train" in plain.point.evidence
    mixed = diagnose(log_with(mixup="True", mixup_alpha="1.4"), rule=FAST)
    assert mixed.point is not None
    assert mixed.label == "too_little_evidence"
    assert "mixup=True" in mixed.reason
    assert "robust_error/train" not in mixed.point.evidence
    assert mixed.opened is None
    assert classes_sentence({}, 2, "x", known=True) == ""


def test_a_rise_on_held_out_data_is_judged_whatever_was_mixed() -> None:
    text = write_log(four(60, 30, 0.08), rng=np.random.default_rng(0)).replace("fname='a(b)_c'", "cutout=True")
    found = diagnose(read_log(text), rule=FAST)
    assert found.label == "robust_overfitting"
    assert any("cutout=True: its training errors" in line for line in found.findings)


def test_words_that_are_off_or_elsewhere_mean_nothing() -> None:
    assert mixed_images({"mixup": "0.0", "cutmix": "none", "note": "mixup"}) == ""
    assert not regularized({"awp_gamma": "0.0", "data": "martian"})
    assert regularized({"method": "trades-beta6"})
    assert settings_of(Curves([1, 2], {"robust_error/test": [0.5, 0.4]}, {"settings": "text"})) == {}


@pytest.mark.parametrize(
    ("options", "nothing"),
    [
        ({"attack": "none"}, True),
        ({"robust_weight": 0}, True),
        ({"objective": "adversarial:robust_weight=0"}, True),
        ({"objective": "adversarial:robust_weight=0.00"}, True),
        ({"objective": "trades:beta=0.0"}, True),
        ({"objective": "trades:beta=0e3"}, True),
        ({"objective": "adversarial:robust_weight=0.5"}, False),
        ({"objective": "trades:beta=0.01"}, False),
        ({"objective": "mart:beta=0"}, False),  # its first term is attacked
        ({"objective": "mine:Loss:beta=0"}, False),
        ({"objective": "trades"}, False),
        ({}, False),
    ],
)
def test_standard_training_is_so_whichever_option_says_it(options: dict[str, object], nothing: bool) -> None:
    """Planted: with the weight in --objective, standard training was called underfitting."""
    config = {"attack": "pgd10", "robust_weight": 1.0, "objective": "adversarial", **options}
    assert attacks_nothing(config) == nothing
