"""Pictures of maps: previews, pictures in the terminal, charts and HTML reports."""
