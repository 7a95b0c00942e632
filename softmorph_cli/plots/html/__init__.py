"""Pages that open in a browser without a network."""

__all__ = ["inspection_page"]
