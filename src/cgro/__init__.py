"""Clean generalization and robust overfitting (Li and Li, ICML 2025): measure, explain, certify.

definitions                        Section 3: threat models, losses, attacks, errors, the verdict
representation                     Section 4: robust memorization is cheap
dynamics                           Section 5: the three stages
data, models, training, flatness   Section 6: networks on real images
diagnosis                          the verdict on any curve, run, model or log; `Monitor`, for a loop of one's own
integrations                       the same for the trainers of Lightning, Hugging Face and Keras
commands, experiments              the command line, and the paper's tables and figures

Importing this package imports nothing else, so the command line answers at once; `Monitor` is imported when it is used.
"""

import importlib

# Type checkers take it for True, by its name. Importing `typing` would be a fifth of the time that --help takes.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from cgro.diagnosis.monitor import Monitor

__version__ = "0.2.0"
__all__ = ["Monitor", "__version__"]


def __getattr__(name: str) -> object:
    """Import `Monitor` when it is asked for.

    Args:
        name: of the attribute.

    Returns:
        It.

    Raises:
        AttributeError: another name.
    """
    if name == "Monitor":
        return importlib.import_module("cgro.diagnosis.monitor").Monitor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
