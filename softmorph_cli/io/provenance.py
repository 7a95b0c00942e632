"""The provenance that `write` records in a file, and reading it back.

Provenance is JSON in a place for free text: a comment extension of NIfTI, the Info of ImageJ's TIFF, the description of
an OME-TIFF or plain TIFF, a text chunk of PNG, a key of NRRD and MetaImage. Other programs may copy this text into
their files: provenance states which softmorph command wrote the file or a file that it was made from, and not that the
file is unchanged.

A file that softmorph wrote several times may hold several such texts; the last text counts. A file written without
provenance retains the provenance of its source if keys and comments are copied (NIfTI, NRRD, MetaImage, ImageJ's TIFF).
"""

from __future__ import annotations

import json
from typing import Any, Final

from softmorph_cli.io.raw import Provenance
from softmorph_cli.system.printable import unicode

SIGNATURE: Final = "softmorph"


def as_text(provenance: Provenance) -> str:
    """Return a provenance as a JSON text in ASCII, to be stored under the key SIGNATURE."""
    return json.dumps(unicode(json.loads(json.dumps(dict(provenance), default=str))))


def parse(*texts: str | bytes | None, named: bool = False) -> dict[str, Any]:
    """Find and parse the provenance in the texts (comments, descriptions) of a file.

    Args:
        texts: The texts in the order they were written; a text may also hold lines of other programs.
        named: Whether the texts are the values of a field named SIGNATURE, without that key.

    Returns:
        The valid provenance that was written last; empty if no text holds a valid provenance.
    """
    for text in reversed(texts):
        plain = text.decode("utf-8", "replace") if isinstance(text, bytes) else text or ""
        # An extension of NIfTI is padded with zeros.
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
    """Return a provenance that lists, under "read_with", the options that changed the values on reading.

    Args:
        provenance: The provenance of the file; an empty provenance stays empty.
        options: The options of reading by name; None means that the option was not given.
    """
    chosen = {name: value for name, value in options.items() if value is not None}
    if not provenance or not chosen:
        return provenance
    before = provenance.get("read_with")
    return {**provenance, "read_with": {**(before if isinstance(before, dict) else {}), **chosen}}


def sound(found: Any) -> dict[str, Any]:
    """Return a value that was parsed from JSON if it is an object and can be written again, else an empty object.

    Python parses NaN, infinity and half of a surrogate pair, which must not be written.
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
