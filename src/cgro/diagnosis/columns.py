"""The curves there are, and a column of a file that was read as one of them."""

import shlex
from dataclasses import asdict, dataclass
from typing import Literal

PARTS = ("train", "validation", "test")
ERRORS = (
    "clean_error/train", "clean_error/validation", "clean_error/test",
    "robust_error/train", "robust_error/validation", "robust_error/test",
)  # fmt: skip
LOSSES = tuple(name.replace("error", "loss") for name in ERRORS)
ACCURACIES = tuple(name.replace("error", "accuracy") for name in ERRORS)
CURVES = ("epoch", *ERRORS, *LOSSES, "lr", "prediction_share")
"""The names that `Curves` knows; those of errors are the keys of `summary.json`."""

Unit = Literal["percent", "fraction"]


def map_option(curve: str, column: str, *others: tuple[str, str], unit: str = "") -> str:
    """The option that names columns, ready to paste into a shell.

    Args:
        curve: as `--map` has it.
        column: of the file.
        others: further curves with their columns.
        unit: what follows each column: `:percent`, `:fraction` or `//N`, a count of N.

    Returns:
        `--map CURVE=COLUMN,...`, quoted where a shell or `--map` itself needs it.

    Example:
        >>> map_option("robust_accuracy/test", "PGD Acc")
        "--map 'robust_accuracy/test=PGD Acc'"
        >>> map_option("robust_accuracy/test", "PGD, 10 steps", unit=":percent")
        '--map \\'robust_accuracy/test="PGD, 10 steps":percent\\''
    """
    pairs: list[str] = []
    for of_curve, name in ((curve, column), *others):
        written = name
        if "," in name or name[:1] in ("'", '"') or name != name.strip():  # else read as two, or as quoted
            mark = "'" if '"' in name else '"'
            written = mark + name + mark
        pairs.append(f"{of_curve}={written}{unit}")
    return "--map " + shlex.quote(",".join(pairs))


@dataclass(frozen=True)
class Column:
    """A column that was used: what it was read as.

    Args:
        name: as the file has it.
        curve: key of `Curves`.
        measure: what the file holds: an error, accuracy, loss or another number.
        attack: the words of its name that tell an attack.
        unit: percent or fraction; None where there is none, as of a loss.
        n_missing: epochs without a value.
        n_nan: those of them for which NaN or infinity was written.
        nan_from: the epoch from which on every value is NaN or infinite; None if the last one is a number.
    """

    name: str
    curve: str
    measure: str
    attack: str = ""
    unit: Unit | None = None
    n_missing: int = 0
    n_nan: int = 0
    nan_from: float | None = None

    def to_dict(self) -> dict[str, object]:
        """Plain values for `summary.json`.

        Returns:
            The fields by name.
        """
        return asdict(self)

    def sentence(self, n_epochs: int) -> str:
        """How it was read, for the terminal.

        Args:
            n_epochs: rows of the curves, with or without a value.

        Returns:
            One line without a full stop.

        Example:
            >>> Column("Adv Test Acc.", "robust_error/test", "accuracy", "adv", "percent", 2).sentence(60)
            "robust error, test: 1 - column 'Adv Test Acc.', an accuracy in percent; 2 of 60 epochs without a value"
        """
        quantity, _, part = self.curve.partition("/")
        what = quantity.replace("_", " ")
        if part:
            what += f", {part}"
        source = f"column {self.name!r}"
        if self.measure == "accuracy":
            source = f"1 - {source}, an accuracy"
        if self.unit == "percent":
            source += " in percent"
        elif self.unit == "fraction":
            source += " as a fraction"
        if self.n_missing:
            source += f"; {self.n_missing} of {n_epochs} epochs without a value"
            if self.n_nan:
                source += f" ({self.n_nan} NaN)"
        return f"{what}: {source}"


def ordinal(n: int) -> str:
    """A number as people count.

    Args:
        n: 1 or more.

    Returns:
        It, with its ending.

    Example:
        >>> [ordinal(n) for n in (1, 2, 3, 4, 11, 22, 113)]
        ['1st', '2nd', '3rd', '4th', '11th', '22nd', '113th']
    """
    if n % 100 in (11, 12, 13):
        return f"{n}th"
    return f"{n}" + {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")


def counted(n: float, word: str) -> str:
    """A number with its noun.

    Args:
        n: how many.
        word: in the singular.

    Returns:
        Such as "1 epoch" or "3 epochs".

    Example:
        >>> counted(1, "epoch"), counted(0, "epoch")
        ('1 epoch', '0 epochs')
    """
    if n == 1:
        return f"1 {word}"
    return f"{n:g} {word}s"
