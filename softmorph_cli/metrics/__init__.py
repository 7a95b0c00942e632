"""How a predicted map compares with a reference: metrics, each with its definition, and where they disagree."""

__all__ = [
    "certificate",
    "evaluation",
    "evaluation_inputs",
    "folders",
    "metric",
    "registry",
    "statistics",
    "volume_columns",
]
