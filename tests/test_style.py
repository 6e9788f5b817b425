"""The measures of readability: on planted sources, and that the package got no worse than the stored baseline."""

import json
from pathlib import Path

import pytest
from tools import style

BASELINE = style.ROOT / "tools" / "style.json"
GOOD = '''
def area(width: float, height: float) -> float:
    """Compute an area.

    Args:
        width: in meters.
        height (float): in meters.

    Returns:
        The area, in square meters.

    Raises:
        ValueError: if a length is negative.
    """
    # Checked here: the callers read lengths from files.
    if min(width, height) < 0:
        raise ValueError(width)
    return width * height
'''
UNDOCUMENTED = '''
def area(width: float, height: float) -> float:
    """Width: 1 and height: 2."""
    if width < 0:
        raise ValueError(width)
    return width * height
'''


def measured(text: str) -> dict[str, style.Measure]:
    measures = style.new_measures()
    style.measure_source(text, "m.py", measures)
    return measures


@pytest.mark.parametrize(("key", "text", "expected"), [
    ("string_subscripts", 'a["x"] = b["y"]["z"] + c[0] + c[key]', 3),
    ("string_subscripts", 'x: Literal["a"]', 0),
    ("any", "from typing import Any\nx: dict[str, Any] = f(typing.Any)", 2),
    ("fmt_skip", 'x = 1  # fmt: skip\ny = "# fmt: skip"', 1),
    ("long_lines", "x = 1" + " " * 115 + "\n" + "y = 1" + " " * 116, 1),
    ("conditional_expressions", "x = 1 if a else 2 if b else 3\nif a:\n    y = 0", 666.7),
    ("comprehensions", "x = [i for i in a for j in b]\ny = {i: {j for j in a} for i in b}", 1500),
    ("comments", "# a reason\nx = 1  # not a line of its own\ny = 2", 50),
    ("comments", '"""A docstring\n# is no comment."""\nx = 1', 0),
    ("one_line_docstrings", UNDOCUMENTED, 1),
    ("one_line_docstrings", GOOD, 0),
    ("one_line_docstrings", 'class A:\n    def f(self):\n        """One."""', 0),
    ("one_line_docstrings", 'class A:\n    def f(self, x):\n        """One."""', 1),
    ("one_line_docstrings", 'class _A:\n    def f(self, x):\n        """One."""', 0),
])  # fmt: skip
def test_what_is_counted(key: str, text: str, expected: float) -> None:
    assert measured(text)[key].value == expected


@pytest.mark.parametrize("key", ["args", "returns", "raises"])
def test_sections_of_docstrings(key: str) -> None:
    assert (measured(GOOD)[key].total, measured(GOOD)[key].value) == (1, 100)
    assert (measured(UNDOCUMENTED)[key].total, measured(UNDOCUMENTED)[key].value) == (1, 0)


@pytest.mark.parametrize(("key", "old", "new"), [
    ("args", "        height (float): in meters.\n", ""),
    ("args", "in meters.\n        height (float): in meters.", "in meters. height: in meters."),
    ("returns", "Returns:", "Result:"),
    ("raises", "Raises:", "Fails:"),
])  # fmt: skip
def test_a_missing_part_is_noticed(key: str, old: str, new: str) -> None:
    assert old in GOOD
    assert measured(GOOD.replace(old, new))[key].places == ["m.py:2 area"]


def test_what_needs_no_section() -> None:
    text = '''
class Box:
    @property
    def size(self) -> int:
        """The size."""
        return self._size

    def put(self, x: int) -> None:
        """Put one in."""

        def inner() -> int:
            raise KeyError(x)
'''
    measures = measured(text)
    assert [measures[key].total for key in ("args", "returns", "raises")] == [0, 0, 0]


def test_modules_are_looked_for_by_name(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for name in ("test_check.py", "data/test_sets.py", "test_own.py"):
        (tmp_path / name).touch()
    measures = style.new_measures()
    modules = [Path(p) for p in ("__init__.py", "_check.py", "data/__init__.py", "data/sets.py", "data/own.py")]
    style.measure_tests(modules, tmp_path, measures)
    assert measures["tested_modules"].places == ["data/own.py"]
    assert measures["tested_modules"].value == 66.7


def test_each_measure_that_gets_worse_is_told() -> None:
    measures = measured(UNDOCUMENTED)
    same = {key: m.value for key, m in measures.items()}
    assert style.worse(measures, same) == []
    for key, m in measures.items():
        better = m.value + 1 if m.rises else m.value - 1
        slightly = m.value + m.slack if m.rises else m.value - m.slack
        assert style.worse(measures, same | {key: slightly}) == []
        assert [line.partition(":")[0] for line in style.worse(measures, same | {key: better})] == [key]
        relaxed = m.value - 1 if m.rises else m.value + 1
        assert style.worse(measures, same | {key: relaxed}) == []
        assert style.worse(measures, {k: v for k, v in same.items() if k != key}) == [f"{key}: not in the baseline"]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "m.py").write_text(UNDOCUMENTED)
    where = ["--package", str(package), "--tests", str(tmp_path)]
    assert style.main([*where, "--json"]) == 0
    (tmp_path / "base.json").write_text(capsys.readouterr().out)
    assert style.main([*where, "--check", str(tmp_path / "base.json")]) == 0
    (package / "m.py").write_text(UNDOCUMENTED + 'x = a["b"]\n')
    assert style.main([*where, "--check", str(tmp_path / "base.json")]) == 1
    assert (
        capsys.readouterr().err
        == "string_subscripts: 1, was 0 (subscripts by a string); see --list string_subscripts\n"
    )
    assert style.main([*where, "--list", "args"]) == 0
    assert capsys.readouterr().out == "m.py:2 area\n"


def test_the_package_is_no_worse_than_the_baseline() -> None:
    baseline = json.loads(BASELINE.read_text())
    found = style.worse(style.measure(style.ROOT / "src" / "cgro", style.ROOT / "tests"), baseline)
    assert not found, "\n".join(["python tools/style.py --json > tools/style.json sets a new baseline", *found])
