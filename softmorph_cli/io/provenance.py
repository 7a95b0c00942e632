"""What made a file: the text that `write` leaves in it, and reading it back.

The text is JSON in a place that the format leaves to its users: a comment extension of NIfTI, the Info of
ImageJ's TIFF, the description of an OME or a plain one, a text chunk of PNG, a key of NRRD and MetaImage.
It goes wherever the other program takes that place. nibabel copies extensions into what it makes from the
header of a file, and so do others with keys: provenance says which softmorph command wrote the file, or the
file it was made from, not that nobody changed it since.

A file that softmorph wrote several times may hold several such texts; the last one counts. A file that it
wrote without provenance keeps what its source held where keys and comments are kept (NIfTI, NRRD, MetaImage,
ImageJ's TIFF).
"""

from __future__ import annotations

import json
from typing import Any, Final

from softmorph_cli.io.raw import Provenance
from softmorph_cli.system.printable import unicode

SIGNATURE: Final = "softmorph"


def as_text(provenance: Provenance) -> str:
    """Return the JSON of a provenance alone, for a place that has SIGNATURE as its name; all ASCII."""
    return json.dumps(unicode(json.loads(json.dumps(dict(provenance), default=str))))


def parse(*texts: str | bytes | None, named: bool = False) -> dict[str, Any]:
    """Find the provenance in what a file holds.

    Args:
        texts: In the order they were written; a text may hold lines of other programs too.
        named: Whether the texts were found under the name SIGNATURE, and do not name it themselves.

    Returns:
        The one that was written last; empty where there is none, or only what nobody can read.
    """
    for text in reversed(texts):
        plain = text.decode("utf-8", "replace") if isinstance(text, bytes) else text or ""
        # An extension of NIfTI is filled up with zeros.
        plain = plain.strip("\0 \r\n\t")
        for line in dict.fromkeys((plain, *reversed(plain.splitlines()))):
            if not named and f'"{SIGNATURE}"' not in line:
                continue
            whole = _object(line)
            found = whole if named else whole.get(SIGNATURE)
            if found and isinstance(found, dict):
                return found
    return {}


def read_with(provenance: Provenance, **options: Any) -> Provenance:
    """Return a provenance that names, under "read_with", the options by which values are not those of the file.

    Args:
        provenance: Of the file; an empty one stays so.
        options: By name; those that are None change nothing.
    """
    chosen = {name: value for name, value in options.items() if value is not None}
    if not provenance or not chosen:
        return provenance
    before = provenance.get("read_with")
    return {**provenance, "read_with": {**(before if isinstance(before, dict) else {}), **chosen}}


def sound(found: Any) -> dict[str, Any]:
    """Return an object of JSON that can be written again, or an empty one.

    NaN, infinity and half of a surrogate pair can be read and not be written.
    """
    try:
        json.dumps(found, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _object(text: str) -> dict[str, Any]:
    try:
        return sound(json.loads(text))
    except (ValueError, RecursionError):
        return {}
