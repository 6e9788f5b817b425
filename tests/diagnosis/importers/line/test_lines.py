"""One printed line: which number has which name."""

import time

import pytest

from cgro.diagnosis.importers.line.lines import parse_line


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("natural_acc:  tensor(0.8123, device='cuda:0')", [("natural_acc", "0.8123")]),
        ("robust_err_total: tensor(5432.)", [("robust_err_total", "5432.")]),
        ("Test: Accuracy: 8012/10000 (80%)", [("test Accuracy", "80.12%")]),
        ("Epoch 3: train loss 1.2 train acc 0.5 test acc 0.4", [("train loss", "1.2"), ("train acc", "0.5"), ("test acc", "0.4")]),
        ("[train] acc 1.5%, acc_pgd 1% [test] acc_clean 2%, acc_pgd-50-10 3%",
         [("train acc", "1.5%"), ("train acc_pgd", "1%"), ("test acc_clean", "2%"), ("test acc_pgd-50-10", "3%")]),
        ("PGD 20 Test Acc 45.2", [("PGD 20 Test Acc", "45.2")]),
        ("PGD-20 acc (test): 45.2", [("PGD-20 acc (test", "45.2")]),
        ("acc 45.2 (test), loss 3", [("test acc", "45.2"), ("loss", "3")]),
        ("Test acc 45.2 (PGD)", [("pgd Test acc", "45.2")]),
        ("Attack PGD, eps 0.031: test acc 45.2", [("eps", "0.031"), ("attack pgd test acc", "45.2")]),
        ("Acc@1 45.20 (44.00)", [("Acc@1", "45.20")]),
        ("100%|####| 391/391 [00:30<00:00, 12.8it/s, loss=1.85]", [("loss", "1.85")]),
        ("391/391 [====] - 30s 70ms/step - loss: 1.2 - val_acc: 0.5", [("loss", "1.2"), ("val_acc", "0.5")]),
        ("robust acc: 12 images of 100 images", []),
        ("acc nan", [("acc", "nan")]),
        ("Test Acc 2: 0.5, Test Acc inf: 0.4", [("Test Acc 2", "0.5"), ("Test Acc inf", "0.4")]),
        ("Test Loss: inf, Test Acc 0.1", [("Test Loss", "inf"), ("Test Acc", "0.1")]),
    ],
)  # fmt: skip
def test_the_numbers_of_a_line(line: str, values: list[tuple[str, str]]) -> None:
    assert parse_line(line).values == values


def test_what_two_names_say_at_once_is_not_guessed() -> None:
    """The second Acc could be clean or robust, and the third train or test: their names stay incomplete."""
    assert parse_line("Test Robust Loss 1.5, Acc 0.45").values[1] == ("Acc", "0.45")
    both = "Train Robust Loss 1.5, Acc 0.45 | Test Robust Acc 0.3"  # the robust accuracy is of another part
    assert parse_line(both).values[1] == ("Acc", "0.45")
    both = "Test Robust Loss 1.5, Acc 0.45, Robust Acc 0.3"
    assert parse_line(both).values[1] == ("test Acc", "0.45")
    assert parse_line("Adversarial training: test acc 0.8").values == [("adversarial training test acc", "0.8")]


def test_a_line_that_speaks_of_an_attack_without_a_number_of_it_is_kept() -> None:
    assert parse_line("Evaluating under PGD-20").attack == "Evaluating under PGD-20"
    assert parse_line("Test PGD acc 0.5").attack == ""
    assert parse_line("Training advances").attack == ""


@pytest.mark.parametrize(
    "part", ["(", "1 ", "a 1", "epoch 1 ", "tensor(", "1/1(", "[", "pgd 1 ", "- ", "best epoch 1 ", "1 a ", "(1%"]
)
def test_a_line_of_any_length_takes_no_time(part: str) -> None:
    start = time.process_time()
    parse_line(part * 50_000)
    assert time.process_time() - start < 2


def test_a_second_number_behind_a_name_without_a_part_is_not_left_out() -> None:
    names = [name for name, _ in parse_line("Adv Acc 45.2, 43.1").values]
    assert names == ["Adv Acc (first of several)", "Adv Acc (second of several)"]
    assert parse_line("Train Acc 45.2, 43.1").values == [("Train Acc", "45.2")]


def test_the_full_bar_of_an_evaluation_holds_its_values() -> None:
    """As the package robustness prints; a bar of the training shows the evaluation of an earlier epoch."""
    values = "| NatPrec1 80.1 ||: 100%|####| 79/79 [00:10<00:00, 6.5it/s]"
    assert not parse_line(f"Val Epoch:3 {values}").is_bar
    assert parse_line(f"Train Epoch:3 {values}").is_bar
    assert parse_line(f"Val Epoch:3 {values}".replace("100%", "90%")).is_bar


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("acc: 45.4 (train) 44.9 (test)", [("train acc", "45.4"), ("test acc", "44.9")]),
        ("acc 45.3 (train), 45.2 (test); adv acc 35.0 (train), 30.1 (test)",
         [("train acc", "45.3"), ("test acc", "45.2"), ("train adv acc", "35.0"), ("test adv acc", "30.1")]),
        ("test acc 45.2 (clean), 30.1 (PGD-20), 27.1 (AA)",
         [("clean test acc", "45.2"), ("PGD-20 test acc", "30.1"), ("AA test acc", "27.1")]),
        ("test acc 45.2 clean, 30.1 PGD", [("clean test acc", "45.2"), ("pgd test acc", "30.1")]),
        ("test err 20.1% (nat) 55.2% (adv)", [("nat test err", "20.1%"), ("adv test err", "55.2%")]),
        ("nat acc 45 adv acc 35 (train) nat acc 44 adv acc 30 (test)",
         [("train nat acc", "45"), ("train adv acc", "35"), ("test nat acc", "44"), ("test adv acc", "30")]),
        ("adv acc 45.2 (train) 3 (epochs)", [("train adv acc", "45.2")]),
        ("acc 45.2 (train) 44.1 (test) 3 (s)", [("train acc", "45.2"), ("test acc", "44.1")]),
        ("test acc 80.1 clean, 12 PGD steps", [("clean test acc", "80.1")]),
        ("acc 45 (train) 44 ()", [("train acc", "45")]),
        ("(train) acc 45 (test) acc 44", [("train acc", "45"), ("test acc", "44")]),
        ("test acc 47.1 (best) 45.2 (last)", [("best test acc", "47.1"), ("test acc (second of several)", "45.2")]),
    ],
)  # fmt: skip
def test_words_behind_values_tell_them_apart(line: str, values: list[tuple[str, str]]) -> None:
    """The second one was dropped, without a word."""
    assert parse_line(line).values == values


def test_a_part_that_is_called_eval_stays_so_in_the_names_behind_it() -> None:
    values = parse_line("train_acc=45.4 eval_acc=44.9 robust_acc=30.2").values
    assert values[2] == ("eval robust_acc", "30.2")
    assert parse_line("Val acc 44.9, adv acc 30.2").values[1] == ("validation adv acc", "30.2")


def test_a_count_in_brackets_before_its_percentage_is_one_value() -> None:
    for percent in ("45.36%", "45%"):
        assert parse_line(f"Test Acc: (4536/10000) {percent}").values == [("Test Acc", "45.36%")]
    names = [name for name, _ in parse_line("Test Acc: (8010/10000) 45.36%").values]  # another value
    assert names == ["Test Acc (first of several)", "Test Acc (second of several)"]
