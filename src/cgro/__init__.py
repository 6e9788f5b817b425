"""Clean generalization and robust overfitting (Li and Li, ICML 2025): measure, explain, certify.

definitions  Section 3: threat models, losses, attacks, errors, the verdict
data, models, training, flatness   Section 6: networks on real images
representation   Section 4: robust memorization is cheap
dynamics         Section 5: the three stages

Importing this package imports nothing else, so the command line answers at once.
"""

__version__ = "0.1.0"
