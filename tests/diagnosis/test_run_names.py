"""What stands before the name of a metric: a run, a part, or an attack."""

from cgro.diagnosis.run_names import keras_training, norms_beside, without_run_names


def test_a_name_of_a_run_means_nothing_and_a_section_does() -> None:
    runs = without_run_names(["adv - test_acc", "adv - test_pgd_acc", "lr"])
    assert list(runs.values()) == ["test_acc", "test_pgd_acc", "lr"]
    attacks = ["clean - train acc", "PGD20 - test acc", "train - adv_acc"]
    assert list(without_run_names(attacks).values()) == ["train acc", "PGD20 - test acc", "train - adv_acc"]
    assert without_run_names(["pgd at seed0 - test_acc"]) == {"pgd at seed0 - test_acc": "test_acc"}
    sections = ["train/acc", "test/acc", "robust/test_acc", "robust_error/test"]
    assert list(without_run_names(sections)) == list(without_run_names(sections).values())
    two_runs = ["pgd_at/test_acc", "fgsm_at/test_acc"]  # neither is the other's
    assert list(without_run_names(two_runs).values()) == two_runs


def test_best_and_ema_are_no_names_of_runs() -> None:
    for group in ("best", "ema", "ema_model"):
        names = ["test_acc", f"{group}/test_robust_acc"]
        assert list(without_run_names(names).values()) == names
    assert list(without_run_names(["awp_ema/test_acc"]).values()) == ["test_acc"]
    for name in ("best - test_acc", "1 - test_acc", "train acc - test acc"):
        assert without_run_names([name]) == {name: name}


def test_keras_names_the_training_by_nothing() -> None:
    assert keras_training(["adv_accuracy", "val_adv_accuracy"]) == {"adv_accuracy": "train_adv_accuracy"}


def test_norms_are_told_from_top_1() -> None:
    """As the code of multiple perturbations at once prints them; ImageNet's has 1 and 5."""
    assert norms_beside(["test_acc_1", "test_acc_2", "epoch"]) == {"test_acc_1": "test_acc_l1"}
    assert norms_beside(["acc 1 (test)", "acc linf (test)"]) == {"acc 1 (test)": "acc l1 (test)"}
    for names in (
        ["acc@1", "acc@5"],
        ["Test Acc 1"],
        ["Test Acc 1", "Train Acc 2"],
        ["acc1", "acc2"],
        ["Test Acc inf"],
    ):
        assert norms_beside(names) == {}
