"""The words of names, and what each says by itself: a part of the data, clean or robust, a measure. Pure functions.

What a whole name means is decided in `cgro.diagnosis.words`."""

import functools
import itertools
import re
from collections.abc import Iterable, Sequence

from cgro._check import LONGEST_VALUE


def word_set(words: str) -> frozenset[str]:
    """Words as a set.

    Args:
        words: with blanks between.

    Returns:
        Each once.
    """
    return frozenset(words.split())


_PARTS = {
    "train": "train", "training": "train", "tr": "train", "trn": "train", "val": "validation", "valid": "validation",
    "validation": "validation", "dev": "validation", "test": "test", "testing": "test", "te": "test", "tst": "test",
    "eval": "test",
}  # fmt: skip
_MEASURES = {
    "acc": "accuracy", "accuracy": "accuracy", "accuracies": "accuracy", "accuarcy": "accuracy", "acc1": "accuracy",
    "top1": "accuracy", "prec1": "accuracy", "err": "error", "err1": "error", "error": "error", "errors": "error",
    "loss": "loss",
}  # fmt: skip
_ABBREVIATIONS = {"sa": "clean", "na": "clean", "ra": "robust", "ro": "robust"}
"""Standard, natural and robust accuracy in two letters."""
_CLEAN = word_set("clean cln nat natural standard benign nominal unperturbed normal orig")
_ATTACKS = word_set("pgd apgd aa autoattack fgsm ifgsm mifgsm mim bim cw fab square deepfool")
_ORDER = {"autoattack": 5, "aa": 5, "apgd": 4, "pgd": 3, "fgsm": 1}
"""The larger, the stronger the attack; others, of which C&W may be in another norm, stand before FGSM."""
_RADII = word_set("eps epsilon radius")
_CERTIFIED = word_set("certified verified certificate cert provable")
_ROBUST = _ATTACKS | _CERTIFIED | word_set("robust rob robustness adv adversarial attack attacked perturbed")
_ASPECTS = {
    **dict.fromkeys(word_set("linf l1 l2 l inf norm"), "norm"),
    **dict.fromkeys(_RADII, "radius"),
    **dict.fromkeys(word_set("step steps iter iters iterations it its"), "steps"),
    "restarts": "restarts",
}
"""What a word tells of an attack."""
_ATTACK_DETAILS = frozenset(_ASPECTS) | word_set("ce dlr targeted t")
"""Words that say more about an attack; without an attack they are unknown."""
_MEANS = word_set("epoch mean avg average overall rate metric metrics percent pct top")
_PLACES = word_set("set data dataset split cifar mnist svhn imagenet")
_NEUTRAL = _MEANS | _PLACES | word_set("in on of the is under with network model image images example examples")
MODELS = word_set("model network")
OTHER_WEIGHTS = word_set("ema swa wa polyak averaged teacher student")
"""Words of a network beside the one that is trained."""
OWN_WEIGHTS = word_set("last current cur raw plain online now")
"""Words that end what such a word says."""
DIFFERENCES = word_set("drop gap diff difference delta improvement")
"""Words of what is no error itself, but lies between two."""
_WRONG = word_set("misclassified incorrect wrong mistakes fooled")
"""Words that count answers that are wrong."""
FAILED = word_set("fail fails failed failure failures failing")
"""Words that count wrong answers where the network failed, and right ones where the attack did."""
_COUNTED = word_set("set data dataset split model network")
"""Words behind which a number says which of several."""
BEST = word_set("best max min maximum minimum highest lowest peak record")
SMOOTHED = word_set("running smoothed smooth cumulative moving")
_NOT_OF_EPOCH = OTHER_WEIGHTS | word_set("best max maximum highest lowest peak smoothed cumulative moving")
"""Words before a name that make its value another one than that of the network after its epoch."""
_ANNOUNCES = word_set("new save saved saving update updated updating found improved reached load loaded loading")
"""Words of a line that only says that the best value is a new one."""
_SPELLED = (
    (re.compile(r"auto[\s_-]?attack"), "autoattack"),
    (re.compile(r"(?<![a-z])c\s?&\s?w(?![a-z])"), "cw"),
    (re.compile(r"(?<![a-z])prec@1(?![0-9])"), "prec1"),
    (re.compile(r"(?<![a-z])(?:acc|prec|top)@5(?![0-9])"), "top5"),
)
"""Names of several words or signs -> as one word."""
_GLUED_END = re.compile(r"(?:acc|accuracy|acc1|top1|prec1|err|error|loss)$")
_GLUED = re.compile(
    r"(train|test|val|valid|eval)?(clean|nat|natural|robust|rob|adv|adversarial|pgd|fgsm|autoattack)?"
    r"(acc1?|accuracy|top1|prec1|err|error|loss)"
)
"""A part, clean or robust, and a measure without anything between, as in `testadvacc`."""


def words_of(name: str) -> list[str]:
    """The words of a name in lower case; digits stay with the letters before them.

    Args:
        name: of a column.

    Returns:
        Words, and numbers that stand alone.

    Example:
        >>> words_of("testRobustAcc@PGD-20"), words_of("acc1"), words_of("test_advacc")
        (['test', 'robust', 'acc', 'pgd', '20'], ['acc1'], ['test', 'adv', 'acc'])
        >>> words_of("AutoAttack acc"), words_of("C&W acc")
        (['autoattack', 'acc'], ['cw', 'acc'])
    """
    if len(name) > LONGEST_VALUE:
        return _split(name)
    return list(_split_once(name))


def _split(name: str) -> list[str]:
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z])", " ", name)
    lower = spaced.lower()
    for pattern, word in _SPELLED:
        lower = pattern.sub(word, lower)
    found: list[str] = []
    for word in re.findall(r"[a-z]+[0-9]*|[0-9]+", lower):
        glued = None
        if _GLUED_END.search(word):
            glued = _GLUED.fullmatch(word)
        found += filter(None, glued.groups()) if glued else [word]
    return found


@functools.lru_cache(maxsize=10_000)
def _split_once(name: str) -> tuple[str, ...]:
    """The words of a name; in a log the same names come again in every line."""
    return tuple(_split(name))


def letters_of(word: str) -> str:
    """A word without the digits at its end.

    Args:
        word: see `words_of`.

    Returns:
        Empty for a number.

    Example:
        >>> letters_of("pgd20"), letters_of("l2inf")
        ('pgd', 'l2inf')
    """
    return word.rstrip("0123456789")


def all_known(words: Iterable[str]) -> bool:
    """Whether each word has a meaning of its own.

    Args:
        words: see `words_of`.

    Returns:
        False for the words of most names of runs.
    """
    return all(is_known(word) for word in words)


def is_known(word: str, *, robust: bool = False) -> bool:
    """Whether a word has a meaning.

    Args:
        word: see `words_of`.
        robust: whether another word of its name says robust, so that it may be a detail of the attack.

    Returns:
        True if so.

    Example:
        >>> is_known("acc"), is_known("steps"), is_known("steps", robust=True)
        (True, False, True)
    """
    letters = letters_of(word)
    if word in _PARTS or word in _MEASURES or word in _ABBREVIATIONS or word.isdigit():
        return True
    if letters in _CLEAN or letters in _ROBUST or letters in _NEUTRAL:
        return True
    return robust and not _ATTACK_DETAILS.isdisjoint((word, letters))


def is_detail(word: str) -> bool:
    """Whether a word says more about an attack, or is a number.

    Args:
        word: see `words_of`.

    Returns:
        False for a word that names an attack, or says robust.

    Example:
        >>> [is_detail(word) for word in ("eps", "l2", "20", "pgd")]
        [True, True, True, False]
    """
    return word.isdigit() or not _ATTACK_DETAILS.isdisjoint((word, letters_of(word)))


def aspects_of(words: Iterable[str]) -> frozenset[str]:
    """What some words tell of an attack.

    Args:
        words: see `words_of`.

    Returns:
        Any of attack (which one), norm, radius, steps and restarts.

    Example:
        >>> sorted(aspects_of(["pgd20", "acc"])), sorted(aspects_of(["adv", "eps", "4", "255"]))
        (['attack'], ['radius'])
    """
    found: set[str] = set()
    for word in words:
        letters = letters_of(word)
        if letters in _ATTACKS:
            found.add("attack")
        aspect = _ASPECTS.get(word) or _ASPECTS.get(letters)
        if aspect is not None:
            found.add(aspect)
    return frozenset(found)


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
        elif letters_of(word) in _ROBUST:
            found.add("robust")
        elif word in _ABBREVIATIONS:
            found.add(_ABBREVIATIONS[word])
    return frozenset(found)


def attack_of(words: Sequence[str]) -> str:
    """The words that name an attack, with those that say more about it.

    Args:
        words: see `words_of`.

    Returns:
        With blanks between; empty where none names an attack.

    Example:
        >>> attack_of(["test", "pgd", "20", "acc"]), attack_of(["acc", "20"])
        ('pgd 20', '')
    """
    if not any(letters_of(word) in _ROBUST for word in words):
        return ""
    return " ".join(word for word in words if letters_of(word) in _ROBUST | _ATTACK_DETAILS or word.isdigit())


def strength_of(words: Sequence[str]) -> tuple[int, int]:
    """How strong the attack of a name is among those of one radius.

    Args:
        words: see `words_of`.

    Returns:
        The larger, the stronger: AutoAttack, APGD, PGD by its steps, other attacks and radii, one step.

    Example:
        >>> strength_of(["pgd", "20"]) > strength_of(["pgd10"]) > strength_of(["fgsm", "acc"])
        True
    """
    for word, after in itertools.pairwise([*words, ""]):
        letters = letters_of(word)
        if letters in _ORDER or letters in _RADII:
            digits = word[len(letters) :] or (after if after.isdigit() else "")
            return _ORDER.get(letters, 2), int(digits[:6] or 0)
        if word.isdigit() and _ASPECTS.get(after) == "steps":
            return 2, int(word[:6])
    return 2, 0


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
    return any(word in lower for word in _ROBUST)


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


def measures_of(words: Sequence[str]) -> frozenset[str]:
    """Which measures some words name; two letters such as RA stand for an accuracy where no other word names one.

    Args:
        words: see `words_of`.

    Returns:
        Any of error, accuracy and loss.

    Example:
        >>> [sorted(measures_of(words)) for words in (["loss", "acc"], ["test", "ra"], ["ra", "err"])]
        [['accuracy', 'loss'], ['accuracy'], ['error']]
    """
    measures = frozenset(_MEASURES[word] for word in words if word in _MEASURES)
    if not measures and not _ABBREVIATIONS.keys().isdisjoint(words):
        return frozenset(["accuracy"])
    return measures


def says_wrong(words: Iterable[str]) -> bool:
    """Whether some words count answers that are wrong, though none names an error.

    Args:
        words: see `words_of`.

    Returns:
        True for misclassified and the like.
    """
    return not _WRONG.isdisjoint(words)


def tells_which(word: str, after: str) -> bool:
    """Whether a number in a name says which of several test sets or networks it is of.

    Args:
        word: of a name.
        after: the word behind it; empty where it is the last.

    Returns:
        True for set2, and for test or model before a number; False for cifar 10.

    Example:
        >>> tells_which("test", "2"), tells_which("set2", ""), tells_which("cifar", "10"), tells_which("pgd", "20")
        (True, True, False, False)
    """
    if word != letters_of(word):
        return letters_of(word) in _COUNTED
    return after.isdigit() and (word in _PARTS or word in _COUNTED)


@functools.lru_cache(maxsize=10_000)
def weights_of(text: str) -> tuple[str, ...]:
    """The words of a text that say that what follows is of the best epoch, or of averaged weights.

    Args:
        text: without a number.

    Returns:
        The words; none where they only announce a new best value.

    Example:
        >>> weights_of("[EMA]"), weights_of("Saved the best model")
        (('ema',), ())
    """
    words = words_of(text)
    if "!" in text or "*" in text or not _ANNOUNCES.isdisjoint(words):
        return ()
    return tuple(filter(_NOT_OF_EPOCH.__contains__, words))


def has_no_radius(words: Sequence[str]) -> bool:
    """Whether some words name a radius of 0, at which nothing is attacked.

    Args:
        words: see `words_of`.

    Returns:
        False for another radius, such as 0.03, whose words are 0 and 03.

    Example:
        >>> has_no_radius(["acc", "eps", "0"]), has_no_radius(["acc", "eps", "0", "03"])
        (True, False)
    """
    for place, word in enumerate(words):
        letters = letters_of(word)
        if letters in _RADII:
            number = word[len(letters) :] + "".join(itertools.takewhile(str.isdigit, words[place + 1 :]))
            if number and not number.strip("0"):
                return True
    return False


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
    others = BEST | SMOOTHED | OTHER_WEIGHTS
    return not others.isdisjoint(words) and (others | MODELS).issuperset(words)


def is_total(name: str) -> bool:
    """Whether a name says that it is a count over all examples, as `robust_err_total`.

    Args:
        name: of a column.

    Returns:
        True where a word is total, and another one error or accuracy.
    """
    words = words_of(name)
    return "total" in words and bool(measures_of(words) - {"loss"})
