"""Persistence of the voxel grid: order of voxels, union-find, discrete gradient, loops; of two maps in common."""

__all__ = ["common_bars", "common_loops", "filtration", "growth", "loops", "order", "union_find"]
