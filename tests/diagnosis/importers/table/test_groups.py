"""Groups of rows: parts of one training, its clean and attacked examples, seeds, and a training that was resumed."""

import json
import shlex

import numpy as np
import pytest
from tests.cases import refused
from tests.diagnosis.writers import four

from cgro.diagnosis import Curves
from cgro.diagnosis.importers import Told, parse_map
from cgro.diagnosis.importers.base import Text
from cgro.diagnosis.importers.delimited import Delimited
from cgro.diagnosis.importers.json_rows import JsonRows

N = 20
ACC = {key: (1 - values).tolist() for key, values in four(N).items()}
CLEAN, ROBUST = ACC["clean_error/test"], ACC["robust_error/test"]


def read_json(value: object, columns: str = "") -> list[Curves]:
    return JsonRows().read(Text(json.dumps(value), "x"), Told.of(parse_map(columns)))


def read_csv(text: str, columns: str = "") -> list[Curves]:
    return Delimited().read(Text(text, "x"), Told.of(parse_map(columns)))


def rows_of(head: str, **groups: list[float]) -> str:
    lines = [head]
    for name, values in groups.items():
        lines += [f"{name.replace('_', '-')},{e},{value:.6f}" for e, value in enumerate(values)]
    return "\n".join(lines)


@pytest.mark.parametrize(("clean", "robust"), [("clean", "pgd"), ("natural", "adversarial"), ("std/nat", "std/AA")])
def test_clean_and_attacked_examples_under_names_are_asked_for(clean: str, robust: str) -> None:
    """Read as two seeds, the second would be a clean error."""
    value = {clean: {"test_acc": CLEAN}, robust: {"test_acc": ROBUST}}
    text = refused(lambda: read_json(value), repr("run"), "one training", "save each of them alone")
    (found,) = read_json(value, shlex.split(text.rpartition("--map ")[2])[0])  # as pasted into a shell
    assert np.allclose(found["robust_error/test"], four(N)["robust_error/test"])
    assert np.allclose(found["clean_error/test"], four(N)["clean_error/test"])


@pytest.mark.parametrize("names", [("clean", "pgd20"), ("benign", "PGD_20"), ("fgsm", "pgd")])
def test_clean_and_attacked_rows_are_asked_for(names: tuple[str, str]) -> None:
    text = rows_of("run,epoch,test_acc", **{names[0]: CLEAN, names[1]: ROBUST})
    refused(lambda: read_csv(text), "say what was measured", "--map", "robust_accuracy/test=")


def test_trainings_of_such_names_stay_trainings_where_columns_say_what_is_measured() -> None:
    both = {"test_acc": CLEAN, "test_robust_acc": ROBUST}
    found = read_json({"standard": both, "adversarial": both})
    assert [one.meta["group"] for one in found] == ["run standard", "run adversarial"]
    for names in (("PGD-AT", "TRADES"), ("pgd-seed0", "pgd-seed1")):
        assert len(read_csv(rows_of("run,epoch,test_acc", **dict.fromkeys(names, CLEAN)))) == 2


def test_parts_under_names_are_one_training() -> None:
    value = {"train": {"acc": ACC["clean_error/train"], "pgd_acc": ACC["robust_error/train"]},
             "test": {"acc": CLEAN, "pgd_acc": ROBUST}}  # fmt: skip
    (found,) = read_json(value)
    for key, errors in four(N).items():
        assert np.allclose(found[key], errors), key
    assert any("parts of one training" in remark for remark in found.remarks)
    (found,) = read_csv(rows_of("run,epoch,robust acc", train=ACC["robust_error/train"], val=ROBUST))
    assert np.allclose(found["robust_error/validation"], four(N)["robust_error/test"], atol=1e-6)


# ------------------------------------------------------------------------------------ several trainings, or one resumed


def table(group: str, *blocks: range) -> list[Curves]:
    lines = [f"{group},epoch,test_robust_acc"]
    for n, epochs in enumerate(blocks):
        lines += [f"r{n},{e},0.{40 + e % 10}" for e in epochs]
    return read_csv("\n".join(lines))


@pytest.mark.parametrize(
    ("group", "blocks"),
    [
        ("run_id", [range(e, e + 1) for e in (100, 110, 118, 120, 128, 133)]),  # an export with one row a run
        ("seed", [range(30), range(30, 60), range(60, 90)]),  # one counter for all
        ("trial", [range(20), range(20, 40)]),
        ("run", [range(0, 40, 2), range(1, 40, 2)]),
        ("run", [range(20), range(100, 120)]),
    ],
)
def test_trainings_without_a_common_epoch_are_not_one(group: str, blocks: list[range]) -> None:
    found = table(group, *blocks)
    assert [one.epoch.tolist() for one in found] == [list(map(float, block)) for block in blocks]


def test_a_run_that_goes_on_under_another_name_is_one_training_and_that_is_said() -> None:
    for blocks in ([range(10), range(10, 30)], [range(0, 50, 5), range(55, 80, 5)], [range(20, 30), range(20)]):
        (found,) = table("run", *blocks)
        assert len(found) == sum(map(len, blocks))
        assert any("go on from each other" in remark for remark in found.remarks)


@pytest.mark.parametrize(("column", "parts"), [("split", ("train", "test")), ("type", ("Training", "Testing")),
                                               ("phase", ("train", "val")), ("subset", ("valid", "test"))])  # fmt: skip
def test_rows_of_parts_are_one_training(column: str, parts: tuple[str, str]) -> None:
    lines = [f"epoch,{column},clean_acc,pgd_acc"]
    for e in range(N):
        lines += [f"{e},{parts[0]},0.9,0.8", f"{e},{parts[1]},{CLEAN[e]:.6f},{ROBUST[e]:.6f}"]
    (found,) = read_csv("\n".join(lines))
    part = "validation" if parts[1] == "val" else "test"
    assert np.allclose(found[f"robust_error/{part}"], four(N)["robust_error/test"], atol=1e-6)
    assert np.allclose(found[f"clean_error/{part}"], four(N)["clean_error/test"], atol=1e-6)
    assert any("taken for parts of one training" in remark for remark in found.remarks)


def test_other_values_of_such_columns_are_no_parts() -> None:
    for values in (("train", "deploy"), ("a", "b"), ("train set 1", "test set 2")):
        lines = [f"epoch,split,test_acc,test_pgd_acc\n0,{values[0]},0.8,0.5\n0,{values[1]},0.7,0.4"]
        lines += [f"{e},{values[e % 2]},{CLEAN[e]},{ROBUST[e]}" for e in range(1, N)]
        assert not any("parts" in remark for one in read_csv("\n".join(lines)) for remark in one.remarks)
    text = "epoch,phase,attack,acc\n" + "".join(
        f"{e},train,pgd,0.8\n{e},test,none,{CLEAN[e]}\n{e},test,pgd,{ROBUST[e]}\n" for e in range(N)
    )
    refused(lambda: read_csv(text), "rows of one epoch differ by column", "'none' and 'pgd'")
