"""How a predicted map compares with a reference: metrics, each with its definition, and where they disagree."""

__all__ = [
    "certificate",
    "evaluation",
    "folders",
    "metric",
    "registry",
    "sources",
    "statistics",
    "volume_columns",
]
