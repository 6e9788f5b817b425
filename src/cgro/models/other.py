"""Networks of other libraries as ours: images in [0, 1] in, plain logits or (B,) scores out."""

import difflib
import importlib
from types import ModuleType

import torch
from torch import Tensor, nn

from cgro._check import BadRequest, bad
from cgro.models.resnet import UNKNOWN_MEAN, UNKNOWN_STD, Standardize

INNER = "model."
"""What the keys of the wrapped module would begin with."""


class Logits(nn.Module):
    """out = f((x - mean) / std), or out.logits where f returns an object that has them, as those of transformers do.

    Its state dict has the keys of f alone: weights of the library fit ours, and ours fit the library.

    Args:
        model: f.
        mean: of each channel; None: x goes in as it is.
        std: of each channel; None: x goes in as it is.
        scores: for binary tasks: (B, 1) -> (B,), and two logits z -> z1 - z0, positive where class +1 wins.

    Example:
        >>> model = Logits(nn.Sequential(nn.Flatten(), nn.Linear(3, 2)), (0.5,) * 3, (0.25,) * 3)
        >>> model(torch.zeros(4, 3, 1, 1)).shape, list(model.state_dict())
        (torch.Size([4, 2]), ['1.weight', '1.bias'])
    """

    def __init__(
        self,
        model: nn.Module,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        *,
        scores: bool = False,
    ) -> None:
        super().__init__()
        if mean is None or std is None:
            self.standardize = nn.Identity()
        else:
            self.standardize = Standardize(mean, std)
        self.model = model
        self.scores = scores
        self.register_state_dict_post_hook(_without_prefix)
        self.register_load_state_dict_pre_hook(_with_prefix)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, whatever the wrapped network wraps them in.

        Args:
            x: (B, C, H, W).

        Returns:
            (B, classes), or (B,) scores.
        """
        out = self.model(self.standardize(x))
        out = getattr(out, "logits", out)
        if not self.scores or out.ndim != 2:
            return out
        if out.shape[1] == 2:
            return out[:, 1] - out[:, 0]
        return out.squeeze(1)


def _without_prefix(module: nn.Module, state: dict[str, object], prefix: str, *_: object) -> None:
    """On saving: the keys of the wrapped module without `INNER`, in place, as torch's hooks do."""
    wrapped = [key for key in state if key.startswith(prefix + INNER)]
    for key in wrapped:
        state[prefix + key.removeprefix(prefix + INNER)] = state.pop(key)


def _with_prefix(module: nn.Module, state: dict[str, object], prefix: str, *_: object) -> None:
    """On loading: the reverse."""
    own = [key for key in state if key.startswith(prefix)]
    for key in own:
        state[prefix + INNER + key.removeprefix(prefix)] = state.pop(key)


def from_timm(name: str, shape: tuple[int, ...], n_outputs: int) -> Logits:
    """A network of timm, freshly initialized, with the library's mean and deviation inside.

    Networks of a fixed input size, such as vision transformers, are made for the size of the images. Where the number
    of channels is not that of the library's constants, inputs are centered by (x - 0.5) / 0.25.

    Args:
        name: timm's name, such as resnet18; a tag behind a dot changes the constants only.
        shape: (C, H, W).
        n_outputs: classes, or 1 for (B,) scores.

    Returns:
        The network, wrapped.

    Raises:
        BadRequest: timm or the torchvision that it imports is missing, no such network, none of this size.
    """
    timm = _timm()
    if not timm.is_model(name):
        near = ", ".join(difflib.get_close_matches(name, timm.list_models()))
        remedy = f"such as {near}" if near else "see timm.list_models()"
        raise bad("--model", expected="a network that timm has", got=repr(name), remedy=remedy)
    channels, height, width = shape
    try:
        constants = timm.models.get_pretrained_cfg(name)
        options: dict[str, object] = {}
        if getattr(constants, "fixed_input_size", False):
            options.update(img_size=(height, width))
        model = timm.create_model(name, pretrained=False, num_classes=n_outputs, in_chans=channels, **options)
    except Exception as error:  # a network's own refusal, of any type
        line = " ".join(str(error).split())
        raise bad(f"timm:{name}", expected=f"a network for inputs of shape {shape}", got=line) from None
    mean = tuple(getattr(constants, "mean", ()))
    std = tuple(getattr(constants, "std", ()))
    if not len(mean) == len(std) == channels:
        mean = UNKNOWN_MEAN * channels
        std = UNKNOWN_STD * channels
    return Logits(model, mean, std, scores=n_outputs == 1)


def _timm() -> ModuleType:
    """The package, or what of it is missing."""
    try:
        importlib.import_module("timm.models")
        return importlib.import_module("timm")
    except Exception as error:  # a torchvision for another torch fails with RuntimeError or OSError
        raise _explained(error) from None


def _explained(error: Exception) -> BadRequest:
    line = " ".join(str(error).split())
    if isinstance(error, ImportError) and (error.name or "").partition(".")[0] == "timm":
        return bad("--model", expected="the package timm", got=line, remedy="pip install 'cgro[timm]'")
    if "torchvision" in line:
        return BadRequest(
            f"--model: expected a torchvision that fits torch {torch.__version__}, which timm imports, got: {line}; "
            "install that build, or use a network of cgro's"
        )
    return bad("--model", expected="a timm that can be imported", got=line, remedy="install it again")
