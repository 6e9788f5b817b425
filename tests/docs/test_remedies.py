"""docs/remedies.md: its table is that of the registry, its costs those of the classes, its examples run."""

import re
import shlex
from pathlib import Path

import pytest

from cgro.cli import main
from cgro.commands import train
from cgro.commands._common import parse
from cgro.definitions import PGD, ThreatModel
from cgro.named import parameters_of
from cgro.remedy_names import REMEDY_NAMES
from cgro.training import KD, Adversarial, Cost, step_cost
from cgro.training.registry import EXTENSIONS, OBJECTIVES, extension_by_name

TEXT = (Path(__file__).parents[2] / "docs" / "remedies.md").read_text()
ROWS = re.findall(r"^\| `([\w-]+)` \| (objective|extension) \| (.*) \| (.*) \| (.*) \| (.*) \|$", TEXT, re.MULTILINE)
CLASSES = OBJECTIVES | EXTENSIONS
PLAIN = Adversarial(PGD(ThreatModel("inf", 0.1), n_steps=3))


def test_every_name_has_a_row_with_its_options_and_its_source() -> None:
    assert [row[0] for row in ROWS] == list(REMEDY_NAMES)
    for name, kind, _, options, source, _ in ROWS:
        skip = 1 if name in OBJECTIVES else 0
        assert kind == ("objective" if skip else "extension")
        assert source == REMEDY_NAMES[name].source
        assert re.findall(r"`(\w+)`", options) == list(parameters_of(CLASSES[name], skip=skip))


def more(name: str) -> Cost:
    """Passes beside those of adversarial training."""
    if name == "kd":
        cost = KD(PLAIN.attack, robust=lambda x: x, weight_standard=0.0).cost
    elif name in OBJECTIVES:
        cost = OBJECTIVES[name](PLAIN.attack).cost
    else:
        cost = step_cost(PLAIN, [extension_by_name(name)])
    base = PLAIN.cost
    return Cost(cost.n_forward - base.n_forward, cost.n_gradients - base.n_gradients, cost.n_updates - base.n_updates)


def test_passes_are_those_of_the_classes() -> None:
    written = {"0": Cost(), "F": Cost(n_forward=1), "U": Cost(n_updates=1), "F + U": Cost(n_forward=1, n_updates=1)}
    written |= {"F per teacher": Cost(n_forward=1), "one U per U": Cost(n_updates=1)}
    written |= {"n_steps U per U": Cost(n_updates=10), "4 U": Cost(n_updates=4)}
    whole = PLAIN.cost
    written |= {"U in place of all": Cost(-whole.n_forward, -whole.n_gradients, 1 - whole.n_updates)}
    for name, *_, passes in ROWS:
        assert more(name) == written[passes.partition(";")[0]], name


def test_the_command_runs_and_the_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (command,) = re.findall(r"```sh\ncgro (.*?)\n```", TEXT, re.DOTALL)
    smaller = ["--n-train", "60", "--n-test", "30", "--attack", "pgd2", "--eval-attack", "pgd2", "--out", "r"]
    assert main([*shlex.split(command), *smaller]) == 0
    (settings,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    Path("settings.yaml").write_text(settings)
    config = parse("train", "", train.Config, ["--config", "settings.yaml"])
    assert [extension.name for extension in config.build_extensions()] == ["awp", "swa"]
    assert config.build_objective().cost.n_updates == 2


def test_the_python_runs(capsys: pytest.CaptureFixture) -> None:
    (script,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    exec(script, {})
    assert int(capsys.readouterr().out) > 0
