"""Whether a run says which text of the caller's modules it was made with."""

import importlib
import sys
from pathlib import Path

import pytest

from cgro import own_code, resuming
from cgro.own_code import changed_code, codes_of, digests_of_code
from cgro.resuming import with_changes
from cgro.runs import Run
from cgro.writing import sha256


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of the caller's that has been imported."""
    path = tmp_path / "my_own_net.py"
    path.write_text("def net(): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_own_net", raising=False)
    importlib.import_module("my_own_net")
    own_code._digest.cache_clear()
    return path


def test_only_imported_code_is_digested(module: Path) -> None:
    settings = {"model": "my_own_net:net", "data": "never_imported:data", "extension": ["ema:decay=0.5"], "seed": 3}
    digest = sha256(module.read_bytes())
    assert digests_of_code(settings) == {"my_own_net": digest}
    assert digests_of_code({"extension": ["ema", "my_own_net:net:width=3"]}) == {"my_own_net": digest}
    assert digests_of_code({"model": "sys:path"}) == {}  # built in: there is no file


def test_what_was_imported_counts_and_not_a_later_edit(module: Path) -> None:
    before = digests_of_code({"model": "my_own_net:net"})
    module.write_text("def net(): return 1\n")
    assert digests_of_code({"model": "my_own_net:net"}) == before


def test_a_run_says_its_code_and_one_that_is_resumed_with_other_code_both(
    module: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"model": "my_own_net:net"}
    with Run.start(tmp_path / "run", "train", settings) as run:
        first = run.codes
    assert first == [digests_of_code(settings)]
    module.write_text("def net(): return 1\n")
    own_code._digest.cache_clear()  # as another process
    with Run.start(tmp_path / "run", "train", settings) as run:
        assert run.codes == [*first, digests_of_code(settings)]
    said = capsys.readouterr().err
    assert "the file of my_own_net" in said
    assert "what it ends with may differ" in said


def test_an_older_run_and_one_of_named_networks_say_nothing(module: Path) -> None:
    del module
    assert with_changes({**resuming.environment(), "settings": {"model": "mlp"}})[1] == ""
    assert with_changes({**resuming.environment(), "settings": {"model": "my_own_net:net"}})[1] == ""


@pytest.mark.parametrize("made_in", [{}, {"code": 3}, {"resumed": 3}, {"resumed": [3, {"environment": []}]}])
def test_damaged_records_have_no_code(made_in: dict) -> None:
    assert codes_of(made_in) == []


def test_trainings_of_one_text_need_no_remark() -> None:
    assert changed_code({"a": [{"mine": "x"}], "b": [{"mine": "x"}], "c": []}) == []
    (one,) = changed_code({"a": [{"mine": "x"}, {"mine": "y"}], "b": [{"mine": "x", "other": "z"}]})
    assert "x for a and 1 more, y for a" in one
