"""Measures how readable the package is, and fails when a measure got worse.

    python tools/style.py                          # one line per measure
    python tools/style.py --list args              # where the docstrings lack an argument
    python tools/style.py --json > tools/style.json      # after an improvement: the new baseline
    python tools/style.py --check tools/style.json       # exit 1 if a measure is worse than the baseline

Code lines exclude blank lines, comment lines and docstrings. Public functions are the functions and methods whose own
name, and that of their class, has no leading underscore; functions inside functions are left out.
"""

import argparse
import ast
import io
import json
import re
import sys
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LINE_LENGTH = 120
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
SCOPES = (*FUNCTIONS, ast.Lambda, ast.ClassDef)
SECTIONS = ("Args", "Returns", "Yields", "Raises", "Example", "Examples", "Attributes", "Note", "Notes", "References")
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Measure:
    """A number that should fall or rise.

    Attributes:
        about: what is counted, in words.
        kind: "count" of `places`; "per 1,000" code lines; "percent" of `total` that are NOT among `places`, so that
            100 is perfect; "share" of `places` in `total`, in percent.
        rises: whether larger is better.
        slack: by how much a check lets it be worse. A rate gets worse also where unrelated lines are deleted; since the
            baseline stays, slack does not add up.
        places: "file:line" of each one found.
        total: what the places are a part of.
    """

    about: str
    kind: str = "count"
    rises: bool = False
    slack: float = 0.0
    places: list[str] = field(default_factory=list)
    total: int = 0

    @property
    def value(self) -> float:
        """The number, rounded to one decimal place."""
        found = len(self.places)
        if self.kind == "count":
            return found
        total = max(self.total, 1)
        if self.kind == "per 1,000":
            return round(1000 * found / total, 1)
        if self.kind == "share":
            return round(100 * found / total, 1)
        return round(100 * (1 - found / total), 1)

    def line(self) -> str:
        """The number and its meaning, as printed."""
        counts = "" if self.kind == "count" else f"  ({len(self.places)} places, {self.total} in all)"
        return f"{self.value:>8}  {self.about}{counts}"


def new_measures() -> dict[str, Measure]:
    """Return every measure, with nothing found yet."""
    return {
        "string_subscripts": Measure("subscripts by a string"),
        "any": Measure("uses of Any"),
        "fmt_skip": Measure("`# fmt: skip` comments"),
        "long_lines": Measure(f"lines over {LINE_LENGTH} characters"),
        "conditional_expressions": Measure("conditional expressions per 1,000 code lines", "per 1,000", slack=0.5),
        "comprehensions": Measure("comprehensions per 1,000 code lines", "per 1,000", slack=0.5),
        "comments": Measure("comment lines, % of code lines", "share", rises=True, slack=0.1),
        "one_line_docstrings": Measure("one-line docstrings of public functions with parameters"),
        "args": Measure("% of public functions with 2 or more parameters whose Args are complete", "percent", rises=True),
        "returns": Measure("% of public functions that return something with Returns or Yields", "percent", rises=True),
        "raises": Measure("% of public functions that raise with Raises", "percent", rises=True),
        "tested_modules": Measure("% of modules with a test of their name", "percent", rises=True),
    }  # fmt: skip


def measure_source(text: str, name: str, measures: dict[str, Measure]) -> None:
    """Add what one file holds to the measures.

    Args:
        text: the source code.
        name: the file, for the places.
        measures: as from `new_measures`; changed in place.
    """
    tree = ast.parse(text)
    code, comments, skips = _lines(text, tree)
    _add(measures, "fmt_skip", name, skips)
    _add(measures, "comments", name, comments)
    _add(measures, "long_lines", name, (i for i, s in enumerate(text.splitlines(), 1) if len(s) > LINE_LENGTH))
    nodes = list(ast.walk(tree))
    _add(measures, "string_subscripts", name, (n.lineno for n in nodes if _by_string(n)))
    _add(measures, "any", name, (n.lineno for n in nodes if _is_any(n)))
    _add(measures, "conditional_expressions", name, (n.lineno for n in nodes if isinstance(n, ast.IfExp)))
    _add(measures, "comprehensions", name, (n.lineno for n in nodes if isinstance(n, COMPREHENSIONS)))
    for key in ("conditional_expressions", "comprehensions", "comments"):
        measures[key].total += len(code)
    for function, in_class in public_functions(tree):
        _measure_function(function, in_class, name, measures)


def _add(measures: dict[str, Measure], key: str, name: str, lines: Iterator[int] | Sequence[int]) -> None:
    measures[key].places += [f"{name}:{line}" for line in lines]


def _lines(text: str, tree: ast.Module) -> tuple[set[int], list[int], list[int]]:
    """Line numbers of code, of lines that hold a comment alone, and of `# fmt: skip`."""
    documented = set()
    for node in ast.walk(tree):
        # A string that is a statement is a docstring, also that of an attribute.
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            documented |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    occupied, commented, skips = set(), [], []
    layout = (tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            commented.append(token.start[0])
            if re.match(r"#\s*fmt:\s*skip", token.string):
                skips.append(token.start[0])
        elif token.type not in layout:
            occupied |= set(range(token.start[0], token.end[0] + 1))
    code = occupied - documented
    return code, [line for line in commented if line not in occupied], skips


def _by_string(node: ast.AST) -> bool:
    if not (isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant)):
        return False
    of_a_type = isinstance(node.value, ast.Name) and node.value.id == "Literal"
    return isinstance(node.slice.value, str) and not of_a_type


def _is_any(node: ast.AST) -> bool:
    if isinstance(node, ast.Name):
        return node.id == "Any"
    return isinstance(node, ast.Attribute) and node.attr == "Any"


def public_functions(tree: ast.Module) -> Iterator[tuple[Function, bool]]:
    """Yield the public functions of a module and the public methods of its public classes.

    Args:
        tree: the parsed module.

    Yields:
        Each function, and whether it is a method.
    """
    for node in tree.body:
        if isinstance(node, FUNCTIONS) and not node.name.startswith("_"):
            yield node, False
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for method in node.body:
                if isinstance(method, FUNCTIONS) and not method.name.startswith("_"):
                    yield method, True


def _measure_function(function: Function, in_class: bool, name: str, measures: dict[str, Measure]) -> None:
    text = ast.get_docstring(function) or ""
    parameters = _parameters(function, in_class)
    at = f"{name}:{function.lineno} {function.name}"
    if parameters and "\n" not in text:
        measures["one_line_docstrings"].places.append(at)
    needed = {
        "args": (len(parameters) >= 2, _describes(text, parameters)),
        "returns": (_returns(function), bool(section(text, "Returns") or section(text, "Yields"))),
        "raises": (any(isinstance(n, ast.Raise) for n in _own_nodes(function)), bool(section(text, "Raises"))),
    }
    for key, (applies, complete) in needed.items():
        if applies:
            measures[key].total += 1
            if not complete:
                measures[key].places.append(at)


def _parameters(function: Function, in_class: bool) -> list[str]:
    arguments = function.args
    found = [a.arg for a in (*arguments.posonlyargs, *arguments.args)]
    if in_class and "staticmethod" not in _decorators(function):
        found = found[1:]
    found += [a.arg for a in arguments.kwonlyargs]
    return found + [a.arg for a in (arguments.vararg, arguments.kwarg) if a is not None]


def _decorators(function: Function) -> set[str]:
    names = set()
    for node in function.decorator_list:
        called = node.func if isinstance(node, ast.Call) else node
        names.add(ast.unparse(called).rpartition(".")[2])
    return names


def _describes(text: str, parameters: Sequence[str]) -> bool:
    """Whether each parameter has a line of its own in the section Args."""
    args = section(text, "Args")
    return all(re.search(rf"^\s*\*{{0,2}}{p}(\s*\([^)]*\))?:", args, re.MULTILINE) for p in parameters)


def section(text: str, title: str) -> str:
    """Return the lines of one section of a docstring.

    Args:
        text: the docstring, without its indentation.
        title: "Args", "Returns", ...

    Returns:
        What follows `title:` on its line and below, up to the next section; empty if there is none.
    """
    following = "|".join(SECTIONS)
    found = re.search(rf"^{title}:(.*?)(?=^(?:{following}):|\Z)", text, re.MULTILINE | re.DOTALL)
    return found[1].strip("\n") if found else ""


def _own_nodes(function: Function) -> Iterator[ast.AST]:
    """Nodes of the body, without those of functions and classes defined inside."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, SCOPES):
            waiting.extend(ast.iter_child_nodes(node))


def _returns(function: Function) -> bool:
    """Whether there is a result to describe. A property describes itself as an attribute would."""
    if _decorators(function) & {"property", "cached_property", "setter", "overload"}:
        return False
    if function.returns is not None:
        return ast.unparse(function.returns).rpartition(".")[2] not in ("None", "NoReturn", "Never")
    return any(isinstance(n, ast.Return) and n.value is not None for n in _own_nodes(function))


def measure_tests(modules: Sequence[Path], tests: Path, measures: dict[str, Measure]) -> None:
    """Add which modules have no test of their name in the folder of theirs.

    Args:
        modules: paths relative to the package, such as `data/patches.py`.
        tests: the folder of tests, in which `data/test_patches.py` is looked for.
        measures: as from `new_measures`; changed in place.
    """
    measure = measures["tested_modules"]
    for module in modules:
        if module.stem not in ("__init__", "__main__"):
            measure.total += 1
            if not (tests / module.parent / f"test_{module.stem.lstrip('_')}.py").exists():
                measure.places.append(module.as_posix())


def measure(package: Path, tests: Path) -> dict[str, Measure]:
    """Measure a package.

    Args:
        package: the folder of the package.
        tests: the folder of its tests.

    Returns:
        The measures by name.
    """
    measures = new_measures()
    modules = sorted(path.relative_to(package) for path in package.rglob("*.py"))
    for module in modules:
        measure_source((package / module).read_text(encoding="utf-8"), module.as_posix(), measures)
    measure_tests(modules, tests, measures)
    return measures


def worse(measures: dict[str, Measure], baseline: dict[str, float]) -> list[str]:
    """Compare measures with a baseline.

    Args:
        measures: as from `measure`.
        baseline: values by name, as from `--json`.

    Returns:
        One line per measure that got worse; empty if none did.
    """
    lines = []
    for key, now in measures.items():
        if key not in baseline:
            lines.append(f"{key}: not in the baseline")
            continue
        lost = baseline[key] - now.value if now.rises else now.value - baseline[key]
        if lost > now.slack + 1e-9:
            lines.append(f"{key}: {now.value}, was {baseline[key]} ({now.about}); see --list {key}")
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program.

    Args:
        argv: the words of the command line.

    Returns:
        The exit code: 1 if `--check` finds a measure that is worse than the baseline.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--package", type=Path, default=ROOT / "src" / "cgro")
    parser.add_argument("--tests", type=Path, default=ROOT / "tests")
    parser.add_argument("--json", action="store_true", help="print the values as a baseline")
    parser.add_argument("--check", type=Path, metavar="BASELINE", help="fail if a measure is worse than in this file")
    parser.add_argument("--list", choices=list(new_measures()), metavar="MEASURE", help="print the places of a measure")
    options = parser.parse_args(argv)
    measures = measure(options.package, options.tests)
    if options.list:
        print("\n".join(measures[options.list].places))
        return 0
    if options.check:
        lines = worse(measures, json.loads(options.check.read_text()))
        print("\n".join(lines), file=sys.stderr, end="\n" * bool(lines))
        return int(bool(lines))
    if options.json:
        print(json.dumps({key: m.value for key, m in measures.items()}, indent=2))
    else:
        print("\n".join(m.line() for m in measures.values()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
