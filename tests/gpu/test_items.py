"""The list of slices: what each item is, and that what is committed decides which is next."""

from pathlib import Path

import pytest
from tests.jobs.runs import evaluation, make, training, workspace
from tools.gpu.items import TABLE, Item, chosen, folder_of, items

from cgro._check import BadRequest
from cgro.experiments import networks
from cgro.experiments.networks import configuration
from cgro.jobs.store import Store
from cgro.runs import write_atomic

GPU = {item.name: item for item in items("gpu")}


def test_the_list_is_that_of_the_issue_in_its_order() -> None:
    assert list(GPU)[:7] == ["a", "b-0", "b-0-memory", "b-1", "b-1-memory", "b-2", "b-2-memory"]
    letters = [name[0] for name in GPU]
    assert letters == sorted(letters)
    widths = ("x4", "x8", "x16", "x32", "x128", "wrn1", "wrn5")
    assert [name for name in GPU if name[0] == "d"][:7] == [f"d-{width}-0" for width in widths]
    assert [name for name in GPU if name[0] == "c"] == [
        f"c-{name}-{seed}" for name in ("awp", "ema", "awp-ema") for seed in range(3)
    ]
    assert len([name for name in GPU if name[0] == "e"]) == 12


def test_figure_1_is_rices_recipe_compressed() -> None:
    config = configuration(networks.compressed(GPU["b-0"].trainings[0], 45))
    assert (config.model, config.width, config.data, config.n_train) == ("preactresnet", 64, "cifar10", None)
    assert (config.attack, config.step_size, config.radius) == ("pgd10", "2/255", "8/255")
    assert (config.lr, config.batch_size, config.weight_decay, config.augment) == (0.1, 128, 5e-4, "crop-flip")
    assert (config.epochs, config.lr_drops, config.keep_every) == (45, "18,36", 9)
    assert (config.eval_attack, config.eval_every, config.eval_n) == ("pgd10", 2, 2000)
    assert config.eval_n <= 0.05 * 50_000  # of validation too
    attacks = [(job.settings.get("attack"), job.settings.get("n")) for job in GPU["b-0"].jobs[1:3]]
    assert attacks == [("pgd10", 1000), ("ensemble", 1000)]
    assert str(GPU["b-0"].jobs[-1].settings["target"]).endswith("best_validation.safetensors")


def test_other_items_differ_from_figure_1_in_what_they_are_called_for() -> None:
    plain = GPU["b-0"].trainings[0].settings
    both = GPU["c-awp-ema-0"].trainings[0].settings
    assert both == {**plain, "extension": ["awp", "ema"]}
    # The network that is evaluated is the averaged one.
    assert "evaluated.safetensors" in str(GPU["c-ema-1"].jobs[2].settings["target"])
    assert "last.safetensors" in str(GPU["c-awp-1"].jobs[2].settings["target"])
    assert GPU["d-x128-2"].trainings[0].settings == {**plain, "width": 128, "seed": 2}
    wide = configuration(GPU["d-wrn5-0"].trainings[0])
    assert (wide.model, wide.width, wide.epochs) == ("wrn-34-5", None, 60)
    lenets = GPU["e-x16-warm"]
    assert [configuration(job).seed for job in lenets.trainings] == [0, 1, 2]
    assert lenets.at_once == 3
    lenet = configuration(lenets.trainings[0])
    assert (lenet.data, lenet.n_train, lenet.attack, lenet.radius, lenet.epochs) == ("mnist", None, "pgd40", "0.3", 100)


def test_what_is_stored_is_done_and_the_next_is_open(tmp_path: Path) -> None:
    net = training(0)
    judged = evaluation("a", net)
    found = [Item("a", "table", ()), Item("b", "net", (net, judged)), Item("c", "other", (training(1),))]
    store = Store(tmp_path / "store")
    weights = tmp_path / "weights"
    assert chosen(found, store, weights, None).name == "a"
    write_atomic(store.root / TABLE, b"{}")
    assert chosen(found, store, weights, None).name == "b"
    make(workspace(tmp_path / "r", [net, judged], store), net)
    # The network is stored, its weights are not here, and the evaluation reads them: the item waits.
    assert [job.name for job in found[1].open_jobs(store)] == ["a"]
    assert chosen(found, store, weights, None).name == "c"
    with pytest.raises(BadRequest, match="--item: expected weights of net/seed-0, got none; carry them"):
        chosen(found, store, weights, "b")
    folder_of(weights, net.name).mkdir(parents=True)
    assert chosen(found, store, weights, None).name == "b"
    make(workspace(tmp_path / "r", [net, judged], store), judged)
    assert found[1].is_done(store)
    with pytest.raises(BadRequest, match="expected an open item, got b, whose results are in"):
        chosen(found, store, weights, "b")
    with pytest.raises(BadRequest, match="none: all results are committed"):
        chosen(found[:2], store, weights, None)
    summary = store.root / "runs" / net.name / "summary.json"
    write_atomic(summary, summary.read_bytes().replace(b'"seed": 0', b'"seed": 1'))
    with pytest.raises(BadRequest, match="summary.json: not as it was written"):
        chosen(found, store, weights, None)


def test_an_item_that_reads_a_network_of_another_waits_for_its_weights(tmp_path: Path) -> None:
    second = GPU["b-1-memory"]
    assert second.needs == ["cifar10-w64/seed-1"]
    assert [job.command for job in second.jobs] == ["train", "flatness", "memory"]
    assert second.trainings == []  # without an attack it takes the epochs of the robust one
    with pytest.raises(BadRequest, match="only items that wait for weights: b-1-memory"):
        chosen([second], Store(tmp_path), tmp_path, None)
    with pytest.raises(BadRequest, match="expected one of b-1-memory, got 'b-9'"):
        chosen([second], Store(tmp_path), tmp_path, "b-9")
