"""Rendering of the templates of HTML pages: self-contained documents that work offline."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from softmorph_cli import __version__

LOOKS: Final = ("light", "dark")


@dataclass(frozen=True)
class Card:
    """One number of the summary.

    Attributes:
        name: Name of the number.
        value: The number as text.
        unit: Unit of the number; "" for none.
        words: Remark below the number.
    """

    name: str
    value: str
    unit: str = ""
    words: str = ""


@dataclass(frozen=True)
class Picture:
    """A PNG that is embedded in the page.

    Attributes:
        data: The PNG, encoded as text.
        width: Width in pixels.
        height: Height in pixels.
        look: The colour theme that shows the picture; "" for both.
    """

    data: str
    width: int
    height: int
    look: str


def embedded(pictures: Mapping[str, bytes]) -> list[Picture]:
    """Return PNG files, by "light" and "dark", as pictures of a page; a single one is shown in both themes."""
    given = [(look, pictures[look]) for look in LOOKS if look in pictures]
    return [
        Picture(
            data=base64.b64encode(png).decode(),
            # The 17th to 24th byte of a PNG are its size.
            width=int.from_bytes(png[16:20], "big"),
            height=int.from_bytes(png[20:24], "big"),
            look=look if len(given) > 1 else "",
        )
        for look, png in given
    ]


def rendered(template: str, scripts: Sequence[str] = (), /, **content: Any) -> str:
    """Return the page of a template of this package: equal content gives equal text.

    Args:
        template: Name of the template.
        scripts: Names of the script files of this package that the page has besides `page.js`.
        **content: Variables of the template.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    loader = PackageLoader("softmorph_cli.plots.html", "")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    script = "\n".join(loader.get_source(environment, name)[0] for name in ("page.js", *scripts))
    page = environment.get_template(template).render(
        version=__version__,
        script=Markup(script),
        # The content security policy allows this script alone, and none injected by a name.
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        **content,
    )
    # File names may hold bytes that are no text, and invisible characters.
    return "".join(
        c if c.isprintable() or c.isspace() else "\ufffd" for c in page.encode("utf-8", "replace").decode()
    )
