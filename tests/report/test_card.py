"""The card of a run: what `cgro report --json` prints, and one line where a file of the run is another's."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.report.runs import (
    COMPLETED,
    METRIC,
    checkpoints,
    diagnose_summary,
    diagnosis,
    flatness_record,
    make_run,
    only_test,
    places,
    replaced,
    settings,
    train_summary,
    training_rows,
)

from cgro._check import BadRequest
from cgro.report import page
from cgro.report.card import read_card, read_summary_of
from cgro.report.pictures import read_pictures
from cgro.results import FlatnessSummary, Metric, SeedsSummary, Summary
from cgro.runs import Run

SUMMARY = train_summary(
    metrics={
        "robust_error/test": METRIC,
        "clean_error/test": Metric(mean=0.25, sd=0.0, per_seed=[0.25, 0.25]),
        "flatness/gradient/test@0.1": Metric(value=float("inf")),
        "rise": Metric(value=0.1, p_value=0.0123),
    },
    curves={"ensemble": {"test": checkpoints()}},
    flatness=flatness_record(),
)


def run_in(folder: Path, summary: Summary = SUMMARY, rows: list[dict[str, Any]] | None = None) -> Run:
    config = {**settings("digits"), "radius": 0.1}
    return Run(make_run(folder, config=config, summary=summary, rows=training_rows() if rows is None else rows))


def test_a_card_is_the_run(tmp_path: Path) -> None:
    card = read_card(run_in(tmp_path / "run"))
    assert (card.name, card.command, card.verdict.label) == ("run", "train", "robust")
    error, mean, flat, rise = card.metrics
    assert (error.value, error.interval, error.n, error.attack) == (0.5, (0.4, 0.6), 60, "PGD")
    assert error.proves == "at least this: an attack found these examples"
    assert (mean.value, mean.n, mean.proves) == (0.25, "2 seeds", "mean over seeds, sd 0.00 points")
    assert mean.interval == (0.25, 0.25)
    assert (rise.n, rise.proves) == ("", "p = 0.012")
    assert flat.interval is None
    assert [(row.kind, row.place) for row in card.flatness] == [("gradient", "test@0.1")]
    assert card.curve("robust_error/test") == [row["robust_error/test"] for row in training_rows()]
    assert card.has("robust_error/test")
    assert not card.has("robust_error/validation")
    curves = card.flatness_curves
    assert curves is not None
    last = flatness_record().checkpoints[-1].parts["test"]
    assert curves.gradient["test"] == [metric.value for metric in last.gradient]


def test_the_machine_readable_card_is_strict_json_with_its_keys(tmp_path: Path) -> None:
    card = read_card(run_in(tmp_path / "run"), diagnosis("why"))
    found = json.loads(json.dumps(card.to_dict(), allow_nan=False))
    assert set(found) == {
        "name", "command", "verdict", "diagnosis", "facts", "threat", "outcome", "metrics", "curves", "references", "config",
        "environment", "flatness", "strong", "flatness_curves", "valley",
    }  # fmt: skip
    assert found["verdict"] == {"label": "robust_overfitting", "reason": "why"}
    assert found["curves"]["epoch"] == [1, 2, 3, 4, 5]
    assert found["curves"]["lr"] == [None] * 5
    assert found["metrics"][2] == {
        "key": "flatness/gradient/test@0.1",
        "value": "inf",
        "interval": None,
        "n": "",
        "proves": "",
        "attack": "",
    }
    assert found["strong"]["ensemble"]["test"][1]["value"] == 0.75
    assert found["flatness_curves"]["training_radius"] == 0.1
    assert found["diagnosis"]["lint"][0]["status"] == "WARN"


def test_what_a_run_has_not_is_empty(tmp_path: Path) -> None:
    summary = Summary(command="other", seed=0, threat=None, outcome=COMPLETED, verdict=None, metrics={})
    card = read_card(run_in(tmp_path / "run", summary, rows=[{"step": 1}]))
    found = card.to_dict()
    assert found["verdict"] == {"label": "none", "reason": "x"}
    empty = {key: found[key] for key in ("metrics", "curves", "references", "flatness", "strong", "flatness_curves")}
    assert not any(empty.values())
    assert empty["curves"] == {} == empty["flatness_curves"]


def test_several_seeds_are_their_mean(tmp_path: Path) -> None:
    summary = SeedsSummary(command="train", seed=0, threat=None, outcome=COMPLETED, verdict=None, metrics={}, n_seeds=2)
    run = run_in(tmp_path / "run", summary, rows=[])
    rows = training_rows()
    run_in(tmp_path / "run" / "seed-0", rows=rows)
    run_in(tmp_path / "run" / "seed-1", rows=[{**row, "robust_error/test": 0.0} for row in rows])
    assert read_card(run).curve("robust_error/test") == pytest.approx([row["robust_error/test"] / 2 for row in rows])


def test_flatness_of_several_runs_is_in_their_own_figures(tmp_path: Path) -> None:
    summary = FlatnessSummary(
        command="flatness",
        seed=0,
        threat=None,
        outcome=COMPLETED,
        verdict=None,
        metrics={},
        data=SUMMARY.data,
        flatness=[flatness_record(), flatness_record(seed=1)],
    )
    assert read_card(run_in(tmp_path / "run", summary)).flatness_curves is None


@pytest.mark.parametrize(
    "change",
    [{"checkpoints": []}, {"radii": [0.05, 0.1]}, {"radii": []}],
)
def test_flatness_that_does_not_fit_its_radii_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    record = msgspec.structs.replace(flatness_record(), **change)
    with pytest.raises(BadRequest, match=r"summary.json: expected .*(checkpoints|value for each of)"):
        read_card(run_in(tmp_path / "run", train_summary(flatness=record)))


def test_a_diagnose_run_without_a_diagnosis_is_refused(tmp_path: Path) -> None:
    summary = msgspec.structs.replace(diagnose_summary(diagnosis()), diagnoses=[])
    with pytest.raises(BadRequest, match="summary.json: expected one or more diagnoses"):
        read_summary_of(run_in(tmp_path / "run", summary))


# Shapes


WRONG = (..., None, "text", [], {}, -3.5, True, 1e308, "inf", 10**400)


@pytest.mark.parametrize(
    "summary",
    [
        msgspec.structs.replace(SUMMARY, flatness=only_test(flatness_record(n_epochs=1))),
        diagnose_summary(diagnosis()),
    ],
    ids=["train", "diagnose"],
)
def test_a_summary_of_another_shape_is_one_line_or_a_page(summary: Summary, tmp_path: Path) -> None:
    """Every place of a summary replaced by every wrong value: a page, or BadRequest that names the file."""
    run = run_in(tmp_path / "run", summary)
    whole = json.loads((run.path / "summary.json").read_text())
    refused = 0
    for place in places(whole):
        for wrong in WRONG:
            (run.path / "summary.json").write_text(json.dumps(replaced(whole, place, wrong)))
            try:
                found = read_summary_of(run)
                diagnoses = getattr(found, "diagnoses", None)
                card = read_card(run, diagnoses[0] if diagnoses else None)
                json.dumps(card.to_dict(), allow_nan=False)
                page.html([card], [read_pictures(run)])
            except BadRequest as error:
                refused += 1
                assert str(run.path) in str(error)
                assert "\n" not in str(error)
    assert refused > 100


@pytest.mark.parametrize("wrong", [[], "x", 3, None, [{}]])
def test_a_summary_that_is_no_object(wrong: Any, tmp_path: Path) -> None:
    run = run_in(tmp_path / "run")
    (run.path / "summary.json").write_text(json.dumps(wrong))
    with pytest.raises(BadRequest, match="summary.json"):
        read_card(run)


@pytest.mark.parametrize(
    "content", [b"[]", b"3", b"\xff\xfe", b"", b'{"a": ' * 600 + b"1" + b"}" * 600, b"{" * 100_000]
)
def test_a_damaged_environment_is_one_line(content: bytes, tmp_path: Path) -> None:
    run = run_in(tmp_path / "run")
    (run.path / "environment.json").write_bytes(content)
    with pytest.raises(BadRequest, match="environment.json"):
        read_card(run)


def test_every_stored_result_is_read() -> None:
    results = Path(__file__).parents[2] / "results"
    found = sorted(results.glob("**/summary.json"))
    assert found
    for path in found:
        read_summary_of(Run(path.parent))


def test_a_distance_is_bounded_the_other_way_than_an_error(tmp_path: Path) -> None:
    """An attack that finds a misclassified point says: at most this far. Of an error it says: at least so many."""
    metrics = {}
    for key in ("memory/flip_radius/test", "robust_error/test"):
        metrics[key] = Metric(value=0.5, n=60, bound="upper", attack="PGD")
    found = msgspec.structs.replace(SUMMARY, metrics=metrics)
    distance, error = read_card(run_in(tmp_path / "run", found)).metrics
    assert "an attack found" in distance.proves
    assert "certified" in error.proves
