"""The option in a refusal."""

from cgro.diagnosis.importers import parse_map
from cgro.diagnosis.importers.refusals import map_option


def test_options_can_be_pasted_into_a_shell() -> None:
    import shlex

    for name in ("pgd", "PGD Acc", "a, b", "it's", "$HOME"):
        option = shlex.split(map_option("robust_accuracy/test", name))
        assert option[0] == "--map"
        assert parse_map(option[1]) == {"robust_accuracy/test": name}
