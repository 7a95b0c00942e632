"""Many files: which ones, what was done already, who works on which, and what came of it."""
