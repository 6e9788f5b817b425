"""Images on a disk give what images in memory give, in bounded memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from tests.cases import refused
from tests.data.samples import PIXELS, class_folders, gray_png, parquet_file, refused_in_little_memory

from cgro.data import Dataset, load
from cgro.data.images import Images
from cgro.data.streamed import AHEAD, Ahead, Streamed, decoding_threads
from cgro.definitions import PGD, ThreatModel
from cgro.models import build
from cgro.training import Adversarial, Evaluation, Recipe, fit
from cgro.training.evaluation import errors_on, shares_on

ATTACK = PGD(ThreatModel("inf", 0.05), n_steps=2)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CGRO_CACHE", str(tmp_path / "cache"))


@pytest.fixture(params=["folder", "parquet"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    root = tmp_path / "own"
    if request.param == "folder":
        return class_folders(root)
    parquet_file(root / "train-00000-of-00002.parquet", rows=slice(7))
    parquet_file(root / "train-00001-of-00002.parquet", rows=slice(7, 12))
    parquet_file(root / "test.parquet")
    return str(root)


def both(source: str, **options: object) -> tuple[Dataset, Dataset]:
    held = load(source, stream="no", **options)  # type: ignore[arg-type]
    streamed = load(source, stream="yes", **options)  # type: ignore[arg-type]
    assert (held.train.streamed, streamed.train.streamed) == (False, True)
    assert (held.on_disk, streamed.on_disk) == (False, True)
    return held, streamed


def test_a_split_answers_alike(source: str) -> None:
    held, streamed = both(source, validation=0.2, seed=3)
    assert (held.shape, held.classes, held.note) == (streamed.shape, streamed.classes, streamed.note)
    assert held.sha256 != streamed.sha256
    assert load(source, stream="yes").sha256 == streamed.sha256
    assert any("are read from the disk" in remark for remark in streamed.remarks)
    for part in ("train", "validation", "test"):
        a, b = getattr(held, part), getattr(streamed, part)
        assert torch.equal(a.index, b.index)
        assert torch.equal(a.y, b.y)
        assert (a.shape, a.dtype, a.device, len(a)) == (b.shape, b.dtype, b.device, len(b))
        rows = torch.randperm(len(a))
        for one, other in zip(a.batch(rows), b.batch(rows), strict=True):
            assert torch.equal(one, other)
        assert torch.equal(a.raw, b.raw)
        assert torch.equal(a.x, b.x)
        assert torch.equal(a.head(2).x, b.head(2).x)
        assert torch.equal(a.part(rows[:2]).raw, b.to(torch.device("cpu")).part(rows[:2]).raw)


def test_a_training_holds_no_part_as_a_whole(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A set that is streamed may not fit; all images at once are refused then."""
    _, data = both(source, validation=0.2)

    def refuse(images: Streamed) -> torch.Tensor:
        raise AssertionError("all images at once")

    monkeypatch.setattr(Streamed, "all", refuse)
    model = build("mlp", data.shape, data.n_outputs, width=8)
    for compiling in ("auto", "no"):
        recipe = Recipe(epochs=1, batch_size=4)
        trajectory = fit(
            model, data, Adversarial(ATTACK), recipe, evaluation=Evaluation(ATTACK, n=7), compiling=compiling
        )
        assert len(trajectory.steps) == 1


@pytest.mark.parametrize(
    "recipe", [Recipe(epochs=2, batch_size=4, augment="crop1-flip"), Recipe(epochs=2, batch_size=5)]
)
def test_training_and_evaluation_are_bit_equal(source: str, recipe: Recipe) -> None:
    weights, rows = [], []
    for data in both(source, validation=0.2):
        model = build("mlp", data.shape, data.n_outputs, width=8)
        trajectory = fit(model, data, Adversarial(ATTACK), recipe, evaluation=Evaluation(ATTACK, n=7))
        weights.append(model.state_dict())
        rows.append({key: values.tolist() for key, values in trajectory.values.items() if "seconds" not in key})
        model.eval()
        rows.append({name: (e.wrong, e.n) for name, e in errors_on(model, data.test, ATTACK, 9, "test").items()})
        rows.append({"shares": shares_on(model, data.test, 9)})
    assert rows[:3] == rows[3:]
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name])


def images_of(values: np.ndarray, path: Path) -> Images:
    contents = []
    for value in values:
        Image.fromarray(value.transpose(1, 2, 0)).save(path)
        contents.append(path.read_bytes())
    return Images(contents, lambda row: f"image {row}", sizes=np.array([len(c) for c in contents]))


@pytest.mark.parametrize("n_threads", [1, 3, 8])
def test_what_is_decoded_ahead_is_what_is_asked_for(tmp_path: Path, n_threads: int) -> None:
    ahead = Ahead(images_of(PIXELS, tmp_path / "x.png"), n_threads)
    batches = list(np.random.default_rng(0).permutation(12).reshape(4, 3))
    ahead.begin(batches)
    for k, rows in enumerate(batches):
        assert np.array_equal(ahead.take(rows[::-1]), PIXELS[rows[::-1]])  # another one: does not lose its turn
        if k == 2:
            ahead.begin(batches[2:])  # as a new epoch does in the middle of one
        assert np.array_equal(ahead.take(rows), PIXELS[rows])
    assert np.array_equal(ahead.take(batches[0]), PIXELS[batches[0]])
    assert ahead.take(np.array([], np.int64)).shape == (0, 3, 6, 5)


def test_no_more_is_decoded_ahead_than_was_said(tmp_path: Path) -> None:
    asked: list[int] = []
    images = images_of(PIXELS, tmp_path / "x.png")

    class Counting(list[bytes]):
        def __getitem__(self, row):  # type: ignore[override]
            asked.append(row)
            return super().__getitem__(row)

    images.encoded = Counting(images.encoded[row] for row in range(len(images)))
    _ = images.form
    asked.clear()
    ahead = Ahead(images, 1)
    ahead.begin(np.arange(12).reshape(6, 2))
    ahead.take(np.array([0, 1]))
    ahead.take(np.array([2, 3]))
    assert len(set(asked)) <= 2 * (2 + AHEAD)


def test_a_broken_image_is_named_at_its_first_use(tmp_path: Path) -> None:
    root = Path(class_folders(tmp_path / "own"))
    few = load(class_folders(tmp_path / "few"), stream="yes")
    model = build("mlp", few.shape, few.n_outputs, width=8)
    broken = tmp_path / "few" / "train" / "bee" / "07.png"
    content = broken.read_bytes()
    about = broken.stat()
    broken.write_bytes(content[:-30] + bytes(30))
    os.utime(broken, ns=(about.st_atime_ns, about.st_mtime_ns))
    refused(lambda: fit(model, few, Adversarial(ATTACK), Recipe(epochs=1, batch_size=4)), "bee/07.png", "damaged")
    first = root / "train" / "cat" / "02.png"
    first.write_bytes(first.read_bytes()[:30])
    refused(lambda: load(str(root), stream="yes"), "cat/02.png", "damaged")


def test_images_of_other_sizes_are_refused_or_scaled(tmp_path: Path) -> None:
    root = Path(class_folders(tmp_path / "own"))
    gray_png(root / "train" / "bee" / "01.png", "RGB", (9, 4))  # the first of its class
    refused(lambda: load(str(root), stream="yes"), "bee/01.png", "6x5 as the first image", "--image-size")
    held, streamed = both(str(root), image_size=4)
    assert (held.shape, held.note) == ((3, 4, 4), "own (images cut and scaled to 4x4)")
    assert torch.equal(held.train.raw, streamed.train.raw)
    other = load(str(root), stream="yes", image_size=3)
    assert len({held.sha256, streamed.sha256, other.sha256}) == 3


def test_the_largest_centered_square_is_scaled(tmp_path: Path) -> None:
    """Columns 0..7 of one value each: the square is columns 2..5, and a new pixel is the mean over its area or so."""
    wide = np.broadcast_to(np.arange(0, 80, 10, dtype=np.uint8)[None, None, :], (3, 4, 8))
    tall = wide.transpose(0, 2, 1)
    images = images_of(np.ascontiguousarray(wide)[None], tmp_path / "x.png")
    scaled = Images(images.encoded, images.name_of, sizes=images.sizes, side=4)[[0]]
    assert np.array_equal(scaled[0], wide[:, :, 2:6])
    images = images_of(np.ascontiguousarray(tall)[None], tmp_path / "x.png")
    halved = Images(images.encoded, images.name_of, sizes=images.sizes, side=2)[[0]]
    assert halved.shape == (1, 3, 2, 2)
    assert (halved[0, 0, :, 0] // 10).tolist() == [2, 4]


def test_all_at_once_is_refused_where_the_memory_is_short(tmp_path: Path) -> None:
    for label in "ab":
        for k in range(40):
            (tmp_path / "set" / label).mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng(k).integers(0, 256, (1, 1, 3), np.uint8)
            Image.fromarray(np.broadcast_to(noise, (900, 900, 3)).copy()).save(tmp_path / "set" / label / f"{k}.bmp")
    data = load(str(tmp_path / "set"), stream="yes")
    assert refused_in_little_memory(lambda: data.train.x, "memory that are left", "a/0.bmp and 63 more")
    assert data.train.batch(torch.tensor([5]))[0].shape == (1, 3, 900, 900)


PEAK = """
import json, resource, sys
from pathlib import Path
import torch
from cgro.data import load
from cgro.definitions import FGSM, ThreatModel
from cgro.models import build
from cgro.training import Adversarial, Recipe, fit
def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) << 10
torch.set_num_threads(1)
small = load(sys.argv[1], stream="yes")
model = build("mlp", small.shape, small.n_outputs, width=2)
fit(model, small, Adversarial(FGSM(ThreatModel("inf", 0.05))), Recipe(epochs=1, batch_size=32))
before = peak()
data = load(sys.argv[2], stream=sys.argv[3])
fit(model, data, Adversarial(FGSM(ThreatModel("inf", 0.05))), Recipe(epochs=1, batch_size=32))
print(json.dumps({"grown": peak() - before, "held": len(data.train) * 3 * 64 * 64}))
"""


def test_memory_is_bounded(tmp_path: Path) -> None:
    """2,000 images of 64x64 take 25 MB decoded; streamed, the peak of a process grows by a fraction of that."""
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.bmp")
    content = (tmp_path / "x.bmp").read_bytes()
    for name, n in (("small", 40), ("large", 1000)):
        for label in "ab":
            (tmp_path / name / label).mkdir(parents=True)
            for k in range(n):
                (tmp_path / name / label / f"{k:04}.bmp").write_bytes(content)
    grown = {}
    for stream in ("yes", "no"):
        command = [sys.executable, "-c", PEAK, str(tmp_path / "small"), str(tmp_path / "large"), stream]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout)
        grown[stream] = found["grown"]
        assert found["held"] == 1600 * 3 * 64 * 64
    assert grown["yes"] < 8 << 20
    assert grown["no"] > 19 << 20, "the check would see it"


UNPACKING = """
import json, os, sys
from pathlib import Path
os.environ["CGRO_CACHE"] = sys.argv[1]
import torch
from cgro.data import load
def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) << 10
load(sys.argv[2], stream="yes")
before = peak()
load(sys.argv[3], stream=sys.argv[4])
print(peak() - before)
"""


def test_memory_is_bounded_while_a_table_is_unpacked(tmp_path: Path) -> None:
    """64 row groups of a megabyte each: their number does not count. Over several groups pyarrow keeps what it has read."""
    pixels = np.random.default_rng(0).integers(0, 256, (60, 59, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.bmp")
    image = {"bytes": (tmp_path / "x.bmp").read_bytes(), "path": None}
    for name, n in (("small", 400), ("large", 6400)):
        (tmp_path / name).mkdir()
        table = pa.table({"image": [image] * n, "label": [0, 1] * (n // 2)})
        path = tmp_path / name / "train.parquet"
        pq.write_table(table, path, row_group_size=100, use_dictionary=False, compression="none")
    grown = {}
    for stream in ("yes", "no"):
        words = [str(tmp_path / name) for name in ("cache", "small", "large")]
        command = [sys.executable, "-c", UNPACKING, *words, stream]
        grown[stream] = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert grown["yes"] < 16 << 20
    assert grown["no"] > 64 << 20, "the check would see it"


def test_threads_are_shared_between_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1000")
    assert decoding_threads() == 1
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "none")
    assert 1 <= decoding_threads() <= 16


def test_a_streamed_part_keeps_its_device(tmp_path: Path) -> None:
    streamed = Streamed(images_of(PIXELS, tmp_path / "x.png"), np.arange(12), torch.device("meta"))
    assert streamed.part(slice(3)).device == torch.device("meta")
    assert streamed.take(torch.tensor([1])).shape == (1, 3, 6, 5)
