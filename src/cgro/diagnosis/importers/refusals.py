"""How a file is refused: one line that names it, and the option that says what its columns are."""

import shlex

from cgro._check import BadRequest, one_line


def refusal(source: str, text: str) -> BadRequest:
    """A message about a file.

    Args:
        source: the file.
        text: what is wrong with it, in any characters.

    Returns:
        The error, in one printable line.
    """
    return BadRequest(one_line(f"{source}: {text}"))


def map_option(curve: str, column: str, *others: tuple[str, str]) -> str:
    """The option that names columns, ready to paste into a shell.

    Args:
        curve: as `--map` has it.
        column: of the file.
        others: further curves with their columns.

    Returns:
        `--map CURVE=COLUMN,...`, quoted where a shell needs it.

    Example:
        >>> map_option("robust_accuracy/test", "PGD Acc")
        "--map 'robust_accuracy/test=PGD Acc'"
    """
    pairs: list[str] = []
    for of_curve, name in ((curve, column), *others):
        pairs.append(f'{of_curve}="{name}"' if "," in name else f"{of_curve}={name}")
    return "--map " + shlex.quote(",".join(pairs))
