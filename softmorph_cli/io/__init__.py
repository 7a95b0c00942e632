"""Files in and out: `read(path) -> Volume`, `write(volume, path)`, and `probe(path)` for what a file is.

`open_blocks` and `create_blocks` do the same in parts, for maps larger than memory.
"""

from softmorph_cli.io.blocks import Blocks, open_blocks
from softmorph_cli.io.formats import check_target
from softmorph_cli.io.new_blocks import Written, create_blocks
from softmorph_cli.io.nnunet import Classes, classes
from softmorph_cli.io.probe import Probe, probe
from softmorph_cli.io.reading import read, read_labels
from softmorph_cli.io.writing import as_stored, write, write_labels

__all__ = [
    "Blocks",
    "Classes",
    "Probe",
    "Written",
    "as_stored",
    "check_target",
    "classes",
    "create_blocks",
    "open_blocks",
    "probe",
    "read",
    "read_labels",
    "write",
    "write_labels",
]
