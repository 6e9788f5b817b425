"""What a check of the lint says."""

from cgro.diagnosis.findings import TEXTS, check, masked


def test_only_a_warning_can_be_a_sign_of_masking() -> None:
    passed, failed = (check("transfer", ok, "0 of 9", masking=True) for ok in (True, False))
    assert (passed.status, passed.masking) == ("PASS", False)
    assert (failed.status, failed.masking) == ("WARN", True)
    assert masked([passed, failed])
    assert not masked([passed, check("radius", False, "8")])


def test_every_check_has_a_meaning_and_something_to_do() -> None:
    for name, (meaning, remedy) in TEXTS.items():
        found = check(name, False, "x").to_dict()
        assert found["meaning"] == meaning.strip()
        assert meaning.endswith(".")
        assert not remedy.endswith(".")
