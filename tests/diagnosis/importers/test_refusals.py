"""How a file is refused."""

from cgro.diagnosis.importers.refusals import refusal


def test_a_refusal_is_one_printable_line_that_begins_with_the_file() -> None:
    text = str(refusal("a\x1b[31m.csv", "line 3\nbroken\x00"))
    assert text.startswith("a")
    assert text.isprintable()
    assert "line 3" in text
    assert "broken" in text
