"""`cgro reproduce all --scale smoke` once, then everything about it: page, resumption, planted claims, bad input."""

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from msgspec.structs import replace
from tests.test_interrupt import wait_for

from cgro.cli import main
from cgro.experiments import figure1, table2, theorem47
from cgro.experiments.claims import DERIVED, NOT_REPRODUCED, Claim, Ruling
from cgro.experiments.document import main as write_document
from cgro.experiments.registry import ARTIFACTS, names
from cgro.jobs.store import Store
from cgro.jobs.workspace import Workspace
from cgro.report import artifacts, reproduction
from cgro.results import ArtifactSummary, ReproduceSummary
from cgro.runs import Run

ALL = ["reproduce", "all", "--scale", "smoke", "--threads", "1"]


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything at smoke: about three minutes."""
    path = tmp_path_factory.mktemp("smoke") / "all"
    assert main([*ALL, "--out", str(path), "--store", str(path.parent / "results")]) == 0
    return path


NOT_AT_SMOKE = {"optimizers"}
"""Figures that need networks which the smallest scale does not train."""


def test_every_artifact_has_results_and_the_page_shows_them(smoke: Path) -> None:
    page, text = (smoke / "index.html").read_text(), (smoke / "index.md").read_text()
    for artifact in ARTIFACTS:
        result = Run(smoke / artifact.NAME).read(ArtifactSummary)
        assert artifact.TITLE in page
        assert artifact.TITLE in text
        assert result.claims
        assert isinstance(result.provenance, list)
        assert all(row.torch and row.machine for row in result.provenance)
        assert sum(len(row.runs) for row in result.provenance) == len(artifact.jobs("smoke"))
        drawn = set(artifact.CAPTIONS) - NOT_AT_SMOKE
        assert {figure.file for figure in result.figures} == {f"figures/{name}.svg" for name in drawn}
        for file in ("config.yaml", "environment.json", "findings.json"):
            assert (smoke / artifact.NAME / file).exists()
    places = [text.index(f"## {artifact.TITLE}") for artifact in ARTIFACTS]
    assert places == sorted(places)
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
    write_document(root.parent, root.parent / "page.md")
    text = (root.parent / "page.md").read_text()
    assert "](smoke/figure2ab/figures/mnist.svg)" in text
    assert "as far as they are trained" not in text


def test_stored_networks_are_listed_with_means_over_their_seeds(smoke: Path, tmp_path: Path) -> None:
    (table1,) = (artifact for artifact in ARTIFACTS if artifact.NAME == "table1")
    store = Store(tmp_path / "cpu")
    for job in table1.jobs("smoke"):
        store.keep(job, smoke / "runs")
    errors = []
    for seed in range(2):
        summary = Run(smoke / f"runs/cifar10-w3/seed-{seed}").summary
        errors.append(summary["metrics"]["robust_error/test"]["value"])
    mean = 100 - 50 * sum(errors)
    (row,) = [line for line in reproduction.networks(tmp_path / "cpu", "cpu") if "`cifar10-w3`" in line]
    assert row.split(" | ")[1] == "2"
    assert row.split(" | ")[3].startswith(f"{mean:.2f} (")
    assert row.rstrip(" |").endswith("1 seed")


def test_findings_are_read_from_the_store_as_from_here(smoke: Path, tmp_path: Path) -> None:
    planned = figure1.jobs("smoke")
    store = Store(tmp_path / "store")
    for job in planned:
        store.keep(job, smoke / "runs")
    elsewhere = Workspace(tmp_path / "elsewhere", planned, store=store)
    assert elsewhere.missing(planned) == []
    assert figure1.run("smoke", elsewhere) == figure1.run("smoke", Workspace(smoke))


def test_a_second_call_makes_nothing_and_changes_nothing(smoke: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {p: p.read_bytes() for p in smoke.rglob("*") if p.is_file()}
    assert main([*ALL, "--out", str(smoke)]) == 0
    assert "(cgro " not in capsys.readouterr().err
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
    smoke: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "copy"
    shutil.copytree(smoke, out)
    monkeypatch.setattr(theorem47, "PAPER", replace(theorem47.PAPER, growth="linear"))
    assert main([*ALL[:1], "theorem47", *ALL[2:], "--out", str(out)]) == 1
    assert "theorem47/floor" in capsys.readouterr().err
    assert "NOT REPRODUCED" in (out / "index.md").read_text()
    claims = {claim.name: claim.verdict for claim in Run(out / "theorem47").read(ArtifactSummary).claims}
    assert claims["theorem47/floor"] == NOT_REPRODUCED


def test_no_other_verdict_than_a_refutation_exits_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["reproduce", "theorem47", "--scale", "smoke", "--out", str(tmp_path / "out")]
    assert main(words) == 0
    claims = Run(tmp_path / "out" / "theorem47").read(ArtifactSummary).claims
    assert DERIVED in {claim.verdict for claim in claims}
    check = theorem47.check
    for verdict in get_args(Ruling):

        def planted(*given: object, verdict: Ruling = verdict) -> list[Claim]:
            return [dataclasses.replace(claim, verdict=verdict) for claim in check(*given)]  # type: ignore[arg-type]

        monkeypatch.setattr(theorem47, "check", planted)
        assert main(words) == (1 if verdict == NOT_REPRODUCED else 0), verdict
        found = Run(tmp_path / "out").read(ReproduceSummary).verdict
        assert found
        assert (found.label, found.reason) == (verdict, f"3 {verdict}")


def test_killed_again_and_again_it_ends_in_the_same_page(smoke: Path, tmp_path: Path) -> None:
    """Killed when a training has begun, when another has written an epoch, and when an evaluation has begun."""
    out = tmp_path / "killed"
    chosen = ["hierarchy", "figure1"]
    command = [sys.executable, "-m", "cgro.cli", "reproduce", ",".join(chosen), *ALL[2:], "--out", str(out)]
    for marker in ("cifar10-*/seed-0/config.yaml", "cifar10-*/seed-1/metrics.jsonl", "evaluations/*/config.yaml"):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        wait_for(lambda marker=marker: any((out / "runs").glob(marker)), process)
        process.kill()
        process.wait()
    assert not (out / "figure1").exists()
    assert main(command[3:]) == 0
    undisturbed = tmp_path / "undisturbed"
    for name in chosen:
        shutil.copytree(smoke / name, undisturbed / name)
        assert (out / name / "findings.json").read_bytes() == (undisturbed / name / "findings.json").read_bytes()
    pages = []
    for folder in (out, undisturbed):
        groups = artifacts.in_order(artifacts.results_of(folder, names()), names())
        pages.append(reproduction.markdown(groups, folder))
    assert pages[0] == pages[1]
    assert (out / "index.md").read_text().endswith(pages[0])


def test_a_slice_stops_resumable(tmp_path: Path) -> None:
    out = tmp_path / "slice"
    assert main(["reproduce", "table2", *ALL[2:], "--out", str(out), "--minutes", "0.001"]) == 130
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert not (out / "summary.json").exists()


def test_runs_made_with_other_settings_are_refused(
    smoke: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(smoke, tmp_path / "copy")
    monkeypatch.setitem(table2.SEEDS, "smoke", 4)
    assert main(["reproduce", "table2", *ALL[2:], "--out", str(tmp_path / "copy")]) == 2
    assert "seeds 4, got 2" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["whole", "artifact", "run"])
def test_results_of_another_version_are_refused(
    smoke: Path, tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
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
        (["table9"], "expected one of table1"),
        (["--scale", "big"], "expected one of smoke, cpu, gpu, paper"),
        (["table2", "--minutes", "-1"], "--minutes"),
        (["table2", "--workers", "0"], "--workers"),
    ],
)
def test_bad_input_is_one_line(args: list[str], word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", *args, "--out", str(tmp_path / "r")]) == 2
    error = capsys.readouterr().err
    assert word in error
    assert error.count("\n") == 1
    assert not (tmp_path / "r").exists()


def test_missing_data_is_said_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CGRO_DATA", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert main(["reproduce", "figure1", "--scale", "cpu", "--out", str(tmp_path / "r")]) == 2
    assert "cifar10" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_a_directory_of_something_else_is_refused(smoke: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "table2", "--scale", "cpu", "--out", str(smoke)]) == 2
    assert "of cgro reproduce smoke" in capsys.readouterr().err


def test_the_time_left_counts_down(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "theorem47", *ALL[2:], "--out", str(tmp_path / "r")]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("[")]
    assert [line.split("]")[0] for line in lines] == ["[1/2", "[2/2"]
    assert all("left" in line for line in lines)


def test_help_names_every_artifact_and_group(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"artifacts: {', '.join(names())}." in said
    assert "groups: all, theory" in said
