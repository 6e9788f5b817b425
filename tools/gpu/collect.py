"""Take what a slice left in $OUT into results/ and weights/: python -m tools.gpu.collect FOLDER.

Results become files to commit; networks go to a folder that git ignores, from which the next slice goes on. What comes
from another machine is data: names that are not ours are refused, runs are checked against their digests, and a result
that is there already stays.
"""

import argparse
import re
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from tools.gpu.items import TABLE, folder_of
from tools.gpu.parcel import RECORD, RESULTS, WEIGHTS
from tools.gpu.report import read_record
from tools.gpu.weights import SMALL

from cgro._check import BadRequest, bad, one_line
from cgro.jobs.folders import held, replace_files
from cgro.jobs.ledger import FILE as SECONDS
from cgro.jobs.store import KEPT
from cgro.reading import open_regular, parse_json, read_bytes
from cgro.runs import Run, dump_json, write_atomic

NAME = re.compile(r"(runs|beside)((?:/[A-Za-z0-9][A-Za-z0-9._-]{0,99}){1,3})/([a-z_]+\.(?:json|jsonl|yaml))")
"""Of a file of a run in results.zip."""
CONFIG = "config.yaml"
LARGEST = 16 << 20
"""Bytes of a file, compressed or not."""
MOST = 500
"""Files in results.zip. A choice: an item has some forty."""


def unpacked(path: Path) -> dict[str, bytes]:
    """The files of results.zip.

    Args:
        path: of the archive.

    Returns:
        Name -> content.

    Raises:
        BadRequest: damaged, too large, or a name that no slice writes.
    """
    found: dict[str, bytes] = {}
    try:
        with open_regular(path, follow=False) as file, zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if len(members) > MOST:
                raise bad(str(path), expected=f"at most {MOST} files", got=len(members))
            for member in members:
                _require_known(member, path)
                with archive.open(member) as content:
                    found[member.filename] = content.read(LARGEST)
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        raise bad(str(path), expected="the results of a slice", got=one_line(str(error), 120)) from None
    return found


def _require_known(member: zipfile.ZipInfo, path: Path) -> None:
    match = NAME.fullmatch(member.filename)
    known = (*KEPT, *SMALL)
    is_ours = member.filename in (TABLE, SECONDS) or (match is not None and match[3] in known)
    if not is_ours:
        raise bad(str(path), expected="files of runs", got=repr(member.filename))
    if member.file_size > LARGEST:
        raise bad(f"{path}: {member.filename}", expected=f"at most {LARGEST} bytes", got=member.file_size)


def collected(folder: Path, results: Path, weights: Path) -> list[str]:
    """Take over everything.

    Args:
        folder: that a slice left.
        results: of the project.
        weights: the carried folder.

    Returns:
        Lines on what was done.

    Raises:
        BadRequest: something is damaged; then nothing is taken.
    """
    record = read_record(folder)
    files = unpacked(folder / RESULTS)
    root = results / record.scale
    with tempfile.TemporaryDirectory() as temporary:
        finished = _checked(files, "runs", Path(temporary))
        beside = _checked(files, "beside", Path(temporary))
        lines = []
        with held(root):
            for job, own in finished.items():
                lines.append(_taken(root, job, own))
            if TABLE in files:
                write_atomic(root / TABLE, files[TABLE])
                lines.append(f"taken: {TABLE}")
            _add_seconds(root / SECONDS, files.get(SECONDS, b"{}"))
    for job in record.trainings:
        lines.append(_with_weights(folder, folder_of(weights, job), job, beside.get(job, {})))
    return lines


def _checked(files: Mapping[str, bytes], kind: str, temporary: Path) -> dict[str, dict[str, bytes]]:
    """The runs of a kind, each opened once as what it says it is."""
    found: dict[str, dict[str, bytes]] = {}
    for name, content in files.items():
        match = NAME.fullmatch(name)
        if match is not None and match[1] == kind:
            found.setdefault(match[2].removeprefix("/"), {})[match[3]] = content
    for job, own in found.items():
        run = Run(temporary / kind / job)
        for name, content in own.items():
            write_atomic(run.path / name, content)
        if CONFIG in own or kind == "runs":
            opened = Run.open(run.path)
            if kind == "runs":
                opened.read()
    return found


def _taken(root: Path, job: str, own: Mapping[str, bytes]) -> str:
    target = root / "runs" / job
    if Run(target).finished:
        return f"there already, and kept: runs/{job}"
    replace_files(root, target, own)
    return f"taken: runs/{job}"


def _add_seconds(path: Path, content: bytes) -> None:
    try:
        new = msgspec.json.decode(content, type=dict[str, float])
    except msgspec.DecodeError as error:
        raise bad(SECONDS, expected="seconds by job", got=str(error)) from None
    before = parse_json(read_bytes(path), str(path)) if path.exists() else {}
    if new and isinstance(before, dict):
        write_atomic(path, dump_json({**before, **new}))


def _with_weights(folder: Path, target: Path, job: str, small: Mapping[str, bytes]) -> str:
    """Networks, beside the files that whoever reads them or goes on with them needs."""
    files = {path.name: read_bytes(path, limit=LARGEST, follow=False) for path in sorted(folder.glob(WEIGHTS))}
    if not files:
        return f"no weights: {job}"
    target.parent.mkdir(parents=True, exist_ok=True)
    with held(target.parent):
        replace_files(target.parent, target, {**small, **files})
    if CONFIG in small:
        return f"weights: {target}, to go on with"
    return f"weights: {target}"


def main(words: Sequence[str] | None = None) -> int:
    """Collect, and say what to commit.

    Args:
        words: of the command line; None: those of this process.

    Returns:
        The exit code: 0, or 2 for a bad request.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help=f"with {RECORD} and {RESULTS}")
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--weights", type=Path, default=Path("weights"))
    options = parser.parse_args(words)
    try:
        lines = collected(options.folder, options.results, options.weights)
    except BadRequest as error:
        print(f"collect: {one_line(str(error), 400)}", file=sys.stderr)
        return 2
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
