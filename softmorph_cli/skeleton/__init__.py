"""From a skeleton to a graph of branches: traced, pruned, measured, exported."""
