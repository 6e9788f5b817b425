"""Results as types: error rates, numbers over seeds, and one frozen summary type per command, strictly read and written.

`rates` holds what a share of examples proves, `measured` numbers over seeds, `records` the parts of a summary, `summaries`
the summary of every command. Nothing here needs torch.
"""

from cgro.results.measured import Measured, commonest
from cgro.results.rates import Z95, Bound, ErrorRate, difference_interval
from cgro.results.records import (
    DatasetRecord,
    DiagnosisRecord,
    Evidence,
    FlatnessRecord,
    MemoryRecord,
    Metric,
    ModelRecord,
    OutcomeRecord,
    Provenance,
    ThreatRecord,
    VerdictRecord,
)
from cgro.results.summaries import (
    ArtifactSummary,
    DataSummary,
    DiagnoseSummary,
    DynamicsSummary,
    EvaluateSummary,
    FlatnessSummary,
    LowerBoundSummary,
    MemorizeSummary,
    MemorySummary,
    QuickstartSummary,
    ReproduceSummary,
    SeedsSummary,
    SeparationSummary,
    Summary,
    TrainSummary,
    plain_summary,
    read_summary,
    read_value,
)

__all__ = [
    "Z95",
    "ArtifactSummary",
    "Bound",
    "DataSummary",
    "DatasetRecord",
    "DiagnoseSummary",
    "DiagnosisRecord",
    "DynamicsSummary",
    "ErrorRate",
    "EvaluateSummary",
    "Evidence",
    "FlatnessRecord",
    "FlatnessSummary",
    "LowerBoundSummary",
    "Measured",
    "MemorizeSummary",
    "MemoryRecord",
    "MemorySummary",
    "Metric",
    "ModelRecord",
    "OutcomeRecord",
    "Provenance",
    "QuickstartSummary",
    "ReproduceSummary",
    "SeedsSummary",
    "SeparationSummary",
    "Summary",
    "ThreatRecord",
    "TrainSummary",
    "VerdictRecord",
    "commonest",
    "difference_interval",
    "plain_summary",
    "read_summary",
    "read_value",
]
