"""How a name of data is understood."""

from pathlib import Path

import pytest
from tests.data.samples import class_folders, load_refused, refused_in_little_memory

from cgro.data import load
from cgro.data.sources import kind_of
from cgro.trust import path_of


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(ValueError, match="mnist5k"):
        load("minst")


def test_unknown_names_say_what_there_is() -> None:
    for name in ("minst", "", "mnist5k.csv", "a b/c"):
        load_refused("expected one of mnist5k, .*a folder of class folders, a file.npz", name)


@pytest.mark.parametrize("name", ["a" * 300 + ".npz", "/" + "a" * 5_000, "~nobody-is-called-so/data", ".\0"])
def test_names_that_no_system_takes(name: str) -> None:
    refused_in_little_memory(lambda: load(name))
    path_of(name)


def test_each_form_of_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    forms = {"mnist": "named", "photos": "path", "./photos": "path", "x.npz": "path", "my.data:make": "code",
             "owner/name": "hub", "owner/name:plain": "hub", "imagenet": None, "": None, "a b/c": None}  # fmt: skip
    assert {name: kind_of(name) for name in forms} == forms


def test_a_folder_here_goes_before_a_name_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    class_folders(tmp_path / "owner" / "photos")
    assert kind_of("owner/photos") == "path"
    assert load("owner/photos").classes == ("ant", "bee", "cat")
