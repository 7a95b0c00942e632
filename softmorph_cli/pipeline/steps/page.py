"""The page of an inspection of one image, for the command `inspect` and for a chain with a step `inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from softmorph_cli.errors import UsageError

if TYPE_CHECKING:
    from softmorph_cli.skeleton import analyse


def check_page(path: Path) -> None:
    """Refuse a report whose name does not end in .html or .htm."""
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--report {path}: a report is a web page; end its name with .html.")


def page_of(found: analyse.Inspection, source: Path, which: str) -> str:
    """Return the page of an inspection as an HTML document.

    Args:
        found: The inspection.
        source: The path of the file.
        which: Text such as ", vein, time 1", which is appended to the name of the file.
    """
    from softmorph_cli.plots.graph_preview import preview_graph
    from softmorph_cli.plots.html.inspection_page import inspection_page
    from softmorph_cli.plots.options import ViewOptions

    pictures = {
        "dark": preview_graph(found.volume, found.graph).png(),
        "light": preview_graph(found.volume, found.graph, look=ViewOptions(light=True)).png(),
    }
    of = {"class": found.graph.name} if found.graph.name else {}
    facts = {"file": str(source), **of, "connectivity": str(3**found.volume.spatial_dims - 1)}
    return inspection_page(found, title=f"{source.name}{which}", facts=facts, pictures=pictures)
