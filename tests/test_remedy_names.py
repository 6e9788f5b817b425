"""Names of remedies: each is a class of this package with one line, and its name is never code."""

import inspect

from cgro.named import parameters_of
from cgro.remedy_names import EXTENSION_NAMES, OBJECTIVE_NAMES, REMEDY_NAMES
from cgro.training import Extension
from cgro.training.registry import EXTENSIONS, OBJECTIVES
from cgro.trust import code_of, runs_in

CLASSES = OBJECTIVES | EXTENSIONS


def test_what_is_given_by_name_is_a_class_of_its_folder() -> None:
    assert list(OBJECTIVES) == list(OBJECTIVE_NAMES)
    assert list(EXTENSIONS) == list(EXTENSION_NAMES)
    for name, remedy in REMEDY_NAMES.items():
        kind = CLASSES[name]
        assert inspect.isclass(kind)
        assert f"{kind.__module__}:{kind.__name__}" == f"cgro.training.{remedy.place}"
        assert issubclass(kind, Extension) == (name in EXTENSIONS)
        assert 0 < len(remedy.line) < 60


def test_a_name_is_no_code_and_what_it_reads_is_known() -> None:
    for name, remedy in REMEDY_NAMES.items():
        assert code_of(f"{name}:beta") is None
        assert set(remedy.reads) <= set(parameters_of(CLASSES[name]))
        assert runs_in(f"{name}:" + ",".join(f"{key}=runs/{key}" for key in remedy.reads)) == [
            f"runs/{key}" for key in remedy.reads
        ]
