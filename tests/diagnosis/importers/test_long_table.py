"""Long tables: one value a row; runs, parts, steps, and columns that the caller names."""

import numpy as np
from tests.cases import refused
from tests.diagnosis.formats import ACC, CTE, RTE, N, long_table

from cgro.diagnosis import Curves
from cgro.diagnosis.importers import Told, parse_map
from cgro.diagnosis.importers.base import Text
from cgro.diagnosis.importers.long_table import LongTable


def read(text: str, columns: str = "") -> list[Curves]:
    return LongTable().read(Text(text, "x"), Told.of(parse_map(columns)))


def test_several_runs_are_several_trainings() -> None:
    lines = ["run;metric;epoch;value"]
    for seed in range(3):
        lines += [f"seed{seed};test/adv_acc;{e};{0.3 + seed / 10}" for e in range(12)]
    found = read("\n".join(lines))
    assert [one.meta["group"] for one in found] == ["run seed0", "run seed1", "run seed2"]
    assert [round(one["robust_error/test"][0], 6) for one in found] == [0.7, 0.6, 0.5]


def test_steps_that_do_not_run_by_one_are_asked_for() -> None:
    """A test accuracy every 390 steps of the optimizer."""
    text = long_table().replace("train/lr", "lr")
    lines = [text.splitlines()[0]]
    for line in text.splitlines()[1:]:
        run, tag, step, value = line.split(",")
        lines.append(f"{run},{tag},{390 * int(step)},{value}")
    refused(lambda: read("\n".join(lines)), "epoch=step")
    (found,) = read("\n".join(lines), "epoch=step")
    assert np.allclose(found.measured("robust_error/test")[1], 1 - ACC[RTE], atol=1e-6)
    assert found.measured("robust_error/test")[0].tolist() == [390 * e for e in range(N)]


def test_columns_of_another_counter_are_left_out_unless_they_are_named() -> None:
    """A learning rate and a training accuracy of every batch beside evaluations by epoch."""
    lines = ["step,tag,value"]
    lines += [f"{e},test/adv_acc,{ACC[RTE][e]:.6f}" for e in range(N)]
    for step in range(20 * N):
        lines += [f"{step},train/acc,{0.3 + step / 2000}", f"{step},lr,{0.1 if step < N else 0.01}"]
    (found,) = read("\n".join(lines))
    assert found.epoch.tolist() == list(range(N))
    assert not found.has("lr")
    assert not found.has("clean_error/train")
    assert any("'lr', 'train/acc': left out" in remark for remark in found.remarks)
    (named,) = read("\n".join(lines), "robust_accuracy/test=test/adv_acc,clean_accuracy/train=train/acc,epoch=step")
    assert named.has("clean_error/train")


def test_an_epoch_among_the_tags_counts_for_its_step() -> None:
    """Lightning logs the epoch as a scalar beside the others, at steps of the optimizer."""
    lines = ["step,tag,value"]
    for e in range(N):
        lines += [f"{391 * e},epoch,{e}", f"{391 * e},val/adv_acc,{ACC[RTE][e]:.6f}"]
    (found,) = read("\n".join(lines))
    assert found.epoch.tolist() == list(range(N))
    assert np.allclose(found["robust_error/validation"], 1 - ACC[RTE], atol=1e-6)


def test_seeds_without_a_column_of_theirs_are_refused() -> None:
    lines = ["epoch,tag,value", *(f"{e},test/acc,{0.3 + seed / 10}" for seed in range(3) for e in range(12))]
    refused(lambda: read("\n".join(lines)), "3 trainings")


def test_the_value_column_of_one_tag_can_be_named() -> None:
    text = "Wall time,Step,Tag,Value\n" + "".join(f"1e9,{e},x,{ACC[CTE][e]:.6f}\n" for e in range(N))
    (found,) = read(text, "epoch=Step,clean_accuracy/test=Value")
    assert np.allclose(found["clean_error/test"], 1 - ACC[CTE], atol=1e-6)


def test_a_damaged_row_is_named_by_its_line() -> None:
    refused(lambda: read("run,tag,step,value\na,test/acc,1,0.5\nb,test/acc\n"), "line 3", "4 fields")


def test_the_last_column_for_the_value_would_be_seen() -> None:
    """A planted fault: the wall time in the value's place is no accuracy."""
    text = "run,tag,step,value,wall\n" + "".join(f"a,test/acc,{e},{ACC[CTE][e]:.6f},1000{e}\n" for e in range(N))
    wrong = text.replace("value,wall", "wall,value")
    assert np.allclose(read(text)[0]["clean_error/test"], 1 - ACC[CTE], atol=1e-6)
    refused(lambda: read(wrong), "fractions in [0, 1] or percent")


def test_other_columns_tell_rows_of_one_epoch_apart() -> None:
    """Blocks of fewer than ten epochs would else be a false start and the training."""
    for name, values in {"model": ("A", "B"), "eps": ("8", "4"), "method": ("AT", "TRADES")}.items():
        rows = [
            f"{e},{value},test_robust_acc,{0.3 + k / 10 + e / 100}" for k, value in enumerate(values) for e in range(8)
        ]
        refused(lambda name=name, rows=rows: read("\n".join([f"epoch,{name},metric,value", *rows])), f"column {name!r}")
    rows = [f"{e},host{e},test_robust_acc,{0.3 + e / 100}" for e in range(8)]
    assert read("\n".join(["epoch,host,metric,value", *rows]))[0]["robust_error/test"][0] == 0.7
