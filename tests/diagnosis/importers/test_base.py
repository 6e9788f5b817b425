"""The text that importers are given."""

from cgro.diagnosis.importers.base import Text


def test_the_start_of_a_text_is_behind_its_blanks() -> None:
    text = Text("\n\n  epoch,acc\n1,2\n", "x")
    assert text.start.startswith("epoch,acc")
    assert text.lines == ["", "", "  epoch,acc", "1,2"]
