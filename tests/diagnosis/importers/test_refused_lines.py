"""Printed values that are not those of the network after the epoch, or that could be two things: each is asked for."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.cases import refused

from cgro.diagnosis import Curves, read_curves
from cgro.diagnosis.importers import parse_map

E = range(12)
CLEAN = 0.399 - np.arange(12) / 100
ROBUST = 0.5975 - np.arange(12) / 100


def read(path: Path, columns: str = "") -> Curves:
    (found,) = read_curves(path, parse_map(columns))
    return found


def text_of(write: str) -> str:
    """One line an epoch: CLEAN and ROBUST are accuracies on the test set, BEST is another value."""
    lines: list[str] = []
    for e in E:
        values = {"EPOCH": str(e), "CLEAN": f"{60 + e}.10", "ROBUST": f"{40 + e}.25", "BEST": f"{47 + e}.50"}
        line = write
        for key, value in values.items():
            line = line.replace(key, value)
        lines.append(line + "\n")
    return "".join(lines)


def is_right(found: Curves) -> bool:
    clean = found.has("clean_error/test") and np.allclose(found["clean_error/test"], CLEAN)
    return bool(clean and np.allclose(found["robust_error/test"], ROBUST) and found.epoch.tolist() == list(E))


@pytest.mark.parametrize(
    ("write", "says"),
    [
        ("Epoch EPOCH | Test acc: 0,8010 | Test adv acc: 0,4520", "'0,8010' behind 'Test acc'"),
        ("Epoch EPOCH: test acc 80,10 test adv acc 45,20", "decimal comma"),
        ("Epoch EPOCH: test acc: CLEAN%, test adv acc: 45,20%", "'45,20%' behind 'test adv acc'"),
        ("Epoch EPOCH: test robust acc 4,512", "separator of thousands"),
        ("Epoch 1,00EPOCH | test acc CLEAN | test adv acc ROBUST", "write epochs without one"),
    ],
)
def test_a_comma_in_a_number_is_asked_for(file: Callable[[str], Path], write: str, says: str) -> None:
    refused(lambda: read(file(text_of(write))), says)


@pytest.mark.parametrize(
    "write",
    [
        "Epoch EPOCH,test acc CLEAN,test adv acc ROBUST,lr 0.1",
        "Epoch EPOCH: test acc CLEAN [59.10,61.10], test adv acc ROBUST [0,1]",
        "Epoch EPOCH, gpu 0,1, test acc: CLEAN, test adv acc: ROBUST",
    ],
)
def test_a_comma_between_numbers_is_none_in_them(file: Callable[[str], Path], write: str) -> None:
    assert is_right(read(file(text_of(write))))


def test_counts_may_have_separators_of_thousands(file: Callable[[str], Path]) -> None:
    for form in ("{:,}/10,000", "{:,} / 10,000 (44%)", "{:,} of 10,000"):
        write = "".join(
            f"Epoch {e}: test accuracy: {form.format(6010 + 100 * e)} robust test accuracy: {form.format(4025 + 100 * e)}\n"
            for e in E
        )
        assert is_right(read(file(write)))


@pytest.mark.parametrize(
    ("write", "says"),
    [
        ("Epoch EPOCH | test acc CLEAN | best: test adv acc BEST", "no curve: a best so far"),
        ("Epoch EPOCH | test acc CLEAN | [best] test adv acc BEST", "no curve: a best so far"),
        ("Epoch EPOCH | test acc CLEAN | EMA: test adv acc BEST", "'ema' is not known"),
        ("Epoch EPOCH | test acc CLEAN\nteacher: test adv acc BEST", "'teacher' is not known"),
        ("Epoch EPOCH | test acc CLEAN | [SWA] adv acc BEST (test)", "'swa' is not known"),
        ("Epoch EPOCH\nBest model so far\n  test acc CLEAN, test adv acc BEST", "no curve: a best so far"),
        ("Epoch EPOCH\nEvaluating EMA\n  test acc CLEAN, test adv acc BEST", "'ema' is not known"),
        ("Epoch EPOCH | test acc CLEAN | test adv acc: BEST (best) ROBUST (last)", "no curve: a best so far"),
        ("Epoch EPOCH | test acc CLEAN | test adv acc (best/current): BEST/ROBUST", "no curve: a best so far"),
        ("Epoch EPOCH | test acc CLEAN | Best (epoch 3): test adv acc BEST", "no curve: a best so far"),
        ("Epoch EPOCH | test acc CLEAN | peak: test adv acc BEST", "'peak test adv acc'"),
        ("Epoch EPOCH\ntest acc CLEAN\n[best] test adv acc BEST", "no curve: a best so far"),
        ("Epoch EPOCH\ntest acc CLEAN\n[EMA model] test adv acc BEST", "'ema' is not known"),
        ("Epoch EPOCH\ntest acc CLEAN\n[12:30:00] [SWA] test adv acc BEST", "'swa' is not known"),
        ("Epoch EPOCH\ntest acc CLEAN\nINFO best: test adv acc BEST", "no curve: a best so far"),
    ],
)
def test_the_best_or_another_network_is_no_curve(file: Callable[[str], Path], write: str, says: str) -> None:
    refused(lambda: read(file(text_of(write))), says)


@pytest.mark.parametrize(
    "write",
    [
        "Epoch EPOCH | best epoch: 3 | test acc CLEAN | test adv acc ROBUST",
        "Epoch EPOCH (best epoch 3) test acc CLEAN test adv acc ROBUST",
        "Epoch EPOCH | best: test adv acc BEST | last: test adv acc ROBUST | test acc CLEAN",
        "Epoch EPOCH | EMA: test adv acc BEST\nraw: test adv acc ROBUST, test acc CLEAN",
        "Epoch EPOCH\nSaving the best model\ntest acc CLEAN, test adv acc ROBUST",
        "Epoch EPOCH | New best! | test acc CLEAN | test adv acc ROBUST",
        "Epoch EPOCH: test acc CLEAN, test adv acc ROBUST (best BEST)",
        "Epoch EPOCH: test acc CLEAN, test adv acc ROBUST (max BEST at epoch 3)",
        "Epoch EPOCH\ntest acc CLEAN, test adv acc ROBUST\nBest model so far\ntest adv acc BEST",
    ],
)
def test_the_network_itself_beside_the_best_is_read(file: Callable[[str], Path], write: str) -> None:
    text = text_of(write)
    if write.endswith("test adv acc BEST"):
        refused(lambda: read(file(text)), "'test adv acc' is printed twice")
        return
    assert is_right(read(file(text)))


@pytest.mark.parametrize(
    "write",
    [
        "Test acc CLEAN robust acc ROBUST (max BEST at epoch 3) [epoch EPOCH/12]",
        "Test acc CLEAN robust acc ROBUST (BEST at epoch 3) [epoch EPOCH/12]",
        "test acc CLEAN test adv acc ROBUST, highest BEST @ epoch 3, epoch EPOCH",
        "peak BEST in epoch 3 | Epoch EPOCH: test acc CLEAN test adv acc ROBUST",
        "Results at epoch EPOCH: test acc CLEAN test adv acc ROBUST",
        "Epoch EPOCH of 12 (learning rate dropped at epoch 3): test acc CLEAN test adv acc ROBUST",
    ],
)
def test_another_epoch_in_a_line_is_not_its_own(file: Callable[[str], Path], write: str) -> None:
    assert is_right(read(file(text_of(write))))


@pytest.mark.parametrize(
    "write",
    [
        "epoch 3 robust test acc BEST, epoch EPOCH test acc CLEAN robust test acc ROBUST",
        "test adv acc ROBUST (epoch EPOCH) test acc CLEAN (epoch 30)",
        "Epoch EPOCH: test adv acc ROBUST; test adv acc BEST, epoch 4",
    ],
)
def test_two_epochs_in_a_line_are_asked_for(file: Callable[[str], Path], write: str) -> None:
    refused(lambda: read(file(text_of(write))), "names two epochs", "leave one")


@pytest.mark.parametrize(
    ("write", "says"),
    [
        ("PGD-AT | Epoch EPOCH | train acc 90.00 | test acc CLEAN", "speaks of an attack, and 'test acc' does not say"),
        ("Robust model, epoch EPOCH: test acc CLEAN", "speaks of an attack"),
        ("adv | Epoch EPOCH | test acc CLEAN", "speaks of an attack"),
        ("Epoch EPOCH\nRobust model: test acc CLEAN", "'robust model' names a network"),
    ],
)
def test_a_word_for_robust_before_the_epoch_may_name_the_run(
    file: Callable[[str], Path], write: str, says: str
) -> None:
    refused(lambda: read(file(text_of(write))), says)


@pytest.mark.parametrize(
    "write",
    [
        "PGD-AT | Epoch EPOCH | test acc CLEAN | test adv acc ROBUST",
        "Clean | Epoch EPOCH | test acc CLEAN\nPGD | Epoch EPOCH | test acc ROBUST",
        "Clean Test Epoch EPOCH: acc CLEAN\nAdv Test Epoch EPOCH: acc ROBUST",
        "Epoch EPOCH\nclean: test acc CLEAN\nPGD-20: test acc ROBUST",
        "Epoch EPOCH\n[Clean] test acc CLEAN\n[PGD-20] test acc ROBUST",
        "Epoch EPOCH\nINFO clean: test acc CLEAN\nINFO pgd20: test acc ROBUST",
        "Epoch EPOCH\n[Train] acc 90.00, adv acc 80.00\n[Test] acc CLEAN, adv acc ROBUST",
        "[Epoch EPOCH/12] [train] acc 90.00, adv acc 80.00 [test] acc CLEAN, adv acc ROBUST",
        "[Epoch EPOCH] test acc CLEAN test adv acc ROBUST",
        "[train.py:31] Epoch EPOCH\n[train.py:32] test acc CLEAN\n[12:30:00 INFO] test adv acc ROBUST",
    ],
)
def test_what_names_the_values_and_not_the_run_stays(file: Callable[[str], Path], write: str) -> None:
    assert is_right(read(file(text_of(write))))


def test_behind_a_count_of_batches_the_average_counts(file: Callable[[str], Path]) -> None:
    """As AverageMeter prints: the last batch, then the average in brackets."""
    write = "Epoch EPOCH\nTest: [78/79]\tLoss 1.1 (1.2)\tRobust Acc BEST (ROBUST)\tAcc 61.00 (CLEAN)"
    assert is_right(read(file(text_of(write))))


@pytest.mark.parametrize("epoch", ["Epoch [EPOCH/12]", "Epoch: [EPOCH/12] |", "[EPOCH/12] Epoch EPOCH"])
def test_a_count_of_epochs_is_none_of_batches(file: Callable[[str], Path], epoch: str) -> None:
    """Here the number in brackets may as well be the best so far."""
    path = file(text_of(f"{epoch} test acc CLEAN, test adv acc ROBUST (BEST)"))
    refused(lambda: read(path), "several numbers stand behind its name")


@pytest.mark.parametrize(
    "text",
    [
        "BEST (ROBUST)", "BEST/ROBUST", "BEST -> ROBUST", "BEST ROBUST", "BEST% / ROBUST%", ": (BEST) ROBUST",
        "BEST, ROBUST", "= [BEST, ROBUST]", "BEST | ROBUST |", ": BEST; ROBUST",
    ],
)  # fmt: skip
def test_two_numbers_behind_a_name_are_asked_for_and_either_can_be_chosen(
    file: Callable[[str], Path], text: str
) -> None:
    path = file(text_of(f"Epoch EPOCH: test acc CLEAN | test adv acc {text}"))
    line = refused(lambda: read(path), "'test adv acc (first of several)'", "several numbers stand behind its name")
    assert "test adv acc (second of several)" in line
    assert is_right(read(path, "robust_accuracy/test='test adv acc (second of several)'"))


@pytest.mark.parametrize(
    "text",
    [
        "ROBUST (+0.3)", "ROBUST +/- 0.3", "ROBUST (40.00, 42.00)", "ROBUST 30 s", "ROBUST 12:34:56", "ROBUST, 30 s",
        "ROBUST | 391 | 0.5 h", "ROBUST, 79/79", "ROBUST (1,234)", "ROBUST.",
        "ROBUST (95% confidence: 39.00 to 42.00)",
    ],
)  # fmt: skip
def test_a_second_number_of_another_kind_is_passed_over(file: Callable[[str], Path], text: str) -> None:
    assert is_right(read(file(text_of(f"Epoch EPOCH: test acc CLEAN | test adv acc {text}"))))


def test_the_option_for_one_of_several_keeps_clean_and_robust_apart(file: Callable[[str], Path]) -> None:
    path = file(text_of("Epoch EPOCH: test acc BEST -> CLEAN | train adv acc 90.00"))
    refused(lambda: read(path), "--map 'clean_accuracy/test=test acc (first of several)'")


@pytest.mark.parametrize(
    "write",
    [
        "Epoch EPOCH: Test Loss 1.2 PGD Loss 2.1 Acc ROBUST",
        "Epoch EPOCH: Test Loss: 1.2, Robust Loss: 2.1, Acc: ROBUST",
        "Epoch EPOCH | Test: Loss 1.2, Robust Loss 2.1, Acc ROBUST",
    ],
)
def test_a_plain_accuracy_behind_a_robust_loss_is_asked_for(file: Callable[[str], Path], write: str) -> None:
    refused(lambda: read(file(text_of(write))), "'Acc' is not understood", "--map robust_accuracy/test=Acc")


@pytest.mark.parametrize(
    "write",
    [
        "Epoch EPOCH: Test Loss 1.2 PGD Loss 2.1 Acc CLEAN PGD Acc ROBUST",
        "Epoch EPOCH: Test Robust Acc ROBUST, Acc CLEAN",
        "Epoch EPOCH | Train Robust Loss 2.1 | Test: Acc CLEAN, Robust Acc ROBUST",
    ],
)
def test_beside_a_robust_accuracy_a_plain_one_is_clean(file: Callable[[str], Path], write: str) -> None:
    assert is_right(read(file(text_of(write))))


@pytest.mark.parametrize(
    "write",
    [
        "Epoch EPOCH test acc CLEAN\nEpoch EPOCH test acc ROBUST",
        "Epoch EPOCH | evaluation 1\ntest acc: CLEAN\nEpoch EPOCH | evaluation 2\ntest acc: ROBUST",
        "[Epoch EPOCH] test adv acc BEST\n[Epoch EPOCH] test adv acc ROBUST, test acc CLEAN",
    ],
)
def test_an_epoch_that_is_named_before_each_of_two_values_does_not_tell_them_apart(
    file: Callable[[str], Path], write: str
) -> None:
    refused(lambda: read(file(text_of(write))), "is printed twice in epoch 0", "rename one")


def test_later_values_of_an_epoch_and_those_of_a_training_that_was_resumed_are_read(
    file: Callable[[str], Path],
) -> None:
    """Evaluations within an epoch say their step; a training that was resumed records few epochs once more."""
    line = "Epoch EPOCH test acc CLEAN test adv acc ROBUST"
    within = "Epoch EPOCH iter 200 test acc BEST\nEpoch EPOCH iter 400 test acc CLEAN test adv acc ROBUST"
    batches = "Epoch EPOCH [200/400] test acc BEST\nEpoch EPOCH [400/400] test acc CLEAN test adv acc ROBUST"
    for text in (text_of(within), text_of(batches), "Epoch 0 test acc 55.00 test adv acc 30.00\n" + text_of(line)):
        assert is_right(read(file(text)))
