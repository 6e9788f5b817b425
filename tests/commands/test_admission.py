"""Settings of others: plain values pass, names of code and of data pass if the caller trusts them."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from cgro._check import BadRequest
from cgro.commands._admission import admit
from cgro.commands._options import Output, option
from cgro.trust import CommandLine, Received, Untrusted


@dataclass(kw_only=True)
class Options(Output):
    """Options of a command that does not exist."""

    n: int = option(3, "a number")
    epochs: int = option(3, "another number", low=1)
    model: str = option("lenet", "a network", names="network")
    data: str = option("digits", "data", names="data")
    extension: list[str] = option([], "several", names="extension")


def received(*trusted: str) -> Received:
    return Received("runs/theirs", CommandLine(False, frozenset(trusted), frozenset({"model", "data"})))


def test_plain_values_and_names_of_ours_pass() -> None:
    admit(received(), {"n": 4, "model": "lenet", "data": "mnist", "extension": ["ema:decay=0.9"]}, Options)


def test_options_that_make_no_result_and_unknown_keys_are_not_looked_at() -> None:
    admit(received(), {"out": 5, "not_an_option": "their_package:Net"}, Options)


@pytest.mark.parametrize(
    ("name", "value"),
    [("model", "their_package:Net"), ("extension", ["ema", "their_package:E"]), ("data", "owner/name")],
)
def test_a_name_passes_only_if_it_is_trusted(name: str, value: str | list[str]) -> None:
    with pytest.raises(Untrusted, match="runs/theirs"):
        admit(received(), {name: value}, Options)
    names = value if isinstance(value, list) else [value]
    admit(received(*names), {name: value}, Options)


def test_a_path_of_data_needs_trust_and_a_data_set_in_the_cache_does_not(tmp_path: Path) -> None:
    path = tmp_path / "arrays.npz"
    path.touch()
    with pytest.raises(Untrusted):
        admit(received(), {"data": str(path)}, Options, fetch=False)
    admit(received(), {"data": "owner/name"}, Options, fetch=False)


def test_a_value_of_another_type_is_refused() -> None:
    with pytest.raises(BadRequest, match="runs/theirs: n: expected an integer, got 'four'"):
        admit(received(), {"n": "four"}, Options)


@pytest.mark.parametrize(("name", "value"), [("n", 2**64), ("epochs", 0), ("epochs", -(2**70))])
def test_a_number_out_of_its_range_is_refused(name: str, value: int) -> None:
    with pytest.raises(BadRequest, match=f"runs/theirs: {name}: expected an integer"):
        admit(received(), {name: value}, Options)
    admit(received(), {"n": -5, "epochs": 1}, Options)
