"""Data sets of the hub: from a cache as it lies on disk, and without the network."""

from pathlib import Path

import pytest
from tests.data.samples import in_cache, load_refused, parquet_file

from cgro.data import load


def test_hub_ids_from_the_cache(no_network: Path) -> None:
    parquet_file(in_cache(no_network, "owner/own") / "data" / "train-00000-of-00001.parquet")
    data = load("owner/own")
    assert (data.name, data.note, data.classes, len(data.train)) == (
        "owner/own",
        "owner/own (Hugging Face) (no test part: a fifth of train)",
        ("ant", "bee", "cat"),
        10,
    )
    assert load("owner/own", download=False).sha256 == data.sha256
    converted = in_cache(no_network, "owner/converted", "refs/convert/parquet")
    for config in ("fine", "coarse"):
        parquet_file(converted / config / "train" / "0000.parquet")
        parquet_file(converted / config / "test" / "0000.parquet")
    assert len(load("owner/converted:fine").test) == 12
    load_refused("one configuration, of coarse, fine, got several; write it behind the id", "owner/converted")
    load_refused("of coarse, fine, got medium", "owner/converted:medium")


def test_mnist_and_cifar10_from_the_cache_have_numbers_for_classes(
    no_network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CGRO_DATA", raising=False)
    folders = in_cache(no_network, "uoft-cs/cifar10") / "plain_text", in_cache(no_network, "ylecun/mnist") / "mnist"
    for name, note, place in (("cifar10", "CIFAR-10", folders[0]), ("mnist", "MNIST", folders[1])):
        parquet_file(place / "train-00000-of-00001.parquet", column="img")
        load_refused(f"{name}: expected a training and a test part", name)
        parquet_file(place / "test-00000-of-00001.parquet", column="img")
        data = load(name, classes="0,2")
        assert (data.note, data.classes, data.n_outputs) == (note, ("0", "2"), 1)


@pytest.mark.parametrize("download", [True, False])
def test_no_network_is_one_line(monkeypatch: pytest.MonkeyPatch, download: bool) -> None:
    monkeypatch.delenv("CGRO_DATA", raising=False)
    got = "no network and nothing in the cache" if download else "nothing in the cache"
    load_refused(
        f"owner/own: expected a folder here, or a data set.*got {got}.*HF_HOME", "owner/own", download=download
    )
    load_refused(f"got {got}.*--data mnist5k", "mnist", download=download)
    load_refused(f"got {got}.*set CGRO_DATA", "cifar10", download=download)


def test_what_the_hub_answers_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its errors as its library raises them, without the network."""
    from unittest.mock import MagicMock

    import huggingface_hub
    from huggingface_hub import errors

    answer = MagicMock()
    for error, words in (
        (errors.RepositoryNotFoundError("404\nnot found", response=answer), "expected a folder here or an id that the Hugging Face hub has, got neither"),
        (errors.GatedRepoError("403", response=answer), "hf auth login"),
        (errors.RevisionNotFoundError("404", response=answer), "expected a data set with parquet files, got none there"),
        (errors.HfHubHTTPError("500\nserver", response=answer), "no network and nothing in the cache .HfHubHTTPError."),
        (OSError("a time-out"), "no network and nothing in the cache .OSError."),
    ):  # fmt: skip

        def answering(*_: object, error: Exception = error, **__: object) -> None:
            raise error

        monkeypatch.setattr(huggingface_hub, "snapshot_download", answering)
        load_refused(words, "owner/own")
