"""Pages that open in a browser without a network."""

__all__ = ["cohort_page", "inspection_page"]
