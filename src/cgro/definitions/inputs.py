"""What callers hand in, made into what the searches compute with: ordinary tensors, labels as int64.

The one place that converts: NumPy arrays, integers of any width, other precisions, pairs in tuples and dictionaries.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from types import MethodType
from typing import ParamSpec, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from cgro._check import FEWER_BITS, WHITE, bad, listed, white_of

P = ParamSpec("P")
Result = TypeVar("Result")
Network = Callable[[Tensor], Tensor]
LOW_PRECISION = (torch.float16, torch.bfloat16)
INPUTS = ("x", "image", "images", "img", "pixel_values", "input", "inputs", "data", "features")
LABELS = ("y", "label", "labels", "target", "targets", "fine_label")
"""Keys under which dictionaries of examples have inputs and labels: ours, and those of data sets in the field."""


def ordinary_tensors(function: Callable[P, Result]) -> Callable[P, Result]:
    """Run a function outside inference mode, whatever mode its caller is in.

    Tensors made in inference mode carry no gradients, and `torch.enable_grad` does not change that: a search called
    there would find every network not differentiable.

    Args:
        function: any.

    Returns:
        The same function. Tensors that it returns are ordinary ones.

    Example:
        >>> @ordinary_tensors
        ... def slope(x):
        ...     with torch.enable_grad():
        ...         x = x.clone().requires_grad_()
        ...         return torch.autograd.grad((x * x).sum(), x)[0]
        >>> with torch.inference_mode():
        ...     slope(torch.tensor([3.0]))
        tensor([6.])
    """

    @functools.wraps(function)
    def outside(*args: P.args, **kwargs: P.kwargs) -> Result:
        if not torch.is_inference_mode_enabled():
            return function(*args, **kwargs)
        with torch.inference_mode(False):
            return function(*args, **kwargs)

    return outside


def as_inputs(x: Tensor | np.ndarray) -> Tensor:
    """Inputs that belong to no graph and may be differentiated by.

    Args:
        x: (B, *S) tensor or NumPy array. An array of float64 becomes float32: NumPy makes that type unasked.

    Returns:
        (B, *S), sharing memory with x unless x was made in inference mode or is an array.

    Raises:
        BadRequest: x is no tensor, a single number, sparse, nested, quantized, of 8 bits a number, or has no values.

    Example:
        >>> as_inputs(torch.ones(2, requires_grad=True) * 3)
        tensor([3., 3.])
        >>> as_inputs(np.array([[0.25]]))
        tensor([[0.2500]])
    """
    if isinstance(x, np.ndarray):
        x = _of_array(x, "inputs")
        if x.dtype == torch.float64:
            x = x.float()
    _require_tensor(x, "inputs", remedy="convert them, as in torch.as_tensor(x)")
    if not x.ndim:
        raise bad("inputs", expected="one per example, shape (N, ...)", got="a single number")
    if x.is_floating_point() and x.dtype not in (*LOW_PRECISION, torch.float32, torch.float64):
        # The points found would be rounded to it, and leave the ball.
        raise bad("inputs", expected="float16, bfloat16, float32 or float64", got=x.dtype, remedy="use x.float()")
    if x.is_meta:
        raise bad("inputs", expected="values", got="a tensor on the meta device", remedy="make them anew")
    x = x.detach()
    return x.clone() if x.is_inference() else x


def as_labels(y: Tensor | np.ndarray, device: torch.device) -> Tensor:
    """Labels that index: integers of any width, and booleans as 0 and 1, become int64; floating point stays.

    Args:
        y: (B,) tensor or NumPy array. An array has no device of its own and goes to that of the inputs.
        device: of the inputs.

    Returns:
        (B,), sharing memory with y where nothing has to change.

    Raises:
        BadRequest: y is no tensor, a single number, complex, or lies on another device.

    Example:
        >>> as_labels(torch.tensor([0, 7], dtype=torch.uint8), torch.device("cpu"))
        tensor([0, 7])
    """
    if isinstance(y, np.ndarray):
        y = _of_array(y, "labels").to(device)
    _require_tensor(y, "labels", remedy="convert them, as in torch.as_tensor(y)")
    if not y.ndim:
        raise bad("labels", expected="one per example, shape (N,)", got="a single number", remedy="use y.reshape(1)")
    if y.is_complex():
        raise bad("labels", expected="integers", got=y.dtype)
    if y.device != device:
        raise bad("labels", expected=f"the device of the inputs, {device}", got=y.device, remedy="use y.to(x.device)")
    y = y.detach()
    if not y.is_floating_point():
        y = y.long()
    return y.clone() if y.is_inference() else y


def as_examples(part: object) -> tuple[Tensor, Tensor]:
    """Inputs and labels of a set in any usual form.

    Args:
        part: a pair, a dictionary with one key of `INPUTS` and one of `LABELS`, or an object with attributes x and y.
            Of a DataLoader or a Dataset `cgro.definitions.examples.take_examples` reads the examples.

    Returns:
        (N, *S) inputs and (N,) labels, see `as_inputs` and `as_labels`.

    Raises:
        BadRequest: another value, such as a list of three, or a dictionary that does not say which is which.

    Example:
        >>> as_examples({"image": np.zeros((2, 3)), "label": np.array([4, 5], dtype="uint8")})[1]
        tensor([4, 5])
    """
    given_x, given_y = pair_of(part)
    x = as_inputs(given_x)  # type: ignore[arg-type]  # whatever it is: `as_inputs` refuses the rest
    return x, as_labels(given_y, x.device)  # type: ignore[arg-type]


def pair_of(part: object) -> tuple[object, object]:
    """What holds the inputs and what holds the labels of a set, as they are.

    Args:
        part: see `as_examples`.

    Returns:
        Both, not converted.

    Raises:
        BadRequest: see `as_examples`.

    Example:
        >>> pair_of({"label": [1], "image": [0.5], "path": ["a.png"]})
        ([0.5], [1])
    """
    expected = "(x, y), or a dictionary with x and y"
    if isinstance(part, Mapping):
        x_keys = [key for key in INPUTS if key in part]
        y_keys = [key for key in LABELS if key in part]
        if len(x_keys) != 1 or len(y_keys) != 1:
            got = f"the keys {', '.join(map(str, part))}"
            raise bad("examples", expected=expected, got=got, remedy="give the pair (x, y)")
        return part[x_keys[0]], part[y_keys[0]]
    if isinstance(part, Sequence) and len(part) == 2:
        return part[0], part[1]
    if hasattr(part, "x") and hasattr(part, "y"):
        return getattr(part, "x"), getattr(part, "y")  # noqa: B009
    got = describe(part)
    if isinstance(part, Sequence) and not isinstance(part, str):
        got += f" of {len(part)}"
    raise bad("examples", expected=expected, got=got)


def in_full_precision(model: Network, x: Tensor) -> tuple[Network, Tensor]:
    """Inputs in float32 or float64, and the network as a function of them.

    Points that a search rounds to float16 or bfloat16 leave the ball: near 1 these are 2^-11 and 2^-8 apart, of a
    radius of 8/255 up to an eighth. So the search runs in float32, and a network of low precision rounds its own input,
    as it would in use. Converting float32 to float64 is exact; float64 inputs of a float32 network are rounded once.

    Args:
        model: (B, *S) -> (B, C) or (B,).
        x: (B, *S) floating point; integers are given back as they are.

    Returns:
        The network, behind a conversion of its input if its precision is low, and the inputs.

    Raises:
        BadRequest: no network, such as its class or its weights.

    Example:
        >>> network, x = in_full_precision(nn.Linear(2, 1).half(), torch.zeros(3, 2, dtype=torch.float16))
        >>> x.dtype, network(x).dtype
        (torch.float32, torch.float32)
    """
    if not callable(model) or isinstance(model, type):
        remedy = "make the network, and load weights into it by load_state_dict"
        raise bad("model", expected="a network or a function", got=describe(model), remedy=remedy)
    if not x.is_floating_point():
        return model, x
    taken = _taken_dtype(model, x.dtype)
    if taken == torch.float64:
        return model, x.double()
    if taken in LOW_PRECISION:
        return _rounding(model, taken), x.float()
    return model, x.float()


def network_behind(model: Network) -> nn.Module | None:
    """The module that a callable calls, as far as that is known without calling it.

    Args:
        model: a module; a method of one; what `functools.partial` makes of these, or of a function that is given one.

    Returns:
        The module; None for any other callable, of which nothing is known.

    Example:
        >>> net = nn.Linear(2, 1)
        >>> network_behind(net.forward) is network_behind(functools.partial(lambda m, x: m(x), net)) is net
        True
        >>> network_behind(lambda x: net(x)) is None
        True
    """
    waiting: list[object] = [model]
    while waiting:
        value = waiting.pop()
        if isinstance(value, nn.Module):
            return value
        if isinstance(value, MethodType):
            waiting.append(value.__self__)
        elif isinstance(value, functools.partial):
            waiting += [*value.keywords.values(), *reversed(value.args), value.func]
    return None


def parts_of(model: Network) -> list[nn.Module]:
    """The network behind a callable and all of its parts.

    Args:
        model: see `network_behind`.

    Returns:
        Each once, the network first; none of a callable of which nothing is known.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(2, 1))
        >>> len(parts_of(net)), len(parts_of(net.forward)), len(parts_of(lambda x: net(x)))
        (3, 3, 0)
    """
    network = network_behind(model)
    if network is None:
        return []
    return list(network.modules())


def in_type_of(given: Tensor, points: Tensor, *, rounds: bool) -> Tensor:
    """The points of a search in the type of its inputs, without leaving the ball.

    Args:
        given: (B, *S) clean inputs.
        points: (B, *S) float32 or float64.
        rounds: whether the network rounds its own input to that type: then to the nearest, the point that it answered.
            Else towards the clean input, since the nearest may lie beyond the radius, in float16 by 2^-12 near 1.

    Returns:
        (B, *S) of the type of `given`.

    Example:
        >>> x = torch.tensor([[0.5]], dtype=torch.float16)
        >>> [round(in_type_of(x, x.float() + 0.1, rounds=rounds).item(), 5) for rounds in (True, False)]
        [0.6001, 0.59961]
    """
    found = points.to(given.dtype)
    if rounds or given.dtype not in LOW_PRECISION:
        return found
    center = given.to(points.dtype)
    beyond = (found.to(points.dtype) - center).abs() > (points - center).abs()
    # The next number of this type: beyond x by less than one of them, so that it does not pass x.
    bits = found.view(torch.int16)
    inwards = torch.where((found > given) == ~torch.signbit(found), bits - 1, bits + 1)
    return torch.where(beyond, inwards, bits).view(given.dtype)


def _taken_dtype(model: Network, given: torch.dtype) -> torch.dtype:
    """The type that a network takes: that of its parameters if they are of one, else what it is given."""
    if not isinstance(model, nn.Module):
        return given
    dtypes: set[torch.dtype] = set()
    for parameter in model.parameters():
        if parameter.is_floating_point() and not is_lazy(parameter):
            dtypes.add(parameter.dtype)
    if len(dtypes) == 1:
        return dtypes.pop()
    return given


class _Rounding(nn.Module):
    """A network of low precision as a function of float32 inputs."""

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.model = model
        self.dtype = dtype
        self.training = getattr(model, "training", False)  # `torch.jit.freeze` leaves none

    def forward(self, x: Tensor) -> Tensor:
        return logits_of(self.model(x.to(self.dtype))).float()


def _rounding(model: Network, dtype: torch.dtype) -> Network:
    if isinstance(model, nn.Module):
        return _Rounding(model, dtype)
    return lambda x: logits_of(model(x.to(dtype))).float()


def logits_of(outputs: object) -> Tensor:
    """The logits or scores that a network returned: the one place that reads what a call of a network gives.

    A tensor is taken as it is, of an object with an attribute `logits` (as the models of transformers return) that. A
    tuple or a dictionary does not say which of its parts are the logits, so it is refused.

    Args:
        outputs: whatever a network returned; shapes are checked with the labels.

    Returns:
        (B, C) logits or (B,) scores.

    Raises:
        BadRequest: a tuple, a dictionary, None, integers.

    Example:
        >>> from types import SimpleNamespace
        >>> logits_of(SimpleNamespace(logits=torch.tensor([1.0]), hidden_states=None))
        tensor([1.])
    """
    logits = outputs
    if not isinstance(outputs, Tensor):
        logits = getattr(outputs, "logits", outputs)
    if not isinstance(logits, Tensor):
        part, got = "[0]", describe(logits)
        if isinstance(logits, Mapping):
            part, got = '["logits"]', f"{got} with the keys {listed(map(repr, logits))}"
        remedy = f"wrap it in an nn.Module whose forward returns the logits alone, such as self.model(x){part}"
        raise bad("model output", expected="a torch tensor, or an object with .logits", got=got, remedy=remedy)
    if not logits.is_floating_point():
        remedy = "return the logits before rounding"
        raise bad("model output", expected="floating point", got=logits.dtype, remedy=remedy)
    return logits


def conversion_of(x: Tensor) -> str:
    """How images whose type is no floating point become images in [0, 1], by the range of their values.

    Args:
        x: (B, *S). Its smallest and largest value are read on the host.

    Returns:
        What to do, for a message.

    Example:
        >>> conversion_of(torch.tensor([[0, 4095]])).partition(";")[0]
        'divide images in 0..65535 by 65535'
        >>> conversion_of(torch.tensor([[True, False]]))
        'use x.float() if 1 stands for white, else divide by 255'
    """
    values = x.detach().cpu()
    if values.is_complex() or not values.numel():
        return "give images in [0, 1] as floating point"
    array = values.numpy()  # torch finds no extremes of unsigned integers
    low, high = int(array.min()), int(array.max())
    if low < 0:
        return f"shift and scale to [0, 1], such as ((x.double() - {low}) / {high - low}).float()"
    if high <= 1:
        return "use x.float() if 1 stands for white, else divide by 255"
    white = white_of(low, high)
    if white == WHITE:
        return "divide images in 0..255 by 255, as torchvision's ToTensor does"
    if white is not None:
        return f"divide images in 0..{white} by {white}; {FEWER_BITS}"
    return "divide by the value of white"


def _of_array(value: np.ndarray, what: str) -> Tensor:
    """A copy: an array may be read-only, or of a byte order that torch does not have."""
    if np.ma.is_masked(value):  # the copy would have what lies behind the mask
        got = f"{int(np.ma.count_masked(value)):,} masked"
        remedy = "leave these examples out, or say what stands for them, as in x.filled(0)"
        raise bad(what, expected="an array without masked values", got=got, remedy=remedy)
    try:
        return torch.from_numpy(value.astype(value.dtype.newbyteorder("=")))
    except TypeError:
        raise bad(what, expected="numbers", got=f"an array of {value.dtype}") from None


def _require_tensor(value: object, what: str, *, remedy: str) -> None:
    if not isinstance(value, Tensor):
        raise bad(what, expected="a torch tensor", got=describe(value), remedy=remedy)
    if value.is_nested:
        remedy = "give examples of one shape, such as torch.nested.to_padded_tensor(x, 0)"
        raise bad(what, expected="a dense tensor", got="a nested one", remedy=remedy)
    if value.is_quantized:
        raise bad(what, expected="floating point", got=value.dtype, remedy="use x.dequantize()")
    if value.layout != torch.strided:
        raise bad(what, expected="a dense tensor", got=value.layout, remedy="use x.to_dense()")


def describe(value: object) -> str:
    """How a message names a value of the wrong type.

    Args:
        value: any.

    Returns:
        A few words.

    Example:
        >>> describe(None), describe("pgd10"), describe(int), describe((1, 2))
        ('None', "'pgd10'", 'the class int', 'a value of type tuple')
    """
    if value is None or isinstance(value, str):
        return repr(value)
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return f"a value of type {type(value).__name__}"


def shape_of(value: object) -> str:
    """How a message names a tensor of the wrong shape, or what is none.

    Args:
        value: any.

    Returns:
        A few words.

    Example:
        >>> shape_of(torch.zeros(2, 3)), shape_of(None)
        ('shape (2, 3)', 'None')
    """
    if isinstance(value, Tensor):
        return f"shape {tuple(value.shape)}"
    return describe(value)
