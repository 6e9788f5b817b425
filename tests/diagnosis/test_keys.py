"""Names that say which row is which."""

import pytest

from cgro.diagnosis.keys import group_in_line, is_epoch, is_group, is_step


@pytest.mark.parametrize(
    ("says", "right", "wrong"),
    [
        (is_group, ("seed", "run_id", "Trial"), ("running", "seed_acc", "run time")),
        (
            is_step,
            ("step", "global_step", "trainer/global_step", "iters"),
            ("steps_acc", "attack_steps", "train_steps"),
        ),
        (is_epoch, ("Epoch", "ep", "epoch_idx", "train/epoch"), ("best_epoch", "num_epochs", "epoch_acc", "deep")),
    ],
)
def test_what_names_say(says, right: tuple[str, ...], wrong: tuple[str, ...]) -> None:
    assert all(map(says, right))
    assert not any(map(says, wrong))


def test_the_word_alone() -> None:
    assert is_epoch("Epochs", alone=True)
    assert not is_epoch("current_epoch", alone=True)


@pytest.mark.parametrize(
    ("line", "group"),
    [
        ("Seed: 0", ("seed", "0")), ("== Run ID: a-7 ==", ("run id", "a-7")), ("trial 2 of 5", ("trial", "2")),
        ("Run time: 34 s", None), ("seed everything", None), ("seed 1, lr 0.1", None), ("Test acc 0.5", None), ("", None),
    ],
)  # fmt: skip
def test_lines_that_say_which_training_follows(line: str, group: tuple[str, str] | None) -> None:
    assert group_in_line(line) == group
