"""What a result was computed with: written as before, read strictly, compared where it decides bits."""

import json
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import msgspec
import pytest
import torch

from cgro import __version__
from cgro._check import BadRequest
from cgro.environment import (
    SCHEMA,
    Accelerator,
    Machine,
    accelerator_of,
    changes,
    current_environment,
    environment,
    read_environment,
    sentence,
    source_commit,
)
from cgro.writing import dump_json

KEYS = ["schema", "cgro", "python", "versions", "commit", "machine", "threads", "seed"]


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "environment.json"
    written = environment(7)
    path.write_bytes(dump_json({**written, "settings": {"model": "lenet"}, "resumed": []}))
    assert list(written) == KEYS
    found = read_environment(path)
    assert found == current_environment(7)
    assert (found.schema, found.cgro, found.seed, found.threads) == (SCHEMA, __version__, 7, torch.get_num_threads())
    assert found.versions["torch"].partition("+")[0] == torch.__version__.partition("+")[0]  # PyPI's name no build
    assert found.machine.instructions == torch.backends.cpu.get_cpu_capability()


def test_what_is_not_known_of_a_machine_is_not_written() -> None:
    code = "import json; from cgro.environment import environment; print(json.dumps(environment()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    without_torch = json.loads(done.stdout)
    assert list(without_torch) == KEYS
    assert list(without_torch["machine"]) == ["system", "processor", "cores"]
    assert (without_torch["threads"], without_torch["seed"]) == (None, None)


def test_a_machine_in_a_phrase_leaves_out_what_is_not_known() -> None:
    assert Machine(system="Linux", processor="a CPU", cores=None).text == "a CPU"
    assert Machine(system="Linux", processor="a CPU", cores=2, gpu="a GPU").text == "a CPU, 2 cores, a GPU"


@pytest.mark.parametrize(
    ("change", "words"),
    [({"threads": "four"}, "threads"), ({"machine": []}, "machine"), ({"versions": {"torch": 2}}, "versions"),
     ({"cgro": None}, "cgro"), ({"schema": 1.5}, "schema")],
)  # fmt: skip
def test_a_file_of_other_types_is_one_line(tmp_path: Path, change: dict, words: str) -> None:
    path = tmp_path / "environment.json"
    path.write_bytes(dump_json({**environment(), **change}))
    with pytest.raises(BadRequest, match=words) as caught:
        read_environment(path)
    assert "\n" not in str(caught.value)


def test_what_is_set_of_a_gpu_is_written_and_records_without_it_are_read(tmp_path: Path) -> None:
    driver = tmp_path / "version"
    driver.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Tue Sep 23 10:11:16 UTC 2025\n")
    found = accelerator_of(torch, driver)
    assert found == Accelerator(
        driver="580.95.05",
        cuda=torch.version.cuda,
        cudnn=torch.backends.cudnn.version(),
        tf32_convolutions=torch.backends.cudnn.allow_tf32,
        float32_products=torch.get_float32_matmul_precision(),
        deterministic=torch.backends.cudnn.deterministic,
        benchmark=torch.backends.cudnn.benchmark,
    )
    kept = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = not kept
    try:
        assert accelerator_of(torch, driver).benchmark is not kept
    finally:
        torch.backends.cudnn.benchmark = kept
    assert accelerator_of(torch, tmp_path / "none").driver is None
    plain = environment()
    assert isinstance(plain["machine"], dict)
    for more in ({}, {"gpu": "NVIDIA H100", "accelerator": msgspec.to_builtins(found)}):
        path = tmp_path / "environment.json"
        path.write_bytes(dump_json({**plain, "machine": {**plain["machine"], **more}}))
        assert read_environment(path).machine.accelerator == (found if more else None)


def test_a_missing_or_damaged_file_or_a_link_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "environment.json"
    with pytest.raises(BadRequest, match="expected a file, got none"):
        read_environment(path)
    path.write_text("{")
    with pytest.raises(BadRequest, match="damaged"):
        read_environment(path)
    path.write_bytes(dump_json(environment()))
    (tmp_path / "link.json").symlink_to(path)
    with pytest.raises(BadRequest, match="links are not followed"):
        read_environment(tmp_path / "link.json")


def test_changes_are_those_that_decide_bits_and_are_known_on_both_sides() -> None:
    now = {
        "cgro": "2",
        "threads": 2,
        "seed": 1,
        "versions": {"torch": "2.13.0", "numpy": None},
        "machine": {"gpu": "A"},
    }
    before = {"cgro": "2", "threads": 1, "seed": 0, "versions": {"torch": "2.6.0", "numpy": "2"}, "machine": "damaged"}
    assert changes(before, now) == {"threads": (1, 2), "torch": ("2.6.0", "2.13.0")}
    assert changes(now, now) == {}
    assert changes({}, now) == {}
    assert sentence({}) == ""
    assert "\x1b" not in sentence({"GPU": ("\x1b[31m", "B")})


def git(folder: Path, *words: str) -> None:
    names = ["-c", "user.name=n", "-c", "user.email=e"]
    subprocess.run(["git", "-C", str(folder), *names, *words], check=True, capture_output=True)


def test_the_commit_is_that_of_the_tree_that_holds_this_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wheel inside somebody's repository has none; variables of a git hook do not count."""
    package = tmp_path / "src" / "cgro"
    package.mkdir(parents=True)
    (package / "environment.py").write_text("")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "first")
    monkeypatch.setattr("cgro.environment.__file__", str(package / "environment.py"))
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    commit = source_commit()
    assert commit is not None
    assert len(commit) == 40
    (package / "environment.py").write_text("changed")
    assert source_commit() == f"{commit}-dirty"
    elsewhere = tmp_path / ".venv" / "cgro"
    elsewhere.mkdir(parents=True)
    monkeypatch.setattr("cgro.environment.__file__", str(elsewhere / "environment.py"))
    assert source_commit() is None


def test_a_tree_without_its_repository_has_the_commit_that_its_sender_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "src" / "cgro"
    package.mkdir(parents=True)
    monkeypatch.setattr("cgro.environment.__file__", str(package / "environment.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    assert source_commit() is None
    monkeypatch.setenv("CGRO_COMMIT", "2" * 40)
    (package / "commit.txt").write_text("$Format:%H$\n")
    assert source_commit() == "2" * 40 + "-unchecked"
    (package / "commit.txt").write_text("1" * 40 + "\n")
    assert source_commit() == "1" * 40 + "-unchecked"
    (package / "commit.txt").unlink()
    for text in ("", "main", "2" * 39, "2" * 40 + " and more"):
        monkeypatch.setenv("CGRO_COMMIT", text)
        assert source_commit() is None


def test_an_archive_says_its_commit(tmp_path: Path) -> None:
    """As .gitattributes of this project has it."""
    top = Path(__file__).parent.parent
    package = tmp_path / "src" / "cgro"
    package.mkdir(parents=True)
    for name in (".gitattributes", "src/cgro/commit.txt"):
        (tmp_path / name).write_bytes((top / name).read_bytes())
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "first")
    git(tmp_path, "archive", "-o", "all.tar", "HEAD")
    with tarfile.open(tmp_path / "all.tar") as archive:
        written = archive.extractfile("src/cgro/commit.txt")
        assert written is not None
        assert re.fullmatch(rb"[0-9a-f]{40}\n", written.read())


def test_a_machine_is_a_value() -> None:
    one = Machine(system="Linux", processor="p", cores=2)
    assert one == Machine(system="Linux", processor="p", cores=2, instructions=None)
    with pytest.raises(AttributeError):
        one.cores = 3  # type: ignore[misc]
