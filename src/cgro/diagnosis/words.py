"""What the name of a column means. Pure functions.

A column is believed only when every word of its name is known. "Test PGD-20 Acc" is the robust accuracy on the test
set; "test_foo_acc" could be anything, so it is unknown, and not clean: the wrong guess would be a wrong verdict,
while the refusal is one line with the option that mends it."""

import difflib
import functools
import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from cgro._check import LONGEST_VALUE
from cgro.diagnosis.columns import ACCURACIES, CURVES, ERRORS
from cgro.diagnosis.keys import is_epoch
from cgro.diagnosis.vocabulary import (
    BEST,
    DIFFERENCES,
    FAILED,
    MODELS,
    SMOOTHED,
    all_known,
    attack_of,
    has_measure,
    has_no_radius,
    is_known,
    kinds_of,
    letters_of,
    measures_of,
    parts_of,
    says_wrong,
    tells_which,
    word_set,
    words_of,
)

_COMPLEMENT = re.compile(r"\s*(?:1|100)(?:\.0*)?\s*[-\u2212\u2013]\s*(?!step|iter|restart)[A-Za-z(]", re.IGNORECASE)
"""How "1 - test_acc" begins, and not "100-step PGD acc"."""
_OPERATOR = re.compile(r"\s[-\u2212\u2013/*+]\s")
"""Between blanks, since "acc/test_acc" is a path."""
_SYMBOL = re.compile(r"[\u0394\u2206\u03c3\u00b1]")
"""Of a difference or a deviation."""
_LIKELIEST = re.compile(r"(?:top|acc|accuracy|prec|precision|err|error)(?!1$)\d{1,3}")
"""An answer that may be any of several classes, as top5: another quantity."""
SEVERAL = "several"
"""Stands in the name of a number that is one of several behind one name; see the printed text."""
PARTIAL = "partial"
"""Stands in the name of the mean over those batches of an evaluation that are done."""
_NO_CURVE = (
    (frozenset([PARTIAL]), "the mean over some of the batches, not over all of them"),
    (BEST, "a best so far, not the value of its epoch"),
    (SMOOTHED, "smoothed over epochs or steps, not the value of its epoch"),
    (DIFFERENCES, "a difference, and not the value itself"),
)
"""Words of a name -> why its values are no curve."""
_OPTIMIZERS = word_set("sgd adam adamw pg")


@dataclass(frozen=True)
class Meaning:
    """What the values of a column are.

    Args:
        curve: key of `Curves`: `epoch`, `lr`, `robust_error/test`, `clean_loss/train`, ...
        accuracy: whether the values are accuracies, so that the error is 1 minus them.
        attack: the words that name an attack, such as `pgd 20`; empty where there are none.
    """

    curve: str
    accuracy: bool = False
    attack: str = ""

    @property
    def told(self) -> str:
        """The name that `--map` has for it, such as `robust_accuracy/test`."""
        if self.accuracy:
            return self.curve.replace("error", "accuracy")
        return self.curve


@dataclass(frozen=True)
class Unknown:
    """A column that holds an error or accuracy, one cannot say which.

    Args:
        reason: why it is not understood, for the message.
        kinds: clean and robust, as far as it may be either.
        measures: error, accuracy and loss, likewise.
        parts: those of the data that its name says; empty where it says none.
        words: its words without those that say that it is a best or smoothed value.
    """

    reason: str
    kinds: tuple[str, ...]
    measures: tuple[str, ...]
    parts: tuple[str, ...] = ()
    words: frozenset[str] = frozenset()

    @property
    def curves(self) -> tuple[str, ...]:
        """What it may be, as `--map` writes it; of a part that is not said the test set."""
        parts = self.parts or ("test",)
        return tuple("{}_{}/{}".format(*one) for one in itertools.product(self.kinds, self.measures, parts))


@functools.lru_cache(maxsize=50_000)
def meaning_of(name: str) -> Meaning | Unknown | None:
    """What a column's name says that it holds.

    Args:
        name: of the column, without the name of a run (see `run_names`).

    Returns:
        Its meaning; `Unknown` for an error or accuracy that is not understood; None for a column of other things.

    Example:
        >>> [meaning_of(name).told for name in ("test_robust_acc", "Train Error", "val/PGD-20 acc", "ep")]
        ['robust_accuracy/test', 'clean_error/train', 'robust_accuracy/validation', 'epoch']
        >>> meaning_of("test_foo_acc").reason, meaning_of("best_test_acc").reason, meaning_of("GPU")
        ("the word 'foo' is not known", 'a best so far, not the value of its epoch', None)
    """
    if name in CURVES:
        return Meaning(name)
    if name in ACCURACIES:
        return Meaning(name.replace("accuracy", "error"), accuracy=True)
    if len(name) > LONGEST_VALUE:
        return None
    words = words_of(name)
    if has_measure(words) and (compares(name) or _SYMBOL.search(name)):
        return replace(_Name.of(words).unknown("a difference, a ratio or a deviation"), words=frozenset())
    if has_measure(words) and _COMPLEMENT.match(name):
        found = _Name.of(words).unknown("it may hold 1 minus its values")
        other = {"accuracy": "error", "error": "accuracy"}
        return replace(found, measures=tuple(other.get(measure, measure) for measure in found.measures))
    if may_name_attack(name):
        return _Name.of(words).unknown("what stands before ' - ' may be the name of a run")
    if is_epoch(name):
        return Meaning("epoch")
    if words == ["learning", "rate"] or (words[:1] == ["lr"] and not set(map(letters_of, words[1:])) - _OPTIMIZERS):
        return Meaning("lr")
    return _Name.of(words).meaning()


def curve_of(name: str) -> str:
    """The curve that a name is of.

    Args:
        name: of a column, or of a value in a line.

    Returns:
        Key of `Curves`; empty where the name is not understood, or is that of something else.

    Example:
        >>> curve_of("val_acc"), curve_of("ep"), curve_of("test_foo_acc")
        ('clean_error/validation', 'epoch', '')
    """
    meaning = meaning_of(name)
    return meaning.curve if isinstance(meaning, Meaning) else ""


def is_error(name: str) -> bool:
    """Whether a name is that of an error or accuracy, of which one or that one cannot say.

    Args:
        name: of a column, or of a value in a line.

    Returns:
        True if so.

    Example:
        >>> is_error("test_acc"), is_error("test_foo_acc"), is_error("test_loss")
        (True, True, False)
    """
    return isinstance(meaning_of(name), Unknown) or curve_of(name) in ERRORS


def is_held_out(name: str) -> bool:
    """Whether a name is that of an error on data that are not trained on.

    Args:
        name: of a column, or of a value in a line.

    Returns:
        True if so.

    Example:
        >>> is_held_out("val_acc"), is_held_out("train_acc"), is_held_out("acc")
        (True, False, False)
    """
    curve = curve_of(name)
    return curve in ERRORS and not curve.endswith("/train")


def compares(name: str) -> bool:
    """Whether a name has known words with an error or accuracy on either side of an operator between blanks.

    Args:
        name: of a column.

    Returns:
        True for a difference or a ratio.

    Example:
        >>> compares("train acc - test acc"), compares("pgd - test_acc"), compares("acc/test_acc")
        (True, False, False)
    """
    sides = list(map(words_of, _OPERATOR.split(name)))
    return len(sides) > 1 and all(has_measure(side) and all_known(side) for side in sides)


def may_name_attack(name: str) -> bool:
    """Whether a name is "PGD - test acc": of an attack, or of a run that is called so.

    Args:
        name: of a column.

    Returns:
        True where all words before the dash are known, one says robust, and the metric behind it says no kind.
    """
    before, _, after = name.rpartition(" - ")
    words = words_of(before)
    if "robust" not in kinds_of(words) or kinds_of(words_of(after)) or not has_measure(words_of(after)):
        return False
    return all_known(words)


@dataclass(frozen=True)
class _Name:
    """What the words of a name say, each aspect for itself.

    Args:
        words: all of them.
        measures: error, accuracy or loss.
        parts: train, validation or test.
        kinds: clean, where a word says so, and robust, where one says so or names an attack.
    """

    words: Sequence[str]
    measures: frozenset[str]
    parts: frozenset[str]
    kinds: frozenset[str]

    @classmethod
    def of(cls, words: Sequence[str]) -> "_Name":
        return cls(words, measures_of(words), parts_of(words), kinds_of(words))

    @property
    def robust(self) -> bool:
        return "robust" in self.kinds

    @property
    def kind(self) -> str:
        return "robust" if self.robust else "clean"

    def meaning(self) -> Meaning | Unknown | None:
        says_kind = self.robust or (self.kinds and all_known(self.words))
        if not (self.measures or says_kind) or self.is_of_several_classes or self.is_distance:
            return None
        if self.words[-1] == "step" and self.measures and not self.words[-2].isdigit():
            return None  # Lightning's value of a single step, beside the epoch's; "acc 10-step" tells an attack
        reason = "several numbers stand behind its name" if SEVERAL in self.words else self.lack()
        if self.measures == {"loss"}:
            if reason:
                return None  # no verdict needs a loss
            return Meaning(f"{self.kind}_loss/{min(self.parts)}")
        if reason:
            return self.unknown(reason)
        return Meaning(f"{self.kind}_error/{min(self.parts)}", self.measures == {"accuracy"}, attack_of(self.words))

    @property
    def is_of_several_classes(self) -> bool:
        """Whether an answer may be any of the likeliest classes: top5, acc@5; under an attack 5 may be steps."""
        for word, after in zip(self.words, [*self.words[1:], ""], strict=True):
            if _LIKELIEST.fullmatch(word):
                return True
            if (word == "top" or (after == "5" and not self.robust)) and _LIKELIEST.fullmatch(word + after):
                return True
        return False

    @property
    def is_distance(self) -> bool:
        """Whether it is a mean square error and the like: no error rate, and no square attack."""
        for first, second, third in zip(self.words, self.words[1:], self.words[2:], strict=False):
            if first == "mean" and second in ("square", "squared", "absolute") and measures_of([third]) == {"error"}:
                return True
        return False

    def unknown(self, reason: str) -> Unknown:
        """What it may be, for the option that the caller may paste: what the words say, else robust accuracy."""
        kinds, measures, parts = self.kinds or {"robust"}, self.measures, self.parts
        if has_no_radius(self.words) or (SEVERAL in self.words and not self.robust):
            kinds = {"clean"}
        if not measures:
            measures = self.default_measures()
        if len(parts) > 1:
            parts = parts - {"train"}  # "adversarial training, test acc"
        own = frozenset(self.words) - BEST - SMOOTHED - DIFFERENCES - {PARTIAL}
        return Unknown(reason, tuple(sorted(kinds)), tuple(sorted(measures)), tuple(sorted(parts)), own)

    def default_measures(self) -> set[str]:
        """What a name without a measure may be of."""
        if self.robust and not FAILED.isdisjoint(self.words):
            return {"accuracy", "error"}  # the network failed, or the attack
        if says_wrong(self.words):
            return {"error"}
        if SEVERAL in self.words:
            return {"accuracy", "loss"}
        return {"accuracy"}

    def lack(self) -> str:
        """Why the words make no meaning; empty if they do."""
        for words, reason in _NO_CURVE:
            if not words.isdisjoint(self.words):
                return reason
        for word in self.words:
            if not is_known(word, robust=self.robust) and not (word == "total" and self.measures == {"accuracy"}):
                return f"the word {word!r} is not known"  # a total error may be a count, an accuracy is none
        if len(self.kinds) > 1:
            return "its name says clean and robust"
        if not self.measures:
            return "its name says neither error nor accuracy"
        if len(self.measures) > 1:
            return f"its name says {' and '.join(sorted(self.measures, reverse=True))}"
        if not self.parts:
            return "its name does not say train, validation or test"
        if len(self.parts) > 1:
            return "its name says several parts"
        return self.lack_beside()

    def lack_beside(self) -> str:
        """Why words that stand side by side make no meaning; empty if they do."""
        if has_no_radius(self.words):
            return "a radius of 0 attacks nothing"
        for word, after in itertools.pairwise([*self.words, ""]):
            if tells_which(word, after) and not self.counts_images:
                return f"which of several {f'{word} {after}'.strip()!r} says is not known"
            if after in MODELS and kinds_of([word]):
                return f"'{word} {after}' names a network, of several perhaps"
            if has_measure([word]) and after.isdigit() and after != "1" and not self.robust and not self.counts_images:
                return f"what the number {after} behind {word!r} says is not known"
        return ""

    @property
    def counts_images(self) -> bool:
        """Whether a number says how many images were evaluated."""
        return not {"image", "images", "example", "examples"}.isdisjoint(self.words)


def closest(name: str, names: Iterable[str]) -> str:
    """The words "; did you mean X?" for a name that is not there, or nothing.

    Args:
        name: that was asked for.
        names: that are there.

    Returns:
        The end of a message.

    Example:
        >>> closest("test_acc", ["epoch", "test_accu"])
        "; did you mean 'test_accu'?"
    """
    by_lower = {one.lower(): one for one in names}
    found = difflib.get_close_matches(name.lower(), list(by_lower)[:2_000], n=1, cutoff=0.6)
    if not found:
        return ""
    return f"; did you mean {by_lower[found[0]]!r}?"
