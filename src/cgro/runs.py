"""A run: one directory that holds all of a result and from which it can be made again. No torch here.

    config.yaml        complete and re-runnable: `cgro COMMAND --config DIR/config.yaml`
    environment.json   versions, git commit, machine, threads, seed; the settings once more, against damage
    metrics.jsonl      one row per epoch or recorded step
    summary.json       the result; written last, so a directory that has it is finished; digests of the files above
    checkpoints/       plain data (safetensors with a JSON header), nothing that executes when loaded
    figures/           PNG and SVG

Every file is written beside its place and renamed into it: at any moment a reader, or the next process after a
kill or a full disk, sees the old file or the new one, never a part. What was changed since is noticed when it is read.
A directory may come from somebody else: its files are data, links in it are not followed.
"""

import contextlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from cgro import folder, resuming
from cgro._check import BadRequest, bad, one_line
from cgro._progress import loudness
from cgro.environment import SCHEMA, environment
from cgro.own_code import CODE, codes_of, digests_of_code
from cgro.reading import parse_json, read_json_object, read_text, read_yaml_mapping
from cgro.results import Summary, read_summary, read_value
from cgro.results.reading import S, T, Unsaved, plain_result
from cgro.results.records import Json
from cgro.results.summaries import BY_COMMAND
from cgro.results.summaries import SCHEMA as SCHEMA_OF_SUMMARIES
from cgro.rows import check_metrics, read_rows
from cgro.seal import check_files, digest_of_summary, digests_of_checkpoints, digests_of_files, entry, sealed
from cgro.writing import dump_json, plain, sha256, write_arrays, write_atomic

__all__ = [
    "SCHEMA",
    "Run",
    "Unsaved",
    "dump_json",
    "environment",
    "plain",
    "plain_result",
    "read_json",
    "say",
    "sha256",
    "write_arrays",
    "write_atomic",
]

SUMMARY_KEYS = ("schema", "command", "seed", "threat", "outcome", "verdict", "metrics")
COMMANDS = tuple(BY_COMMAND)
"""Commands that write a run."""
NAMES = ("model", "data")
"""Settings that may be changed by hand, because a module was renamed or data were moved; and with the model its width.
Others would make other numbers; of these, code needs the caller's trust, and weights that do not fit are refused."""


def read_json(path: Path) -> Json:
    """The value in a JSON file of a run; a link is not followed.

    Args:
        path: of the file.

    Returns:
        As parsed.

    Raises:
        BadRequest: missing, damaged, or no regular file.
    """
    return parse_json(read_text(path, follow=False), str(path))


@dataclass(frozen=True)
class Run:
    """One run directory. Create it with `Run.start`, read it with `Run.open`.

    Args:
        path: of the directory.
    """

    path: Path

    @classmethod
    @contextlib.contextmanager
    def start(
        cls,
        path: str | Path | None,
        command: str,
        config: Mapping[str, Json],
        *,
        overwrite: bool = False,
        defaults: Mapping[str, Json] | None = None,
        parts: tuple[str, ...] = (),
    ) -> Iterator["Run"]:
        """Begin a run, or take up the unfinished one that is already in `path`; hold it until the block ends.

        Args:
            path: the directory; None means a new `runs/<command>-<time>`.
            command: the command's name.
            config: all of its settings, plain values.
            overwrite: delete the run that is there.
            defaults: values that options have where an older version did not know them; None means no such option.
            parts: names of further folders that this run makes, which `overwrite` may delete.

        Yields:
            The run.

        Raises:
            BadRequest: `path` holds a finished run, a run with another configuration or of another version, or
                something that is no run; another process works in it.
        """
        if path is not None and not str(path):
            raise bad("--out", expected="a directory", got="an empty name")
        if path is not None and "\0" in str(path):  # of a file of --config: no command line can hold it
            raise bad("--out", expected="a directory", got=str(path))
        run = cls(Path(path) if path is not None else folder.fresh(command))
        folder.remove_set_aside(run.path)
        if overwrite and (run.path.is_symlink() or run.path.exists()):
            run._delete(parts)
        try:
            run.path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            got = f"{run.path}, where a file or a broken link is in the way"
            raise bad("--out", expected="a directory", got=got, remedy="choose another") from None
        with run.locked():
            run._begin(command, plain({"command": command, **config}), plain(defaults or {}))
            yield run

    def _delete(self, parts: tuple[str, ...]) -> None:
        """Remove what is here, if it is a run or nothing."""
        if not self.path.is_dir():
            raise bad("--overwrite", expected="a run directory", got=f"{self.path}, a file", remedy="not deleted")
        if folder.is_new(self.path) and not self.path.is_symlink():
            return
        if not self.is_run():
            raise bad("--overwrite", expected="a run directory", got=self.path, remedy="it is no run: not deleted")
        folder.delete(self.path, parts)

    def is_run(self) -> bool:
        """Whether both files that every run begins with are those of this program.

        Returns:
            False also for a damaged one.
        """
        try:
            config = read_yaml_mapping(self.path / "config.yaml", follow=False)
            made_in = read_json_object(self.path / "environment.json", follow=False)
        except BadRequest:
            return False
        return config.get("command") in COMMANDS and made_in.get("schema") == SCHEMA and "cgro" in made_in

    def is_begun(self) -> bool:
        """Whether this program began a run here: its command stands in config.yaml, or its mark in environment.json.

        The name config.yaml alone says nothing: Lightning and Hydra write one into every folder.

        Returns:
            True also for a damaged run, which is refused when it is opened.
        """
        if not (self.path / "config.yaml").exists():
            return False
        with contextlib.suppress(BadRequest):
            if read_yaml_mapping(self.path / "config.yaml", follow=False).get("command") in COMMANDS:
                return True
        try:
            return "cgro" in self._environment()
        except BadRequest:
            return (self.path / "environment.json").exists()

    def _begin(self, command: str, asked: dict[str, Json], defaults: dict[str, Json]) -> None:
        """Write the first two files, or check that those that are there ask for the same."""
        if not (self.path / "config.yaml").exists():
            if not folder.is_new(self.path):
                raise bad("--out", expected="a new or empty directory", got=self.path, remedy="choose another")
            code = digests_of_code(asked)
            made_in = {**environment(asked.get("seed")), **({CODE: code} if code else {}), "settings": asked}
            write_atomic(self.path / "environment.json", dump_json(made_in))
            write_atomic(self.path / "config.yaml", yaml.safe_dump(asked, sort_keys=False).encode())
            return
        self.check_version()
        if self.finished:
            raise BadRequest(f"{self.path}: holds a finished run; choose another --out or add --overwrite")
        self.check_known(self.config, asked)
        resuming.check_settings(self.path, self.config, asked, defaults)
        made_in, changed = resuming.with_changes(self._environment())
        if changed:
            say(f"{self.path}: resumed with {changed}")
            write_atomic(self.path / "environment.json", dump_json(made_in))

    def check_known(self, there: Iterable[str], known: Iterable[str]) -> None:
        """Refuse to go on with a run of a later version; see `cgro.resuming.check_known`.

        Args:
            there: names of its settings.
            known: names of the settings of this version.

        Raises:
            BadRequest: the run has others; names them.
        """
        resuming.check_known(self.path, self._environment(), there, known)

    @classmethod
    def open(cls, path: str | Path) -> "Run":
        """Open an existing run for reading, and check that its files are as they were when it was finished.

        Args:
            path: of the directory.

        Returns:
            The run.

        Raises:
            BadRequest: there is none at `path`, it is of another version, a file of it is damaged, or a link leads out
                of it.
        """
        run = cls(Path(path))
        if not run.is_begun():
            raise bad("RUN", expected="a run directory (with a config.yaml of cgro)", got=path)
        for part in (run.path, *folder.seed_folders(run.path)):  # a seed with a lock is a run of its own
            folder.check_links(part)
        run.check_version()
        _ = run.config  # compared with what it was
        if run.finished:
            check_files(run.path, entry(run.summary.get("provenance"), "files"))
        return run

    @property
    def unchecked(self) -> bool:
        """Whether the run is finished and older than the digests that tell damage."""
        return self.finished and not entry(self.summary, "provenance")

    def check_version(self) -> None:
        """Refuse a run directory of another schema.

        Raises:
            BadRequest: it has another.
        """
        schema = self._environment().get("schema")
        if schema != SCHEMA:
            raise bad(str(self.path), expected=f"run schema {SCHEMA}", got=schema, remedy="use the cgro that wrote it")

    def _environment(self) -> dict[str, Json]:
        return read_json_object(self.path / "environment.json", follow=False)

    @contextlib.contextmanager
    def locked(self) -> Iterator["Run"]:
        """Hold the run against other processes, without what killed ones left half-written.

        Yields:
            The run.

        Raises:
            BadRequest: another process works in this directory; a link in it leads out of it; it is gone at the end.
        """
        if not self.path.exists():
            raise bad(str(self.path), expected="a run directory", got="none")
        if not self.path.is_dir():
            raise bad(str(self.path), expected="a run directory", got="a file")
        with folder.held(self.path):
            folder.check_links(self.path)
            folder.clean(self.path)
            yield self

    @property
    def finished(self) -> bool:
        """Whether the summary has been written."""
        return (self.path / "summary.json").exists()

    @property
    def config(self) -> dict[str, Json]:
        """The settings, as in `config.yaml`; entries that were cut from it come from environment.json.

        Raises:
            BadRequest: damaged, or the two files disagree.
        """
        path = self.path / "config.yaml"
        found = read_yaml_mapping(path, follow=False)
        recorded = self._environment().get("settings")
        if not isinstance(recorded, dict):  # of an older version
            return found
        free = (*NAMES, "width") if found.get("model") != recorded.get("model") else NAMES
        for name, value in recorded.items():
            if name not in free and name in found and found[name] != value:
                raise BadRequest(
                    f"{path}: says {name} {one_line(str(found[name]), 80)}, and environment.json "
                    f"{one_line(str(value), 80)}; one of them was changed: restore it"
                )
        return {**recorded, **found}

    @property
    def codes(self) -> list[Mapping[str, str]]:
        """Digests of the caller's own modules, as it was begun and each time it was resumed otherwise."""
        return codes_of(self._environment())

    @property
    def renamed(self) -> str:
        """What config.yaml calls otherwise than it was called when the run began; "" if nothing."""
        now, then = self.config, entry(self._environment(), "settings")
        changes = []
        for name in (*NAMES, "width"):
            if name in then and now.get(name) != then[name]:
                before = one_line(str(then[name]), 80)
                changes.append(f"{name} {one_line(str(now[name]), 80)} ({before} when it ran)")
        return ", ".join(changes)

    @property
    def summary(self) -> dict[str, Json]:
        """The result as plain values, by the keys of `summary.json`; for scripts. `read` gives it typed.

        Raises:
            BadRequest: the run is unfinished; the summary is damaged, of another schema, or says errors outside [0, 1]
                or numbers that are not what its counts say.
        """
        if not self.finished:
            raise BadRequest(f"{self.path}: unfinished; run its command again with --out {self.path} to resume it")
        path = self.path / "summary.json"
        found = read_json_object(path, follow=False)
        self._check_summary(found, path)
        if missing := [key for key in SUMMARY_KEYS if key not in found]:
            raise bad(str(path), expected="the summary of a run", got=f"one without {', '.join(missing)}")
        if (schema := found.get("schema")) != SCHEMA_OF_SUMMARIES:
            expected = f"a summary of schema {SCHEMA_OF_SUMMARIES}"
            raise bad(str(path), expected=expected, got=schema, remedy="use the cgro that wrote it")
        if not isinstance(found["metrics"], dict) or not isinstance(found["outcome"], dict):
            raise bad(str(path), expected="metrics and outcome by name", got=type(found["metrics"]).__name__)
        check_metrics(found["metrics"], path)
        return found

    def read(self, kind: type[S] = Summary, *, draft: bool = False) -> S:
        """The result as a typed value.

        Args:
            kind: the summary that the caller can use, such as `TrainSummary`; default that of any command.
            draft: also of a run that is about to be finished, for those who draw its figures.

        Returns:
            The summary, of the type of its command.

        Raises:
            BadRequest: the run is unfinished; it is one of another command; the summary is damaged.
        """
        found = self.result if draft else self.summary
        return read_summary(found, str(self.path / "summary.json"), kind)

    def _check_summary(self, found: Mapping[str, Json], path: Path) -> None:
        """Compare the summary with its own digest; one of an older version has none, one that was edited says null."""
        edited = "provenance" in found and found["provenance"] is None
        older = not isinstance(found.get("provenance"), dict) and "settings" not in self._environment()
        if edited or older:
            return
        if entry(found, "provenance").get("summary") != digest_of_summary(found):
            raise BadRequest(
                f'{path}: not as it was written; restore it (with "provenance": null it is read unchecked)'
            )

    @property
    def result(self) -> dict[str, Json]:
        """The summary for those who draw it: also that of a run which is about to be finished."""
        draft = self.path / folder.DRAFT
        if not self.finished and draft.exists():
            return read_json_object(draft, follow=False)
        return self.summary

    def rows(self) -> list[dict[str, Json]]:
        """The rows of `metrics.jsonl`; see `cgro.rows.read_rows`.

        Returns:
            One mapping per epoch or recorded step.

        Raises:
            BadRequest: a damaged line, or an error outside [0, 1] (says which).
        """
        return read_rows(self.path / "metrics.jsonl")

    def rows_as(self, kind: type[T]) -> list[T]:
        """The rows as typed values.

        Args:
            kind: of a row.

        Returns:
            One value per row.

        Raises:
            BadRequest: as `rows`, or a row of another type; names the place.
        """
        return read_value(self.rows(), str(self.path / "metrics.jsonl"), list[kind])

    def write_rows(self, rows: list[dict[str, Json]]) -> None:
        """Replace all rows at once. Loops call this per epoch, so a resumed run never repeats or loses one.

        Args:
            rows: all of them.
        """
        lines = (json.dumps(plain(row), allow_nan=False) for row in rows)
        write_atomic(self.file("metrics.jsonl"), "".join(line + "\n" for line in lines).encode())

    def finish(self, result: Summary | Mapping[str, Json], draw: Callable[[Path], object] | None = None) -> None:
        """Write `summary.json`, which marks the run as finished.

        Args:
            result: the summary; see `summary`.
            draw: makes the figures, called with the directory before the summary is in place: a finished run has all of
                its figures, whenever it is killed. It finds the summary by `Run.read(..., draft=True)`.
        """
        if draw is not None:
            write_atomic(self.file(folder.DRAFT), dump_json(plain_result(result)))
            draw(self.path)
        self.write_summary(result)
        (self.path / folder.DRAFT).unlink(missing_ok=True)

    def write_summary(self, result: Summary | Mapping[str, Json]) -> None:
        """Replace the summary, also by commands that add results to a finished run, with digests of what lies beside
        it.

        Args:
            result: the summary.
        """
        content = sealed(plain_result(result), digests_of_files(self.path), digests_of_checkpoints(self.path))
        write_atomic(self.file("summary.json"), dump_json(content))

    @property
    def source(self) -> str | None:
        """Where a result came from that was not computed here, as whoever took it over wrote."""
        found = self.summary.get("provenance")
        if isinstance(found, str):
            return found
        return entry(self.summary, "provenance").get("source")

    def digest_of(self, checkpoint: Path) -> str | None:
        """The digest of a checkpoint that the summary records.

        Args:
            checkpoint: a file of the run.

        Returns:
            SHA-256 in hexadecimal; None for an unfinished or an older run.
        """
        if not self.finished:
            return None
        return entry(self.summary.get("provenance"), "checkpoints").get(checkpoint.name)

    def part(self, name: str) -> Path:
        """The directory of a part or of one seed.

        Args:
            name: such as seed-0.

        Returns:
            Its path.
        """
        return self.path / name

    def file(self, *parts: str) -> Path:
        """A path inside the run, its folders made; the run's own is not made anew.

        Args:
            *parts: folders and the file's name.

        Returns:
            The path.

        Raises:
            BadRequest: the run was moved or deleted meanwhile.
        """
        if not self.path.is_dir():
            raise BadRequest(f"{self.path}: was moved or deleted while a command worked in it")
        path = self.path.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def say(text: str) -> None:
    """A remark to the person at the terminal, if there is one: stderr, so that --json stays clean.

    Args:
        text: the remark.
    """
    if sys.stderr is not None and loudness() != "quiet":
        with contextlib.suppress(OSError, ValueError):  # closed, full, or a broken pipe
            print(text, file=sys.stderr)
