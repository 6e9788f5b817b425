"""The examples that a monitor evaluates: a fixed sample of each part, images in [0, 1], checked before training."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from cgro._check import bad
from cgro.data import Split
from cgro.data.overlap import overlap_remark
from cgro.definitions.examples import Sample, reads_once, take_examples
from cgro.definitions.inputs import conversion_of
from cgro.definitions.losses import labels_remedy
from cgro.definitions.threat import require_radius_fits
from cgro.diagnosis.monitor.settings import Settings, Statistics
from cgro.diagnosis.monitor.surroundings import channels
from cgro.results.records import Json
from cgro.writing import sha256

TRAIN, TEST, VALIDATION = NAMES = ("train", "test", "validation")
ROUNDED = 1e-3
"""How far outside of [0, 1] an image may be whose normalization was undone. A choice: some roundings of float16."""
UNDONE = "the normalization of these images was undone: the threat is measured in [0, 1]"


@dataclass(frozen=True)
class Parts:
    """Name -> examples, and what to tell about them.

    Attributes:
        samples: of train and test, and of validation where there is one.
        remarks: sentences, each with the name of the part.
    """

    samples: Mapping[str, Sample]
    remarks: tuple[str, ...]

    def record(self) -> dict[str, Json]:
        """Which examples these are, as `index_sets.json` has it.

        Returns:
            Positions of each part, and a digest of inputs and labels.
        """
        found: dict[str, Json] = {}
        for name in NAMES:
            found[name] = []
            if name in self.samples:
                found[name] = self.samples[name].index.tolist()
        return {**found, "sha256": self.digest()}

    def digest(self) -> str:
        """SHA-256 of inputs and labels.

        Returns:
            The digest in hexadecimal.
        """
        contents: list[bytes] = []
        for sample in self.samples.values():
            contents += [_bytes_of(sample.x), _bytes_of(sample.y)]
        return sha256(*contents)


def _bytes_of(tensor: torch.Tensor) -> bytes:
    if tensor.dtype == torch.bfloat16:  # which NumPy does not have
        tensor = tensor.view(torch.int16)
    return tensor.cpu().contiguous().numpy().tobytes()


def parts_of(given: Mapping[str, object], settings: Settings) -> Parts:
    """Take the sample of each part and check it.

    Args:
        given: name -> set of examples; see `cgro.definitions.examples.take_examples`.
        settings: number of examples, seed, normalization.

    Returns:
        The samples, on the CPU or where the caller has them, as images in [0, 1].

    Raises:
        BadRequest: images outside of [0, 1] (says what to do), parts of different shapes, no examples, labels that are
            no class numbers, a radius or a normalization that does not fit the images.
    """
    samples: dict[str, Sample] = {}
    remarks: list[str] = []
    for name, part in given.items():
        try:
            sample, told = _images(_taken(name, part, settings), settings)
        except ValueError as error:
            raise type(error)(f"{name} part: {error}") from None
        samples[name] = sample
        remarks += [f"{name} part: {text}" for text in told]
    shapes = {name: tuple(sample.x.shape[1:]) for name, sample in samples.items()}
    if len(set(shapes.values())) > 1:
        got = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise bad("examples", expected="one shape in all parts", got=got)
    for name, sample in samples.items():
        found = None
        if name != TRAIN:
            found = overlap_remark(name, sample.x, samples[TRAIN].x)
        if found is not None:
            remarks.append(found)
    return Parts(samples, tuple(remarks))


def _taken(name: str, part: object, settings: Settings) -> Sample:
    """The sample of a part: the examples that `cgro evaluate` takes of the same arrays.

    A `Split` is in a shuffled order already. Of anything else the test part is shuffled alike for every seed.
    """
    if reads_once(part):
        remedy = "give the data as tensors (x, y), or a stream that begins anew with every iter()"
        raise bad(
            "examples", expected="a set that can be read more than once", got="a stream of one reading", remedy=remedy
        )
    if isinstance(part, Split):
        return replace(take_examples(part.head(settings.n)), n_total=len(part))
    seed = settings.seed
    if name == TEST:
        seed = 0
    return take_examples(part, settings.n, seed=seed)


def _images(sample: Sample, settings: Settings) -> tuple[Sample, list[str]]:
    """The sample as images in [0, 1]."""
    x = sample.x
    if sample.y.ndim != 1:
        expected = "one number per example, shape (N,)"
        raise bad("labels", expected=expected, got=tuple(sample.y.shape), remedy=labels_remedy(sample.y.shape))
    if sample.y.is_floating_point() and not bool((sample.y.abs() == 1).all()):
        remedy = "use y.long()"
        raise bad("labels", expected="integers, or -1 and +1 for scores", got=sample.y.dtype, remedy=remedy)
    told = list(sample.remarks)
    if not x.is_floating_point():
        raise bad("inputs", expected="floating point in [0, 1]", got=x.dtype, remedy=conversion_of(x))
    require_radius_fits(settings.threat, x.shape[1:])
    if settings.normalize is not None and x.ndim > 1:
        channels(settings.normalize[0], x)  # refuses another number of them
    low, high = (float(value) for value in torch.aminmax(x))
    if settings.normalize is not None and (low < 0 or high > 1):
        x = _undone(x, settings.normalize)
        told.append(UNDONE)
    elif low < 0 or (1 < high <= 2):
        remedy = "these look normalized: give the images themselves, or say normalize=(mean, std) as the loop has it"
        got = f"values in [{low:.3g}, {high:.3g}]"
        raise bad("inputs", expected="images in [0, 1], in which the radius is measured", got=got, remedy=remedy)
    settings.threat.check_input(x)
    return replace(sample, x=x), told


def _undone(x: torch.Tensor, normalize: Statistics) -> torch.Tensor:
    mean, std = normalize
    image = x * channels(std, x) + channels(mean, x)
    low, high = (float(value) for value in torch.aminmax(image))
    if low < -ROUNDED or high > 1 + ROUNDED:
        got = f"values in [{low:.3g}, {high:.3g}] after x * std + mean"
        raise bad("inputs", expected="images in [0, 1]", got=got, remedy="is normalize=(mean, std) that of this data?")
    return image.clamp(0, 1)
