"""Which faults, planted one at a time, do the tests notice? Mutation testing of what a certificate or verdict rests on.

    python tools/mutation.py --sample 300 --seed 0          # into benchmarks/results/mutation.json
    python tools/mutation.py --only bounds --sample 40 --out crown.json
    python tools/mutation.py --again                        # the stored survivors once more, after tests were added

Needs the extra `mutation` (cosmic-ray, whose operators make the mutants). A mutant is a place in the code and one of
its mutations, drawn at random: a place with eleven possible mutations counts as one, not eleven. Mutants of annotations
are left out: most end at the import, and say nothing about tests.

Each mutant is run against the tests that mirror its module, tests/ROOM/test_MODULE.py, and the examples in the module's
docstrings: in a fork of a process that has the packages of others loaded, so that it costs its tests and little more.
It is written into a copy of the source, where commands that a test starts find it as well. One whose tests take five
times the processor time of the unchanged module's, and ten seconds, is stopped and counts as noticed. A module whose
tests fail without a mutant is passed over and named: its mutants would all be noticed by that failure.
"""

import argparse
import ast
import contextlib
import difflib
import gc
import importlib
import io
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from cgro.environment import Environment, current_environment
from cgro.results import ErrorRate
from cgro.writing import dump_json, write_atomic

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "mutation.json"
EQUIVALENT = ROOT / "tools" / "equivalent.json"
"""Mutants that were looked at and change nothing that a test should ask for, each with the reason."""
SCOPE = (
    "definitions/**/*.py",
    "bounds/*.py",
    "representation/bracket.py",
    "representation/certificate.py",
    "representation/verify.py",
    "representation/milp.py",
    "representation/ball_intervals.py",
    "representation/separation.py",
    "diagnosis/rise.py",
)
"""What is mutated: attacks, errors and verdicts; bounds; what certifies; the statistics of a rise."""
SLOW = ("definitions/attacks/captured.py", "definitions/rounds.py")
"""Drawn like the others, and not run: half a minute of processor time each, for tests that start processes or compile.
"""
PRELOADED = (
    "torch", "torch._dynamo", "torch.func", "torch.onnx", "lightning_fabric", "scipy.stats", "scipy.optimize",
    "scipy.spatial", "numba", "hypothesis", "pytest", "matplotlib", "PIL", "safetensors", "safetensors.torch", "yaml",
    "jinja2", "rich", "sympy", "onnx", "onnxruntime", "highspy",
)  # fmt: skip
"""Packages of others that the parent imports once; one that is missing is left to the tests."""
OPTIONS = ("-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:anyio", "--override-ini=addopts=", "--doctest-modules",
           "--import-mode=importlib", "-W", "ignore::pytest.PytestAssertRewriteWarning")  # fmt: skip
PATIENCE, LEAST_SECONDS = 5, 10
"""A mutant may take so many times the tests' processor time, and so many seconds. A choice."""
BUSY = 30
"""Wall time per second of processor time after which a mutant is stopped: it waits for something. A choice."""
Outcome = Literal["killed", "timed out", "survived"]


@dataclass(frozen=True)
class Place:
    """Where an operator of cosmic-ray can change a module.

    Args:
        operator: its name.
        occurrence: which of the places that it finds in the module.
        start: line and column.
    """

    operator: str
    occurrence: int
    start: tuple[int, int]


class Mutant(Struct, frozen=True, kw_only=True):
    """A changed line and what the tests said.

    Args:
        module: below src/cgro.
        line: the first changed line, at the time of the first run.
        before: the changed lines, without indentation.
        after: what they were changed into.
        first: outcome of the first run.
        now: outcome after tests were added.
        equivalent: why no test should notice it; None if one should.
    """

    module: str
    line: int
    before: str
    after: str
    first: Outcome
    now: Outcome
    equivalent: str | None = None


class Share(Struct, frozen=True, kw_only=True):
    """Counts of mutants, and the share that was noticed.

    Args:
        module: below src/cgro; "all" for the sum.
        n: how many were run.
        killed: a test failed.
        timed_out: stopped; these count as noticed.
        equivalent: survived, and no test should notice.
        survived: survived, and a test should.
        noticed: (killed + timed out) / (n - equivalent); 1 where nothing is left.
        interval: 95% (Wilson), for the drawing of the sample.
    """

    module: str
    n: int
    killed: int
    timed_out: int
    equivalent: int
    survived: int
    noticed: float
    interval: tuple[float, float]


class Report(Struct, frozen=True, kw_only=True):
    """The file of a run.

    Args:
        environment: of the last run.
        sample: how many mutants were drawn; those of `SLOW` modules were not run.
        seed: of the drawing.
        places: how many there are to draw from.
        first: counts of the first run, equivalents not told apart.
        total: counts now.
        modules: counts now, by module.
        mutants: all that were run.
        skipped: modules whose tests failed without a mutant, so that their mutants were not run.
    """

    environment: Environment
    sample: int
    seed: int
    places: int
    first: Share
    total: Share
    modules: list[Share]
    mutants: list[Mutant]
    skipped: list[str] = []


class Judgment(Struct, frozen=True):
    """A mutant that is equivalent, and why.

    Args:
        module: below src/cgro.
        before: as in `Mutant`.
        after: as in `Mutant`.
        why: one sentence.
    """

    module: str
    before: str
    after: str
    why: str


def modules_of(scope: Sequence[str], package: Path) -> list[str]:
    """The modules of the scope.

    Args:
        scope: patterns below the package.
        package: src/cgro.

    Returns:
        Paths below the package, sorted.
    """
    found = {path.relative_to(package).as_posix() for pattern in scope for path in package.glob(pattern)}
    return sorted(found)


def places_of(text: str) -> list[list[Place]]:
    """Where a module can be changed, by position; annotations are left out.

    Args:
        text: its source.

    Returns:
        One entry per position in the text: the mutations there.
    """
    operators = importlib.import_module("cosmic_ray.operators.provider").OperatorProvider()
    trees = importlib.import_module("cosmic_ray.ast")
    nodes = list(trees.ast_nodes(trees.get_ast(text)))
    annotated = _annotated(text)
    found: dict[tuple[int, int], list[Place]] = {}
    for name in operators:
        if name.startswith("Variable"):  # needs to be told which
            continue
        operator = operators[name]()
        occurrence = 0
        for node in nodes:
            # The star of f(a, *, b), which the operators take for a product.
            is_mark = node.parent is not None and node.parent.type in ("parameters", "param", "lambdef")
            for start, _ in operator.mutation_positions(node):
                left_out = is_mark and node.type == "operator"
                if not left_out and not any(first <= start < last for first, last in annotated):
                    found.setdefault(start, []).append(Place(name, occurrence, start))
                occurrence += 1
    return [found[start] for start in sorted(found)]


def _annotated(text: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Where annotations begin and end: line and column."""
    annotations: list[ast.expr | None] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            annotations.append(node.returns)
        elif isinstance(node, ast.arg | ast.AnnAssign):
            annotations.append(node.annotation)
    spans: list[tuple[tuple[int, int], tuple[int, int]]] = []
    for one in annotations:
        if one is not None:
            spans.append(((one.lineno, one.col_offset), (one.end_lineno or 0, one.end_col_offset or 0)))
    return spans


def mutated(text: str, place: Place) -> str:
    """The module's source with one mutation.

    Args:
        text: its source.
        place: what is changed.

    Returns:
        The changed source.
    """
    operators = importlib.import_module("cosmic_ray.operators.provider").OperatorProvider()
    mutate = importlib.import_module("cosmic_ray.mutating").mutate_code
    return mutate(text, operators[place.operator](), place.occurrence)


def changed_lines(text: str, other: str) -> tuple[int, str, str]:
    """What a mutation changed.

    Args:
        text: the source.
        other: the changed one.

    Returns:
        Number of the first changed line, the lines, and what they became; without indentation.
    """
    before, after = text.splitlines(), other.splitlines()
    blocks = difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    _, start, stop, first, last = next(block for block in blocks if block[0] != "equal")
    lines = [" ".join(line.strip() for line in part) for part in (before[start:stop], after[first:last])]
    return start + 1, lines[0], lines[1]


def drawn(package: Path, modules: Sequence[str], sample: int, seed: int) -> tuple[int, list[tuple[str, str]]]:
    """A sample of mutants in which every place has the same chance, and every module its share.

    Systematic: the places, shuffled within their module, stand in a row, of which every (places / sample)-th is taken.

    Args:
        package: src/cgro.
        modules: below it.
        sample: how many; all where there are fewer places.
        seed: of the drawing.

    Returns:
        The number of places, and module and changed source of each mutant.
    """
    generator = random.Random(seed)
    row: list[tuple[str, list[Place]]] = []
    for module in modules:
        places = places_of((package / module).read_text())
        generator.shuffle(places)
        row += [(module, place) for place in places]
    step = max(len(row) / sample, 1.0)
    at = generator.random() * step
    mutants: list[tuple[str, str]] = []
    while at < len(row):
        module, variants = row[int(at)]
        mutants.append((module, mutated((package / module).read_text(), generator.choice(variants))))
        at += step
    return len(row), mutants


def copy_of(root: Path, into: Path) -> Path:
    """A copy of the project in which modules can be changed.

    Args:
        root: of the project.
        into: an empty folder.

    Returns:
        `into`: source and tests copied with their times, the rest linked.
    """
    for path in root.iterdir():
        if path.name in ("src", "tests"):
            shutil.copytree(path, into / path.name, copy_function=shutil.copy2)
        elif not path.name.startswith("."):
            (into / path.name).symlink_to(path)
    return into


def tests_of(module: str, root: Path) -> list[str]:
    """The tests that mirror a module.

    Args:
        module: below src/cgro.
        root: of the project.

    Returns:
        Paths below the root: the test file where there is one, and the module itself for its examples.
    """
    path = Path(module)
    mirror = Path("tests") / path.parent / f"test_{path.name}"
    files = [(Path("src") / "cgro" / path).as_posix()]
    if (root / mirror).exists():
        files.insert(0, mirror.as_posix())
    return files


def run_tests(files: Sequence[str], root: Path, seconds: float, *, usual: bool = False) -> tuple[Outcome, float]:
    """Run tests in a fork.

    Args:
        files: of tests, below the root.
        root: of the project.
        seconds: of processor time after which it is stopped.
        usual: there is no mutant: what is compiled is kept for the others.

    Returns:
        What they said, and the processor time they took.
    """
    process = os.fork()
    if process == 0:
        _tests_and_exit(files, root, seconds, usual)
    end = time.monotonic() + BUSY * seconds
    status, usage = 0, None
    while usage is None:
        found, status, spent = os.wait4(process, os.WNOHANG)
        if found:
            usage = spent
        elif time.monotonic() > end:
            os.killpg(process, signal.SIGKILL)
            _, status, usage = os.wait4(process, 0)
        else:
            time.sleep(0.02)
    took = usage.ru_utime + usage.ru_stime
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL):
        return "timed out", took
    # 5: no tests. A module without any examples and without a test file is noticed by nothing.
    if not os.WIFSIGNALED(status) and os.WEXITSTATUS(status) in (0, 5):
        return "survived", took
    return "killed", took


def _tests_and_exit(files: Sequence[str], root: Path, seconds: float, usual: bool) -> None:
    """In the fork: no word on the terminal, and a limit that the processes it starts inherit."""
    code = 3
    # pytest collects garbage several times: without what was there before the fork that takes no time.
    gc.freeze()
    try:
        os.setsid()
        with open(os.devnull, "w+") as nowhere:
            for descriptor in (0, 1, 2):
                os.dup2(nowhere.fileno(), descriptor)
        limit = int(seconds) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
        os.chdir(root)
        os.environ["PYTHONPATH"] = os.pathsep.join([str(root / "src"), os.environ.get("PYTHONPATH", "")])
        if not usual:
            os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
            sys.dont_write_bytecode = True
        sys.path[:0] = [str(root / "src"), str(root)]
        for name in [name for name in sys.modules if name.split(".")[0] in ("cgro", "tests", "tools")]:
            del sys.modules[name]
        code = int(importlib.import_module("pytest").main([*OPTIONS, *files]))
    finally:
        os._exit(code)


def warm_up() -> None:
    """Load in this process what every fork needs."""
    for name in PRELOADED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    with contextlib.redirect_stdout(io.StringIO()):
        importlib.import_module("pytest").main([*OPTIONS, "--version"])  # its plugins


def outcomes(mutants: Sequence[tuple[str, str]], root: Path) -> list[Outcome | None]:
    """Run the mirrored tests of each mutant, one after the other.

    Args:
        mutants: module and changed source.
        root: of the project; it is not changed.

    Returns:
        One outcome per mutant; None in a module whose tests fail without one.

    Raises:
        SystemExit: they fail in all modules.
    """
    warm_up()
    found: list[Outcome | None] = []
    usual: dict[str, float] = {}
    failing: set[str] = set()
    with tempfile.TemporaryDirectory() as folder:
        copy = copy_of(root, Path(folder).resolve())
        for number, (module, text) in enumerate(mutants, 1):
            files = tests_of(module, copy)
            if module not in usual:
                outcome, usual[module] = run_tests(files, copy, 600, usual=True)
                if outcome != "survived":
                    print(f"passed over: {outcome} without a mutant: {' '.join(files)}", flush=True)
                    failing.add(module)
            if module in failing:
                found.append(None)
                continue
            path = copy / "src" / "cgro" / module
            original = path.read_bytes()
            times = path.stat()
            path.write_text(text)
            outcome, took = run_tests(files, copy, max(PATIENCE * usual[module], LEAST_SECONDS))
            path.write_bytes(original)
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
            print(f"{number}/{len(mutants)} {module}: {outcome} ({took:.1f} s of {usual[module]:.1f})", flush=True)
            found.append(outcome)
    if failing and failing == usual.keys():
        raise SystemExit("expected tests that pass without a mutant, got failures in every module")
    return found


def share_of(module: str, mutants: Iterable[Mutant], *, first: bool = False) -> Share:
    """Count.

    Args:
        module: the name of the row.
        mutants: those that are counted.
        first: count the first run, equivalents not told apart.

    Returns:
        The counts.
    """
    mutants = list(mutants)
    results = [one.first if first else one.now for one in mutants]
    equivalent = 0
    if not first:
        equivalent = sum(one.now == "survived" and one.equivalent is not None for one in mutants)
    survived = results.count("survived") - equivalent
    asked = len(mutants) - equivalent
    noticed, interval = 1.0, (0.0, 1.0)
    if asked:
        rate = ErrorRate(asked - survived, asked)
        noticed, interval = rate.value, rate.interval
    return Share(
        module=module,
        n=len(mutants),
        killed=results.count("killed"),
        timed_out=results.count("timed out"),
        equivalent=equivalent,
        survived=survived,
        noticed=round(noticed, 4),
        interval=(round(interval[0], 4), round(interval[1], 4)),
    )


def report_of(mutants: Sequence[Mutant], *, places: int, sample: int, seed: int, skipped: Sequence[str] = ()) -> Report:
    """All counts of a run.

    Args:
        mutants: all that were run.
        places: how many there were to draw from.
        sample: how many were asked for.
        seed: of the drawing.
        skipped: modules that were passed over.

    Returns:
        The report.
    """
    names = sorted({one.module for one in mutants})
    return Report(
        environment=current_environment(seed),
        sample=sample,
        seed=seed,
        places=places,
        first=share_of("all", mutants, first=True),
        total=share_of("all", mutants),
        modules=[share_of(name, (one for one in mutants if one.module == name)) for name in names],
        mutants=list(mutants),
        skipped=sorted(skipped),
    )


def judged(mutants: Iterable[Mutant], judgments: Iterable[Judgment]) -> list[Mutant]:
    """Mark the equivalent ones.

    Args:
        mutants: as run.
        judgments: what was decided.

    Returns:
        The same, `equivalent` set.
    """
    why = {(one.module, one.before, one.after): one.why for one in judgments}
    return [msgspec.structs.replace(one, equivalent=why.get((one.module, one.before, one.after))) for one in mutants]


def again(report: Report, package: Path, root: Path) -> list[Mutant]:
    """Run those that survived once more, found by their lines.

    Args:
        report: of an earlier run.
        package: src/cgro.
        root: of the project.

    Returns:
        All mutants of the report; one whose line is gone keeps its outcome, and a word is printed.
    """
    wanted: dict[tuple[str, str, str], list[str]] = {}
    survivors = [one for one in report.mutants if one.now == "survived" and one.equivalent is None]
    for module in sorted({one.module for one in survivors}):
        text = (package / module).read_text()
        lines = {one.before for one in survivors if one.module == module}
        for variants in places_of(text):
            near = text.splitlines()[variants[0].start[0] - 1].strip()
            if not any(near in line for line in lines):
                continue
            for place in variants:
                other = mutated(text, place)
                _, before, after = changed_lines(text, other)
                wanted.setdefault((module, before, after), []).append(other)
    runs: list[tuple[Mutant, str]] = []
    for one in survivors:
        sources = wanted.get((one.module, one.before, one.after), [])
        if not sources:
            print(f"{one.module}: no longer there: {one.before}")
            continue
        runs.append((one, min(sources, key=lambda other: abs(_line(package, one.module, other) - one.line))))
    found = outcomes([(one.module, text) for one, text in runs], root)
    now = {id(one): outcome or one.now for (one, _), outcome in zip(runs, found, strict=True)}
    return [msgspec.structs.replace(one, now=now.get(id(one), one.now)) for one in report.mutants]


def _line(package: Path, module: str, text: str) -> int:
    return changed_lines((package / module).read_text(), text)[0]


def _run(args: argparse.Namespace, package: Path) -> Report:
    judgments = msgspec.json.decode(EQUIVALENT.read_bytes(), type=list[Judgment])
    if args.again:
        report = msgspec.json.decode(args.out.read_bytes(), type=Report)
        marked = msgspec.structs.replace(report, mutants=judged(report.mutants, judgments))
        mutants = again(marked, package, args.root)
        return report_of(mutants, places=report.places, sample=report.sample, seed=report.seed, skipped=report.skipped)
    modules = [name for name in modules_of(SCOPE, package) if args.only in name]
    places, sources = drawn(package, modules, args.sample, args.seed)
    sources = [(module, text) for module, text in sources if module not in SLOW]
    found = outcomes(sources, args.root)
    mutants: list[Mutant] = []
    skipped: set[str] = set()
    for (module, text), outcome in zip(sources, found, strict=True):
        if outcome is None:
            skipped.add(module)
            continue
        line, before, after = changed_lines((package / module).read_text(), text)
        mutants.append(Mutant(module=module, line=line, before=before, after=after, first=outcome, now=outcome))
    return report_of(
        judged(mutants, judgments), places=places, sample=args.sample, seed=args.seed, skipped=sorted(skipped)
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line.

    Args:
        argv: its words; None for those of the process.

    Returns:
        0.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=300, help="how many mutants")
    parser.add_argument("--seed", type=int, default=0, help="of the drawing")
    parser.add_argument("--only", default="", help="modules whose path below src/cgro contains this")
    parser.add_argument("--again", action="store_true", help="the survivors in --out once more, and count anew")
    parser.add_argument("--out", type=Path, default=RESULT, help="file of the report")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    report = _run(args, args.root / "src" / "cgro")
    write_atomic(args.out, dump_json(msgspec.to_builtins(report)))
    for one in report.mutants:
        if one.now == "survived" and one.equivalent is None:
            print(f"{one.module}:{one.line}\n  - {one.before}\n  + {one.after}")
    print(report.total)
    return 0


if __name__ == "__main__":
    sys.exit(main())
