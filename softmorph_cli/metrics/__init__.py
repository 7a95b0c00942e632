"""Metrics that compare a predicted map with a reference map, and maps of the topological errors between the two."""

__all__ = [
    "case_names",
    "certificate",
    "evaluation",
    "evaluation_inputs",
    "folders",
    "grid",
    "metric",
    "registry",
    "statistics",
    "volume_columns",
]
