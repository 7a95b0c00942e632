"""From a map or a skeleton file to its measured graph: which voxels are the curve, what is known along it."""
