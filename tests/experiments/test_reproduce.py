"""`cgro reproduce all --scale smoke` once, and then everything about it: page, resumption, planted claims, bad input."""

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from cgro.cli import main
from cgro.commands import train
from cgro.experiments import cost, table2, theorem47
from cgro.experiments.claims import NOT_REPRODUCED
from cgro.experiments.jobs import KEPT, Home
from cgro.experiments.reproduce import ARTIFACTS
from cgro.models import build
from cgro.report import reproduction
from cgro.runs import Run

ALL = ["reproduce", "all", "--scale", "smoke", "--threads", "1"]


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything at smoke: about three minutes."""
    path = tmp_path_factory.mktemp("smoke") / "all"
    assert main([*ALL, "--out", str(path), "--store", str(path.parent / "results")]) == 0
    return path


def test_every_artifact_has_results_and_the_page_shows_them(smoke: Path) -> None:
    page, text = (smoke / "index.html").read_text(), (smoke / "index.md").read_text()
    for name, artifact in ARTIFACTS.items():
        result = Run(smoke / name).summary
        assert artifact.TITLE in page
        assert artifact.TITLE in text
        assert result["claims"]
        assert result["provenance"]
        assert all(p["torch"] and p["machine"] for p in result["provenance"])
        assert {f["file"] for f in result["figures"]} == {f"figures/{k}.svg" for k in artifact.CAPTIONS}, name
        for file in ("config.yaml", "environment.json", "findings.json"):
            assert (smoke / name / file).exists()
    assert 'src="data:image/svg' in page
    assert str(smoke) not in text


def test_the_store_has_small_files_and_no_path_of_this_machine(smoke: Path) -> None:
    root = smoke.parent / "results" / "smoke"
    files = [p for p in root.rglob("*") if p.is_file()]
    assert {p.suffix for p in files} <= {".json", ".yaml", ".svg", ".csv", ".jsonl"}
    assert max(p.stat().st_size for p in files) < 400_000
    assert not [p for p in files if str(smoke).encode() in p.read_bytes()]
    assert not (root / "runs").exists()  # of real scales only
    assert "@/cifar10-w3/seed-0" in (root / "figure3" / "config.yaml").read_text()
    text = reproduction.document(root.parent, root.parent / "page.md")
    assert "](smoke/table1/figures/mnist.svg)" in text
    assert "as far as they are trained" not in text
    planned = ARTIFACTS["table1"].jobs("smoke")
    Home(smoke, planned=planned, store=root.parent / "cpu").keep(planned)
    own = [job for job in planned if job.name.startswith("cifar10-w3/")]
    mean = (
        sum(100 - 100 * Run(smoke / "runs" / j.name).summary["metrics"]["robust_error/test"]["value"] for j in own) / 2
    )
    (row,) = [line for line in reproduction.networks(root.parent / "cpu", "cpu") if "`cifar10-w3`" in line]
    assert row.split(" | ")[1] == "2"
    assert row.split(" | ")[3].startswith(f"{mean:.2f} (")
    assert row.rstrip(" |").endswith("1 seed")


def test_what_the_store_holds_is_not_made_again_and_what_it_lacks_brings_its_network_back(
    smoke: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned, store = ARTIFACTS["figure1"].jobs("smoke"), tmp_path / "store"
    Home(smoke, planned=planned, store=store).keep(planned)
    files = [p for p in store.rglob("*") if p.is_file()]
    assert {p.name for p in files} == {*KEPT}
    assert not [p for p in files if str(smoke).encode() in p.read_bytes()]

    elsewhere = Home(tmp_path / "elsewhere", planned=planned, store=store)
    monkeypatch.setattr(Home, "_make_here", lambda _, job: pytest.fail(f"{job.name} was made again"))
    assert elsewhere.missing(planned) == []
    assert ARTIFACTS["figure1"].run("smoke", elsewhere) == ARTIFACTS["figure1"].run("smoke", Home(smoke))

    evaluation = next(job for job in planned if job.command == "evaluate" and job.settings["seed"] == 1)
    trained = next(job for job in planned if job.command == "train" and job.settings["seed"] == 1)
    (store / "runs" / evaluation.name / "summary.json").unlink()
    assert elsewhere.missing(planned) == [trained, evaluation]
    made: list[str] = []
    monkeypatch.setattr(Home, "_make_here", lambda _, job: made.append(job.name))
    elsewhere.make(evaluation)
    assert made == [trained.name, evaluation.name]

    for name, there, other in (
        ("config.yaml", "epochs: 4", "epochs: 5"),
        ("environment.json", '"epochs": 4', '"epochs": 5'),
    ):
        file = store / "runs" / trained.name / name
        assert there in file.read_text()
        file.write_text(file.read_text().replace(there, other))
    assert Home(tmp_path / "elsewhere", planned=planned, store=store).found(trained) is None


def test_a_network_that_came_out_otherwise_takes_its_stored_measurements_along(smoke: Path, tmp_path: Path) -> None:
    planned, store = ARTIFACTS["figure1"].jobs("smoke"), tmp_path / "store"
    home = Home(smoke, planned=planned, store=store)
    home.keep(planned)
    trained = next(job for job in planned if job.command == "train" and job.settings["seed"] == 1)
    readers = {job.name for job in planned if trained.name in job.reads}
    assert readers

    home.keep([trained])  # the same bits
    assert Home(tmp_path / "elsewhere", planned=planned, store=store).missing(planned) == []
    summary = store / "runs" / trained.name / "summary.json"
    other = json.loads(summary.read_text())
    other["metrics"]["robust_error/test"]["value"] += 0.01
    other["provenance"] = other["digests"] = None  # edited on purpose
    summary.write_text(json.dumps(other))
    home.keep([trained])
    lacking = {job.name for job in planned if Home(tmp_path, planned=planned, store=store).found(job) is None}
    assert lacking == readers


def test_a_second_call_makes_nothing_and_changes_nothing(smoke: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {p: p.read_bytes() for p in smoke.rglob("*") if p.is_file()}
    monkeypatch.setattr(Home, "account", lambda *_: pytest.fail("a job was made again"))
    assert main([*ALL, "--out", str(smoke)]) == 0
    assert {p: p.read_bytes() for p in smoke.rglob("*") if p.is_file()} == before


def test_a_stored_artifact_keeps_the_environment_it_was_made_in(smoke: Path, tmp_path: Path) -> None:
    out, store = tmp_path / "copy", tmp_path / "results"
    shutil.copytree(smoke, out)
    shutil.copytree(smoke.parent / "results", store)
    kept = store / "smoke" / "theorem47"
    (kept / "environment.json").write_text("another machine's")
    again = [*ALL[:1], "theorem47", *ALL[2:], "--out", str(out), "--store", str(store)]
    assert main(again) == 0
    assert (kept / "environment.json").read_text() == "another machine's"
    (kept / "findings.json").write_text("{}")  # came out otherwise
    assert main(again) == 0
    assert (kept / "environment.json").read_text() != "another machine's"


def test_a_planted_claim_exits_1_and_is_named(
    smoke: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "copy"
    shutil.copytree(smoke, out)
    monkeypatch.setattr(theorem47, "PAPER", {**theorem47.PAPER, "growth": "linear"})
    assert main([*ALL[:1], "theorem47", *ALL[2:], "--out", str(out)]) == 1
    assert "theorem47/floor" in capsys.readouterr().err
    assert "NOT REPRODUCED" in (out / "index.md").read_text()
    claims = {c["name"]: c["verdict"] for c in Run(out / "theorem47").summary["claims"]}
    assert claims["theorem47/floor"] == NOT_REPRODUCED


def test_killed_again_and_again_it_ends_in_the_same_page(smoke: Path, tmp_path: Path) -> None:
    out, names = tmp_path / "killed", "hierarchy,figure1"
    command = [sys.executable, "-m", "cgro.cli", "reproduce", names, *ALL[2:], "--out", str(out)]
    for seconds in (9.0, 12.0, 15.0):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    assert main(["reproduce", names, *ALL[2:], "--out", str(out)]) == 0
    chosen = tmp_path / "undisturbed"
    for name in names.split(","):
        shutil.copytree(smoke / name, chosen / name)
        assert (out / name / "findings.json").read_bytes() == (chosen / name / "findings.json").read_bytes()
    pages = [reproduction.page(reproduction.results_of(folder), folder) for folder in (out, chosen)]
    assert pages[0] == pages[1]
    assert (out / "index.md").read_text().endswith(pages[0])


def test_a_slice_stops_resumable(tmp_path: Path) -> None:
    out = tmp_path / "slice"
    assert main(["reproduce", "table2", *ALL[2:], "--out", str(out), "--minutes", "0.001"]) == 130
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert not (out / "summary.json").exists()


def test_runs_made_with_other_settings_are_refused(
    smoke: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    shutil.copytree(smoke, tmp_path / "copy")
    monkeypatch.setitem(table2.SEEDS, "smoke", 4)
    assert main(["reproduce", "table2", *ALL[2:], "--out", str(tmp_path / "copy")]) == 2
    assert "seeds 4, got 2" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["whole", "artifact", "run"])
def test_results_of_another_version_are_refused(
    smoke: Path, tmp_path: Path, damage: str, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "copy"
    shutil.copytree(smoke, out)
    path = {"whole": out, "artifact": out / "theorem47", "run": out / "runs" / "lower-bound-0.1"}[
        damage
    ] / "environment.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 0}))
    assert main(["reproduce", "theorem47", *ALL[2:], "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert "expected run schema 1, got 0" in error
    assert sum(line.startswith("cgro reproduce:") for line in error.splitlines()) == 1


@pytest.mark.parametrize(
    ("args", "word"),
    [
        (["table9"], "expected one of table2"), (["--scale", "big"], "expected one of smoke, cpu, gpu, paper"),
        (["table2", "--minutes", "-1"], "--minutes"),
        (["table2", "--workers", "0"], "--workers"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(args: list[str], word: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["reproduce", *args, "--out", str(tmp_path / "r")]) == 2
    error = capsys.readouterr().err
    assert word in error
    assert error.count("\n") == 1
    assert not (tmp_path / "r").exists()


def test_missing_data_is_said_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("CGRO_DATA", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert main(["reproduce", "figure1", "--scale", "cpu", "--out", str(tmp_path / "r")]) == 2
    assert "cifar10" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("scale", "word"), [("gpu", "got none; what fits: smoke"), ("paper", "more than --max-hours 168")]
)
def test_a_scale_that_does_not_fit_says_its_cost(
    scale: str, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(cost, "check_data", lambda jobs: None)
    monkeypatch.setattr("cgro.experiments.reproduce.check_data", lambda jobs: None)
    monkeypatch.setattr(cost.train, "seconds_per_example", lambda config, batch: 2.0)
    assert main(["reproduce", "table1", "--scale", scale, "--device", "cpu", "--out", str(tmp_path / "r")]) == 2
    error = capsys.readouterr().err
    assert word in error
    assert "years" in error
    assert "cpu (about 5.0 h)" in error
    assert "floating point operations" in error


@pytest.mark.parametrize(("model", "width"), [("preactresnet", 4), ("lenet", 2)])
def test_operations_are_those_of_its_layers_and_of_the_passes_that_are_made(model: str, width: int) -> None:
    network = build(model, (3, 32, 32), 10, width=width).eval()
    config = train.Config(
        data="cifar10", model=model, width=width, n_train=100, epochs=3, radius="1e-9", precision="float32"
    )
    for attack in ("none", "fgsm", "pgd7", "pgd5x2"):
        asked = replace(config, attack=attack)
        passes = 3 + (passes_of(network, asked) if attack != "none" else 0)
        assert cost.operations(asked) == of_its_layers(network) * passes * 300, attack


def of_its_layers(network: nn.Module) -> int:
    """A pass of one CIFAR-10 image, counted by hand: two operations to a weight and output place."""
    counted: list[int] = []

    def count(layer: nn.Module, _: object, out: torch.Tensor) -> None:
        counted.append(2 * out.numel() * layer.weight[0].numel())  # type: ignore[union-attr]

    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    network(torch.zeros(1, 3, 32, 32))
    for hook in hooks:
        hook.remove()
    assert len(counted) > 3
    return sum(counted)


def passes_of(network: nn.Module, config: train.Config) -> float:
    """Passes and input gradients that the attack asks, by example, of a network which it cannot fool."""
    x, seen = torch.rand(4, 3, 32, 32), 0

    def count(_: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        nonlocal seen
        seen += len(inputs[0]) * (1 + inputs[0].requires_grad)

    y = network(x).argmax(1)
    with network.register_forward_pre_hook(count):
        config.crafting()(network, x, y)
    return seen / len(x)


def test_a_directory_of_something_else_is_refused(smoke: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["reproduce", "table2", "--scale", "cpu", "--out", str(smoke)]) == 2
    assert "of cgro reproduce smoke" in capsys.readouterr().err


def test_the_time_left_counts_down(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["reproduce", "theorem47", *ALL[2:], "--out", str(tmp_path / "r")]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("[")]
    assert [line.split("]")[0] for line in lines] == ["[1/2", "[2/2"]
    assert all("left" in line for line in lines)
