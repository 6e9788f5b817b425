"""What names of columns mean."""

import time

import pytest

from cgro.diagnosis.words import Meaning, Unknown, meaning_of

LONG = 200_000


def test_no_name_of_a_column_takes_long() -> None:
    start = time.process_time()
    for name in ("aA" * LONG, "test acc " * LONG, "A" * LONG):
        assert meaning_of(name) is None
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("test_acc", "clean_accuracy/test"),
        ("Nat Val Acc.", "clean_accuracy/validation"),
        ("Adv Test Acc.", "robust_accuracy/test"),
        ("valPgd20Error", "robust_error/validation"),
        ("test acc under PGD-50-10 (linf, eps 8)", "robust_accuracy/test"),
        ("test_autoattack_acc", "robust_accuracy/test"),
        ("test/certified_acc", "robust_accuracy/test"),
        ("acc1/test", "clean_accuracy/test"),
        ("Test RA", "robust_accuracy/test"),
        ("train_sa", "clean_accuracy/train"),
        ("robust_accuracy/test", "robust_accuracy/test"),
        ("clean_error/train", "clean_error/train"),
        ("test/acc@1", "clean_accuracy/test"),
        ("test_top_1_acc", "clean_accuracy/test"),
        ("test_pgd_acc_20", "robust_accuracy/test"),
        ("test_acc (10000 images)", "clean_accuracy/test"),
        ("robust test acc of the model", "robust_accuracy/test"),
        ("lr-SGD", "lr"),
        ("100-step PGD test acc", "robust_accuracy/test"),
        ("acc/test_robust_acc", "robust_accuracy/test"),
        ("the test robust accuracy is", "robust_accuracy/test"),
        ("cifar-10 test robust acc", "robust_accuracy/test"),
        ("robust acc on test 1000 images", "robust_accuracy/test"),
    ],
)
def test_names_that_are_understood(name: str, told: str) -> None:
    meaning = meaning_of(name)
    assert isinstance(meaning, Meaning)
    assert meaning.told == told


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("test_foo_acc", "'foo' is not known"),
        ("pgd_at_test_acc", "'at' is not known"),  # a run's name in front
        ("ema_test_acc", "'ema' is not known"),  # other weights
        ("test_2_robust_acc", "which of several 'test 2' says"),
        ("robust_acc_test_set2", "which of several 'set2' says"),
        ("model 1 test robust acc", "which of several 'model 1' says"),
        ("test_robust_acc_drop", "a difference"),
        ("test acc gap (adv)", "a difference"),
        ("best_test_robust_acc", "a best so far"),
        ("running_test_acc", "smoothed"),
        ("PGD10 Acc", "train, validation or test"),
        ("test_pgd", "neither error nor accuracy"),
        ("train_test_acc", "several parts"),
        ("test_clean_adv_acc", "clean and robust"),
        ("test_acc_err", "error and accuracy"),
        ("test loss/acc", "loss and accuracy"),
        ("1 - test_acc", "1 minus its values"),
        ("1-test_robust_acc", "1 minus its values"),
        ("100 - test acc (%)", "1 minus its values"),
        ("train acc - test acc", "a difference"),
        ("robust test acc / test acc", "a ratio"),
        ("test acc \u03c3", "a deviation"),
        ("\u0394 test robust acc", "a difference"),
        ("test_l2_acc", "'l2' is not known"),  # of an attack, or of a penalty?
        ("robust model test acc", "names a network"),
        ("standard_network_test_acc", "names a network"),
        ("test acc adv model", "names a network"),
        ("test_acc_3", "what the number 3 behind 'acc' says"),
        ("test error 20", "what the number 20 behind 'error' says"),
        ("PGD - test acc", "may be the name of a run"),
        ("adv - val_acc", "may be the name of a run"),
    ],
)
def test_names_that_are_not_understood_say_why(name: str, reason: str) -> None:
    meaning = meaning_of(name)
    assert isinstance(meaning, Unknown)
    assert reason in meaning.reason


@pytest.mark.parametrize(
    "name",
    [
        "GPU",
        "Seconds",
        "test_acc5",
        "test_top_5_acc",
        "test/acc@5",
        "test_top3_acc",
        "val prec@5",
        "train_loss_step",
        "noise_rate",
        "some_loss",
        "seed",
    ],
)
def test_names_of_other_things(name: str) -> None:
    assert meaning_of(name) is None


def test_the_words_of_an_attack_are_kept() -> None:
    meaning = meaning_of("Test PGD-20 Acc")
    assert isinstance(meaning, Meaning)
    assert meaning.attack == "pgd 20"


def test_words_for_wrong_answers_suggest_an_error() -> None:
    for name in ("misclassified under pgd, test", "adv test incorrect", "test wrong (robust)"):
        meaning = meaning_of(name)
        assert isinstance(meaning, Unknown)
        assert meaning.curves == ("robust_error/test",)
    meaning = meaning_of("test pgd correct")
    assert isinstance(meaning, Unknown)
    assert meaning.curves == ("robust_accuracy/test",)


@pytest.mark.parametrize("name", ["test mean square error", "test_mean_squared_error", "val mean absolute error"])
def test_a_mean_square_error_is_neither_an_error_rate_nor_of_the_square_attack(name: str) -> None:
    assert meaning_of(name) is None
    for other in ("test square error", "mean test square acc", "test square attack mean error"):
        meaning = meaning_of(other)
        assert isinstance(meaning, Meaning)
        assert meaning.curve == "robust_error/test"


@pytest.mark.parametrize(
    "name", ["test_adv_acc_eps_0", "test robust acc (eps=0)", "test pgd acc eps0", "test adv acc eps 0.0"]
)
def test_a_radius_of_zero_attacks_nothing(name: str) -> None:
    meaning = meaning_of(name)
    assert isinstance(meaning, Unknown)
    assert (meaning.reason, meaning.curves) == ("a radius of 0 attacks nothing", ("clean_accuracy/test",))
    for other in ("test_adv_acc_eps_0.03", "test adv acc (eps=0.031)", "test pgd acc eps 10"):
        assert isinstance(meaning_of(other), Meaning)


@pytest.mark.parametrize("name", ["clean", "Test nat", "benign/test", "cln"])
def test_a_name_that_only_says_clean_is_asked_for(name: str) -> None:
    """It was passed over, without a word."""
    meaning = meaning_of(name)
    assert isinstance(meaning, Unknown)
    assert meaning.curves == ("clean_accuracy/test",)
    for other in ("clean_time", "standard deviation", "clean up"):
        assert meaning_of(other) is None


@pytest.mark.parametrize(
    "name",
    ["test_AutoAttack_acc", "Auto-Attack test acc", "auto attack acc test", "test C&W acc", "c & w test acc",
     "test acc 10-step PGD", "test adv acc 10-step"],
)  # fmt: skip
def test_attacks_of_several_words(name: str) -> None:
    meaning = meaning_of(name)
    assert isinstance(meaning, Meaning)
    assert meaning.told == "robust_accuracy/test"
    assert meaning_of("train_acc_step") is None  # Lightning's, of a single step
    for clean in ("test cln acc", "orig test acc"):
        meaning = meaning_of(clean)
        assert isinstance(meaning, Meaning)
        assert meaning.told == "clean_accuracy/test"
    assert isinstance(meaning_of("test_auto_acc"), Unknown)


@pytest.mark.parametrize(
    ("name", "curves"),
    [
        ("attack failed on test", ("robust_accuracy/test", "robust_error/test")),
        ("test adv failures", ("robust_accuracy/test", "robust_error/test")),
        ("test robust failure rate", ("robust_accuracy/test", "robust_error/test")),
        ("adv test fooled", ("robust_error/test",)),
        ("test loss/acc", ("robust_accuracy/test", "robust_loss/test")),
        ("test robust model clean acc", ("clean_accuracy/test", "robust_accuracy/test")),
        ("test adv acc err", ("robust_accuracy/test", "robust_error/test")),
        ("val_foo_acc", ("robust_accuracy/validation",)),
        ("test_foo_acc", ("robust_accuracy/test",)),
    ],
)
def test_what_a_name_may_mean_does_not_contradict_its_words(name: str, curves: tuple[str, ...]) -> None:
    meaning = meaning_of(name)
    assert isinstance(meaning, Unknown)
    assert meaning.curves == curves


def test_short_forms_of_train_and_test_and_of_the_first_answer() -> None:
    for name, told in (("trn_acc", "clean_accuracy/train"), ("tst_adv_acc", "robust_accuracy/test")):
        meaning = meaning_of(name)
        assert isinstance(meaning, Meaning)
        assert meaning.told == told
    meaning = meaning_of("test Prec@1")
    assert isinstance(meaning, Meaning)
    assert meaning_of("test Adv Prec@5") is None
    assert meaning_of("test Adv Acc@5") is None
