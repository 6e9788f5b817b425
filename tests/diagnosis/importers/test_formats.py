"""Every format that is read, in files of ours: the curves equal the truth to rounding, whatever happens to the file, and
what is damaged is refused in one line."""

import gzip
import random
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from tests.diagnosis.formats import ERRORS, FORMATS, Format, N

from cgro._check import BadRequest, one_line
from cgro.diagnosis import Curves, read_curves
from cgro.diagnosis.importers import IMPORTERS, parse_map
from cgro.diagnosis.importers.base import Text

DOCS = Path(__file__).parents[3] / "docs" / "importing.md"
BINARY = [name for name, kind in FORMATS.items() if isinstance(kind.write(), bytes)]
PLAIN = [name for name in FORMATS if name not in BINARY]


def need_package(name: str) -> None:
    if name in BINARY:
        pytest.importorskip("tensorboard")


def saved(folder: Path, kind: Format, content: str | bytes | None = None) -> Path:
    path = folder / kind.file
    if content is None:
        content = kind.write()
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(path: Path, kind: Format) -> Curves:
    """As a person reads it: where the refusal has an option, that option is pasted."""
    columns = kind.map
    if columns:
        with pytest.raises(BadRequest) as refused:
            read_curves(path)
        pasted = shlex.split(str(refused.value).partition("--map ")[2])[0]
        assert columns in ("count", pasted)
        columns = pasted
    (found,) = read_curves(path, parse_map(columns))
    return found


def differences(found: Curves, kind: Format) -> list[str]:
    """What is not as it was written."""
    wrong: list[str] = []
    for curve, source in kind.truth.items():
        epochs, values = found.measured(curve)
        if epochs.tolist() != list(range(kind.first, kind.first + N)):
            wrong.append(f"epochs of {curve}")
        elif not np.allclose(values, ERRORS[source], rtol=0, atol=kind.atol):
            wrong.append(curve)
    return wrong


@pytest.mark.parametrize("name", FORMATS)
def test_the_curves_are_those_that_were_written(tmp_path: Path, name: str) -> None:
    need_package(name)
    kind = FORMATS[name]
    found = read(saved(tmp_path, kind), kind)
    assert differences(found, kind) == []
    if not kind.map:
        assert found.meta["format"] == kind.importer
    by_curve = {column.curve: column for column in found.columns}
    for curve in kind.truth:  # what the terminal shows
        assert by_curve[curve].unit in ("percent", "fraction")
        if kind.map == "count":
            continue  # a pattern has no column
        assert re.search(r"column .*(accuracy|error) (in percent|as a fraction)", by_curve[curve].sentence(len(found)))


@pytest.mark.parametrize("how", ["gzip", "utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "windows", "old Mac"])
@pytest.mark.parametrize("name", ["plain CSV", "MART's output", "Rice et al., AWP", "DeiT log.txt", "Markdown"])
def test_packed_or_in_another_encoding_it_is_the_same(tmp_path: Path, name: str, how: str) -> None:
    kind = FORMATS[name]
    text = kind.write()
    assert isinstance(text, str)
    content = text.encode()
    if how == "gzip":
        content = gzip.compress(content)
    elif how.startswith("utf"):
        content = text.encode(how)
    else:
        content = text.replace("\n", "\r\n" if how == "windows" else "\r").encode()
    assert differences(read(saved(tmp_path, kind, content), kind), kind) == []


def test_a_reader_that_takes_the_last_column_is_caught(tmp_path: Path) -> None:
    """The check above can fail: with clean and robust exchanged, moved by an epoch, or in another unit."""
    kind = FORMATS["plain CSV"]
    right = read(saved(tmp_path, kind), kind)
    last = dict(right.values) | {"clean_error/test": right["robust_error/test"]}
    assert differences(Curves(right.epoch, last), kind) == ["clean_error/test"]
    assert len(differences(Curves(right.epoch + 1, right.values), kind)) == 4
    scaled = {key: value / 100 for key, value in right.values.items()}
    assert len(differences(Curves(right.epoch, scaled), kind)) == 4


def test_of_two_that_are_equally_sure_the_first_of_the_registry_reads(tmp_path: Path) -> None:
    """A table between bars whose lines also name an epoch, and a long table that is a CSV too."""
    order = {importer.name: place for place, importer in enumerate(IMPORTERS)}
    for name in PLAIN:
        text = Text(str(FORMATS[name].write()), "x")
        sure = {importer.name: importer.recognizes(text) for importer in IMPORTERS}
        best = [other for other, value in sure.items() if value == max(sure.values())]
        assert min(best, key=order.__getitem__) == FORMATS[name].importer, sure
    both = "Epoch | Test Acc | Test Robust Acc\n--- | --- | ---\n" + "".join(f"{e} | 0.6 | 0.4\n" for e in range(3))
    (found,) = read_curves(saved(tmp_path, FORMATS["Markdown"], both))
    assert np.allclose(found["robust_error/test"], 0.6)
    assert np.allclose(found["clean_error/test"], 0.4)


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_cut_or_shuffled_is_read_or_refused_in_one_line(tmp_path: Path, name: str) -> None:
    """Truncated anywhere, lines exchanged, dropped, doubled, bytes changed: never a traceback, never an error outside of
    [0, 1]. Seeds are fixed: the same damage each time."""
    need_package(name)
    kind = FORMATS[name]
    content = kind.write()
    raw = content if isinstance(content, bytes) else content.encode()
    rng = random.Random(name)
    for _ in range(12):
        damaged = damage(raw, rng)
        try:
            found = read_curves(saved(tmp_path, kind, damaged), parse_map(kind.map) if kind.map != "count" else None)
        except BadRequest as error:
            assert str(error) == one_line(str(error), 2_000)
            continue
        for one in found:
            for curve in kind.truth:
                values = one.measured(curve)[1]
                assert ((values >= 0) & (values <= 1)).all()


def damage(raw: bytes, rng: random.Random) -> bytes:
    lines = raw.split(b"\n")
    how = rng.randrange(5)
    if how == 0:
        return raw[: rng.randrange(1, len(raw))]
    if how == 1:
        a, b = rng.randrange(len(lines)), rng.randrange(len(lines))
        lines[a], lines[b] = lines[b], lines[a]
    elif how == 2:
        del lines[rng.randrange(len(lines))]
    elif how == 3:
        place = rng.randrange(len(lines))
        lines.insert(place, lines[rng.randrange(len(lines))])
    else:
        changed = bytearray(raw)
        for _ in range(3):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        return bytes(changed)
    return b"\n".join(lines)


def test_the_matrix_of_the_docs_has_every_importer_and_every_format() -> None:
    table = [line for line in DOCS.read_text().splitlines() if line.startswith("| ")]
    rows = {tuple(cell.strip() for cell in line.strip("|").split("|"))[:2] for line in table}
    importers = {importer for _, importer in rows}
    assert {importer.name for importer in IMPORTERS} <= importers
    assert {(name, kind.importer) for name, kind in FORMATS.items()} <= rows
