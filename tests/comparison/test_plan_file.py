"""Plans: what is read, what is refused with its place, and whose code may be named."""

from pathlib import Path

import pytest
import yaml

from cgro._check import BadRequest
from cgro.commands._training import RECIPES
from cgro.comparison.plan_file import Plan, read_plan, read_remedies
from cgro.trust import Untrusted

BASE = "base: {data: digits, model: mlp, radius: 0.1, epochs: 4}\n"


def plan(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    return path


def test_values_are_those_of_options(tmp_path: Path) -> None:
    text = BASE + "seeds: 2\nwidths: [4, 8]\nremedies: {plain: , ema: {extension: ['ema:decay=0.9'], lr: 1}}"
    found = read_plan(plan(tmp_path, text))
    assert found.base["radius"] == "0.1"
    assert found.remedies == {"plain": {}, "ema": {"extension": ["ema:decay=0.9"], "lr": 1.0}}
    assert (found.seeds, found.widths, found.reference) == (2, (4, 8), "plain")
    assert found.settings("ema", 8)["width"] == 8
    assert found.settings("ema", 8)["extension"] == ["ema:decay=0.9"]


def test_a_plan_is_written_and_read_back(tmp_path: Path) -> None:
    for widths in ((), (4,)):
        asked = Plan({"data": "digits"}, {"plain": {}, "trades": {"objective": "trades:beta=6"}}, 3, widths)
        (tmp_path / "again.yaml").write_bytes(asked.text())
        assert read_plan(tmp_path / "again.yaml") == asked


def test_names_that_may_be_code_are_written_out(tmp_path: Path) -> None:
    """A run that is taken up is compared with these: one that names other code is refused before it is used."""
    settings = read_plan(plan(tmp_path, BASE + "remedies: {plain: {}}")).settings("plain", None)
    assert {"data", "model", "attack", "objective", "extension", "eval_attack"} <= set(settings)


def test_the_settings_of_a_run_are_a_base(tmp_path: Path) -> None:
    settings = {"command": "train", "data": "digits", "seeds": 1, "device": "auto", "resume": None, "threads": None}
    found = read_plan(plan(tmp_path, yaml.safe_dump({"base": settings, "remedies": {"plain": {}}})))
    assert found.base == {"data": "digits"}


def test_a_base_may_name_a_recipe(tmp_path: Path) -> None:
    """What `cgro train --recipe` sets, below what the base says; written back in full."""
    found = read_plan(plan(tmp_path, "base: {width: 8, recipe: small-cifar10}\nremedies: {plain: {}}"))
    assert found.base == {**RECIPES["small-cifar10"], "width": 8}
    assert read_plan(plan(tmp_path, found.text().decode())) == found
    with pytest.raises(
        BadRequest, match="base: recipe: expected one of rice2020, fast2020, small-cifar10, got 'small'"
    ):
        read_plan(plan(tmp_path, "base: {recipe: small}\nremedies: {plain: {}}"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("remedies: {plain: {recipe: rice2020}}", "plain: expected no recipe, got rice2020; write it in base"),
        ("remedys: {plain: {}}", r"expected the keys base, remedies, seeds, widths, got 'remedys'; did you mean remed"),
        ("remedies: {plain: {}, plain: {}}", "the key plain twice"),
        ("remedies: {plain: {}}\nremedies: {ema: {}}", "the key remedies twice"),
        ("remedies: {plain: {epoch: 2}}", "plain: expected options of cgro train, got 'epoch'; did you mean epochs"),
        ("remedies: {plain: {epochs: two}}", "plain: epochs: expected an integer, got 'two'"),
        ("remedies: {plain: {extension: ema}}", "plain: extension: expected"),
        ("remedies: {plain: {radius: 0.2}}", "plain: expected no radius"),
        ("remedies: {plain: {out: elsewhere}}", "plain: expected no out"),
        ("remedies: {plain: {}}\nseeds: 0", r"seeds: expected an integer in \[1, 1000\], got 0"),
        ("remedies: {plain: {}}\nseeds: many", "seeds: expected an integer"),
        ("remedies: {plain: {}}\nwidths: [4, 4]", "each width once"),
        ("remedies: {plain: {width: 3}}\nwidths: [4]", "no width beside widths"),
        ("remedies: {../up: {}}", "names of letters"),
        ("remedies: {1: {}}", "remedies: expected names, got 1; write it in quotes"),
        ("remedies: {plain: {}, off: {}}", "remedies: expected names, got False; write it in quotes"),
        ("remedies: [plain]", "a mapping of names to values, got list"),
        ("remedies: {plain: {}, ema: no}", "ema: expected a mapping of names to values, got bool"),
        ("remedies: {plain: 0}", "plain: expected a mapping of names to values, got int"),
        ("remedies: {plain: {attack: off}}", "attack: expected text, got False; if it is a word, write it in quotes"),
        ("remedies: {plain: {stream: no}}", "stream: expected one of auto, yes, no, got False; if it is a word"),
        ("remedies: {plain: {image_size: 8}}", "plain: expected no image_size"),
        ("remedies: {plain: {}}\nseeds: 100000000", "seeds: expected an integer in"),
        ("seeds: 2", "at least one, NAME: {options}, got none"),
        ("remedies: {}", "at least one"),
    ],
)
def test_what_is_refused(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=words):
        read_plan(plan(tmp_path, BASE + text))


def test_a_base_is_a_mapping_or_nothing(tmp_path: Path) -> None:
    assert read_plan(plan(tmp_path, "base:\nremedies: {plain:}")).base == {}
    for value in ("false", "[]", "0"):
        with pytest.raises(BadRequest, match="base: expected a mapping of names to values"):
            read_plan(plan(tmp_path, f"base: {value}\nremedies: {{plain: {{}}}}"))


@pytest.mark.parametrize("setting", ["seeds: 3", "device: cuda", "out: here", "trust: true", "command: evaluate"])
def test_a_base_leaves_to_the_command_what_is_its_own(setting: str, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=f"base: expected no {setting.partition(':')[0]}"):
        read_plan(plan(tmp_path, f"base: {{{setting}}}\nremedies: {{plain: {{}}}}"))


@pytest.mark.parametrize(
    "text",
    [
        "base: {model: 'theirs:Net'}\nremedies: {plain: {}}",
        "base: {attack: 'theirs:Attack'}\nremedies: {plain: {}}",
        "base: {data: ./arrays.npz}\nremedies: {plain: {}}",
        "remedies: {plain: {objective: 'theirs:Loss:beta=2'}}",
        "remedies: {plain: {extension: ['ema', 'theirs:Swa']}}",
    ],
)
def test_code_of_others_is_refused_unless_it_is_said(text: str, tmp_path: Path) -> None:
    path = plan(tmp_path, text)
    with pytest.raises(Untrusted):
        read_plan(path)
    assert read_plan(path, trust=True).remedies


def test_added_remedies_come_behind_and_clash_by_name(tmp_path: Path) -> None:
    begun = Plan({}, {"plain": {}}, 2, (4,))
    path = tmp_path / "more.yaml"
    for text in ("ema: {extension: [ema]}", "remedies: {ema: {extension: [ema]}}"):
        path.write_text(text)
        joined = begun.with_remedies(read_remedies(path), "more.yaml")
        assert list(joined.remedies) == ["plain", "ema"]
    with pytest.raises(BadRequest, match="more.yaml: plain: expected the remedy that is there"):
        begun.with_remedies({"plain": {"lr": 1.0}}, "more.yaml")
    with pytest.raises(BadRequest, match="no width beside widths"):
        begun.with_remedies({"wide": {"width": 8}}, "more.yaml")
    path.write_text("remedies: {ema: {}}\nseeds: 3")
    with pytest.raises(BadRequest, match="expected the keys remedies, got 'seeds'"):
        read_remedies(path)


def test_another_reference_is_refused() -> None:
    """The first stands for plain training where none has no options; one that comes later would set other epochs."""
    begun = Plan({}, {"trades": {"objective": "trades"}, "ema": {"extension": ["ema"]}}, 1)
    with pytest.raises(BadRequest, match="more.yaml: expected the same reference, got plain, without options, in the"):
        begun.with_remedies({"plain": {}}, "more.yaml")
    assert begun.with_remedies({"longer": {"epochs": 9}}, "more.yaml").reference == "trades"
    assert Plan({}, {"plain": {}}, 1).with_remedies({"again": {}}, "more.yaml").reference == "plain"
