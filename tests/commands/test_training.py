"""Options of a training: those of its recipe are the recipe's own."""

from dataclasses import MISSING, fields

import pytest

from cgro._check import BadRequest
from cgro.commands._parser import parse
from cgro.commands._training import RECIPE_HELP, RECIPES, Config, Task
from cgro.training import Adversarial, Recipe


def test_every_field_of_the_recipe_is_an_option_with_its_default() -> None:
    assert set(RECIPE_HELP) == {f.name for f in fields(Recipe)}
    options = {f.name: f for f in fields(Config)}
    for f in fields(Recipe):
        assert f.name in options
        if f.name != "lr_drops":
            assert options[f.name].default == f.default
    assert Config().recipe() == Recipe()


def test_options_reach_the_recipe() -> None:
    recipe = Config(epochs=7, lr=0.5, lr_drops="2, 5", schedule="steps", clip=1.0).recipe()
    assert recipe == Recipe(epochs=7, lr=0.5, lr_drops=(2, 5), clip=1.0)
    with pytest.raises(BadRequest, match="--lr-drops"):
        Config(lr_drops="two").recipe()


@pytest.mark.parametrize("name", RECIPES)
def test_named_recipes_are_complete(name: str) -> None:
    config = Config(**RECIPES[name])  # type: ignore[arg-type]
    config.recipe()
    assert isinstance(config.build_objective(), Adversarial)


def test_the_step_size_is_refused_where_an_attack_has_none() -> None:
    assert Config(attack="pgd7", step_size="2/255").crafting().step_size == 2 / 255  # type: ignore[attr-defined]
    with pytest.raises(BadRequest, match="--step-size"):
        Config(attack="square", step_size="0.1").crafting()


def test_standard_training_attacks_nothing() -> None:
    objective = Config(attack="none").build_objective()
    assert (objective.cost.n_gradients, objective.attack.threat.radius) == (0, 0.0)  # type: ignore[attr-defined]


@pytest.mark.parametrize("weight", [0.5, 0.25])
def test_a_robust_weight_without_an_attack_is_refused_as_it_would_have_no_effect(weight: float) -> None:
    with pytest.raises(BadRequest, match="--robust-weight: expected none with --attack none"):
        Config(attack="none", robust_weight=weight).build_objective()
    for said in (0.0, 1.0):  # what it comes to, and the default
        assert Config(attack="none", robust_weight=said).build_objective().robust_weight == 0.0  # type: ignore[attr-defined]


def test_a_task_has_what_a_target_needs() -> None:
    assert all(f.default is not MISSING for f in fields(Task))
    assert Task(p="2", radius="1/2").threat().radius == 0.5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--momentum", "0.5"), ["--momentum has no effect with --optimizer adam: it is that of sgd"]),
        (("--momentum", "0.9", "--optimizer", "adamw"), ["--momentum has no effect with --optimizer adamw"]),
        (("--lr-factor", "0.5"), ["--lr-factor has no effect without --lr-drops"]),
        (("--objective", "free:replays=4", "--attack", "pgd3"), ["--attack has no effect with --objective free"]),
        (("--objective", "free", "--step-size", "0.1"), ["--step-size has no effect with --objective free"]),
        (("--robust-weight", "0", "--attack", "pgd3"), ["--attack has no effect with --robust-weight 0"]),
        (("--robust-weight", "0", "--step-size", "0.1"), ["--step-size has no effect with --robust-weight 0"]),
        (("--robust-weight", "0"), []),
        (("--robust-weight", "0.5", "--attack", "pgd3", "--step-size", "0.1"), []),
        (("--momentum", "0.5", "--optimizer", "sgd"), []),
        (("--lr-factor", "0.5", "--lr-drops", "5"), []),
        (("--objective", "trades", "--attack", "pgd3", "--step-size", "0.1"), []),
        (("--objective", "free"), []),
        ((), []),
        (("--recipe", "small-cifar10"), []),
    ],
)
def test_an_option_that_changes_nothing_beside_the_others_is_remarked_on(
    words: tuple[str, ...], said: list[str]
) -> None:
    found = parse("train", "", Config, words, RECIPES).without_effect()
    assert len(found) == len(said)
    for remark, beginning in zip(found, said, strict=True):
        assert remark.startswith(beginning)


@pytest.mark.parametrize(
    ("options", "weight", "words"),
    [
        ({"objective": "adversarial:robust_weight=0.5", "robust_weight": 0.3}, None, "--robust-weight: expected 0.5"),
        ({"objective": "adversarial:robust_weight=0", "robust_weight": 0.3}, None, "--robust-weight: expected 0 or none"),
        ({"objective": "adversarial:robust_weight=0.5", "attack": "none"}, None, "--objective: expected no robust_weight"),
        ({"objective": "adversarial:robust_weight=0.5", "robust_weight": 0.5}, 0.5, ""),
        ({"objective": "adversarial:robust_weight=0.5"}, 0.5, ""),
        ({"objective": "adversarial:robust_weight=1", "attack": "none"}, 0.0, ""),
        ({"robust_weight": 0.3}, 0.3, ""),
    ],
)  # fmt: skip
def test_of_two_robust_weights_none_is_left_out(options: dict, weight: float | None, words: str) -> None:
    """Planted: --robust-weight beside the weight of --objective had no effect, in silence."""
    if weight is None:
        with pytest.raises(BadRequest, match=words):
            Config(**options).build_objective()
        return
    objective = Config(**options).build_objective()
    assert isinstance(objective, Adversarial)
    assert objective.robust_weight == weight
