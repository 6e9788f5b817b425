"""Networks of other libraries as ours: images in [0, 1] in, plain logits or (B,) scores out."""

import difflib
import importlib
from typing import Any

import torch
from torch import Tensor, nn

from cgro._check import BadRequest, bad
from cgro.models.resnet import Standardize

INNER = "model."


class Logits(nn.Module):
    """out = f((x - mean) / std), or out.logits where f returns an object that has them, as those of transformers do.

    Its state dict has the keys of f alone: weights of the library fit ours, and ours fit the library.

    Args:
        model: f. mean, std: of each channel; None: x goes in as it is. scores: (B, 1) -> (B,), for binary tasks.

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
        self.standardize = nn.Identity() if mean is None or std is None else Standardize(mean, std)
        self.model, self.scores = model, scores
        self.register_state_dict_post_hook(_without_prefix)
        self.register_load_state_dict_pre_hook(_with_prefix)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, classes), or (B,) scores"""
        out = self.model(self.standardize(x))
        out = getattr(out, "logits", out)
        return out.squeeze(1) if self.scores and out.ndim == 2 else out


def _without_prefix(module: nn.Module, state: dict[str, Any], prefix: str, _: Any) -> None:
    for key in [k for k in state if k.startswith(prefix + INNER)]:
        state[prefix + key.removeprefix(prefix + INNER)] = state.pop(key)


def _with_prefix(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    for key in [k for k in state if k.startswith(prefix)]:
        state[prefix + INNER + key.removeprefix(prefix)] = state.pop(key)


def from_timm(name: str, shape: tuple[int, ...], n_outputs: int) -> Logits:
    """A network of timm, freshly initialized, with the library's mean and deviation inside.

    Networks of a fixed input size, such as vision transformers, are made for the size of the images. Where the number
    of channels is not that of the library's constants, inputs are centered by (x - 0.5) / 0.25.

    Args:
        name: timm's name, such as resnet18; a tag behind a dot changes the constants only. shape: (C, H, W).
        n_outputs: classes, or 1 for (B,) scores.

    Raises:
        BadRequest: timm or the torchvision that it imports is missing, no such network, none of this size.
    """
    timm = _timm()
    if not timm.is_model(name):
        near = ", ".join(difflib.get_close_matches(name, timm.list_models()))
        raise bad("--model", expected="a network that timm has", got=repr(name),
                  remedy=f"such as {near}" if near else "see timm.list_models()")  # fmt: skip
    channels, *size = shape
    try:
        constants = timm.models.get_pretrained_cfg(name)
        fixed = {"img_size": tuple(size)} if getattr(constants, "fixed_input_size", False) else {}
        model = timm.create_model(name, pretrained=False, num_classes=n_outputs, in_chans=channels, **fixed)
    except Exception as error:  # a network's own refusal, of any type
        line = " ".join(str(error).split())
        raise bad(f"timm:{name}", expected=f"a network for inputs of shape {shape}", got=line) from None
    mean, std = getattr(constants, "mean", ()), getattr(constants, "std", ())
    if not len(mean) == len(std) == channels:
        mean, std = (0.5,) * channels, (0.25,) * channels
    return Logits(model, tuple(mean), tuple(std), scores=n_outputs == 1)


def _timm() -> Any:
    """The package, or what of it is missing."""
    try:
        importlib.import_module("timm.models")
        return importlib.import_module("timm")
    except Exception as error:  # a torchvision for another torch fails with RuntimeError or OSError
        line = " ".join(str(error).split())
        if isinstance(error, ImportError) and (error.name or "").split(".")[0] == "timm":
            raise bad("--model", expected="the package timm", got=line, remedy="pip install 'cgro[timm]'") from None
        if "torchvision" in line:
            raise BadRequest(f"--model: expected a torchvision that fits torch {torch.__version__}, which timm imports, "
                             f"got: {line}; install that build, or use a network of cgro's") from None  # fmt: skip
        raise bad("--model", expected="a timm that can be imported", got=line, remedy="install it again") from None
