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
from cgro.diagnosis.columns import ACCURACIES, CURVES


def word_set(words: str) -> frozenset[str]:
    """Words as a set.

    Args:
        words: with blanks between.

    Returns:
        Each once.
    """
    return frozenset(words.split())


_PARTS = {
    "train": "train", "training": "train", "tr": "train", "val": "validation", "valid": "validation",
    "validation": "validation", "dev": "validation", "test": "test", "testing": "test", "te": "test", "eval": "test",
}  # fmt: skip
_MEASURES = {
    "acc": "accuracy", "accuracy": "accuracy", "accuracies": "accuracy", "acc1": "accuracy", "top1": "accuracy",
    "prec1": "accuracy", "err": "error", "err1": "error", "error": "error", "errors": "error", "loss": "loss",
}  # fmt: skip
_ABBREVIATIONS = {"sa": "clean", "na": "clean", "ra": "robust", "ro": "robust"}
"""Standard, natural and robust accuracy in two letters."""
_CLEAN = word_set("clean nat natural standard benign nominal unperturbed normal")
_ATTACKS = word_set("pgd apgd aa autoattack fgsm ifgsm mifgsm mim bim cw fab square deepfool")
_CERTIFIED = word_set("certified verified certificate cert provable")
_ROBUST = _ATTACKS | _CERTIFIED | word_set("robust rob robustness adv adversarial attack attacked perturbed")
_ROBUST_LETTERS = tuple(sorted(_ROBUST))
_ATTACK_DETAILS = word_set(
    "linf l1 l2 l inf eps epsilon steps step restarts iter iters iterations ce dlr targeted t radius"
)
"""Words that say more about an attack; without an attack they are unknown."""
_MEANS = word_set("epoch mean avg average overall rate metric metrics percent pct top")
_PLACES = word_set("set data dataset split cifar mnist svhn imagenet")
_NEUTRAL = _MEANS | _PLACES | word_set("in on of the is under with network model image images example examples")
OTHER_WEIGHTS = word_set("ema swa polyak averaged teacher student")
"""Words of a network beside the one that is trained."""
_BEST = word_set("best max min maximum minimum highest lowest peak record")
_SMOOTHED = word_set("running smoothed smooth cumulative moving")
_FIVE = word_set("acc5 top5 prec5 err5")
"""The five likeliest classes: another quantity."""
_COMPLEMENT = re.compile(r"\s*(?:1|100)(?:\.0*)?\s*[-\u2212\u2013]\s*(?!step|iter|restart)[A-Za-z(]", re.IGNORECASE)
"""How "1 - test_acc" begins, and not "100-step PGD acc"."""
_OPERATOR = re.compile(r"\s[-\u2212\u2013/*+]\s")
"""Between blanks, since "acc/test_acc" is a path."""
_SYMBOL = re.compile(r"[\u0394\u2206\u03c3\u00b1]")
"""Of a difference or a deviation."""
_LIKELIEST = re.compile(r"(?:top|acc|accuracy|prec|precision|err|error)(?!1$)\d{1,3}")
MODELS = word_set("model network")
SEVERAL = "several"
"""Stands in the name of a number that is one of several behind one name; see the printed text."""
_OPTIMIZERS = word_set("sgd adam adamw pg")
_GROUPS = (["seed"], ["run"], ["run", "id"], ["run", "name"], ["trial"])
_STEPS = (["step"], ["steps"], ["global", "step"], ["iter"], ["iteration"], ["iterations"], ["batch"])


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
        guess: what it would most likely be, as `--map` writes it.
        words: its words without those that say that it is a best or smoothed value.
    """

    reason: str
    guess: str
    words: frozenset[str] = frozenset()


def words_of(name: str) -> list[str]:
    """The words of a name in lower case; digits stay with the letters before them.

    Args:
        name: of a column.

    Returns:
        Words, and numbers that stand alone.

    Example:
        >>> words_of("testRobustAcc@PGD-20"), words_of("acc1")
        (['test', 'robust', 'acc', 'pgd', '20'], ['acc1'])
    """
    if len(name) > LONGEST_VALUE:
        return _split(name)
    return list(_split_once(name))


def _split(name: str) -> list[str]:
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z])", " ", name)
    return re.findall(r"[a-z]+[0-9]*|[0-9]+", spaced.lower())


@functools.lru_cache(maxsize=10_000)
def _split_once(name: str) -> tuple[str, ...]:
    """The words of a name; in a log the same names come again in every line."""
    return tuple(_split(name))


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
        return replace(found, guess=re.sub("accuracy|error", lambda match: other[match[0]], found.guess))
    if may_name_attack(name):
        return _Name.of(words).unknown("what stands before ' - ' may be the name of a run")
    if words in (["epoch"], ["epochs"], ["ep"]):
        return Meaning("epoch")
    if words == ["learning", "rate"] or (words[:1] == ["lr"] and not set(map(_letters, words[1:])) - _OPTIMIZERS):
        return Meaning("lr")
    return _Name.of(words).meaning()


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
    before, dash, after = name.rpartition(" - ")
    words = words_of(before)
    if not dash or "robust" not in kinds_of(words) or kinds_of(words_of(after)) or not has_measure(words_of(after)):
        return False
    return all_known(words)


def _letters(word: str) -> str:
    return word.rstrip("0123456789")


@dataclass(frozen=True)
class _Name:
    """What the words of a name say, each aspect for itself.

    Args:
        words: all of them.
        measures: error, accuracy or loss.
        parts: train, validation or test.
        clean: whether a word says clean.
        robust: whether a word says robust, or names an attack.
        attack: the words that do.
    """

    words: Sequence[str]
    measures: frozenset[str]
    parts: frozenset[str]
    clean: bool
    robust: bool
    attack: Sequence[str]

    @classmethod
    def of(cls, words: Sequence[str]) -> "_Name":
        short = {_ABBREVIATIONS[word] for word in words if word in _ABBREVIATIONS}
        measures = frozenset(_MEASURES[word] for word in words if word in _MEASURES)
        if short and not measures:
            measures = frozenset(["accuracy"])
        attack = [word for word in words if _letters(word) in _ROBUST]
        return cls(
            words=words,
            measures=measures,
            parts=frozenset(_PARTS[word] for word in words if word in _PARTS),
            clean="clean" in short or not _CLEAN.isdisjoint(words),
            robust="robust" in short or bool(attack),
            attack=attack,
        )

    @property
    def kind(self) -> str:
        return "robust" if self.robust else "clean"

    def meaning(self) -> Meaning | Unknown | None:
        if not (self.measures or self.robust) or self.is_of_several_classes:
            return None
        if self.words[-1] == "step" and self.measures:
            return None  # Lightning's value of a single step, beside the epoch's
        reason = "several numbers stand behind its name" if SEVERAL in self.words else self.lack()
        if self.measures == {"loss"}:
            if reason:
                return None  # no verdict needs a loss
            return Meaning(f"{self.kind}_loss/{min(self.parts)}")
        if reason:
            return self.unknown(reason)
        details: list[str] = []
        if self.attack:
            details = [word for word in self.words if _letters(word) in _ROBUST | _ATTACK_DETAILS or word.isdigit()]
        return Meaning(f"{self.kind}_error/{min(self.parts)}", self.measures == {"accuracy"}, " ".join(details))

    @property
    def is_of_several_classes(self) -> bool:
        """Whether an answer may be any of the likeliest classes: top5, acc@5; under an attack 5 may be steps."""
        for word, after in zip(self.words, [*self.words[1:], ""], strict=True):
            if word in _FIVE or _LIKELIEST.fullmatch(word):
                return True
            if (word == "top" or (after == "5" and not self.robust)) and _LIKELIEST.fullmatch(word + after):
                return True
        return False

    def unknown(self, reason: str) -> Unknown:
        """What it most likely is, for the option that the caller may paste: robust accuracy on test."""
        kind, measure, part = "robust", "accuracy", "test"
        if not self.robust and (self.clean or SEVERAL in self.words):
            kind = "clean"
        if self.measures == {"error"}:
            measure = "error"
        if len(self.parts) == 1:
            part = min(self.parts)
        return Unknown(reason, f"{kind}_{measure}/{part}", frozenset(self.words) - _BEST - _SMOOTHED)

    def lack(self) -> str:
        """Why the words make no meaning; empty if they do."""
        if not _BEST.isdisjoint(self.words):
            return "a best so far, not the value of its epoch"
        if not _SMOOTHED.isdisjoint(self.words):
            return "smoothed over epochs or steps, not the value of its epoch"
        for word in self.words:
            if not _is_known(word, robust=self.robust):
                return f"the word {word!r} is not known"
        if self.clean and self.robust:
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
        for word, after in itertools.pairwise(self.words):
            if after in MODELS and kinds_of([word]):
                return f"'{word} {after}' names a network, of several perhaps"
            if word in _MEASURES and after.isdigit() and after != "1" and not self.robust and not self.counts_images:
                return f"what the number {after} behind {word!r} says is not known"
        return ""

    @property
    def counts_images(self) -> bool:
        """Whether a number says how many images were evaluated."""
        return not {"image", "images", "example", "examples"}.isdisjoint(self.words)


def all_known(words: Iterable[str]) -> bool:
    """Whether each word has a meaning of its own.

    Args:
        words: see `words_of`.

    Returns:
        False for the words of most names of runs.
    """
    return all(_is_known(word, robust=False) for word in words)


def _is_known(word: str, *, robust: bool) -> bool:
    letters = _letters(word)
    if word in _PARTS or word in _MEASURES or word in _ABBREVIATIONS or word.isdigit():
        return True
    if letters in _CLEAN or letters in _ROBUST or letters in _NEUTRAL:
        return True
    return robust and not _ATTACK_DETAILS.isdisjoint((word, letters))


def parts_of(words: Iterable[str]) -> frozenset[str]:
    """Which parts of the data some words name.

    Args:
        words: see `words_of`.

    Returns:
        Any of train, validation and test.

    Example:
        >>> sorted(parts_of(["val", "acc"])), sorted(parts_of(["acc"]))
        (['validation'], [])
    """
    return frozenset(_PARTS[word] for word in words if word in _PARTS)


def kinds_of(words: Iterable[str]) -> frozenset[str]:
    """Whether some words say clean or robust.

    Args:
        words: see `words_of`.

    Returns:
        Any of clean and robust.

    Example:
        >>> sorted(kinds_of(["nat", "acc"])), sorted(kinds_of(["pgd20"])), sorted(kinds_of(["acc"]))
        (['clean'], ['robust'], [])
    """
    found: set[str] = set()
    for word in words:
        if word in _CLEAN:
            found.add("clean")
        elif _letters(word) in _ROBUST:
            found.add("robust")
        elif word in _ABBREVIATIONS:
            found.add(_ABBREVIATIONS[word])
    return frozenset(found)


def says_part_or_kind(word: str) -> bool:
    """Whether a word names a part of the data, or says clean or robust.

    Args:
        word: in lower case.

    Returns:
        True for train, val, nat, pgd20 and the like.
    """
    return bool(parts_of([word]) or kinds_of([word]))


def may_be_robust(text: str) -> bool:
    """Whether a text has the letters of a word for robust, abbreviations aside: a quick look before `kinds_of`.

    Args:
        text: of any length.

    Returns:
        False where no such word stands in it.

    Example:
        >>> may_be_robust("Train Epoch: 3 Loss: 1.2"), may_be_robust("PGD-20 acc")
        (False, True)
    """
    lower = text.lower()
    return any(word in lower for word in _ROBUST_LETTERS)


def has_measure(words: Iterable[str]) -> bool:
    """Whether some words name an error, an accuracy or a loss.

    Args:
        words: see `words_of`.

    Returns:
        False for the name of an attack alone.

    Example:
        >>> has_measure(["test", "acc"]), has_measure(["pgd20"])
        (True, False)
    """
    return not _MEASURES.keys().isdisjoint(words)


def is_best(word: str) -> bool:
    """Whether a word says that a value is the best so far.

    Args:
        word: in lower case.

    Returns:
        True for best, max, peak and the like.
    """
    return word in _BEST


def is_other_value(words: Iterable[str]) -> bool:
    """Whether words say the best or smoothed value, or that of averaged weights, and nothing else.

    Args:
        words: see `words_of`.

    Returns:
        True for best, ema and ema_model; False for the words of the name of a run.

    Example:
        >>> is_other_value(["ema", "model"]), is_other_value(["awp", "ema"]), is_other_value(["model"])
        (True, False, False)
    """
    others = _BEST | _SMOOTHED | OTHER_WEIGHTS
    return not others.isdisjoint(words) and (others | MODELS).issuperset(words)


def is_total(name: str) -> bool:
    """Whether a name says that it is a count over all examples, as `robust_err_total`.

    Args:
        name: of a column.

    Returns:
        True where a word is total, and another one error or accuracy.
    """
    words = words_of(name)
    return "total" in words and has_measure(words)


def is_group(name: str) -> bool:
    """Whether a column tells which run or seed a row belongs to.

    Args:
        name: of the column.

    Returns:
        True for `seed`, `run`, `run_id`, `trial` and the like.
    """
    return words_of(name) in _GROUPS


def is_step(name: str) -> bool:
    """Whether a column counts steps of the optimizer.

    Args:
        name: of the column.

    Returns:
        True for `step`, `global_step`, `iteration` and the like.
    """
    return words_of(name) in _STEPS


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
