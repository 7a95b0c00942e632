"""Connected components, Betti numbers, persistence bars with their losses and matching, and repair of maps."""

__all__ = [
    "betti",
    "components",
    "loss",
    "matching",
    "matching_loss",
    "patches",
    "persistence",
    "prior",
    "repair",
    "simplify",
]
