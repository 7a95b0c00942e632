"""How a predicted map compares with a reference: metrics, each with its definition, and where they disagree."""
