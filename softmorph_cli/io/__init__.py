"""Files in and out: `read(path) -> Volume`, `write(volume, path)`, and `probe(path)` for what a file is.

`open_blocks` and `create_blocks` do the same in parts, for maps larger than memory. The names below load what they need
when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from softmorph_cli.io.blocks import Blocks, open_blocks
    from softmorph_cli.io.formats import check_target
    from softmorph_cli.io.new_blocks import BlockWriter, create_blocks
    from softmorph_cli.io.nnunet import classes
    from softmorph_cli.io.nnunet_metadata import Classes
    from softmorph_cli.io.options import ReadOptions, WriteOptions
    from softmorph_cli.io.probing import Probe, probe
    from softmorph_cli.io.reading import read, read_labels, read_map
    from softmorph_cli.io.writing import as_stored, write, write_labels, write_map

_HOMES = {
    "Blocks": "blocks",
    "Classes": "nnunet_metadata",
    "Probe": "probing",
    "ReadOptions": "options",
    "WriteOptions": "options",
    "BlockWriter": "new_blocks",
    "as_stored": "writing",
    "check_target": "formats",
    "classes": "nnunet",
    "create_blocks": "new_blocks",
    "open_blocks": "blocks",
    "probe": "probing",
    "read": "reading",
    "read_labels": "reading",
    "read_map": "reading",
    "write": "writing",
    "write_labels": "writing",
    "write_map": "writing",
}

__all__ = [
    "BlockWriter",
    "Blocks",
    "Classes",
    "Probe",
    "ReadOptions",
    "WriteOptions",
    "as_stored",
    "check_target",
    "classes",
    "create_blocks",
    "open_blocks",
    "probe",
    "read",
    "read_labels",
    "read_map",
    "write",
    "write_labels",
    "write_map",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
