"""Whose code runs: a name in a run or a file of others is data, until the caller says the same name. No torch here.

A setting such as `mine:Net` is an instruction to import a module and to call what is in it. On a command line, or as an
argument in Python, it is the caller's own. In a run's config.yaml, or in a file given by --config, it is a text by whoever
made that file: `Received` says so, and `admit` of `Received` is called where such a text becomes a setting.
"""

import contextlib
import importlib
import os
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cgro._check import LONGEST_VALUE, BadRequest, bad, one_line

PREFIXES = {
    "timm": "a network of the package timm",
    "adversarial": "an objective",
    "trades": "an objective",
    "ema": "an extension",
}
"""What may stand before the colon of a name without making it code: the only place where such prefixes are listed."""

Kind = Literal["code", "path", "hub"]
_FOREIGN: dict[Kind, tuple[str, str]] = {
    "code": ("code of whoever made it", "code that was not trusted"),
    "path": ("a path that whoever made it chose", "a path that was not trusted"),
    "hub": (
        "a data set that would have to be fetched",
        "a data set that is not in the cache and was not trusted to be fetched",
    ),
}
"""What a name is, in an error and in a remark about what was left out."""


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


def path_of(name: str) -> Path | None:
    """The path that a name of data is, if it is one: an .npz, an existing folder, or what can only be a path.

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
    return path if path.suffix == ".npz" or there or name.startswith(("/", ".", "~")) else None


@dataclass(frozen=True)
class CommandLine:
    """What one command line trusts.

    Args:
        everything: whether --trust stands on it.
        names: the names of networks, data and other code that stand on it as values of their options.
        options: the options that the command has for such names, for its advice; with "trust" where it has that.
    """

    everything: bool = False
    names: frozenset[str] = frozenset()
    options: frozenset[str] = frozenset()


Trust = bool | str | Collection[str] | CommandLine
"""False: nothing that others name is imported or fetched. True: all of it. Names: these alone."""


class Untrusted(BadRequest):
    """A run or a file names code, a path or a download which the caller did not name.

    Args:
        where: the run or file. what: which setting it is, such as network. name: what stands there. kind: of the name.
        remedy: what makes it trusted.
    """

    def __init__(self, where: str, what: str, name: str, kind: Kind, remedy: str) -> None:
        name, (foreign, _) = one_line(name, LONGEST_VALUE), _FOREIGN[kind]
        super().__init__(
            f"{one_line(where, LONGEST_VALUE)}: its {what} is {name}, {foreign}; look at it, then {remedy}"
        )
        self.what, self.name = what, name
        self.kind: Kind = kind

    @property
    def left_out(self) -> str:
        """For a command that goes on without it: what was not done, and how to have it done."""
        return f"not run; the {self.what} is {self.name}, {_FOREIGN[self.kind][1]}; look at it, then add --trust"


@dataclass(frozen=True)
class Received:
    """Where settings were read, and what of the names in them the caller trusts.

    Args:
        where: the run or the file, for messages.
        trust: see `Trust`.
        stored: bytes of the checkpoint that comes with them: a network that needs far more is not built. None if there
            is none yet.
        renamed: what the settings call otherwise than it was called when the run began, to be said when it is used.

    Example:
        >>> received = Received("runs/theirs", trust=["mine:Net", "./photos"])
        >>> received.trusts("mine:Net:beta=6"), received.trusts("./photos/"), received.trusts("theirs:Net")
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

    def trusts(self, name: str) -> bool:
        """Whether the caller trusts all, or said this name: the same text, the same code, or the same path."""
        if isinstance(self.trust, bool):
            return self.trust
        if isinstance(self.trust, CommandLine):
            return self.trust.everything or _said(name, self.trust.names)
        return _said(name, (self.trust,) if isinstance(self.trust, str) else self.trust)

    def admit(self, key: str, name: str, what: str) -> None:
        """Let a setting pass unless it is code that is not trusted.

        Args:
            key: of the setting, such as model. name: what it says. what: how messages call it, such as network.

        Raises:
            Untrusted: it is.
        """
        if code_of(name) is not None and not self.trusts(name):
            raise self.untrusted(key, name, what, "code")

    def untrusted(self, key: str, name: str, what: str, kind: Kind) -> Untrusted:
        """The refusal of a name, with what the caller can do; arguments as those of `admit`."""
        return Untrusted(self.where, what, name, kind, self._remedy(key, one_line(name, LONGEST_VALUE)))

    def _remedy(self, key: str, name: str) -> str:
        if not isinstance(self.trust, CommandLine):
            return "pass trust=True, or its name"
        ways = ["--trust"] if "trust" in self.trust.options else []
        if key in self.trust.options:
            ways.append(f"--{key.replace('_', '-')} {name}")
        return "add " + ", or ".join(ways) if ways else "write it on the command line"


def _said(name: str, said: Collection[str]) -> bool:
    code, path = code_of(name), path_of(name)
    for other in said:
        if name == other or (code is not None and code == code_of(other)):
            return True
        if path is not None and (named := path_of(other)) is not None and path.resolve() == named.resolve():
            return True
    return False


@contextlib.contextmanager
def current_folder() -> Iterator[None]:
    """Inside this block modules of the current folder can be imported, if nothing installed has their name.

    The folder is last: a file there that is called like a package, which may be imported late, shadows nothing.
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
        for k in range(len(sys.path) - 1, -1, -1):  # the last one: what the module itself put in front stays
            if sys.path[k] == folder:
                del sys.path[k]
                break


@contextlib.contextmanager
def one_line_if_it_fails(what: str, expected: str) -> Iterator[None]:
    """Around the caller's own code: whatever it raises, also by sys.exit(), is a bad request. KeyboardInterrupt passes.

    Args:
        what: how the message calls it, such as --model. expected: what it should have been.

    Raises:
        BadRequest: the block raised.
    """
    try:
        yield
    except BadRequest:
        raise
    except (Exception, SystemExit) as error:
        text = one_line(str(error), 160)
        if isinstance(error, SystemExit):
            said = f"sys.exit({text})" if error.code is not None else "sys.exit()"
            remedy = 'it ends the program; put that below if __name__ == "__main__"'
            raise bad(what, expected=expected, got=f"a call of {said}", remedy=remedy) from None
        got = f"{type(error).__name__}: {text}" if text else type(error).__name__
        raise bad(what, expected=expected, got=got) from error


def resolve(name: str, what: str) -> Any:
    """Import `package.module:attribute`, also from the current folder. Only for names that the caller said or trusts.

    Args:
        name: of code; see `code_of`. what: how messages call it, such as --model.

    Returns:
        The attribute.

    Raises:
        BadRequest: no such module or attribute, or the module fails or ends the program while it is imported.
    """
    code = code_of(name)
    if code != name:
        raise bad(what, expected="package.module:name", got=repr(name))
    module_name, _, attribute = name.partition(":")
    with current_folder(), one_line_if_it_fails(f"{what} {name}", "an importable package.module:name"):
        module = importlib.import_module(module_name)
        if hasattr(module, attribute):
            return getattr(module, attribute)
    file, remedy = getattr(module, "__file__", None), ""
    if not _in_current_folder(file, module_name):
        remedy = f"the {module_name} that was imported is {file or 'a part of Python'}; give yours another name"
    raise bad(what, expected="an importable package.module:name", got=f"{name!r} without {attribute}", remedy=remedy)


def _in_current_folder(file: str | None, module_name: str) -> bool:
    top = os.path.join(os.getcwd(), module_name.partition(".")[0])
    return file is not None and (file == f"{top}.py" or file.startswith(top + os.sep))
