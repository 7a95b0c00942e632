"""Connected components, Betti numbers, persistence bars, their matching, cancelling and losses, and topological repair."""

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
