"""Pictures of maps, for people."""
