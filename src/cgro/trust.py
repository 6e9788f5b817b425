"""Whose code runs: a name in a run or a file of others is data, until the caller says the same name. No torch here.

A setting such as `mine:Net` is an instruction to import a module and to call what is in it. On a command line, or as an
argument in Python, it is the caller's own. In a run's config.yaml, or in a file given by --config, it is a text by
whoever made that file: `Received` says so, and `admit` of `Received` is called where such a text becomes a setting.
"""

import contextlib
import importlib
import os
import sys
import traceback
from collections.abc import Collection, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cgro._check import LONGEST_VALUE, BadRequest, bad, one_line
from cgro.remedy_names import REMEDY_NAMES

PREFIXES = frozenset({"timm", *REMEDY_NAMES})
"""What may stand before the colon of a name without making it code: the library of networks, and the remedies."""

LIBRARIES = frozenset({"cgro", "torch"})
"""Packages that stand in the trace of every error, so that a name in them says nothing about whose error it is."""

Kind = Literal["code", "path", "hub"]


@dataclass(frozen=True)
class _Words:
    """What a name that came from others is: in an error, and in a remark about what was left out."""

    in_error: str
    in_remark: str


_FOREIGN: dict[Kind, _Words] = {
    "code": _Words("code of whoever made it", "code that was not trusted"),
    "path": _Words("a path that whoever made it chose", "a path that was not trusted"),
    "hub": _Words(
        "a data set that would have to be fetched",
        "a data set that is not in the cache and was not trusted to be fetched",
    ),
}


def code_of(name: str) -> str | None:
    """The code that a name stands for, without the options behind it; None if the name imports nothing.

    Code has a colon, and before its first colon nothing of `PREFIXES`. What cannot be an attribute of a module, as in
    `cuda:0`, and an id of the hub or a path, as in `owner/name:configuration`, are no code: `resolve` refuses them too.

    Args:
        name: of a network, of data, or any other setting.

    Returns:
        `package.module:attribute`, or None.

    Example:
        >>> code_of("my.nets:Net"), code_of("my.nets:Net:beta=6")
        ('my.nets:Net', 'my.nets:Net')
        >>> [code_of(name) for name in ("lenet", "timm:resnet18", "owner/name:plain", "cuda:0")]
        [None, None, None, None]
    """
    module, _, rest = name.partition(":")
    attribute = rest.partition(":")[0]
    if not module or "/" in module or module in PREFIXES or not attribute.isidentifier():
        return None
    return f"{module}:{attribute}"


def runs_in(name: str) -> list[str]:
    """The runs that the parameters of a registered name would have read.

    Args:
        name: any setting.

    Returns:
        Their paths, as written.

    Example:
        >>> runs_in("kd:standard=runs/a,weight=0.3"), runs_in("trades:beta=6")
        (['runs/a'], [])
    """
    prefix, _, parameters = name.partition(":")
    keys = REMEDY_NAMES[prefix].reads if prefix in REMEDY_NAMES else ()
    found: list[str] = []
    for part in parameters.split(","):
        key, equals, value = part.partition("=")
        if equals and key in keys:
            found.append(value)
    return found


def path_of(name: str) -> Path | None:
    """The path that a name of data is, if it is one: an .npz, an existing folder, or what can only be a path.

    Args:
        name: of data.

    Returns:
        The path, with the home folder for ~; None if the name is no path.

    Example:
        >>> path_of("arrays.npz"), path_of("mnist5k")
        (PosixPath('arrays.npz'), None)
    """
    path = Path(name)
    with contextlib.suppress(RuntimeError):  # the home of a user who does not exist
        path = path.expanduser()
    try:
        there = path.is_dir()
    except (OSError, ValueError):  # too long for a path, or with a null character
        there = False
    if there or path.suffix == ".npz" or name.startswith(("/", ".", "~")):
        return path
    return None


@dataclass(frozen=True)
class CommandLine:
    """What one command line trusts.

    Args:
        everything: whether --trust stands on it.
        names: the names of networks, data and other code that stand on it as values of their options.
        options: the options that the command has for such names, for its advice; with "trust" where it has that.
        said: those of them that stand on it with their one value, so that no other name can be added there.
    """

    everything: bool = False
    names: frozenset[str] = frozenset()
    options: frozenset[str] = frozenset()
    said: frozenset[str] = frozenset()


Trust = bool | str | Collection[str] | CommandLine
"""False: nothing that others name is imported or fetched. True: all of it. Names: these alone."""


class Untrusted(BadRequest):
    """A run or a file names code, a path or a download which the caller did not name.

    Args:
        where: the run or file.
        what: which setting it is, such as network.
        name: what stands there.
        kind: of the name.
        remedy: what makes it trusted.
    """

    def __init__(self, where: str, what: str, name: str, kind: Kind, remedy: str) -> None:
        self.what = what
        self.name = one_line(name, LONGEST_VALUE)
        self.kind: Kind = kind
        place = one_line(where, LONGEST_VALUE)
        super().__init__(f"{place}: its {what} is {self.name}, {_FOREIGN[kind].in_error}; look at it, then {remedy}")

    @property
    def left_out(self) -> str:
        """For a command that goes on without it: what was not done, and how to have it done."""
        foreign = _FOREIGN[self.kind].in_remark
        return f"not run; the {self.what} is {self.name}, {foreign}; look at it, then add --trust"


@dataclass(frozen=True)
class Received:
    """Where settings were read, and what of the names in them the caller trusts.

    Args:
        where: the run or the file, for messages.
        trust: see `Trust`.
        stored: bytes of the checkpoint that comes with them: a network that needs far more is not built. None if there
            is none yet.
        renamed: what the settings call otherwise than it was called when the run began, to be said when it is used.
        checksum: SHA-256 of the data that a finished run was trained on; None where it is not known.

    Example:
        >>> received = Received("runs/theirs", trust=["mine:Loss", "./photos"])
        >>> received.trusts("mine:Loss:beta=6"), received.trusts("./photos/"), received.trusts("theirs:Net")
        (True, True, False)
        >>> Received("runs/theirs").admit("model", "theirs:Net", "network")
        Traceback (most recent call last):
        ...
        cgro.trust.Untrusted: runs/theirs: its network is theirs:Net, code of whoever made it; look at it, then pass \
trust=True, or its name
    """

    where: str
    trust: Trust = False
    stored: int | None = None
    renamed: str = ""
    checksum: str | None = None

    def trusts(self, name: str) -> bool:
        """Whether the caller trusts all, or said this name: the same text, the same code, or the same path.

        Args:
            name: what the settings say.

        Returns:
            True if it may be imported, read or fetched.
        """
        if isinstance(self.trust, bool):
            return self.trust
        if isinstance(self.trust, CommandLine):
            return self.trust.everything or _said(name, self.trust.names)
        if isinstance(self.trust, str):
            return _said(name, (self.trust,))
        return _said(name, self.trust)

    def admit(self, key: str, name: str, what: str) -> None:
        """Let a setting pass unless it is code that is not trusted, or names a run that would be read.

        Args:
            key: of the setting, such as model.
            name: what it says.
            what: how messages call it, such as network.

        Raises:
            Untrusted: it is.
        """
        if code_of(name) is not None and not self.trusts(name):
            raise self.untrusted(key, name, what, "code")
        if not self.trusts(name) and not all(self.trusts(run) for run in runs_in(name)):
            raise self.untrusted(key, name, what, "path")

    def untrusted(self, key: str, name: str, what: str, kind: Kind) -> Untrusted:
        """The refusal of a name, with what the caller can do.

        Args:
            key: of the setting, such as model.
            name: what it says.
            what: how messages call it, such as network.
            kind: of the name.

        Returns:
            The error, to be raised.
        """
        return Untrusted(self.where, what, name, kind, self._remedy(key, one_line(name, LONGEST_VALUE)))

    def _remedy(self, key: str, name: str) -> str:
        if not isinstance(self.trust, CommandLine):
            return "pass trust=True, or its name"
        ways: list[str] = []
        if "trust" in self.trust.options:
            ways.append("--trust")
        if key in self.trust.options and key not in self.trust.said:
            ways.append(f"--{key.replace('_', '-')} {name}")
        if not ways:
            return "write it on the command line"
        return "add " + ", or ".join(ways)


def _said(name: str, said: Collection[str]) -> bool:
    return any(is_same(name, other) for other in said)


def is_same(name: str, other: str) -> bool:
    """Whether two names are the same text, code or path.

    Args:
        name: of a network, of data, or any other setting.
        other: another one.

    Returns:
        True if whoever says one has said the other.

    Example:
        >>> is_same("mine:Loss:beta=6", "mine:Loss"), is_same("lenet", "mlp")
        (True, False)
    """
    if name == other:
        return True
    code = code_of(name)
    if code is not None and code == code_of(other):
        return True
    path = path_of(name)
    other_path = path_of(other)
    return path is not None and other_path is not None and path.resolve() == other_path.resolve()


@contextlib.contextmanager
def current_folder() -> Generator[None, None, None]:
    """Inside this block modules of the current folder can be imported, if nothing installed has their name.

    The folder is last: a file there that is called like a package, which may be imported late, shadows nothing.

    Yields:
        Nothing.
    """
    try:
        folder = os.getcwd()
    except FileNotFoundError:  # it was deleted
        yield
        return
    if folder in sys.path or "" in sys.path:
        yield
        return
    sys.path.append(folder)
    try:
        yield
    finally:
        _remove_last(sys.path, folder)  # what the module itself put in front stays


def _remove_last(values: list[str], value: str) -> None:
    for k in reversed(range(len(values))):
        if values[k] == value:
            del values[k]
            return


@contextlib.contextmanager
def one_line_if_it_fails(what: str, expected: str) -> Generator[None, None, None]:
    """Around the caller's own code: whatever it raises, also by sys.exit(), is a bad request. KeyboardInterrupt passes.

    Args:
        what: how the message calls it, such as --model.
        expected: what it should have been.

    Yields:
        Nothing.

    Raises:
        BadRequest: the block raised.
    """
    try:
        yield
    except BadRequest:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, SystemExit):
            argument = ""
            if error.code is not None:
                argument = one_line(str(error), 160)
            remedy = 'it ends the program; put that below if __name__ == "__main__"'
            raise bad(what, expected=expected, got=f"a call of sys.exit({argument})", remedy=remedy) from None
        raise bad(what, expected=expected, got=_told(error)) from error


_IMPORTED: dict[str, dict[str, str]] = {}
"""Package -> attribute -> what messages call it, of the code that `resolve` has imported in this process."""


def failure_of(error: Exception, *, expected: str, remedy: str) -> BadRequest | None:
    """One line for an error that arose in code of the caller's: in the innermost package of the trace that was named.

    Args:
        error: with its traceback.
        expected: what the code should have been.
        remedy: what to do.

    Returns:
        The error to raise in its place, such as "--objective mine:Loss: expected ..."; None where it is a request that
        cannot be done already, or arose in none of their code.
    """
    if isinstance(error, BadRequest):
        return None
    found = None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        names = _IMPORTED.get(str(frame.f_globals.get("__name__")).partition(".")[0])
        if names is None:
            continue
        attribute = frame.f_code.co_qualname.partition(".")[0]
        if attribute in names:
            found = names[attribute]
        elif found is None or len(names) == 1:  # a helper of one of several names leaves it at that name
            found = next(reversed(names.values()))
    if found is None:
        return None
    return bad(found, expected=expected, got=_told(error), remedy=remedy)


def _told(error: BaseException) -> str:
    """An error by its type and, where it has one, its text."""
    text = one_line(str(error), 160)
    if not text:
        return type(error).__name__
    return f"{type(error).__name__}: {text}"


def _note(name: str, what: str) -> None:
    """Take note of a name that was imported, for `failure_of`."""
    module, _, attribute = name.partition(":")
    package = module.partition(".")[0]
    if package not in LIBRARIES:
        _IMPORTED.setdefault(package, {})[attribute] = _called(name, what)


def _called(name: str, what: str) -> str:
    """What messages call code: `what`, with the name where that does not hold it."""
    return what if name in what else f"{what} {name}"


def resolve(name: str, what: str) -> Any:
    """Import `package.module:attribute`, also from the current folder. Only for names that the caller said or trusts.

    Args:
        name: of code; see `code_of`.
        what: how messages call it, such as --model.

    Returns:
        The attribute.

    Raises:
        BadRequest: no such module or attribute, or the module fails or ends the program while it is imported.
    """
    code = code_of(name)
    if code != name:
        raise bad(what, expected="package.module:name", got=repr(name))
    module_name, _, attribute = name.partition(":")
    with current_folder(), one_line_if_it_fails(_called(name, what), "an importable package.module:name"):
        module = importlib.import_module(module_name)
        if hasattr(module, attribute):
            _note(name, what)
            return getattr(module, attribute)
    file = getattr(module, "__file__", None)
    remedy = ""
    if not _in_current_folder(file, module_name):
        remedy = f"the {module_name} that was imported is {file or 'a part of Python'}; give yours another name"
    raise bad(what, expected="an importable package.module:name", got=f"{name!r} without {attribute}", remedy=remedy)


def _in_current_folder(file: str | None, module_name: str) -> bool:
    top = os.path.join(os.getcwd(), module_name.partition(".")[0])
    return file is not None and (file == f"{top}.py" or file.startswith(top + os.sep))
