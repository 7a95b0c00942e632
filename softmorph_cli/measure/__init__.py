"""Numbers about maps: statistics and the change a filter made."""
