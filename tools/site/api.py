"""Pages of the API reference: one per package, every public name of it, read from the source without importing it.

Public is what has no leading underscore anywhere in its dotted name: functions, classes and documented constants of
public modules, and whatever an `__all__` lists. The command line's modules are left out: its reference is the help.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tools.site import prose

SOURCE = Path(__file__).resolve().parents[2] / "src"
LEFT_OUT = ("commands",)
"""Packages without a page: `cgro COMMAND --help` documents them."""
LOOSE = "files"
"""The page of the modules that lie beside the packages."""


@dataclass(frozen=True)
class Module:
    """A module's names, in the order in which a reader should meet them.

    Args:
        name: dotted.
        summary: its docstring.
        exported: names of `__all__`, documented under this module although another defines them.
        defined: public functions, classes and documented constants of its own.
        origins: name that is imported -> dotted name that it has where it comes from.
    """

    name: str
    summary: str
    exported: tuple[str, ...]
    defined: tuple[str, ...]
    origins: dict[str, str]


@dataclass
class Page:
    """What stands on one page.

    Args:
        name: of the page, such as "dynamics".
        modules: the package itself first, then its modules by name.
    """

    name: str
    modules: list[Module] = field(default_factory=list)


def title_of(page: str) -> str:
    """Title of a page, in the navigation and on it.

    Args:
        page: its name.

    Returns:
        The title.
    """
    if page == LOOSE:
        return "cgro: runs and files"
    return f"cgro.{page}"


def _targets(node: ast.stmt) -> list[str]:
    """Names that an assignment gives a value."""
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return [node.target.id]
    return []


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _defined(body: list[ast.stmt]) -> list[str]:
    """Public functions and classes, and constants with a docstring behind them."""
    names: list[str] = []
    for node, after in zip(body, [*body, ast.Pass()][1:], strict=True):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.If):  # what runs where types are not checked
            names.extend(_defined(node.orelse))
        elif _is_docstring(after):
            names.extend(_targets(node))
    return [name for name in dict.fromkeys(names) if not name.startswith("_")]


def _exported(body: list[ast.stmt]) -> list[str]:
    """The strings of `__all__`, where it is a literal list."""
    for node in body:
        if "__all__" in _targets(node) and isinstance(getattr(node, "value", None), ast.List | ast.Tuple):
            return [name for name in ast.literal_eval(node.value) if not name.startswith("__")]  # type: ignore[attr-defined]
    return []


def _origins(body: list[ast.stmt]) -> dict[str, str]:
    """Where imported names come from."""
    found: dict[str, str] = {}
    for node in body:
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.If):  # if TYPE_CHECKING
            found |= _origins(node.body)
    return found


def read_module(file: Path, source: Path = SOURCE) -> Module:
    """Read a module's public names.

    Args:
        file: of the module.
        source: folder above the package.

    Returns:
        Its names.
    """
    tree = ast.parse(file.read_text())
    parts = file.relative_to(source).with_suffix("").parts
    if parts[-1] == "__init__":
        parts = parts[:-1]
    summary = ast.get_docstring(tree) or ""
    defined = _defined(tree.body)
    exported = [name for name in _exported(tree.body) if name not in defined]
    return Module(".".join(parts), summary, tuple(exported), tuple(defined), _origins(tree.body))


def _modules(source: Path) -> Iterator[Module]:
    """All public modules of the package, a package before its modules."""
    for file in sorted((source / "cgro").rglob("*.py"), key=lambda f: (f.parent, f.name != "__init__.py", f.name)):
        parts = file.relative_to(source / "cgro").with_suffix("").parts
        if not any(part.startswith("_") and part != "__init__" for part in parts):
            yield read_module(file, source)


def pages(source: Path = SOURCE) -> list[Page]:
    """Lay out the reference.

    Args:
        source: folder that holds the package.

    Returns:
        A page per package, and one for the modules beside them, each with all of its public names.
    """
    found: dict[str, Page] = {}
    for module in _modules(source):
        parts = module.name.split(".")
        room = LOOSE
        if len(parts) > 1 and (source / "cgro" / parts[1]).is_dir():
            room = parts[1]
        if room in LEFT_OUT or not (module.exported or module.defined):
            continue
        found.setdefault(room, Page(room)).modules.append(module)
    return [found[name] for name in sorted(found, key=lambda name: (name == LOOSE, name))]


def identifiers(page: Page) -> list[str]:
    """Dotted names that a page has, in its order.

    Args:
        page: of the reference.

    Returns:
        Names such as "cgro.dynamics.theory.plateau"; exported ones under the package that exports them.
    """
    names: list[str] = []
    for module in page.modules:
        names.extend(f"{module.name}.{name}" for name in (*module.exported, *module.defined))
    return names


def home_of(name: str, modules: dict[str, Module]) -> str:
    """Follow re-exports to where a name is documented.

    Args:
        name: dotted.
        modules: public modules by name.

    Returns:
        The dotted name of its own module, or the last one on the way that is public.
    """
    module, _, last = name.rpartition(".")
    known = modules.get(module)
    if known is None or last in known.defined or last not in known.origins:
        return name
    home = home_of(known.origins[last], modules)
    owner = modules.get(home.rpartition(".")[0])
    if owner is None or home.rpartition(".")[2] not in (*owner.defined, *owner.exported):
        return name
    return home


def markdown(page: Page, modules: dict[str, Module]) -> str:
    """Write a page for mkdocstrings.

    A name that a package exports is documented once, where it is defined; the package lists it with a link.

    Args:
        page: of the reference.
        modules: public modules by name, of all pages.

    Returns:
        Markdown, with a `:::` directive per name.
    """
    lines = [f"# {title_of(page.name)}", ""]
    for module in page.modules:
        lines += [f"## `{module.name}` {{ #{module.name} }}", "", prose.markdown(module.summary), ""]
        homes = {name: home_of(f"{module.name}.{name}", modules) for name in module.exported}
        links = [f"[`{name}`][{home}]" for name, home in homes.items()]
        if links:
            lines += [f"Exports {', '.join(links)}.", ""]
        here = [name for name, home in homes.items() if home == f"{module.name}.{name}"]
        for name in (*module.defined, *here):
            lines += [f"::: {module.name}.{name}", ""]
    return "\n".join(lines)


def reference() -> dict[str, str]:
    """Write the whole reference.

    Returns:
        Page name -> Markdown.
    """
    laid_out = pages()
    modules = {module.name: module for page in laid_out for module in page.modules}
    return {page.name: markdown(page, modules) for page in laid_out}
