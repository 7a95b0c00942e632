"""Pictures of maps: previews, pictures in the terminal, charts and HTML reports."""

__all__ = [
    "agreement",
    "completion_preview",
    "curves",
    "graph_preview",
    "graphics",
    "html",
    "persistence",
    "preview",
    "prior_sheet",
    "terminal",
]
