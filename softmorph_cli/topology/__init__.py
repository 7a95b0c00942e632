"""Betti numbers, persistence bars, and changing a map until it has the topology that is asked for."""
