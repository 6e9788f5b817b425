"""Names that came with files of others: which are code, which are trusted, and what importing them may do."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cgro._check import BadRequest
from cgro.trust import (
    PREFIXES,
    CommandLine,
    Received,
    Untrusted,
    code_of,
    current_folder,
    failure_of,
    one_line_if_it_fails,
    path_of,
    resolve,
    runs_in,
)


@pytest.mark.parametrize(
    ("name", "code"),
    [("my.nets:Net", "my.nets:Net"), ("my.nets:Net:beta=6", "my.nets:Net"), ("m:x", "m:x"), ("lenet", None),
     ("owner/name:plain", None), ("cuda:0", None), (":x", None), ("m:", None), ("m:a.b", None), ("m:a-b", None), ("", None)],
)  # fmt: skip
def test_what_code_is(name: str, code: str | None) -> None:
    assert code_of(name) == code


def test_no_prefix_makes_code() -> None:
    assert [code_of(f"{prefix}:beta") for prefix in PREFIXES] == [None] * len(PREFIXES)


def test_what_a_path_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "photos").mkdir()
    paths = {"photos": Path("photos"), "./none": Path("none"), "/none": Path("/none"), "~/none": tmp_path / "none",
             "x.npz": Path("x.npz"), "none": None, "owner/name": None, "a" * 5000: None, "a\0": None}  # fmt: skip
    assert {name: path_of(name) for name in paths} == paths


@pytest.mark.parametrize(
    ("trust", "yes", "no"),
    [(True, ["anything:at_all"], []), (False, [], ["m:x", "./p"]), ("m:x", ["m:x", "m:x:beta=1"], ["m:y", "n:x"]),
     (["m:x", "./p"], ["m:x", "p/../p", "./p/"], ["m:y", "q"]),
     (CommandLine(everything=True), ["m:x"], []), (CommandLine(names=frozenset(["./p"])), ["./p"], ["m:x"])],
)  # fmt: skip
def test_what_the_caller_said_is_trusted(
    trust: object, yes: list[str], no: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p").mkdir()
    received = Received("runs/theirs", trust)  # type: ignore[arg-type]
    assert [received.trusts(name) for name in yes] == [True] * len(yes)
    assert [received.trusts(name) for name in no] == [False] * len(no)


@pytest.mark.parametrize(
    ("trust", "remedy"),
    [(False, "pass trust=True, or its name"), (CommandLine(), "write it on the command line"),
     (CommandLine(options=frozenset(["trust"])), "add --trust"),
     (CommandLine(options=frozenset(["trust", "own_model"])), "add --trust, or --own-model m:x")],
)  # fmt: skip
def test_a_refusal_says_what_to_do(trust: bool | CommandLine, remedy: str) -> None:
    received = Received("runs/theirs", trust)
    received.admit("own_model", "lenet", "network")
    with pytest.raises(Untrusted) as caught:
        received.admit("own_model", "m:x", "network")
    assert str(caught.value).startswith("runs/theirs: its network is m:x, code of whoever made it; look at it, then ")
    assert str(caught.value).endswith(remedy)
    assert (caught.value.what, caught.value.name, caught.value.kind) == ("network", "m:x", "code")
    assert caught.value.left_out.startswith("not run; the network is m:x, code that was not trusted")


def test_modules_of_the_current_folder_come_last_and_only_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["/elsewhere"])
    with current_folder():
        assert sys.path == ["/elsewhere", str(tmp_path)]
        sys.path.insert(0, str(tmp_path))  # by the module itself: stays
        with current_folder():
            pass
    assert sys.path == [str(tmp_path), "/elsewhere"]


def test_a_current_folder_that_was_deleted_holds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    before = list(sys.path)
    with current_folder():
        assert sys.path == before


@pytest.mark.parametrize(
    ("error", "words"),
    [(ValueError("two\nlines"), "got ValueError: two lines"), (KeyError(), "got KeyError"), (SystemExit(), r"sys.exit\(\)"),
     (SystemExit(3), r"sys.exit\(3\); it ends the program"), (BadRequest("as it is"), "^as it is$")],
)  # fmt: skip
def test_whatever_code_of_the_caller_raises_is_one_line(error: BaseException, words: str) -> None:
    with pytest.raises(BadRequest, match=words) as caught, one_line_if_it_fails("--model", "a network"):
        raise error
    assert "\n" not in str(caught.value)


def test_an_interrupt_passes() -> None:
    with pytest.raises(KeyboardInterrupt), one_line_if_it_fails("--model", "a network"):
        raise KeyboardInterrupt


def test_names_are_resolved_also_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "module_of_a_test.py").write_text("value = 3\n")
    monkeypatch.delitem(sys.modules, "module_of_a_test", raising=False)
    assert resolve("module_of_a_test:value", "--x") == 3
    for name, words in (
        ("module_of_a_test:nothing", "without nothing$"),
        ("math:nothing", "the math that was imported is .*give yours another name"),
        ("no_such_module_at_all:x", "importable"),
        ("lenet", "expected package.module:name"),
        ("math:pi:beta=1", "expected package.module:name"),
    ):
        with pytest.raises(BadRequest, match=words):
            resolve(name, "--x")
    with pytest.raises(BadRequest, match="^attack no_such_module_at_all:x: expected"):
        resolve("no_such_module_at_all:x", "attack no_such_module_at_all:x")  # the name stands there once
    monkeypatch.delitem(sys.modules, "module_of_a_test")


def test_a_run_that_parameters_name_is_a_path_of_whoever_wrote_them() -> None:
    name = "kd:robust=/theirs,weight=1,standard=b"
    assert runs_in(name) == ["/theirs", "b"]
    for harmless in ("kd", "kd:weight=1", "trades:standard=b", "mine:kd:standard=b", "awp:gamma=0.1"):
        assert runs_in(harmless) == []
        if code_of(harmless) is None:
            Received("theirs").admit("objective", harmless, "objective")
    with pytest.raises(Untrusted, match="its objective is kd:.*a path that whoever made it chose"):
        Received("theirs").admit("objective", name, "objective")
    with pytest.raises(Untrusted):
        Received("theirs", ["/theirs"]).admit("objective", name, "objective")
    for trust in (True, name, ["/theirs", "b"]):
        Received("theirs", trust).admit("objective", name, "objective")


FAILING = """
def helper():
    raise ValueError("of mine")


def attack(model, x, y):
    return helper()


class Loss:
    def __call__(self, call):
        return call()


class Silent:
    def __call__(self):
        assert False
"""


def _failed(call: Callable[[], object]) -> str | None:
    try:
        call()
    except Exception as error:
        failed = failure_of(error, expected="code that runs", remedy="-v shows where")
        return None if failed is None else str(failed)
    raise AssertionError("it was to fail")


@pytest.fixture
def failing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package of somebody's: what is named in it stands in a module of its own."""
    (tmp_path / "failing_package").mkdir()
    (tmp_path / "failing_package" / "parts.py").write_text(FAILING)
    (tmp_path / "failing_package" / "__init__.py").write_text("from failing_package.parts import Loss, Silent, attack")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("cgro.trust._IMPORTED", {})
    yield
    for name in [name for name in sys.modules if name.startswith("failing_package")]:
        del sys.modules[name]


def test_an_error_is_that_of_the_name_in_whose_code_it_arose(failing: None) -> None:
    loss = resolve("failing_package:Loss", "--objective")
    attack = resolve("failing_package:attack", "attack failing_package:attack")
    line = "expected code that runs, got ValueError: of mine; -v shows where"
    assert _failed(lambda: attack(None, 1, 2)) == f"attack failing_package:attack: {line}"
    assert _failed(lambda: loss()(lambda: attack(None, 1, 2))) == f"attack failing_package:attack: {line}"
    assert _failed(lambda: loss()(lambda: 1 / 0)).startswith(
        "--objective failing_package:Loss: expected code that runs"
    )
    assert "got AssertionError; -v" in str(_failed(resolve("failing_package:Silent", "--model")()))


def test_an_error_of_ours_or_a_refusal_is_not_theirs(failing: None) -> None:
    def refusing() -> None:
        raise BadRequest("radius: expected a number")

    assert _failed(lambda: 1 / 0) is None
    loss = resolve("failing_package:Loss", "--objective")
    assert _failed(lambda: 1 / 0) is None
    assert _failed(lambda: loss()(refusing)) is None
    resolve("cgro.definitions:PGD", "attack cgro.definitions:PGD")
    assert _failed(lambda: resolve("cgro.definitions:PGD", "attack")(None)) is None
