"""What `--map` says: columns with units, patterns, and typing errors."""

import pytest
from tests.cases import refused

from cgro._check import BadRequest
from cgro.diagnosis.importers import Told, parse_map


def test_bad_maps() -> None:
    for text in ("epoch", "robust=x", "epoch="):
        with pytest.raises(BadRequest, match="--map"):
            parse_map(text)


def test_units_patterns_and_quotation_marks() -> None:
    text = (
        r"epoch=/Epoch: \[(\d+), /,clean_accuracy/test=/acc ([\d.]+)//10000,robust_accuracy/test=/\/pgd (\S+)/:percent"
    )
    choices = Told.of(parse_map(text)).choices
    assert choices["epoch"].text == r"Epoch: \[(\d+), "  # with its comma
    assert choices["clean_accuracy/test"].divisor == 10_000
    assert choices["robust_accuracy/test"].unit == "percent"
    named = Told.of(parse_map('robust_error/test="Err, PGD":fraction, epoch = step')).choices
    assert (named["robust_error/test"].text, named["robust_error/test"].unit) == ("Err, PGD", "fraction")
    assert named["epoch"].text == "step"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("robust_acc/test=x", "did you mean 'robust_accuracy/test'"),
        ("epoch=a,epoch=b", "epoch twice"),
        ("epoch=/x/", "one group"),
        (r"epoch=/(\d+)(\d)/", "one group"),
        ("epoch=/(/", "regular expression"),
        (r"epoch=/(\d+)/,lr=rate", "patterns only or columns only"),
        (r"epoch=/(\d+)//0", "number of examples"),
    ],
)
def test_maps_that_are_none_say_why(text: str, said: str) -> None:
    refused(lambda: parse_map(text), "--map", said)


def test_a_map_of_a_thousand_commas_is_read_in_its_length() -> None:
    refused(lambda: parse_map("epoch" * 50_000), "--map")
    refused(lambda: parse_map("=" * 50_000), "--map")


def test_a_column_that_is_divided_is_told_to_be_a_count() -> None:
    told = Told.of(parse_map("clean_accuracy/test=ok//10000,robust_accuracy/test=pgd//500"))
    rows, remarks = told.in_percent(lambda: [{"ok": "9000", "pgd": "n/a"}])
    assert list(rows()) == [{"ok": "90%", "pgd": "n/a"}]
    assert remarks == ["column 'ok' counts examples, of 10,000 each", "column 'pgd' counts examples, of 500 each"]
