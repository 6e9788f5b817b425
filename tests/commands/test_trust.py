"""A run is data: no command imports, reads or fetches what a run of others names, unless this command line says so."""

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from cgro._check import BadRequest
from cgro.cli import COMMANDS, ELSEWHERE, main
from cgro.commands import train
from cgro.commands._common import Trusting, parse
from cgro.commands._options import options_of
from cgro.data import load
from cgro.models import build
from cgro.runs import Run
from cgro.training.registry import EXTENSIONS, OBJECTIVES
from cgro.trust import PREFIXES, CommandLine, Received, Untrusted, code_of, current_folder, resolve

TINY = ["--data", "digits", "--n-train", "60", "--n-test", "40", "--model", "mlp", "--width", "16", "--radius", "0.05",
        "--epochs", "2", "--attack", "pgd1", "--eval-attack", "pgd1", "--eval-n", "20", "--final-n", "20",
        "--device", "cpu"]  # fmt: skip
PLANTED = """
import pathlib
mark = lambda: pathlib.Path({mark!r}).touch()
mark()

def Net(shape, n_outputs):
    from torch import nn
    mark()
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 10))

def data():
    import numpy as np
    mark()
    return {{"x": np.random.default_rng(0).random((300, 8, 8), "float32"), "y": np.arange(300) % 10}}
"""
READERS = {
    "report": ["report", "RUN", "--lint-n", "8", "--out", "out", "--device", "cpu"],
    "diagnose": ["diagnose", "RUN", "--lint-n", "8", "--out", "out", "--device", "cpu"],
    "evaluate": ["evaluate", "RUN", "--attack", "pgd1", "--n", "10", "--device", "cpu"],
    "lint": ["lint", "RUN", "--n", "8", "--out", "out", "--device", "cpu"],
    "flatness": ["flatness", "RUN", "--n", "4", "--n-steps", "1", "--n-loss-steps", "1", "--radii", "0.05", "--device", "cpu"],
    "memory": ["memory", "RUN", "--attack", "pgd1", "--n", "8", "--out", "out", "--device", "cpu"],
    "resume": ["train", "--resume", "RUN"],
    "memorize": ["memorize", "--clean-model", "RUN", "--data", "digits", "--n-train", "60", "--n-test", "10", "--radius",
                 "0.001", "--eval-n", "4", "--out", "out", "--device", "cpu"],
}  # fmt: skip
GO_ON = ("report", "diagnose")
"""They need no network for what they are asked; the others refuse."""
CALLS_NO_DATA = "memorize"
"""It reads the network of a run alone, and its data from its own options."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trust") / "run"
    assert main(["train", *TINY, "--out", str(out)]) == 0
    return out


def with_settings(run: Path, **changes: object) -> None:
    """As whoever means harm would: every file that knows the settings is changed, and the digests with them."""
    path = run / "config.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}, sort_keys=False))
    made_in = json.loads((run / "environment.json").read_text())
    made_in["settings"] |= changes
    (run / "environment.json").write_text(json.dumps(made_in))
    if (run / "summary.json").exists():
        Run(run).write_summary(json.loads((run / "summary.json").read_text()))


class Theirs:
    """A run of others in the current folder, a module planted beside it, and whether that module has run."""

    def __init__(self, folder: Path, trained: Path, module: str) -> None:
        self.folder, self.trained, self.module, self.marker = folder, trained, module, folder / "ran"
        self.path = folder / "theirs"
        shutil.copytree(trained, self.path)
        self.plant(folder)

    def plant(self, folder: Path, module: str | None = None) -> None:
        (folder / f"{module or self.module}.py").write_text(PLANTED.format(mark=str(self.marker)))

    def names(self, key: str, value: str) -> str:
        with_settings(self.path, **{key: value}, **({"width": None} if key == "model" else {}))
        return value

    def call(self, command: str, *more: str) -> int:
        if command == "resume":
            (self.path / "summary.json").unlink(missing_ok=True)
        return main([str(self.path) if word == "RUN" else word for word in READERS[command]] + list(more))

    @property
    def ran(self) -> bool:
        return self.marker.exists()


@pytest.fixture
def received(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Theirs]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p not in ("", str(tmp_path))])
    module = f"planted_{abs(hash(request.node.nodeid))}"
    yield Theirs(tmp_path, trained, module)
    for name in [name for name in sys.modules if name.startswith("planted_")]:
        del sys.modules[name]


@pytest.mark.parametrize("key", ["model", "data"])
@pytest.mark.parametrize("command", READERS)
def test_code_in_a_run_does_not_run(
    command: str, key: str, received: Theirs, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor with a name that only looks like the caller's, such as a folder called as the module."""
    name = received.names(key, f"{received.module}:{'Net' if key == 'model' else 'data'}")
    what, before = ("network" if key == "model" else "data"), sorted(received.path.rglob("*"))
    code = received.call(command)
    said = capsys.readouterr()
    assert not received.ran
    assert received.module not in sys.modules
    if command in GO_ON:
        assert code == 0
        told = (
            f"Evaluation lint: not run; the {what} is {name}, code that was not trusted; look at it, then add --trust"
        )
        assert told in said.out
        assert (command == "diagnose") or told in (received.folder / "out").read_text()
        return
    assert code == 2
    assert said.err.count("\n") == 1
    assert f"{received.path}: its {what} is {name}, code of whoever made it; look at it, then add --trust" in said.err
    option = command != "memorize"  # there --data says something else already
    assert (f", or --{key} {name}" in said.err) == option
    kept = [p for p in before if command != "resume" or p.name != "summary.json"]
    assert [p for p in sorted(received.path.rglob("*")) if p.name != ".lock"] == [p for p in kept if p.name != ".lock"]
    assert not (received.folder / "out").exists()


@pytest.mark.parametrize("key", ["model", "data"])
@pytest.mark.parametrize("command", READERS)
def test_with_trust_it_runs(command: str, key: str, received: Theirs, capsys: pytest.CaptureFixture[str]) -> None:
    received.names(key, f"{received.module}:{'Net' if key == 'model' else 'data'}")
    code, said = received.call(command, "--trust"), capsys.readouterr()
    if (command, key) == (CALLS_NO_DATA, "data"):
        assert (code, received.ran) == (2, False)
        return
    assert received.ran, said.err
    if key == "data":  # other data than the run was trained on: refused, but they were asked for
        assert code == 2
        assert "as it was when" in said.err
        return
    assert code == 0, said.err
    assert "not run; the" not in said.out
    assert received.folder.as_posix() not in sys.path


@pytest.mark.parametrize("key", ["model", "data"])
@pytest.mark.parametrize("command", ["evaluate", "diagnose", "flatness", "resume"])
def test_the_same_name_on_this_command_line_is_trusted(command: str, key: str, received: Theirs) -> None:
    attribute = "Net" if key == "model" else "data"
    received.names(key, f"{received.module}:{attribute}")
    other = f"elsewhere:{attribute}"
    code = received.call(command, f"--{key}", other)
    assert not received.ran
    assert code == (0 if command in GO_ON else 2)
    shutil.rmtree(received.folder / "out", ignore_errors=True)
    received.call(command, f"--{key}={received.module}:{attribute}")
    assert received.ran


def test_the_defaults_of_evaluate_are_not_words_on_the_command_line(received: Theirs) -> None:
    """A run may name what an option has for its default, and a folder may be called like its code."""
    name = received.names("model", f"{received.module}:Net")
    folder = received.folder / name
    shutil.copytree(received.path, folder)
    for argv in (["evaluate", name], ["report", name, "--lint-n", "8"], ["evaluate", name, "--model", "mlp"],
                 ["report", "--json", name], ["evaluate", str(received.path), "--attack", "pgd1", "--out", name]):  # fmt: skip
        main(argv)
        assert not received.ran, argv


@pytest.mark.parametrize("name", ["os:abort", "http.server:test", "this:x", "antigravity:x", "timm.models:resnet18"])
@pytest.mark.parametrize("key", ["model", "data"])
def test_names_of_the_standard_library_and_of_packages(
    name: str, key: str, received: Theirs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def imported(*_: object) -> None:
        raise AssertionError("imported")

    monkeypatch.setattr("cgro.data.own.factory_of", imported)
    monkeypatch.setattr("cgro.models.networks.factory_of", imported)
    received.names(key, name)
    assert received.call("report") == 0
    assert received.call("evaluate") == 2
    assert name in capsys.readouterr().err


def test_a_module_in_the_run_while_standing_in_it(received: Theirs, monkeypatch: pytest.MonkeyPatch) -> None:
    received.names("data", f"{received.module}:data")
    received.plant(received.path)
    received.plant(received.path, "jinja2")
    monkeypatch.chdir(received.path)
    assert main(["report", ".", "--out", "../r.html", "--lint-n", "8"]) == 0
    assert main(["evaluate", ".", "--attack", "pgd1"]) == 2
    assert main(["train", "--config", "config.yaml", "--out", "../again"]) == 2
    assert not received.ran


def test_no_file_of_the_current_folder_stands_in_for_a_package(received: Theirs) -> None:
    """With trust the folder is asked last, and only for the import: in a process of its own, where nothing is loaded yet."""
    for name in ("jinja2", "safetensors", "matplotlib", "yaml"):
        (received.folder / f"{name}.py").write_text(f"raise SystemExit('{name} of the current folder')\n")
    name = received.names("model", f"{received.module}:Net")
    code = f"import sys; sys.path.remove('') if '' in sys.path else None\nfrom cgro.cli import main\nsys.exit(main({['report', 'theirs', '--out', 'r.html', '--lint-n', '8', '--trust']!r}))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, cwd=received.folder)
    assert (done.returncode, done.stderr) == (0, ""), name
    assert received.ran


def test_the_current_folder_is_last_and_only_for_the_import(received: Theirs, monkeypatch: pytest.MonkeyPatch) -> None:
    before = list(sys.path)
    with current_folder():
        assert sys.path == [*before, str(received.folder)]
        with current_folder():  # it is there once
            assert sys.path == [*before, str(received.folder)]
        sys.path.insert(0, str(received.folder))  # what a module of the caller's does with it stays as it is
    assert sys.path == [str(received.folder), *before]
    monkeypatch.setattr(sys, "path", before)
    (received.folder / "planted_path.py").write_text(
        f"import sys\nassert sys.path[-1] == {str(received.folder)!r}\nx = 1\n"
    )
    assert resolve("planted_path:x", "--model") == 1
    assert sys.path == before


def test_a_name_that_something_else_has_says_which_file_was_imported(received: Theirs) -> None:
    (received.folder / "this.py").write_text("def Net(shape, n): ...\n")
    (received.folder / "planted_own.py").write_text("x = 1\n")
    for name, words in (
        ("string:Net", "string.py; give yours another name"),
        ("sys:Net", "sys that was imported is a part"),
    ):
        with pytest.raises(BadRequest, match=words):
            resolve(name, "--model")
    with pytest.raises(BadRequest, match=r"got 'planted_own:Net' without Net$"):
        resolve("planted_own:Net", "--model")


def test_the_check_is_what_keeps_code_from_running(received: Theirs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted fault: without it the marker is there, so its absence above means something."""
    received.names("model", f"{received.module}:Net")
    monkeypatch.setattr(Received, "admit", lambda *_: None)
    assert received.call("evaluate") == 0
    assert received.ran


# ---------------------------------------------------------------- files of --config


CONFIGS: dict[str, Callable[[str], list[str]]] = {
    "train": lambda file: ["train", "--config", file, "--out", "again"],
    "one word": lambda file: ["train", f"--config={file}", "--out", "again"],
    "before flags": lambda file: ["train", "--lr", "0.1", "--config", file, "--out", "again"],
    "two files": lambda file: ["train", "--config", file, "--config", file, "--out", "again"],
}


@pytest.mark.parametrize("key", ["model", "data"])
@pytest.mark.parametrize("how", CONFIGS)
def test_config_of_a_received_run(how: str, key: str, received: Theirs, capsys: pytest.CaptureFixture[str]) -> None:
    name = received.names(key, f"{received.module}:{'Net' if key == 'model' else 'data'}")
    argv = CONFIGS[how](str(received.path / "config.yaml"))
    assert main(argv) == 2
    line = capsys.readouterr().err
    assert f"config.yaml: its {'network' if key == 'model' else 'data'} is {name}, code" in line.replace(
        ", " + argv[2], ""
    )
    assert f"add --trust, or --{key} {name}" in line
    assert not received.ran
    assert not (received.folder / "again").exists()
    more = ["--trust"] if how == "train" else [f"--{key}", name]
    assert main([*argv, *more, "--epochs", "1"]) == 0
    assert received.ran


@pytest.mark.parametrize(
    ("command", "settings"),
    [("memorize", {"clean_model": "MODULE:Net"}), ("separation", {"data": "MODULE:data"}), ("data", {"name": "MODULE:data"}),
     ("evaluate", {"target": "w.pt", "radius": "0.1", "model": "MODULE:Net", "data": "digits"}),
     ("diagnose", {"target": "w.pt", "radius": "0.1", "model": "MODULE:Net"}),
     ("flatness", {"targets": ["w.pt"], "radius": "0.1", "data": "MODULE:data"}),
     ("train", {"attack": "MODULE:Net:beta=6"}), ("dynamics", {"out": None, "config": "x"}),
     ("train", {"trust": True, "model": "MODULE:Net"}), ("train", {"overwrite": True})],
)  # fmt: skip
def test_configs_of_every_command(
    command: str, settings: dict, received: Theirs, capsys: pytest.CaptureFixture[str]
) -> None:
    (received.folder / "w.pt").write_bytes(b"")
    text = yaml.safe_dump(settings).replace("MODULE", received.module)
    (received.folder / "c.yaml").write_text(text)
    assert main([command, "--config", "c.yaml", *(["--out", "again"] if command != "data" else [])]) == 2
    assert capsys.readouterr().err.startswith(f"cgro {command}: c.yaml: ")
    assert not received.ran


def test_a_file_of_settings_without_such_names_needs_nothing(received: Theirs) -> None:
    assert main(["train", "--config", str(received.path / "config.yaml"), "--out", "again", "--epochs", "1"]) == 0
    (received.folder / "c.yaml").write_text("device: cuda:0\ndata: mnist\nmodel: timm:resnet18\nout: odd:name\n")
    config = parse("train", "", train.Config, ["--config", "c.yaml"])
    assert (config.device, config.model, config.out) == ("cuda:0", "timm:resnet18", "odd:name")


def test_every_command_that_names_code_has_trust() -> None:
    import importlib

    found = set()
    for name in COMMANDS:
        if name == "reproduce":
            continue
        module = ELSEWHERE.get(name, f"cgro.commands.{name.replace('-', '_')}")
        config = importlib.import_module(module).Config
        named = [option.name for option in options_of(config).values() if option.names]
        assert not named or issubclass(config, Trusting), name
        assert (
            not {"data", "model", "clean_model"} & {f.name for f in fields(config)} - set(named) or name == "quickstart"
        )
        found |= {name} if issubclass(config, Trusting) else set()
    assert found == {
        "train",
        "evaluate",
        "lint",
        "bench",
        "flatness",
        "memory",
        "diagnose",
        "report",
        "memorize",
        "separation",
        "data",
        "compare",
    }


# ---------------------------------------------------------------- data: paths and the hub


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[object]:
    """What went to the network: nothing can."""
    from huggingface_hub import constants

    asked: list[object] = []

    def refuse(*arguments: object, **_: object) -> None:
        asked.append(arguments)
        raise OSError("no network in this test")

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CGRO_DATA", raising=False)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return asked


@pytest.mark.parametrize("name", ["somebody/tracker", "somebody/tracker:plain", "somebody/x--y.", "mnist", "cifar10"])
def test_a_received_run_asks_the_hub_for_nothing(
    name: str, received: Theirs, asked: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    received.names("data", name)
    for command in ("report", "diagnose"):
        assert received.call(command) == 0
        assert (
            f"Evaluation lint: not run; the data is {name}, a data set that is not in the cache"
            in capsys.readouterr().out
        )
        shutil.rmtree(received.folder / "out", ignore_errors=True)
        (received.folder / "out").unlink(missing_ok=True)
    for command in ("evaluate", "flatness", "memory", "resume"):
        assert received.call(command) == 2
        line = capsys.readouterr().err
        assert f"its data is {name}, a data set that would have to be fetched" in line
        assert line.count("\n") == 1
        Run(received.path).write_summary(Run(received.trained).summary)
        shutil.rmtree(received.folder / "out", ignore_errors=True)
    assert asked == []


def test_the_hub_is_asked_when_its_data_set_is_named_or_trusted(received: Theirs, asked: list[object]) -> None:
    """And from a file of --config a data set of the hub needs its name; those with a name of ours are fetched as ever."""
    name = received.names("data", "somebody/tracker")
    for more in (["--trust"], ["--data", name]):
        asked.clear()
        assert received.call("evaluate", *more) == 2
        assert asked
    asked.clear()
    config = ["train", "--config", str(received.path / "config.yaml"), "--out", "again"]
    assert main(config) == 2
    assert asked == []
    assert main([*config, "--data", name]) == 2
    assert asked
    asked.clear()
    received.names("data", "mnist")
    assert main(config) == 2
    assert asked


def test_the_cache_of_the_hub_serves_a_received_run(
    received: Theirs, monkeypatch: pytest.MonkeyPatch, asked: list[object]
) -> None:
    calls = []

    def snapshot(*_: object, local_files_only: bool, **__: object) -> str:
        calls.append(local_files_only)
        raise FileNotFoundError

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    received.names("data", "somebody/tracker")
    assert received.call("evaluate") == 2
    assert calls
    assert all(calls)


@pytest.mark.parametrize("where", ["photos", "./photos", "ABSOLUTE", "arrays.npz"])
def test_a_path_in_a_run_is_read_only_if_it_is_named(
    where: str, received: Theirs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = []
    original = np.load
    name = received.names("data", where.replace("ABSOLUTE", str(received.folder / "photos")))
    x = np.random.default_rng(0).random((300, 8, 8), "float32")
    np.savez(received.folder / "arrays.npz", x=x, y=np.arange(300) % 10)
    (received.folder / "photos" / "0").mkdir(parents=True)
    monkeypatch.setattr(
        "cgro.data.sources._from_path", lambda path, _: opened.append(path) or load_npz(received.folder)
    )
    assert original is np.load
    assert received.call("report") == 0
    assert f"the data is {name}, a path that was not trusted" in capsys.readouterr().out
    assert received.call("evaluate") == 2
    assert (
        f"its data is {name}, a path that whoever made it chose; look at it, then add --trust, or --data"
        in capsys.readouterr().err
    )
    assert main(["train", "--config", str(received.path / "config.yaml"), "--out", "again"]) == 2
    assert received.call("evaluate", "--data", "elsewhere") == 2
    assert opened == []
    same = "../" + received.folder.name + "/" + (where if where.endswith("npz") else "photos")
    for more in (["--trust"], ["--data", name], ["--data", same]):
        # Other data than the run was trained on, which is seen once they are read; of a folder it is a warning.
        assert received.call("evaluate", *more) == (2 if where.endswith("npz") else 0)
    assert len(opened) == 3


def load_npz(folder: Path) -> object:
    from cgro.data.own import npz

    return npz(folder / "arrays.npz")


# ---------------------------------------------------------------- from Python


def test_from_python(received: Theirs) -> None:
    """A run needs trust; a name that the caller passes himself is his own."""
    name = received.names("model", f"{received.module}:Net")
    run = Run.open(received.path)
    for trust in (False, [], ["other:Net"], "other:Net", CommandLine(), (f"{received.module}:data",)):
        with pytest.raises(Untrusted, match=f"its network is {name}"):
            train.settings_of(run, trust=trust)
        with pytest.raises(Untrusted):
            train.trained(received.path, trust=trust)
    assert not received.ran
    for trust in (
        True,
        [name],
        name,
        {f"{name}:beta=6"},
        CommandLine(everything=True),
        CommandLine(names=frozenset({name})),
    ):
        received.marker.unlink(missing_ok=True)
        train.prepare(train.settings_of(run, trust=trust))
        assert received.ran
    assert build(name, (1, 8, 8), 10) is not None
    assert len(load(f"{received.module}:data").train) == 240
    with pytest.raises(Untrusted, match="pass trust=True, or its name"):
        train.run(train.Config(resume=str(unfinished(received.path))))


def unfinished(run: Path) -> Path:
    (run / "summary.json").unlink()
    return run


def test_seeds_and_the_clean_run_of_memory_are_runs_as_well(received: Theirs) -> None:
    folder = received.folder / "seeds"
    for seed in (0, 1):
        shutil.copytree(received.path, folder / f"seed-{seed}")
    for name in ("config.yaml", "environment.json"):
        shutil.copy(received.path / name, folder)
    Run(folder).write_summary(Run(received.path).summary)
    with_settings(folder / "seed-1", model=f"{received.module}:Net", width=None)
    assert main(["report", str(folder), "--out", "r.html", "--lint-n", "8"]) == 0
    assert main(["flatness", str(folder), "--n", "4", "--out", "f"]) == 2
    with_settings(folder / "seed-0", attack="none", model=f"{received.module}:Net", width=None)
    assert main(["memory", str(received.path), "--clean", str(folder / "seed-0"), "--n", "8", "--out", "m"]) == 2
    assert not received.ran


# ---------------------------------------------------------------- names, sizes, failures


def test_what_code_is() -> None:
    code = {"mine:Net": "mine:Net", "a.b.c:d": "a.b.c:d", "mine:Net:beta=6": "mine:Net", "my-nets:Net": "my-nets:Net",
            "fat:beta": "fat:beta", "os:abort": "os:abort", ".x:y": ".x:y", "Timm:resnet18": "Timm:resnet18"}  # fmt: skip
    for name, found in code.items():
        assert code_of(name) == found
    for name in (
        "lenet",
        "timm:resnet18",
        "timm:os:abort",
        "trades:beta",
        "trades:beta=6",
        "owner/name:plain",
        "cuda:0",
        "2:100",
        ":x",
        "x:",
        "x:1",
        "",
        ":",
    ):
        assert code_of(name) is None
        with pytest.raises(BadRequest):
            resolve(name, "--model")
    with pytest.raises(BadRequest, match=r"package\.module:name"):
        resolve("string:capwords:beta=6", "--model")
    assert set(PREFIXES) == {"timm", *OBJECTIVES, *EXTENSIONS}


def test_names_with_options_follow_the_code_that_was_named(received: Theirs) -> None:
    name = f"{received.module}:Net"
    assert Received("r", CommandLine(names=frozenset({name}))).trusts(f"{name}:beta=6")
    assert Received("r", [f"{name}:beta=1"]).trusts(f"{name}:beta=6")
    assert not Received("r", [name]).trusts(f"{received.module}:Other:beta=6")
    received.names("model", f"{name}:beta=6")
    assert received.call("evaluate") == 2
    assert not received.ran


@pytest.mark.parametrize(("width", "words"), [(100_000, "200 times"), (10**12, "64 bits"), ("wide", "an integer")])
def test_a_width_in_a_run_does_not_decide_an_allocation(
    width: object, words: str, received: Theirs, capsys: pytest.CaptureFixture[str]
) -> None:
    with_settings(received.path, width=width)
    assert received.call("evaluate") == 2
    line = capsys.readouterr().err
    assert words in line
    assert line.count("\n") == 1


def test_a_network_is_counted_before_it_is_allocated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cgro.reading.room.memory_left", lambda: 400_000_000)
    for name, width in (("mlp", 20_000), ("lenet", 300), ("preactresnet", 256), ("wrn-34-20", None)):
        with pytest.raises(BadRequest, match="bytes of memory that are left"):
            build(name, (3, 32, 32), 10, width=width)
    for name in ("wrn-2002-1", "wrn-9994-9"):
        with pytest.raises(BadRequest, match="a depth of at most 1000"):
            build(name, (3, 32, 32), 10)
    before = torch.get_rng_state()
    weights = [next(build("lenet", (1, 28, 28), 10, seed=3).parameters()) for _ in range(2)]
    assert torch.equal(*weights)
    assert torch.equal(before, torch.get_rng_state())


def test_names_that_are_no_text_or_would_color_the_terminal(
    received: Theirs, capsys: pytest.CaptureFixture[str]
) -> None:
    for value in (5, ["mine:Net"], {"a": 1}):
        received.names("model", value)  # type: ignore[arg-type]
        assert received.call("evaluate") == 2
        assert "model: expected " in capsys.readouterr().err
    received.names("model", "evil\x1b[31m:Net")
    assert received.call("evaluate") == 2
    assert received.call("report") == 0
    said = capsys.readouterr()
    assert "\x1b" not in said.err + said.out.splitlines()[0] + said.out.splitlines()[1]
    assert r"evil\x1b[31m:Net" in said.err


FAULTS = {
    "quits": ("import sys\nsys.exit()\n", "sys.exit()"),
    "says": ("import sys\nsys.exit('usage: me')\n", "sys.exit(usage: me)"),
    "name": ("x = undefined\n", "NameError"),
    "value": ("raise ValueError('no\\nsecond line')\n", "ValueError: no second line"),
    "text": ("x = = 1\n", "SyntaxError"),
    "late": ("def Net(*a):\n    raise SystemExit(3)\ndef data():\n    raise SystemExit\n", "sys.exit("),
    "fails": ("def Net(*a):\n    return a[5]\ndef data():\n    return {}[1]\n", "Error"),
    "other": ("class Odd(Exception): pass\ndef Net(*a):\n    raise Odd\ndef data():\n    raise Odd('x')\n", "Odd"),
    "forward": (
        "from torch import nn\nclass Net(nn.Module):\n    def forward(self, x):\n        raise SystemExit(0)\n"
        "def data():\n    raise SystemExit(0)\n", ""),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(
    "argv",
    [["train", "--data", "digits", "--model", "MODULE:Net", "--epochs", "1"], ["train", "--data", "MODULE:data"],
     ["data", "MODULE:data"], ["memorize", "--data", "digits", "--clean-model", "MODULE:Net", "--n-train", "60"]],
    ids=lambda argv: argv[0] + argv[2][:2] if len(argv) > 2 else argv[0],
)  # fmt: skip
def test_code_of_the_callers_that_fails_is_one_line_and_makes_no_run(
    fault: str, argv: list[str], received: Theirs, capsys: pytest.CaptureFixture[str]
) -> None:
    text, words = FAULTS[fault]
    (received.folder / f"{received.module}.py").write_text(text)
    argv = [word.replace("MODULE", received.module) for word in argv]
    assert main([*argv, "--out", "again"]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert words in said.err
    assert not (received.folder / "again").exists()


def test_an_interrupt_in_the_callers_code_is_one(received: Theirs) -> None:
    (received.folder / f"{received.module}.py").write_text("raise KeyboardInterrupt\n")
    assert main(["data", f"{received.module}:data"]) == 130


def test_the_settings_of_a_run_do_not_say_who_trusted_it(received: Theirs) -> None:
    name = f"{received.module}:Net"
    argv = ["train", *TINY, "--model", name, "--out", "mine", "--trust"]
    argv = [word for k, word in enumerate(argv) if "--width" not in argv[max(0, k - 1) : k + 1]]
    assert main(argv) == 0
    assert not {"trust", "received"} & set(yaml.safe_load((received.folder / "mine" / "config.yaml").read_text()))
    assert "trust" not in json.loads((received.folder / "mine" / "summary.json").read_text())


@pytest.mark.parametrize("key", ["objective", "extension"])
def test_an_evaluation_needs_no_trust_in_what_only_training_uses(
    key: str, received: Theirs, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither is imported; training on refuses it, as does a value that is no text."""
    name = f"{received.module}:Own"
    received.names(key, [name] if key == "extension" else name)  # type: ignore[arg-type]
    for command in ("evaluate", "lint"):
        assert received.call(command) == 0, capsys.readouterr().err
    assert not received.ran
    assert received.call("resume") == 2
    assert f"its {key} is {name}" in capsys.readouterr().err
    assert not received.ran
    received.names(key, 3)  # type: ignore[arg-type]
    assert received.call("evaluate") == 2
