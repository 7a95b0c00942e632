"""Reading and writing files: `read(path) -> Volume`, `write(volume, path)`, and `probe(path)` to describe a file.

`open_blocks` and `create_blocks` do the same in parts, for maps larger than memory. The names below load what they need
when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from softmorph_cli.io.blocks import Blocks as Blocks
    from softmorph_cli.io.blocks import open_blocks as open_blocks
    from softmorph_cli.io.formats import check_target as check_target
    from softmorph_cli.io.new_blocks import BlockWriter as BlockWriter
    from softmorph_cli.io.new_blocks import create_blocks as create_blocks
    from softmorph_cli.io.nnunet import classes as classes
    from softmorph_cli.io.nnunet_metadata import Classes as Classes
    from softmorph_cli.io.options import ReadOptions as ReadOptions
    from softmorph_cli.io.options import WriteOptions as WriteOptions
    from softmorph_cli.io.probing import Probe as Probe
    from softmorph_cli.io.probing import probe as probe
    from softmorph_cli.io.reading import read as read
    from softmorph_cli.io.reading import read_labels as read_labels
    from softmorph_cli.io.reading import read_map as read_map
    from softmorph_cli.io.writing import as_stored as as_stored
    from softmorph_cli.io.writing import write as write
    from softmorph_cli.io.writing import write_labels as write_labels
    from softmorph_cli.io.writing import write_map as write_map

_MODULES = {
    name: module
    for module, names in {
        "blocks": "Blocks open_blocks",
        "formats": "check_target",
        "new_blocks": "BlockWriter create_blocks",
        "nnunet": "classes",
        "nnunet_metadata": "Classes",
        "options": "ReadOptions WriteOptions",
        "probing": "Probe probe",
        "reading": "read read_labels read_map",
        "writing": "as_stored write write_labels write_map",
    }.items()
    for name in names.split()
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
