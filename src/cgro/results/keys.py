"""Names of errors in `summary.json`, `metrics.jsonl` and curves: `KIND_error/PART`, then an @ and what measured it."""

CLEAN_TRAIN = "clean_error/train"
CLEAN_VALIDATION = "clean_error/validation"
CLEAN_TEST = "clean_error/test"
ROBUST_TRAIN = "robust_error/train"
ROBUST_VALIDATION = "robust_error/validation"
ROBUST_TEST = "robust_error/test"

CERTIFIED_TRAIN = "robust_error/train@certified"
CERTIFIED_TEST = "robust_error/test@certified"

ON_VALIDATION = "@selected_on_validation"
"""Behind a key: of the weights at the epoch that the validation examples select, not of the last."""
