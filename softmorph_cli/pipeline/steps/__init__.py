"""The steps of chains and batches: the operations, repairs of the topology, and steps that measure.

A step that measures (`measuring.Measuring`) passes the map on as it is and gives rows of tables. To add one, define a
class in a module of this package and name it in `registry`.
"""

__all__ = [
    "inspecting",
    "measuring",
    "page",
    "registry",
    "repair_job",
    "repairing",
    "simplifying",
    "statistics",
]
