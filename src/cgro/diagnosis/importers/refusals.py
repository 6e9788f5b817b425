"""How a file is refused: one line that names it."""

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
