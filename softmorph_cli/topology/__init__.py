"""Connected components, Betti numbers, persistence bars (matched, cancelled, as losses) and topological repair of maps."""

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
