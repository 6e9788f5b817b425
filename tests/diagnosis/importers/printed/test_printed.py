"""What programs print: blocks between epochs, values that come twice, counts, and what is asked for."""

import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.cases import refused

from cgro.diagnosis import Curves, read_curves
from cgro.diagnosis.importers import parse_map
from cgro.diagnosis.settings import classes_in, settings_of

E = range(12)


def read(path: Path, columns: str = "") -> Curves:
    (found,) = read_curves(path, parse_map(columns))
    return found


def clean_and_robust(e: int) -> str:
    return f"Test Clean Acc: {60 + e}.10% | Test Robust Acc: {40 + e}.25%"


def is_right(found: Curves) -> bool:
    clean = np.allclose(found["clean_error/test"], 0.399 - np.arange(12) / 100)
    return clean and np.allclose(found["robust_error/test"], 0.5975 - np.arange(12) / 100)


def lines(write: Callable[[int], str], epochs: object = E) -> str:
    return "".join(write(e) + "\n" for e in list(epochs))  # type: ignore[call-overload]


def test_one_line_an_epoch_or_several(file) -> None:
    for write in (
        lambda e: f"Epoch {e}: {clean_and_robust(e)}",
        lambda e: f"Epoch {e}\nloss: 1.0\n{clean_and_robust(e)}",
        lambda e: f"{clean_and_robust(e)}\nEpoch {e} is over",
        lambda e: f"{{'test_acc': {0.601 + e / 100:.4f}, 'test_adv_acc': {0.4025 + e / 100:.4f}, 'epoch': {e}.0}}",
        lambda e: f"Epoch {e}\nTest robust: loss 1.5, acc {40 + e}.25%\nTest clean: loss 1.5, acc {60 + e}.1%",
    ):
        found = read(file(lines(write)))
        assert is_right(found)
        assert found.epoch.tolist() == list(E)


def test_the_accuracy_under_l1_is_not_the_top_1_accuracy(file) -> None:
    """Planted: where no plain accuracy was printed, that under the l1 attack was the clean one, in silence."""

    def write(e: int) -> str:
        return f"Epoch: {e}, Test Acc 1: {0.5 + e / 100:.4f}, Test Acc 2: 0.6, Test Acc inf: {0.4025 + e / 100:.4f}"

    refused(lambda: read(file(lines(write))), "column 'Test Acc 1' is not understood: 1 stands for a norm")
    refused(lambda: read(file(lines(lambda e: write(e).partition(", Test Acc inf")[0]))), "'Test Acc 1' is not und")
    found = read(file(lines(write)), "robust_accuracy/test=Test Acc inf")
    assert np.allclose(found["robust_error/test"], 0.5975 - np.arange(12) / 100)
    assert "clean_error/test" not in found.values
    top = read(file(lines(lambda e: f"Epoch {e}: Test Acc 1: 0.5, Test Acc 5: 0.9, Test Robust Acc: 0.4")))
    assert top["clean_error/test"].tolist() == [0.5] * 12


def test_a_training_that_was_resumed_is_one_training(file) -> None:
    text = lines(lambda e: f"Epoch {e}: {clean_and_robust(e)}", [*range(8), *range(5, 12)])
    found = read(file(text))
    assert is_right(found)
    assert "3 epochs were recorded more than once" in found.remarks[0]


def test_values_before_the_first_and_behind_the_last_epoch_are_said_and_left_out(file) -> None:
    text = lines(lambda e: f"Epoch {e}: {clean_and_robust(e)}")
    found = read(file(f"Test Clean Acc: 10% | Test Robust Acc: 9%\n{text}"))
    assert is_right(found)
    assert "before the first epoch" in found.remarks[0]
    found = read(file(f"{text}Best model:\nTest Clean Acc: 70% | Test Robust Acc: 50%\n"))
    assert is_right(found)
    assert "behind those of the last epoch are left out" in found.remarks[0]


def test_of_training_values_the_last_of_an_epoch_counts(file) -> None:
    text = lines(lambda e: f"Epoch {e}: train acc: 10.0%\nEpoch {e}: train acc: 70.0%\n{clean_and_robust(e)}")
    found = read(file(text))
    assert is_right(found)
    assert np.allclose(found["clean_error/train"], 0.3)


def test_two_values_of_one_name_in_an_epoch_are_refused(file) -> None:
    """Clean and attacked under one name, as two passes of one function print them."""
    text = lines(lambda e: f"Epoch {e}\nTest Accuracy: {60 + e}%\nTest Accuracy: {40 + e}%")
    refused(lambda: read(file(text)), "'Test Accuracy' is printed twice in epoch 0, 60% and 40%")


def test_a_plain_accuracy_below_words_of_an_attack_is_asked_for(file) -> None:
    path = file(lines(lambda e: f"Epoch {e}\nEvaluating under PGD-20\nTest acc: {40 + e}.25"))
    refused(lambda: read(path), "speaks of an attack", "clean_accuracy/test=Test acc", "robust_accuracy/test")
    found = read(path, "robust_accuracy/test=Test acc")
    assert np.allclose(found["robust_error/test"], 0.5975 - np.arange(12) / 100)
    assert not found.has("clean_error/test")


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (lambda e: f"Epoch {e}: Test acc {60 + e}.0 (PGD: {40 + e}.25)", "test PGD"),
        (lambda e: f"Epoch {e}: acc {40 + e}.25", "acc"),
        (lambda e: f"Epoch {e}: Adversarial training, test acc: {40 + e}.25", "adversarial training test acc"),
    ],
)
def test_a_name_that_is_not_understood_is_asked_for_and_the_answer_can_be_pasted(file, write, name: str) -> None:
    path = file(lines(write))
    text = refused(lambda: read(path), repr(name))
    found = read(path, shlex.split(text.partition("--map ")[2])[0])
    assert np.allclose(found["robust_error/test"], 0.5975 - np.arange(12) / 100)


def test_the_head_is_shown_and_gives_the_classes(file) -> None:
    head = "Namespace(arch='WideResNet', dataset='cifar100', epsilon=0.031, num_steps=10)\n"
    found = read(file(head + lines(lambda e: f"Epoch {e}: {clean_and_robust(e)}")))
    assert found.remarks[0] == (
        "the log says of itself: radius 0.031, attack steps 10, network WideResNet, data cifar100"
    )
    assert classes_in(settings_of(found)) == (100, "dataset=cifar100")


def test_progress_bars_are_no_values(file) -> None:
    bars = "\r".join(f"Epoch 0: {p}%|##| {p}/100 [00:01<00:02, 9.9it/s, loss=1.5]" for p in range(0, 101, 20))
    found = read(file(bars + "\n" + lines(lambda e: f"Epoch {e}: {clean_and_robust(e)}")))
    assert is_right(found)


def test_values_in_progress_bars_may_be_of_an_earlier_epoch(file) -> None:
    """Lightning's bar shows the last validation while the next epoch trains."""
    bars = lines(
        lambda e: f"Epoch {e}: 100%|##| 391/391 [00:30<00:00, 9.9it/s, loss=1, val_acc=0.{40 + e}, val_adv_acc=0.3]"
    )
    refused(lambda: read(file(bars)), "'val_acc' stands in progress bars alone", "CSVLogger")
    found = read(file(bars + lines(lambda e: f"Epoch {e}: {clean_and_robust(e)}")))
    assert is_right(found)
    assert not found.has("clean_error/validation")


def test_colors_and_bars_that_go_back_are_passed_over(file) -> None:
    for write in (
        lambda e: f"\x1b[32mEpoch {e}\x1b[0m: {clean_and_robust(e)}",
        lambda e: f"Epoch {e}\n  1/9 [>...] - test acc: 0.1" + "\b" * 30 + clean_and_robust(e),
    ):
        assert is_right(read(file(lines(write))))


def test_mart_prints_one_value_an_epoch(file) -> None:
    """The same function on the training set, and then on the test set: two values of one name."""
    text = lines(lambda e: f"Train Epoch: {e} [0/50000 (0%)]\tLoss: 1.0\nrobust_acc: 0.9\nrobust_acc: 0.4")
    refused(lambda: read(file(text)), "'robust_acc' is printed twice")


def test_counts_are_divided_by_what_other_lines_count(file) -> None:
    write = lambda e: f"Epoch {e}\nnatural_err_total: {1000 + e}\nrobust_err_total: {5000 + e}"  # noqa: E731
    refused(lambda: read(file(lines(write))), "if it is one of 10000 examples", "//10000'")
    said = lambda e: write(e) + "\nTest: Accuracy: 150/250 (60%)"  # noqa: E731
    refused(lambda: read(file(lines(said))), "the 250 test examples that other lines count", "//250'")


def test_natural_acc_is_of_the_test_set_only_where_mart_prints_it(file) -> None:
    text = lines(lambda e: f"Epoch {e}\nnatural_acc: 0.6\nrobust_acc: 0.4")
    refused(lambda: read(file(text)), "does not say train, validation or test")


def clean_error_of(write: Callable[[int], str], file) -> tuple[list[float], list[float], tuple[str, ...]]:
    found = read(file(lines(write)))
    epochs, errors = found.measured("clean_error/test")
    assert np.allclose(found["robust_error/test"], 0.5975 - np.arange(12) / 100)
    return epochs.tolist(), errors.tolist(), found.remarks


def test_what_the_line_of_an_epoch_says_itself_is_of_that_epoch(file) -> None:
    """Values above the line that says that the epoch is over, and others within it, which came one epoch late."""
    right = (0.399 - np.arange(12) / 100).tolist()
    for write in (
        lambda e: f"Test acc: {60 + e}.10%\nEpoch {e} done: test robust acc {40 + e}.25%",
        lambda e: f"Test robust acc: {40 + e}.25%\nEpoch {e} took 3 s, test acc {60 + e}.10%",
    ):
        epochs, errors, remarks = clean_error_of(write, file)
        assert epochs == list(E)
        assert np.allclose(errors, right)
        assert "stand above" in remarks[0]
    found = read(file(lines(lambda e: f"{clean_and_robust(e)}\nEpoch {e} took 3 s, train acc {70 + e}%")))
    assert np.allclose(found["clean_error/train"], 0.3 - np.arange(12) / 100)


def test_values_above_each_epoch_are_its_own_where_those_of_training_stand_there_too(file) -> None:
    found = read(file(lines(lambda e: f"Train acc: {70 + e}%\n{clean_and_robust(e)}\nEpoch {e}: 3.1 s")))
    assert is_right(found)
    assert found.epoch.tolist() == list(E)
    assert "taken to stand above" in found.remarks[0]


def test_values_above_or_below_each_epoch_are_asked_for(file) -> None:
    text = lines(lambda e: f"{clean_and_robust(e)}\nEpoch {e}: 3.1 s")
    refused(lambda: read(file(text)), "may be of the epoch below it or above it")
    sparse = lines(lambda e: f"Epoch {e}: 3.1 s" + (f"\n{clean_and_robust(e)}" if e % 4 == 0 else ""))
    found = read(file(f"Test Clean Acc: 10% | Test Robust Acc: 9%\n{sparse}"))
    assert found.measured("robust_error/test")[0].tolist() == [0, 4, 8]


def test_a_chosen_name_that_an_epoch_prints_again_is_asked_for(file) -> None:
    """The last one was taken, whether of training, clean or attacked."""
    path = file(lines(lambda e: f"Epoch {e}\nAcc: {70 + e}%\nAcc: {60 + e}%\nAcc: {40 + e}%"))
    refused(lambda: read(path, "robust_accuracy/test=Acc"), "'Acc' is printed twice in epoch 0, 70% and 60%")
    path = file(lines(lambda e: f"Epoch {e}\nBatch [1/2] Acc: 99%\nBatch [2/2] Acc: {40 + e}%"))
    assert np.allclose(read(path, "robust_accuracy/test=Acc")["robust_error/test"], 0.6 - np.arange(12) / 100)


def test_percentages_and_losses_called_total_are_no_counts(file) -> None:
    for word in ("acc", "accuracy", "Accuarcy"):
        text = f"Total test loss: 512.5\nTotal benign test {word}: {{clean}}\nTotal adv test {word}: {{robust}}"
        path = file(lines(lambda e, t=text: f"Epoch {e}\n" + t.format(clean=f"{60 + e}.1", robust=f"{40 + e}.25")))
        assert is_right(read(path))
    path = file(lines(lambda e: f"Epoch {e}\nTotal adv test err: {40 + e}.25"))  # an error may be a count
    refused(lambda: read(path), "the word 'total' is not known")
    path = file(lines(lambda e: f"Epoch {e}\nTotal adv test acc: {40 + e}"))
    refused(lambda: read(path), "is a count")


def test_values_behind_those_of_training_are_of_training_only_where_others_are_held_out(file) -> None:
    """They were read as training errors: most programs that print so measure them on the test set."""
    values = [
        lambda e: f"Clean Acc: {60 + e}.10% | PGD Acc: {40 + e}.25%",
        lambda e: f"Acc {60 + e}.1, adv acc {40 + e}",
    ]
    for write in values:
        for start in ("Train Loss: 1.2 | ", "train loss 1.2, "):
            path = file(lines(lambda e, write=write, start=start: f"Epoch {e} | {start}{write(e)}"))
            refused(lambda path=path: read(path), "its name does not say train, validation or test")
    found = read(file(lines(lambda e: f"Epoch {e} | Train Loss: 1.2 | {values[0](e)}")), "robust_accuracy/test=PGD Acc")
    assert not found.has("clean_error/train")
    found = read(
        file(lines(lambda e: f"Epoch {e}: train loss 1.2, clean acc 70%, pgd acc {50 + e}%\n{clean_and_robust(e)}"))
    )
    assert is_right(found)
    assert np.allclose(found["robust_error/train"], 0.5 - np.arange(12) / 100)
    assert np.allclose(found["clean_error/train"], 0.3)


def test_values_above_the_epoch_that_come_again_behind_the_last_one(file) -> None:
    """The network is evaluated once more when the training is over: all values were read one epoch too late."""
    for name_epoch in ("Epoch {e}: train loss 1.5", "[Epoch {e}] lr 0.1", "Epoch {e}/12 | train loss 1.5 | 30 s"):
        text = lines(lambda e, w=name_epoch: f"{clean_and_robust(e)}\n{w.format(e=e)}")
        found = read(file(f"{text}Final evaluation\n{clean_and_robust(11)}\n"))
        assert is_right(found)
        assert found.epoch.tolist() == list(E)
        assert "those above the last one come again" in " ".join(found.remarks)


def test_values_before_the_first_epoch_stay_left_out_where_none_come_again(file) -> None:
    start = "Test Clean Acc: 10.00% | Test Robust Acc: 9.80%\n"
    text = lines(lambda e: f"Epoch {e}: train loss 1.5\n{clean_and_robust(e)}")
    assert is_right(read(file(start + text)))
    held = lines(lambda e: f"Epoch {e}: train loss 1.5\n{clean_and_robust(e // 2)}")  # the last value again
    found = read(file(start + held))
    assert "before the first epoch are left out" in " ".join(found.remarks)


def test_eval_in_a_line_is_the_test_set_unless_another_line_says_test(file) -> None:
    for write in (
        lambda e: f"Epoch {e}: train_acc=70.1 eval_acc={60 + e}.1 robust_acc={40 + e}.25",
        lambda e: f"Epoch {e}\nEval Acc: {60 + e}.1, Adv Acc: {40 + e}.25",
        lambda e: f"Epoch {e} | eval: acc {60 + e}.1, pgd acc {40 + e}.25",
    ):
        assert is_right(read(file(lines(write))))
    found = read(file(lines(lambda e: f"Epoch {e}: eval_acc=61.1 robust_acc=41.2\n{clean_and_robust(e)}")))
    assert is_right(found)
    assert np.allclose(found["robust_error/validation"], 0.588)


def test_the_epoch_of_the_best_value_is_no_epoch(file) -> None:
    for best in ("best=29.7 (ep 3)", "best 29.7, ep 3"):
        assert is_right(read(file(lines(lambda e, b=best: f"Epoch {e}: {clean_and_robust(e)} | {b}"))))


def seeded(line: str, seeds: object = range(2)) -> str:
    """Trainings below each other, each below a line that says which it is; the errors of each are 5 points apart."""
    text = ""
    for k in list(seeds):  # type: ignore[call-overload]
        text += line.format(k) + "\n" + lines(lambda e, k=k: f"Epoch {e}: {clean_and_robust(e + 5 * k)}")
    return text


@pytest.mark.parametrize("line", ["seed: {}", "Seed {}", "=== Run {} ===", "Run ID: {}", "trial: {}/3", "seed={}"])
def test_a_line_that_says_a_seed_begins_its_training(file, line: str) -> None:
    """Its value was taken for one of the epoch above it: of the last epoch of the training before."""
    found = read_curves(file(seeded(line)))
    assert [curves.meta["group"].split()[-1] for curves in found] == ["0", "1"]
    assert is_right(found[0])
    assert np.allclose(found[1]["robust_error/test"], found[0]["robust_error/test"] - 0.05)


@pytest.mark.parametrize("line", ["Seed: 0", "run id: abc", "Trial 1"])
def test_a_seed_that_a_resumed_training_says_again_is_the_same(file, line: str) -> None:
    def rows(epochs: range) -> str:
        return lines(lambda e: f"Epoch {e}: {clean_and_robust(e)}", epochs)

    (found,) = read_curves(file(f"{line}\n{rows(range(8))}{line}\n{rows(range(8, 12))}"))
    assert is_right(found)
    assert "group" not in found.meta


@pytest.mark.parametrize(
    "line", ["Run time: 3 s", "seed everything", "run: python train.py --seed 3", "Trial: done soon 3"]
)
def test_other_lines_with_these_words_begin_nothing(file, line: str) -> None:
    (found,) = read_curves(file(lines(lambda e: f"Epoch {e}: {clean_and_robust(e)}\n{line}")))
    assert is_right(found)
