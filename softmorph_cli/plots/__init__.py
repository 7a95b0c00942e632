"""Pictures of maps: previews, pictures in the terminal, charts and HTML reports."""

__all__ = [
    "agreement",
    "charts",
    "completion_preview",
    "graph_preview",
    "graphics",
    "html",
    "options",
    "preview",
    "prior_sheet",
    "terminal",
]
