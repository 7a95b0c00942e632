"""Files in and out: `read(path) -> Volume`, `write(volume, path)`, and `probe(path)` for what a file is."""

from softmorph_cli.io.formats import check_target
from softmorph_cli.io.nnunet import Classes, classes
from softmorph_cli.io.probe import Probe, probe
from softmorph_cli.io.reading import read
from softmorph_cli.io.writing import write, write_labels

__all__ = ["Classes", "Probe", "check_target", "classes", "probe", "read", "write", "write_labels"]
