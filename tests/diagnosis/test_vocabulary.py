"""What single words say: a part, clean or robust, a measure, other weights."""

import time

import pytest

from cgro.diagnosis.vocabulary import (
    aspects_of,
    attack_of,
    has_no_radius,
    is_detail,
    is_known,
    is_other_value,
    is_total,
    kinds_of,
    measures_of,
    parts_of,
    strength_of,
    weights_of,
    words_of,
)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("testRobustAcc", ["test", "robust", "acc"]), ("PGD-20_acc", ["pgd", "20", "acc"]), ("acc@1", ["acc", "1"]),
        ("valPgd20Error", ["val", "pgd20", "error"]), ("LR", ["lr"]), ("", []), ("\u0394 acc", ["acc"]),
    ],
)  # fmt: skip
def test_the_words_of_a_name(name: str, words: list[str]) -> None:
    assert words_of(name) == words


def test_a_name_of_any_length_takes_no_time() -> None:
    start = time.process_time()
    for name in ("aA" * 200_000, "test acc " * 200_000, "A" * 200_000):
        kinds_of(words_of(name))
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("words", "parts", "kinds", "measures"),
    [
        ("test robust acc", {"test"}, {"robust"}, {"accuracy"}),
        ("val nat err", {"validation"}, {"clean"}, {"error"}),
        ("tr ra", {"train"}, {"robust"}, {"accuracy"}),
        ("te sa loss", {"test"}, {"clean"}, {"loss"}),
        ("train test clean pgd20", {"train", "test"}, {"clean", "robust"}, set()),
        ("seconds", set(), set(), set()),
    ],
)
def test_what_words_say(words: str, parts: set[str], kinds: set[str], measures: set[str]) -> None:
    found = words.split()
    assert (parts_of(found), kinds_of(found), measures_of(found)) == (parts, kinds, measures)


def test_details_are_known_and_kept_beside_an_attack_only() -> None:
    assert not is_known("eps")
    assert is_known("eps", robust=True)
    assert attack_of(["test", "acc", "pgd", "20", "linf", "eps", "8"]) == "pgd 20 linf eps 8"
    assert attack_of(["test", "acc", "linf", "8"]) == ""


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("[EMA]", ("ema",)), ("Best model so far", ("best",)), ("averaged, peak", ("averaged", "peak")), ("last", ()),
        ("New best!", ()), ("* best *", ()), ("Saved the best model", ()),
    ],
)  # fmt: skip
def test_words_of_other_weights(text: str, weights: tuple[str, ...]) -> None:
    assert weights_of(text) == weights


def test_totals_and_values_of_other_weights() -> None:
    assert is_total("robust_err_total")
    assert not is_total("total_time")
    assert is_other_value(["ema", "model"])
    assert not is_other_value(["awp", "ema"])
    assert not is_total("total_test_loss")


def test_words_without_anything_between_are_words_all_the_same() -> None:
    assert words_of("testadvacc") == ["test", "adv", "acc"]
    assert words_of("eval_advtop1") == ["eval", "adv", "top1"]
    assert words_of("val_nataccuracy") == ["val", "nat", "accuracy"]
    for name in ("contesterror", "stderr", "balacc", "advtest", "trainadv"):
        assert words_of(name) == [name]


def test_the_stronger_attack() -> None:
    order = ["fgsm acc", "cw acc", "pgd acc", "pgd 10 acc", "pgd20 acc", "apgd acc", "aa acc"]
    strengths = [strength_of(words_of(name)) for name in order]
    assert strengths == sorted(set(strengths))


def test_what_words_tell_of_an_attack() -> None:
    assert aspects_of(words_of("PGD-20 linf eps 8 restarts 10")) == {"attack", "norm", "radius", "restarts"}
    assert aspects_of(words_of("robust acc 10-step")) == {"steps"}
    assert not aspects_of(words_of("test robust acc"))
    assert is_detail("steps")
    assert not is_detail("acc")
    assert strength_of(words_of("adv acc 20-step")) > strength_of(words_of("adv acc 10-step"))
    assert has_no_radius(["eps0"])
    assert not has_no_radius(["eps"])
