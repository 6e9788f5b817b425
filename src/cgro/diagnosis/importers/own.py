"""An importer of the caller's own: checked where it is given, and told in one line where it fails."""

from cgro._check import bad
from cgro.diagnosis.curves import Curves
from cgro.diagnosis.importers.base import Importer, Text
from cgro.diagnosis.importers.told import Told
from cgro.named import build
from cgro.trust import current_folder, one_line_if_it_fails

EXPECTED = "an importer, with read(text, told) that returns a list of Curves"


def importer_by_name(name: str) -> Importer:
    """Import and make what reads a log. Only for names that the caller said or trusts.

    Args:
        name: `package.module:Class`, called without arguments.

    Returns:
        Of a format that `IMPORTERS` does not have.

    Raises:
        BadRequest: a name of no code, or code that makes no importer.
    """
    found = build(name, "--importer", {})
    return require_importer(found)


def require_importer(importer: object) -> Importer:
    """Refuse what cannot read.

    Args:
        importer: whatever was given for one.

    Returns:
        It.

    Raises:
        BadRequest: a class in place of its value, or no method `read`.
    """
    if isinstance(importer, type):
        raise bad("importer", expected=EXPECTED, got=f"the class {importer.__name__}", remedy="call it first")
    if not callable(getattr(importer, "read", None)):
        raise bad("importer", expected=EXPECTED, got=type(importer).__name__)
    return importer  # type: ignore[return-value] - `recognizes` is not asked of one that is named


def read_by(importer: Importer, text: Text, told: Told) -> list[Curves]:
    """Have an importer of the caller's read a text.

    Args:
        importer: of the caller's.
        text: of the file.
        told: what the caller says about it.

    Returns:
        One value per seed, at least one.

    Raises:
        BadRequest: it failed, or returned something else.
    """
    kind = type(importer).__name__
    with current_folder(), one_line_if_it_fails(text.source, f"a text that {kind} reads"):
        found = importer.read(text, told)
    if isinstance(found, list) and found and all(isinstance(one, Curves) for one in found):
        return found
    got = f"a {type(found).__name__}"
    if isinstance(found, Curves):
        got = "one Curves"
    elif isinstance(found, list):
        got = "an empty list" if not found else f"a list with a {type(found[0]).__name__}"
    remedy = "return what cgro.diagnosis.importers.table.curves_of returns"
    raise bad(f"importer {kind}: read", expected="a list of Curves", got=got, remedy=remedy)
