"""Files in and out: `reading.read(path) -> Volume`, `writing.write(volume, path)`, `probing.probe(path)`.

`blocks.open_blocks` and `blocks.create_blocks` do the same in boxes, for maps larger than memory.
"""

__all__ = [
    "blocks",
    "documents",
    "exclusive",
    "formats",
    "nnunet",
    "options",
    "probing",
    "reading",
    "select",
    "writing",
]
