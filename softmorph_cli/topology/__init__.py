"""Connected components, Betti numbers, persistence bars and topological repair of maps."""

__all__ = ["betti", "components", "loss", "patches", "persistence", "prior", "repair", "simplify"]
