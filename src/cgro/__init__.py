"""Clean generalization and robust overfitting (Li and Li, ICML 2025): measure, explain, certify.

definitions                        Section 3: threat models, losses, attacks, errors, the verdict
representation                     Section 4: robust memorization is cheap
dynamics                           Section 5: the three stages
data, models, training, flatness   Section 6: networks on real images
diagnosis                          the verdict on any curve, run, model or log
commands, experiments              the command line, and the paper's tables and figures

Importing this package imports nothing else, so the command line answers at once.
"""

__version__ = "0.1.0"
