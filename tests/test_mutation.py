"""Mutation testing: what is mutated, and that planted tests notice what they should, on a project of one module."""

from pathlib import Path

import msgspec
import pytest
from scipy.stats import binomtest
from tools import mutation
from tools.mutation import Judgment, Mutant

MODULE = '''
def larger(a: int, b: int, *, least: int | None = None) -> int:
    """The larger of two numbers, at least `least`.

    >>> larger(1, 2)
    2
    """
    if b > a:
        a = b
    if least is not None and a < least:
        return least
    return a
'''
TESTS = """
from cgro.room.numbers import larger

def test_it():
    assert larger(1, 3) == 3
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    for folder in ("src/cgro/room", "tests/room"):
        (root / folder).mkdir(parents=True)
    (root / "src" / "cgro" / "__init__.py").touch()
    (root / "src" / "cgro" / "room" / "__init__.py").touch()
    (root / "src" / "cgro" / "room" / "numbers.py").write_text(MODULE)
    (root / "tests" / "room" / "test_numbers.py").write_text(TESTS)
    (root / "pyproject.toml").write_text("[tool.pytest.ini_options]\naddopts = '-n 2'\n")
    return root


def one(module: str = "a.py", first: str = "killed", now: str = "killed", **more: object) -> Mutant:
    values = {"module": module, "line": 1, "before": "x", "after": "y", "first": first, "now": now, **more}
    return msgspec.convert(values, Mutant)


def test_counts_and_interval() -> None:
    mutants = [one(), one(), one(now="timed out"), one(first="survived"), one(first="survived", now="survived")]
    mutants.append(one(first="survived", now="survived", equivalent="the same"))
    share = mutation.share_of("all", mutants)
    assert (share.n, share.killed, share.timed_out, share.equivalent, share.survived) == (6, 3, 1, 1, 1)
    assert share.noticed == 0.8
    truth = binomtest(4, 5).proportion_ci(method="wilson")
    assert share.interval == (round(truth.low, 4), round(truth.high, 4))
    at_first = mutation.share_of("all", mutants, first=True)
    assert (at_first.equivalent, at_first.survived, at_first.noticed) == (0, 3, 0.5)
    nothing = mutation.share_of("b.py", [one(now="survived", equivalent="the same")])
    assert (nothing.noticed, nothing.interval) == (1.0, (0.0, 1.0))


def test_a_report_is_written_and_read_and_has_a_row_per_module() -> None:
    mutants = [one("b.py"), one("a.py", "survived", "survived"), one("b.py")]
    report = mutation.report_of(mutants, places=9, sample=3, seed=4)
    assert [(row.module, row.n, row.survived) for row in report.modules] == [("a.py", 1, 1), ("b.py", 2, 0)]
    assert report.total.survived == 1
    assert report.environment.seed == 4
    assert msgspec.json.decode(msgspec.json.encode(report), type=mutation.Report) == report


def test_judgments_are_found_by_module_and_lines() -> None:
    marked = mutation.judged([one("a.py"), one("b.py"), one("a.py", after="z")], [Judgment("a.py", "x", "y", "why")])
    assert [mutant.equivalent for mutant in marked] == ["why", None, None]


def test_stored_judgments_give_reasons() -> None:
    judgments = msgspec.json.decode(mutation.EQUIVALENT.read_bytes(), type=list[Judgment])
    assert all(len(judgment.why.split()) > 3 and judgment.before != judgment.after for judgment in judgments)
    package = mutation.ROOT / "src" / "cgro"
    scope = mutation.modules_of(mutation.SCOPE, package)
    assert {judgment.module for judgment in judgments} <= set(scope)
    assert set(mutation.SLOW) <= set(scope)


def test_what_changed_is_told_without_indentation() -> None:
    assert mutation.changed_lines("a\n  b\nc\n", "a\n  d\nc\n") == (2, "b", "d")
    assert mutation.changed_lines("a\n  b\n  c\n", "a\n  x\n  y\n") == (2, "b c", "x y")


@pytest.mark.parametrize(
    ("old", "new", "outcome"),
    [
        ("a < least", "a > least", "survived"),
        ("b > a", "b < a", "killed"),
        ("    if b > a:\n        a = b", "    while a:\n        b = a", "timed out"),
    ],
)
def test_what_planted_tests_say(project: Path, old: str, new: str, outcome: str) -> None:
    """In a fork, whose limit is two seconds of processor time here."""
    assert old in MODULE
    (project / "src" / "cgro" / "room" / "numbers.py").write_text(MODULE.replace(old, new))
    files = mutation.tests_of("room/numbers.py", project)
    assert files == ["tests/room/test_numbers.py", "src/cgro/room/numbers.py"]
    here = Path.cwd()
    found, seconds = mutation.run_tests(files, project, 1)
    assert found == outcome
    assert 0 < seconds < 9
    assert Path.cwd() == here


def test_a_module_without_a_mirror_has_its_examples_alone(project: Path) -> None:
    (project / "tests" / "room" / "test_numbers.py").unlink()
    assert mutation.tests_of("room/numbers.py", project) == ["src/cgro/room/numbers.py"]


def test_a_module_whose_tests_fail_without_a_mutant_is_passed_over(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the others gave is kept: an hour of it was once lost to one failing test."""
    monkeypatch.setattr(mutation, "PRELOADED", ())
    other = project / "src" / "cgro" / "room" / "others.py"
    other.write_text(MODULE)
    (project / "tests" / "room" / "test_others.py").write_text(
        TESTS.replace("== 3", "== 4").replace("numbers", "others")
    )
    changed = MODULE.replace("b > a", "b < a")
    mutants = [("room/others.py", changed), ("room/numbers.py", changed), ("room/others.py", MODULE)]
    assert mutation.outcomes(mutants, project) == [None, "killed", None]
    assert capsys.readouterr().out.count("passed over: killed without a mutant: tests/room/test_others.py") == 1
    with pytest.raises(SystemExit, match="failures in every module"):
        mutation.outcomes(mutants[:1], project)


def test_places_leave_annotations_and_marks_out() -> None:
    pytest.importorskip("cosmic_ray")
    places = mutation.places_of(MODULE)
    lines = MODULE.splitlines()
    texts = {lines[line - 1][column:].split()[0] for ((line, column),) in ({v.start for v in p} for p in places)}
    assert texts == {">", "b", "is", "least", "and", "<"}
    after = {mutation.changed_lines(MODULE, mutation.mutated(MODULE, place))[2] for p in places for place in p}
    assert {"if b < a:", "if not b > a:", "if least is not None or a < least:"} <= after
    assert all(compile(mutation.mutated(MODULE, place), "m", "exec") for p in places for place in p)


def test_every_place_has_the_same_chance_and_every_module_its_share(project: Path) -> None:
    pytest.importorskip("cosmic_ray")
    package = project / "src" / "cgro"
    (package / "room" / "small.py").write_text("def f(a):\n    return a + 1\n")
    modules = mutation.modules_of(("room/*.py",), package)
    assert modules == ["room/__init__.py", "room/numbers.py", "room/small.py"]
    n = {name: len(mutation.places_of((package / name).read_text())) for name in modules}
    assert n["room/small.py"] == 2  # the sum, and the 1
    places, everything = mutation.drawn(package, modules, 999, 0)
    assert places == len(everything) == sum(n.values())
    seen: list[str] = []
    for seed in range(60):
        _, some = mutation.drawn(package, modules, 5, seed)
        assert len(some) == 5
        seen += [text for name, text in some if name == "room/small.py"]
    assert mutation.drawn(package, modules, 5, 1) == mutation.drawn(package, modules, 5, 1)
    assert abs(len(seen) / 60 - 5 * 2 / places) < 0.25
    assert len(set(seen)) > 4


def test_survivors_are_run_again(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a test was added; in a copy: no file of the project changes."""
    pytest.importorskip("cosmic_ray")
    monkeypatch.setattr(mutation, "PRELOADED", ())
    monkeypatch.setattr(mutation, "SCOPE", ("room/*.py",))
    monkeypatch.setattr(mutation, "places_of", lambda text, of=mutation.places_of: [[p[0]] for p in of(text)])
    monkeypatch.setattr(mutation, "EQUIVALENT", project / "equivalent.json")
    (project / "equivalent.json").write_text("[]")
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    out = project.parent / "report.json"
    words = ["--root", str(project), "--out", str(out), "--sample", "99"]
    assert mutation.main(words) == 0
    assert {path: path.read_bytes() for path in project.rglob("*") if path.is_file()} == before
    first = msgspec.json.decode(out.read_bytes(), type=mutation.Report)
    gone = one("room/numbers.py", "survived", "survived", before="no such line", after="either")
    out.write_bytes(msgspec.json.encode(msgspec.structs.replace(first, mutants=[*first.mutants, gone])))
    stronger = TESTS + "    assert larger(1, 1, least=2) == 2\n"
    (project / "tests" / "room" / "test_numbers.py").write_text(stronger)
    assert mutation.main([*words, "--again"]) == 0
    now = msgspec.json.decode(out.read_bytes(), type=mutation.Report)
    assert first.total.survived >= 1
    assert [mutant.now for mutant in now.mutants] == ["killed"] * len(first.mutants) + ["survived"]
    assert now.first.survived == first.total.survived + 1
    assert (now.places, now.sample, now.seed) == (6, 99, 0)
