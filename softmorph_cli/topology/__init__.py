"""Connected components, Betti numbers, persistence bars and topological repair of maps."""
