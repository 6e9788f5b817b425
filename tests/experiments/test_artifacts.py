"""Verdicts of every artifact: findings in which the paper is right, planted wrong paper values, shuffled results."""

import copy
import itertools
from typing import Any

import pytest
from tests.experiments.found import TRUE

from cgro.definitions import attack_by_name
from cgro.experiments import (
    bound,
    figure1,
    figure2ab,
    figure2c,
    figure3,
    figure4,
    hierarchy,
    memory,
    table1,
    table2,
    theorem44,
    theorem47,
)
from cgro.experiments.claims import NOT_REPRODUCED, PARTLY, REPRODUCED, UNTESTED
from cgro.experiments.jobs import SCALES, unique

EXPECTED = {"table2/clean_test": PARTLY, "table2/robust_test": PARTLY, "table2/within_theorem": NOT_REPRODUCED}
"""Where the paper being right is not `reproduced`: calibrated settings, and the regime in which 17.5% is impossible."""
WRONG_PAPER: list[tuple[Any, dict[str, Any], str]] = [
    (table1, {**table1.PAPER, "cifar10": {**table1.PAPER["cifar10"], 10: (60.0, 50.08, 99.57)}}, "table1/cifar10_x10_clean_test"),
    (table1, {**table1.PAPER, "mnist": {**table1.PAPER["mnist"], 8: (80.0, 11.35, 11.70)}}, "table1/mnist_x8_constant"),
    (table2, {**table2.PAPER, "clean_test": 60.0}, "table2/clean_test"),
    (table2, {**table2.PAPER, "robust_train": 50.0}, "table2/robust_train"),
    (figure1, {**figure1.PAPER, "robust_test": "falling"}, "figure1/robust_test"),
    (figure2c, {**figure2c.PAPER, "order": ("memorization_start", "memorization_end", "signal_growth_end")}, "figure2c/stages"),
    (figure3, {**figure3.PAPER, "kink": 100.0}, "figure3/cifar10_rise_kink"),
    (figure3, {**figure3.PAPER, "corner": "away from the radius"}, "figure3/cifar10_rise_corner"),
    (figure4, {**figure4.PAPER, "correlation": "negative"}, "figure4/correlation"),
    (figure4, {**figure4.PAPER, "global": "falling"}, "figure4/global"),
    (bound, {**bound.PAPER, "side": "below the gap"}, "bound/cifar10"),
    (theorem44, {**theorem44.PAPER, "power_of_ND": 2.0}, "theorem44/size"),
    (theorem44, {**theorem44.PAPER, "robust_test_above": 0.95}, "theorem44/robust_test"),
    (theorem47, {**theorem47.PAPER, "growth": "linear"}, "theorem47/floor"),
    (theorem47, {**theorem47.PAPER, "robust_test_limit": 0.0}, "theorem47/toy"),
    (hierarchy, {"order": ("floor", "memorizer", "clean")}, "hierarchy/order"),
    (memory, {**memory.PAPER, "score": "below 0"}, "memory/mnist_score"),
    (memory, {**memory.PAPER, "who": "far from the boundary"}, "memory/cifar10_who"),
    (memory, {**memory.PAPER, "ordered": False}, "memory/cifar10_stages"),
]  # fmt: skip

STILL_HOLD = {
    "theorem44/size": "18 of 21 checks hold (not: p = inf, p = 2, p = 1)",
    "theorem47/toy": "1 of 2 checks hold (not: radius 0.1: towards 0)",
}
"""Claims with checks that the wrong value does not concern: these hold, all others must fail. Such a claim is `partly`."""


@pytest.mark.parametrize("artifact", TRUE, ids=lambda a: a.NAME)
def test_a_world_in_which_the_paper_is_right(artifact: Any) -> None:
    for claim in artifact.check(TRUE[artifact], artifact.PAPER):
        assert claim.verdict == EXPECTED.get(claim.name, REPRODUCED), (claim.name, claim.reason)
        assert claim.rule
        assert claim.reason
        assert claim.ours


@pytest.mark.parametrize(("artifact", "paper", "name"), WRONG_PAPER, ids=lambda v: v if isinstance(v, str) else "")
def test_a_wrong_paper_value_is_not_reproduced(artifact: Any, paper: dict[str, Any], name: str) -> None:
    claims = {c.name: c for c in artifact.check(TRUE[artifact], paper)}
    if name in STILL_HOLD:
        assert claims[name].verdict == PARTLY
        assert claims[name].reason.startswith(STILL_HOLD[name])
    else:
        assert claims[name].verdict == NOT_REPRODUCED


def shuffled(artifact: Any) -> tuple[dict[str, Any], str]:
    """Findings with two of their columns exchanged, and the claim that must notice."""
    found = copy.deepcopy(TRUE[artifact])
    if artifact in (table1, figure2ab):
        found["cifar10"]["1"], found["cifar10"]["10"] = found["cifar10"]["10"], found["cifar10"]["1"]
        return found, f"{artifact.NAME}/cifar10_rises"
    if artifact is table2:
        p = found["presets"]
        p["table2"], p["control"] = p["control"], p["table2"]
        return found, "table2/robust_test"
    if artifact is figure1:
        found["robust_test_after"], found["robust_test_end"] = found["robust_test_end"], found["robust_test_after"]
        return found, "figure1/robust_test"
    if artifact is figure2c:
        stages = found["theorem"]["stages"]
        stages["signal_growth_end"], stages["memorization_start"] = (
            stages["memorization_start"],
            stages["signal_growth_end"],
        )
        return found, "figure2c/late"
    if artifact is figure3:
        for curve in found["data"]["cifar10"]:
            parts = curve["parts"]
            parts["train"], parts["test"] = parts["test"], parts["train"]
        return found, "figure3/cifar10_rise_train"
    if artifact is figure4:
        found["local"], found["global"] = found["global"], found["local"]
        return found, "figure4/global"
    if artifact is bound:
        part = found["data"]["mnist"]
        part["bound"], part["gap"] = part["gap"], part["bound"]
        return found, "bound/mnist"
    if artifact is memory:
        for rows in found["data"]["mnist"]["quarters"].values():
            rows[:] = [row[::-1] for row in rows]
        return found, "memory/mnist_who"
    if artifact is theorem44:
        for task in found["tasks"].values():
            task["clean_error"] = task["robust_low"]
        return found, "theorem44/clean"
    if artifact is theorem47:
        part = found["radii"]["0.1"]
        part["floor"] = part["memorizer"]
        return found, "theorem47/floor"
    found["memorizer"], found["floor"] = found["floor"], found["memorizer"]
    return found, "hierarchy/order"


@pytest.mark.parametrize("artifact", TRUE, ids=lambda a: a.NAME)
def test_a_shuffled_result_is_not_reproduced(artifact: Any) -> None:
    found, name = shuffled(artifact)
    assert {c.name: c.verdict for c in artifact.check(found, artifact.PAPER)}[name] == NOT_REPRODUCED


def test_orders_are_judged_on_warmed_up_networks_only_where_all_widths_have_them() -> None:
    plain, warm = {"1": "a", "4": "b"}, {"1-warm": "c", "4-warm": "d", "1-sgd-warm": "e", "1-long": "f"}
    assert table1.judged_widths(plain | warm) == {1: "c", 4: "d"}
    assert table1.judged_widths(plain | {"1-warm": "c"}) == {1: "a", 4: "b"}


def test_a_parabola_has_no_corner() -> None:
    found = copy.deepcopy(TRUE[figure3])
    for curve in found["data"]["cifar10"]:
        curve["parts"]["train"]["rise"] = [r**2 for r in curve["radii"]]
    verdicts = {c.name: c.verdict for c in figure3.check(found)}
    assert verdicts["figure3/cifar10_rise_kink"] == REPRODUCED
    assert verdicts["figure3/cifar10_rise_corner"] == NOT_REPRODUCED


def test_a_vacuous_bound_is_partly() -> None:
    found = copy.deepcopy(TRUE[bound])
    found["data"]["mnist"]["vacuous"] = [True] * 3
    verdicts = {c.name: c for c in bound.check(found)}
    assert verdicts["bound/mnist"].verdict == PARTLY
    assert "vacuous" in verdicts["bound/mnist"].reason


def test_what_is_gained_on_training_images_alone_is_no_order() -> None:
    found = copy.deepcopy(TRUE[table1])
    narrow, wide = found["cifar10"]["5"], found["cifar10"]["10"]
    assert claimed(found) == REPRODUCED
    narrow["robust_test"] = [
        v + 0.5 for v in wide["robust_test"]
    ]  # robust training accuracy rises, but the gap by more
    assert claimed(found) == NOT_REPRODUCED
    narrow["clean_test"] = [v - 3.0 for v in wide["clean_test"]]
    assert claimed(found) == UNTESTED


def claimed(found: dict[str, Any]) -> str:
    return {c.name: c.verdict for c in table1.check(found)}["table1/cifar10_order_at_fixed_clean"]


def test_the_table_of_starts_counts_those_that_learned_and_shows_only_what_they_reached() -> None:
    findings = copy.deepcopy(TRUE[table1])
    mixed = {"clean_test": [90.9, 11.35, 92.8], "robust_test": [57.7, 11.35, 73.8], "robust_train": [66.5, 11.7, 85.0]}
    findings["mnist"]["1-sgd-warm"] = findings["mnist"]["1"] | mixed
    (starts,) = [t for t in table1.tables(findings) if t["name"] == "starts"]
    rows = {(row[0], row[2]): row[3:] for row in starts["rows"]}
    assert rows["x1", "SGD, warm"] == ["2 of 3", "90.9 to 92.8", "57.7 to 73.8", "66.5 to 85.0"]
    assert rows["x1", "plain"] == ["0 of 3", "", "", ""]
    assert [row[0] for row in starts["rows"]] == ["x1", "x1", "x1", "x8", "x12", "x16"]


@pytest.mark.parametrize("artifact", [figure1, figure3, figure4, table1, bound, memory], ids=lambda a: a.NAME)
def test_smoke_judges_nothing_that_was_trained(artifact: Any) -> None:
    claims = artifact.check({**TRUE[artifact], "scale": "smoke"}, artifact.PAPER)
    assert {c.verdict for c in claims} == {UNTESTED}


@pytest.mark.parametrize("artifact", TRUE, ids=lambda a: a.NAME)
def test_tables_and_figures_of_every_artifact(artifact: Any, tmp_path) -> None:
    for table in artifact.tables(TRUE[artifact]):
        assert table["rows"]
        assert {len(row) for row in table["rows"]} == {len(table["columns"])}
    if artifact in (figure2c, figure3, figure4, theorem47, hierarchy):
        return  # drawn by their commands
    from cgro.experiments.jobs import Home

    artifact.draw(TRUE[artifact], tmp_path, Home(tmp_path))
    drawn = {p.stem for p in tmp_path.glob("*.svg")}
    assert drawn == set(artifact.CAPTIONS) - {"regions"}


def test_runs_are_shared_and_names_are_unique() -> None:
    for scale in SCALES:
        jobs = [a.jobs(scale) for a in TRUE]
        assert len(unique(j for own in jobs for j in own)) < sum(map(len, jobs)) * 0.7
    networks = {j.name for j in figure1.jobs("cpu") if j.command == "train"}
    for artifact in (figure3, figure4, bound, table1):
        assert networks <= {j.name for j in artifact.jobs("cpu")}
    assert {j.name for j in table1.jobs("cpu")} == {j.name for j in figure2ab.jobs("cpu")}


def test_a_width_is_judged_while_its_networks_are_there() -> None:
    own = [next(iter(job.reads), job.name).partition("/")[0] for job in table1.jobs("cpu")]
    assert len(list(itertools.groupby(own))) == len(set(own)) == 20


def test_cpu_scale_fits_its_budget() -> None:
    jobs = unique(j for a in TRUE for j in a.jobs("cpu"))
    assert max(j.seconds for j in jobs if j.command == "train") <= 15 * 60
    assert sum(j.seconds for j in jobs) <= 6 * 3600


@pytest.mark.parametrize("scale", SCALES)
def test_every_job_is_a_valid_request(scale: Any) -> None:
    for job in unique(j for a in TRUE for j in a.jobs(scale)):
        config = job.module().Config(**job.settings)
        if job.command == "train":
            config.recipe()
            assert config.crafting().threat.radius == (0 if config.attack == "none" else config.threat().radius)
            attack_by_name(config.eval_attack, config.threat())
