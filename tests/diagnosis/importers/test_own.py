"""An importer of the caller's own, by value and by name: it reads, is trusted only when it is named, and fails in one line."""

from pathlib import Path

import pytest
from tests.cases import refused

from cgro.cli import main
from cgro.diagnosis import Curves, read_curves
from cgro.diagnosis.importers import importer_by_name
from cgro.diagnosis.importers.base import Text
from cgro.diagnosis.importers.table import Table, curves_of
from cgro.diagnosis.importers.told import Told
from cgro.diagnosis.words import Meaning

MODULE = '''
from cgro.diagnosis.importers.table import Table, curves_of
from cgro.diagnosis.words import Meaning

class Semicolons:
    """`3;0.52;0.31`: epoch, robust test error, robust training error. Nothing in the file says so."""
    def read(self, text, told):
        meanings = {"test": Meaning("robust_error/test"), "train": Meaning("robust_error/train")}
        rows = [dict(zip(("epoch", *meanings), line.split(";"))) for line in text.lines]
        return curves_of(Table(text.source, lambda: rows, ["epoch", *meanings], {}, (), meanings), told)
'''


class Reads:
    """Gives what it is made with."""

    def __init__(self, found: object) -> None:
        self.found = found

    def read(self, text: Text, told: Told) -> object:
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "own.log"
    path.write_text("".join(f"{e};{0.5 - 0.001 * e:.3f};{0.5 - 0.009 * e:.3f}\n" for e in range(40)))
    return path


def test_by_name_and_by_value(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (log.parent / "semicolons_of_test.py").write_text(MODULE)
    importer = importer_by_name("semicolons_of_test:Semicolons")
    (curves,) = read_curves(log, importer=importer)
    assert curves.values["robust_error/test"][10] == pytest.approx(0.49)
    assert list(curves.values) == ["robust_error/test", "robust_error/train"]
    named = ["--importer", "semicolons_of_test:Semicolons"]
    assert main(["diagnose", str(log), *named, "--out", str(log.parent / "run")]) == 0
    config = log.parent / "run" / "config.yaml"
    assert main(["diagnose", "--config", str(config), "--out", str(log.parent / "again")]) == 2
    assert "code of whoever made it" in capsys.readouterr().err
    assert main(["diagnose", "--config", str(config), *named, "--out", str(log.parent / "again")]) == 0


@pytest.mark.parametrize(
    ("importer", "words"),
    [
        (Reads, "the class Reads; call it first"),
        (object(), "got object"),
        (Reads(3), "got a int"),
        (Reads([]), "got an empty list"),
        (Reads([3]), "a list with a int"),
        (Reads(Curves([0.0], {"robust_error/test": [0.5]})), "got one Curves"),
        (Reads(IndexError("list index")), "a text that Reads reads, got IndexError: list index"),
    ],
)
def test_what_is_no_importer_or_fails(importer: object, words: str, log: Path) -> None:
    refused(lambda: read_curves(log, importer=importer), words)  # type: ignore[arg-type]


def test_a_name_that_is_no_code_and_a_meaning_that_is_a_text() -> None:
    refused(lambda: importer_by_name("csv"), "--importer: expected package.module:name, got 'csv'")
    rows = [{"epoch": 0.0, "x": 0.5}]
    table = lambda: Table("f", lambda: rows, ["epoch", "x"], {}, (), {"x": "robust_error/test"})  # type: ignore[dict-item]  # noqa: E731
    refused(lambda: curves_of(table(), Told.of(None)), "meaning of 'x'", "Meaning(")
    good = Table("f", lambda: rows, ["epoch", "x"], {}, (), {"x": Meaning("robust_error/test")})
    assert curves_of(good, Told.of(None))


def test_it_is_for_logs_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.yaml").write_text("command: train\n")
    assert main(["diagnose", str(tmp_path), "--importer", "m:X"]) == 2
    assert "--importer" in capsys.readouterr().err
