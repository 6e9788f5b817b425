"""A second data set in every batch: extra or generated images, labeled by a network.

Carmon, Raghunathan, Schmidt, Duchi and Liang, "Unlabeled data improves adversarial robustness" (NeurIPS 2019), by
pseudo-labels; Rebuffi, Gowal, Calian, Stimberg, Wiles and Mann (NeurIPS 2021) with generated images.
"""

import copy
import hashlib
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from cgro._check import bad, count, number
from cgro.data import Dataset, Split, augmentation_by_name
from cgro.definitions import Model, predict
from cgro.definitions.inputs import describe, logits_of
from cgro.runs import say
from cgro.training.extensions.base import Extension
from cgro.training.given import weights_digest
from cgro.training.recipe import Recipe
from cgro.training.step import Step

BATCH = 256
"""Images that are labeled at a time."""


class Extra(Extension):
    """The first round(ratio B) places of every batch are taken by images of a second data set.

    Which image comes is drawn with replacement, from a stream of the example whose place it takes; it is augmented and
    attacked as all are. An epoch has as many steps as without it. So a share 1 - ratio of the training set is passed in
    an epoch, and over the epochs all of it, as the order is new in each.

    Args:
        data: the second data set, whose training part is used; by its name on a command line.
        labels: a network whose predictions are the labels; by its run on a command line. None: the labels it has.
        ratio: share of a batch, in [0, 1]; a half as in Carmon et al.; 0.7 is common with generated images.
        n: images of it, at most; 0 for all.

    Raises:
        BadRequest: a number out of its range; before work: no data, another shape, other classes or outputs, images
            that are in the validation or test part as well. Such in the training part are counted and said.

    Example:
        >>> Extra(ratio=0.7)
        Extra(data=none, labels=its own, ratio=0.7, n=0)
    """

    capturable = True
    brings_examples = True

    def __init__(
        self, data: Dataset | None = None, labels: Model | None = None, ratio: float = 0.5, n: int = 0
    ) -> None:
        self.ratio = number(ratio, "extra: ratio", low=0.0, high=1.0)
        self.n = count(n, "extra: n", low=0)
        if labels is not None and not callable(labels):
            raise bad("extra: labels", expected="a network", got=describe(labels))
        if isinstance(labels, nn.Module):
            labels = copy.deepcopy(labels).eval().requires_grad_(False)
        self._data = data
        self._network = labels
        self._made: tuple[Step, Tensor, Tensor] | None = None

    def __repr__(self) -> str:
        """With its parameters."""
        name = "none" if self._data is None else self._data.name
        labels = "its own" if self._network is None else "of a network"
        return f"Extra(data={name}, labels={labels}, ratio={self.ratio}, n={self.n})"

    def given(self) -> dict[str, str]:
        """Which data and which network; see `cgro.training.given`.

        Returns:
            Digests.
        """
        found: dict[str, str] = {}
        if self._data is not None:
            found |= {"data": self._data.sha256}
        if isinstance(self._network, nn.Module):
            found |= {"labels": weights_digest(self._network)}
        return found

    def prepare(self, model: nn.Module, recipe: Recipe, data: Dataset) -> None:
        """Refuse what does not fit, and label the images.

        Args:
            model: unused.
            recipe: says how images are augmented.
            data: whose parts must be other images.

        Raises:
            BadRequest: see the class.
        """
        if self._data is None:
            raise bad("extra", expected="a second data set", got="none", remedy="name it, extra:data=NAME")
        if self._data.shape != data.shape:
            raise bad("extra", expected=f"images of shape {data.shape}", got=self._data.shape)
        if self._network is None and self._data.classes != data.classes:
            expected = f"the classes {', '.join(data.classes)}"
            remedy = "have them labeled, extra:labels=RUN"
            raise bad("extra", expected=expected, got=", ".join(self._data.classes), remedy=remedy)
        second = self._data.train
        if self.n:
            second = second.head(self.n)
        _require_others(second, data)
        second = second.to(data.train.device)
        if self._network is not None:
            second = replace(second, y=labeled(self._network, second, data))
        self._second = second
        self._augment = augmentation_by_name(recipe.augment)
        self._made = None

    def around(self, step: Step, compute: Callable[[], Tensor]) -> Tensor:
        """Gradients on the mixed batch.

        Args:
            step: the batch, which is put back.
            compute: sets the gradients of the objective.

        Returns:
            The loss on it.

        Raises:
            BadRequest: labels that an outer extension has made soft.
        """
        if step.targets is not None:
            raise bad("extra", expected="plain labels", got="soft ones", remedy="name it before the others")
        if self._made is None or self._made[0] is not step:
            self._made = (step, *self.mixed(step))
        before = (step.x, step.y)
        _, step.x, step.y = self._made
        try:
            return compute()
        finally:
            step.x, step.y = before

    def mixed(self, step: Step) -> tuple[Tensor, Tensor]:
        """The batch with its first places taken.

        Args:
            step: the batch.

        Returns:
            x, (B, *S), and y, (B,).
        """
        # Places of the whole batch, of which several processes have a part each.
        n = max(0, min(len(step.y), round(self.ratio * step.n_batch) - step.first))
        u = step.streams("extra").uniform(1)[:n, 0]
        x, y = self._second.batch((u * len(self._second)).long())
        places = torch.arange(n, device=step.y.device)
        x = self._augment(x, generator=step.streams("extra: augment").rows(places))
        return torch.cat([x.to(step.x.dtype), step.x[n:]]), torch.cat([y, step.y[n:]])


def labeled(network: Model, images: Split, data: Dataset) -> Tensor:
    """Pseudo-labels.

    Args:
        network: (B, *S) -> outputs, in evaluation mode.
        images: to be labeled.
        data: of the training: its outputs.

    Returns:
        (N,) labels of the task.

    Raises:
        BadRequest: a network with other outputs.
    """
    device = images.device
    if isinstance(network, nn.Module):
        network.to(device)
    found: list[Tensor] = []
    for start in range(0, len(images), BATCH):
        rows = torch.arange(start, min(start + BATCH, len(images)), device=device)
        with torch.no_grad():
            outputs = logits_of(network(images.batch(rows)[0]))
        n_outputs = 1 if outputs.ndim == 1 else outputs.shape[1]
        if n_outputs != data.n_outputs:
            raise bad("extra: labels", expected=f"a network with {data.n_outputs} outputs", got=n_outputs)
        found.append(predict(outputs))
    return torch.cat(found).to(images.y.dtype)


def _require_others(second: Split, data: Dataset) -> None:
    """Refuse images that are evaluated on as well, and say how many are trained on anyway."""
    digests = image_digests(second)
    for name, part in (("test", data.test), ("validation", data.validation)):
        n_same = sum(digest in digests for digest in image_digests(part))
        if n_same:
            got = f"{n_same} of its {name} images among them"
            raise bad("extra", expected=f"images that are not those of {data.name}", got=got, remedy="leave them out")
    n_same = sum(digest in digests for digest in image_digests(data.train))
    if n_same:
        say(f"remark: {n_same} of the {len(data.train)} training images are in the second data set as well")


def image_digests(split: Split) -> set[bytes]:
    """What tells images apart, in 8 bits.

    Args:
        split: of any type.

    Returns:
        A digest per different image.
    """
    found: set[bytes] = set()
    for start in range(0, len(split), BATCH):
        raw = split.part(slice(start, start + BATCH)).raw
        if raw.is_floating_point():
            raw = (raw * 255).round().to(torch.uint8)
        found.update(hashlib.sha256(image.numpy().tobytes()).digest() for image in raw.cpu())
    return found


def extra_by_name(read: Callable[[str, bool], Dataset], teacher: Callable[[str, str], Model]) -> Callable[..., Extra]:
    """The factory of `Extra` for texts, which name data and run.

    Args:
        read: (name, whether its own labels count) -> data set, in the latter case with the task of the training.
        teacher: (run, what for) -> network with its weights.

    Returns:
        Called as factory(data="images.npz", labels="runs/a", ...).
    """

    def make(data: str = "", labels: str = "", ratio: float = 0.5, n: int = 0) -> Extra:
        network = teacher(labels, "extra: labels") if labels else None
        second = read(data, network is None) if data else None
        return Extra(second, network, ratio, n)

    return make
