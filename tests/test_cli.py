"""The command line from outside: exit codes, one line for a bad request, the schema, kill and resume, quickstart."""

import importlib
import io
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import typing
from pathlib import Path

import pytest
import torch
from tools import help as help_texts

from cgro._check import BadRequest
from cgro._progress import progress
from cgro.cli import COMMANDS, ELSEWHERE, HELP_FOLDER, main
from cgro.commands._options import options_of
from cgro.models import build
from cgro.runs import Run, dump_json, say, write_atomic

GOLDEN = Path(__file__).parent / "golden"
TINY = ["--data", "digits", "--n-train", "120", "--n-test", "100", "--model", "mlp", "--epochs", "2", "--radius", "0.1",
        "--attack", "pgd2", "--eval-attack", "pgd3", "--lr", "0.005", "--device", "cpu"]  # fmt: skip


def cgro(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess:
    """The installed command in a process of its own."""
    command = [sys.executable, "-m", "cgro.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd)


def shape_of(value: object) -> object:
    """A summary with its values replaced by the names of their types: what the schema promises."""
    if isinstance(value, dict):
        return {k: shape_of(v) for k, v in value.items()}
    if isinstance(value, list):
        return [shape_of(v) for v in value[:1]]
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


@pytest.fixture(scope="module")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tiny") / "run"
    assert main(["train", *TINY, "--out", str(out)]) == 0
    return out


@pytest.fixture
def copy(tiny_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


def test_summary_schema_is_the_golden_one(tiny_run: Path) -> None:
    """A change of the schema needs a new SCHEMA number and a new golden file, made on purpose."""
    found = shape_of(json.loads((tiny_run / "summary.json").read_text()))
    assert found == json.loads((GOLDEN / "train_summary_shape.json").read_text())


def test_a_run_directory_holds_what_the_design_says(tiny_run: Path) -> None:
    names = {str(p.relative_to(tiny_run)) for p in tiny_run.rglob("*") if p.is_file()} - {".lock"}
    assert names == {
        "config.yaml", "environment.json", "metrics.jsonl", "summary.json", "index_sets.json", "examples.npz",
        "checkpoints/last.safetensors", "checkpoints/best_validation.safetensors",
        *(f"figures/{n}.{kind}" for n in ("learning_curves", "adversarial_examples") for kind in ("png", "svg")),
    }  # fmt: skip
    environment = json.loads((tiny_run / "environment.json").read_text())
    assert {"versions", "commit", "machine", "threads", "seed", "schema"} <= set(environment)
    assert {"clean_error/train", "robust_error/test", "seconds"} <= set(Run(tiny_run).rows()[0])


def test_config_makes_the_same_run_again(tiny_run: Path, tmp_path: Path) -> None:
    assert main(["train", "--config", str(tiny_run / "config.yaml"), "--out", str(tmp_path / "again")]) == 0
    a, b = ((d / "checkpoints" / "last.safetensors").read_bytes() for d in (tiny_run, tmp_path / "again"))
    assert a == b
    assert (tiny_run / "summary.json").read_text() == (tmp_path / "again" / "summary.json").read_text()


def test_json_is_the_only_thing_on_stdout(tmp_path: Path) -> None:
    done = cgro("train", *TINY, "--out", tmp_path / "r", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout) == json.loads((tmp_path / "r" / "summary.json").read_text())
    assert done.stderr == ""


def test_several_seeds_have_mean_and_spread(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = ["train", *TINY, "--seeds", "2", "--seed", "5", "--out", str(tmp_path / "r")]
    assert main(arguments) == 0
    summary = json.loads((tmp_path / "r" / "summary.json").read_text())
    assert (tmp_path / "r" / "seed-6" / "summary.json").exists()
    assert len(summary["metrics"]["robust_error/test"]["per_seed"]) == 2
    assert (tmp_path / "r" / "figures" / "learning_curves.png").exists()
    assert "2 seeds" in capsys.readouterr().out


def test_evaluate_adds_to_a_run(copy: Path, tiny_run: Path) -> None:
    before = Run(tiny_run).summary["metrics"]
    assert main(["evaluate", str(copy), "--attack", "pgd10x2", "--device", "cpu"]) == 0
    after = Run(copy).summary
    added = after["metrics"]["robust_error/test@pgd10x2"]
    assert set(before) < set(after["metrics"])
    assert after["metrics"]["robust_error/test"]["wrong"] == max(added["wrong"], before["robust_error/test"]["wrong"])
    assert main(["evaluate", str(copy), "--attack", "pgd3", "--radius", "0.3", "--parts", "test", "--selected"]) == 0
    again = Run(copy).summary["metrics"]
    assert again["robust_error/test"] == after["metrics"]["robust_error/test"]
    assert "robust_error/test@pgd3@inf:0.3@selected_on_validation" in again


def test_evaluate_a_foreign_checkpoint(tmp_path: Path) -> None:
    torch.save(build("mlp", (1, 8, 8), 10, seed=3).state_dict(), tmp_path / "w.pt")
    arguments = ["evaluate", str(tmp_path / "w.pt"), "--data", "digits", "--model", "mlp", "--attack", "fgsm"]
    assert main([*arguments, "--radius", "8/255", "--out", str(tmp_path / "r")]) == 0
    assert Run(tmp_path / "r").summary["threat"]["radius"] == pytest.approx(8 / 255)


BAD = [
    (["trian"], "expected one of"),
    (["train", "--epoch-count", "3"], "--help"),
    (["train", "--epochs", "three"], "epochs"),
    (["train", "--epochs", "0"], "epochs"),
    (["train", "--radius", "8"], "8/255"),
    (["train", "--p", "3"], "1, 2 or inf"),
    (["train", "--data", "imagenet"], "mnist5k"),
    (["train", "--model", "resnet"], "lenet"),
    (["train", "--attack", "pgd"], "pgdK"),
    (["train", "--classes", "3,33"], "33"),
    (["train", "--seeds", "0"], "--seeds"),
    (["train", "--lr-drops", "x"], "--lr-drops"),
    (["train", "--device", "cuda:7"], "--device"),
    (["train", "--precision", "half"], "precision"),
    (["train", "--config", "no-such-file.yaml"], "no-such-file"),
    (["train", "--attack", "fgsm", "--step-size", "0.1"], "--step-size"),
    (["train", "--resume", "nowhere"], "run directory"),
    (["evaluate"], "TARGET"),
    (["evaluate", "nowhere.pt", "--radius", "0.1"], "does not exist"),
    (["evaluate", __file__], "--radius"),
    (["data", "imagenet"], "mnist5k"),
    (["data", "no/such:thing"], "Hugging Face"),
    (["data", "nowhere.npz"], "expected a file, got none"),
    (["data", "./nowhere"], "folder of class folders"),
    (["data", "no_such_module:function"], "importable"),
    (["train", "--data", "./nowhere", "--out", "x"], "folder of class folders"),
    (["train", "--model", "wrn-33-1", "--out", "x"], "6n + 4"),
]


@pytest.mark.parametrize(("arguments", "words"), BAD, ids=[" ".join(a) for a, _ in BAD])
def test_bad_requests_are_one_line_and_exit_two(
    arguments: list, words: str, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert words in captured.err
    assert captured.err.count("\n") == 1
    assert not list(tmp_path.iterdir()), "nothing half-written"


def test_refusals_of_a_run_directory(copy: Path, capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    for arguments, words in (
        (["train", *TINY, "--out", str(copy)], "--overwrite"),
        (["train", "--resume", str(copy)], "nothing to resume"),
        (["evaluate", str(copy), "--p", "7"], "1, 2 or inf"),
        (["evaluate", str(copy), "--parts", "dev"], "train, validation, test"),
    ):
        assert main(arguments) == 2
        assert words in capsys.readouterr().err
    checkpoint = copy / "checkpoints" / "last.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    assert main(["evaluate", str(copy)]) == 2
    assert "truncated" in capsys.readouterr().err
    write_atomic(copy / "environment.json", dump_json({"schema": 99}))
    assert main(["evaluate", str(copy)]) == 2
    assert "schema" in capsys.readouterr().err


def test_stored_help_is_that_of_the_options() -> None:
    """Where this fails an option or a text changed: run python tools/help.py."""
    for name in COMMANDS:
        assert (Path(HELP_FOLDER) / f"{name}.txt").read_text() == help_texts.help_of(name), name
    assert {path.stem for path in Path(HELP_FOLDER).glob("*")} == set(COMMANDS)


def test_help_of_no_command_imports_torch_or_numpy() -> None:
    lines = [f"main(['{name}', '{flag}'])" for name in COMMANDS for flag in ("--help", "-h")]
    code = "; ".join(["import sys; from cgro.cli import main", *lines])
    code += "; print(sorted({'torch', 'numpy', 'matplotlib', 'msgspec'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")
    assert done.stdout.count("usage: cgro ") == 2 * len(COMMANDS)


def test_help_of_every_command_has_examples(capsys: pytest.CaptureFixture) -> None:
    assert main([]) == 0
    top = capsys.readouterr().out
    for name in COMMANDS:
        assert name in top
        assert main([name, "--help"]) == 0
        text = capsys.readouterr().out
        assert "examples:" in text
        assert "--out" in text


def test_sigkill_and_resume_give_the_same_bits(tmp_path: Path) -> None:
    """A real process, killed without warning in its third epoch, then resumed by the command."""
    arguments = ["--data", "digits", "--model", "lenet", "--width", "2", "--epochs", "12", "--attack", "pgd3",
                 "--eval-attack", "pgd3", "--eval-n", "50", "--threads", "1", "--device", "cpu", "--seed", "1"]  # fmt: skip
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    command = [sys.executable, "-m", "cgro.cli", "train", *arguments, "--out", str(killed)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    rows = killed / "metrics.jsonl"
    while not rows.exists() or rows.read_text().count("\n") < 2:
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.005)
    assert (killed / "checkpoints" / "last.safetensors").exists()
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (killed / "summary.json").exists()
    assert cgro("train", "--resume", killed).returncode == 0
    assert cgro("train", *arguments, "--out", whole).returncode == 0
    for name in ("last.safetensors", "best_validation.safetensors"):
        assert (killed / "checkpoints" / name).read_bytes() == (whole / "checkpoints" / name).read_bytes()
    assert (killed / "summary.json").read_text() == (whole / "summary.json").read_text()


def test_ctrl_c_saves_and_exits_130(tmp_path: Path) -> None:
    out = tmp_path / "r"
    command = [sys.executable, "-m", "cgro.cli", "train", "--data", "digits", "--epochs", "500", "--attack", "pgd2",
               "--eval-attack", "pgd2", "--device", "cpu", "--out", str(out)]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while not (out / "checkpoints" / "last.safetensors").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, text = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume" in text
    assert text.count("\n") == 1


def test_a_bare_interrupt_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    def interrupted(config: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cgro.commands.data.run", interrupted)
    assert main(["data"]) == 130
    assert capsys.readouterr().err == "cgro data: interrupted; the same command with the same --out resumes it\n"


def test_data_lists_what_is_here(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from huggingface_hub import constants

    monkeypatch.delenv("CGRO_DATA", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert main(["data"]) == 0
    text = capsys.readouterr().out
    assert "4000 train, 1000 test" in text
    assert "mnist      not found" in text
    assert main(["data", "digits", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["data"]["digits"]
    assert (found["n_test"], found["shape"], found["stored_as"]) == (359, [1, 8, 8], "float32")
    assert sum(found["n_by_class"]["test"].values()) == 359


def test_python_m_cgro_is_cgro() -> None:
    done = subprocess.run([sys.executable, "-m", "cgro", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()[0]) == (0, "cgro")


FAILURES = [
    (OSError(28, "No space left on device", "/a/file"), "No space left on device: /a/file"),
    (MemoryError(), "not enough memory"),
    (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes"), "not enough memory"),
    (RecursionError("maximum recursion depth exceeded"), "nested too deeply"),
    (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "use UTF-8"),
    (BadRequest("a\x1b[31m name\n" + 10_000 * "x" + "\udc80"), "\\x1b[31m name xxx"),
]


@pytest.mark.parametrize(("failure", "words"), FAILURES, ids=[type(f).__name__ for f, _ in FAILURES])
def test_whatever_fails_outside_of_our_code_is_one_line(
    failure: Exception, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def fail(config: object) -> None:
        raise failure

    monkeypatch.setattr("cgro.commands.data.run", fail)
    assert main(["data"]) == 2
    line = capsys.readouterr().err
    assert line.startswith("cgro data: ")
    assert words in line
    assert line.count("\n") == 1
    assert len(line) < 700
    assert line[:-1].isprintable()


@pytest.mark.parametrize("code", [None, 0, 3, "usage: me"])
def test_code_of_the_caller_that_ends_the_program_in_the_middle_is_no_success(
    code: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def leave(config: object) -> None:
        raise SystemExit(code)

    monkeypatch.setattr("cgro.commands.data.run", leave)
    assert main(["data"]) == 2
    assert repr(code) in capsys.readouterr().err


def test_an_interrupt_that_a_reader_told_as_damage_is_an_interrupt(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def read(config: object) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise BadRequest("damaged checkpoint") from None

    monkeypatch.setattr("cgro.commands.data.run", read)
    assert main(["data"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_escape_sequences_of_a_foreign_result_do_not_reach_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(
        "cgro.commands.data.describe", lambda result: "\x1b]0;owned\x07\x1b[2J line\r one\n  line two\x9b"
    )
    assert main(["data", "digits"]) == 0
    assert capsys.readouterr().out == "\\x1b]0;owned\\x07\\x1b[2J line\\r one\n  line two\\x9b\n"


def test_an_error_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(config: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("cgro.commands.data.run", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        main(["data"])


STREAMS = [("2>&-", 0), (">&-", 0), ("<&- >&- 2>&-", 0), ("2>/dev/full", 0), (">/dev/full", 2)]


@pytest.mark.parametrize(("redirection", "code"), STREAMS, ids=[r for r, _ in STREAMS])
def test_closed_and_full_streams_do_not_stop_a_command(redirection: str, code: int, tmp_path: Path) -> None:
    words = [
        "separation",
        "--data",
        "digits",
        "--classes",
        "3,8",
        "--n-train",
        "40",
        "-q",
        "--out",
        str(tmp_path / "r"),
    ]
    shell = f"{shlex.join([sys.executable, '-m', 'cgro', *words])} {redirection}"
    done = subprocess.run(["sh", "-c", shell], capture_output=True, text=True)
    assert done.returncode == code
    assert done.stderr.count("\n") == (code == 2)
    assert Run(tmp_path / "r").finished


def test_remarks_and_progress_do_without_a_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", None)
    say("nobody reads this")
    for stream in (None, closed):
        monkeypatch.setattr(sys, "stderr", stream)
        with progress(2, "work") as update:
            update(1)
    assert capsys.readouterr().out == ""


def test_a_result_that_the_terminal_cannot_show_is_shown_in_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    monkeypatch.setattr("cgro.commands.data.describe", lambda result: "caf\xe9 \udc80")
    assert main(["data", "digits"]) == 0
    assert b"caf\\xe9 \\udc80" in raw.getvalue()


COUNTED = []
"""Command, flag and bound of every option that is an integer."""
for _name in COMMANDS:
    _module = importlib.import_module(ELSEWHERE.get(_name, f"cgro.commands.{_name.replace('-', '_')}"))
    for _option in options_of(_module.Config).values():
        if int in (_option.hint, *typing.get_args(_option.hint)) and not _option.takes_several:
            COUNTED.append((_name, _option.flag, _option.about.low))
OF_THE_RECIPE = {"--epochs": 1, "--batch-size": 1, "--accumulate": 1, "--radius-warmup": 0, "--patience": 0}
"""Checked by the recipe itself, which is used from Python as well."""


@pytest.mark.parametrize(("command", "flag", "low"), COUNTED, ids=[f"{name} {flag}" for name, flag, _ in COUNTED])
def test_every_count_is_refused_by_its_flag_below_its_bound(
    command: str, flag: str, low: float | None, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    if low is None:
        low = OF_THE_RECIPE[flag]
    out = [] if command == "report" else ["--out", str(tmp_path / "out")]
    for value in (-5, int(low) - 1):
        assert main([command, flag, str(value), *out]) == 2
        line = capsys.readouterr().err
        assert line.startswith(f"cgro {command}: {flag}: expected an integer >= {low:g}, got {value}")
        assert line.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--eval-attack", "foo"], "--eval-attack: expected one of"),
        (["--n-train", "99999", "--data", "digits"], "--n-train: expected an integer in"),
        (["--p", "3"], "--p: expected 1, 2 or inf"),
        (["--batch-size", "0"], "--batch-size: expected"),
    ],
)
def test_what_the_library_refuses_is_named_by_the_flag(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture
) -> None:
    assert main(["train", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_the_next_step_is_ready_to_be_pasted(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "a run"
    assert main(["train", *TINY, "--out", str(out)]) == 0
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == f"next: cgro diagnose '{out}'"
    assert main([*shlex.split(said)[2:], "--lint-n", "0", "--out", str(tmp_path / "d"), "-q"]) == 0
    assert capsys.readouterr().err == ""
    assert main(["data", "digits", "--json"]) == 0
    assert capsys.readouterr().err == ""
    assert main(["data", "digits"]) == 0
    assert capsys.readouterr().err == "next: cgro train --data digits --radius 8/255\n"


def test_verbose_shows_the_trace_of_a_refusal_and_the_line_stays_the_last(capsys: pytest.CaptureFixture) -> None:
    assert main(["train", "--epochs", "0", "-v"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("Traceback")
    assert lines[-1] == "cgro train: --epochs: expected an integer >= 1, got 0"


@pytest.mark.parametrize("command", ["diagnose", "lower-bound"])
def test_the_schema_is_printed_as_the_golden_one(command: str, capsys: pytest.CaptureFixture) -> None:
    assert main([command, "--schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((GOLDEN / f"summary_{command}.json").read_text())


@pytest.mark.parametrize("n", [24, 0])
def test_few_validation_examples_are_said(n: int, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Of 1437 training digits."""
    share = str(n / 1437)
    assert main(["train", *TINY, "--epochs", "1", "--validation", share, "--out", str(tmp_path / "r")]) == 0
    said = capsys.readouterr().err.splitlines()
    remarks = [line for line in said if line.startswith("remark: ") and "which is written last" not in line]
    if n:
        assert f"only {n} validation examples; errors on them are uncertain by up to 10%" in remarks[0]
    else:
        assert remarks == []


def test_the_validation_part_is_printed_and_an_empty_one_refused(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    arguments = ["evaluate", str(copy), "--attack", "pgd3", "--parts", "validation", "--n", "30"]
    assert main([*arguments, "--out", str(tmp_path / "e")]) == 0
    assert "robust_error/validation " in capsys.readouterr().out
    none = tmp_path / "none"
    assert main(["train", *TINY, "--epochs", "1", "--validation", "0", "--out", str(none)]) == 0
    assert main(["evaluate", str(none), "--parts", "validation"]) == 2
    assert "--parts: expected parts with examples, got validation" in capsys.readouterr().err
