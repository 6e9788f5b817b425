"""Which epoch a line is of: neither the best one, nor that of a checkpoint."""

import time

import pytest

from cgro.diagnosis.importers.line.epochs import epoch_in_cell, epochs_of, says_over, without_epochs


@pytest.mark.parametrize(
    ("line", "epochs"),
    [
        ("Epoch: [3 | 120] | lr 0.1", (3,)), ("Epoch 3/120", (3,)), ("epoch=3, acc 0.5", (3,)), ("Train Epoch: 3 [0/50000 (0%)]", (3,)),
        ("Epoch 3 of 120 done", (3,)), ("EPOCH #3", (3,)), ("{'acc': 0.5, 'epoch': 3.0}", (3,)), ("[Epoch 3] loss 0.1", (3,)),
        ("Epoch:3", (3,)), ("Epochs: 120", ()), ("Best epoch: 3", ()), ("Resuming from epoch 3", ()), ("epoch 3.5", ()),
        ("3 epochs", ()), ("per epoch 12.5s", ()), ("best at epoch 3", ()), ("max acc 0.5 at epoch 3", ()), ("(47.1 at epoch 3)", ()),
        ("Epoch 4 acc 0.5 | best epoch: 3", (4,)), ("Epoch 4, after epoch 3", (4,)), ("after epoch 3", (3,)), ("Epoch 3, epoch 4", (3, 4)),
    ],
)  # fmt: skip
def test_the_epochs_of_a_line(line: str, epochs: tuple[int, ...]) -> None:
    assert epochs_of(line).numbers == epochs


def test_what_stands_around_the_epoch() -> None:
    found = epochs_of("Train Epoch: 3 finished, acc 0.5")
    assert (found.before, found.after, found.ends) == ("Train ", "finished, acc 0.5", True)
    assert epochs_of("acc 0.5").after == "acc 0.5"
    assert without_epochs("acc 0.5 (epoch 3)") == "acc 0.5 ( | "


def test_an_epoch_with_a_separator_of_thousands_is_not_read() -> None:
    assert "'1,000'" in epochs_of("Epoch 1,000 acc 0.5").doubt
    for line in ("Epoch 1, 000", "Epoch 1,0005", "Epoch 1,25"):
        assert epochs_of(line).doubt == ""


def test_words_that_say_that_an_epoch_is_over() -> None:
    assert all(map(says_over, ("Epoch 3 took 12 s", "End of epoch 3", "epoch 3 (elapsed 12 s)")))
    assert not says_over("Epoch 3 overall")


@pytest.mark.parametrize(
    "part", ["epoch", "epoch 1 ", "best epoch 1 ", "(best ", "max ", "epoch " + " " * 90, "1", "("]
)
def test_a_text_of_any_length_takes_no_time(part: str) -> None:
    text = part * (100_000 // len(part))
    start = time.process_time()
    epochs_of(text + "epoch" + " " * 100_000 + "." * 1000)
    without_epochs("epoch 1" + "." * 100_000)
    assert time.process_time() - start < 2


def test_a_cell_may_name_its_epoch() -> None:
    for cell in ("17/200", "17 of 200", "epoch_17", "Epoch 17", "ep17", "ckpt-epoch-17.pth.tar"):
        assert epoch_in_cell(cell) == "17", cell
    for cell in ("step 17", "best", "epoch", "epoch_17_acc_45", "17 18", "deep17"):
        assert epoch_in_cell(cell) is None, cell


@pytest.mark.parametrize(
    ("line", "epochs"),
    [
        ("Epoch-3 | acc 0.5", (3,)),
        ("Epoch No. 3: acc 0.5", (3,)),
        ("epoch idx: 3, acc 0.5", (3,)),
        ("epoch_3 acc 0.5", (3,)),
        ("Epoch notes 3", ()),
        ("epochs 60", ()),
        ("epoch number of 3", ()),
    ],
)
def test_words_and_signs_between_epoch_and_its_number(line: str, epochs: tuple[int, ...]) -> None:
    assert epochs_of(line).numbers == epochs
