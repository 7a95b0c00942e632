"""How many chunks an array has, and what is said of those that its file or store does not hold."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, Final

from softmorph_cli.errors import FileError

# The most missing chunks that are accepted: each takes a look-up, and reads as the fill value.
_MOST_MISSING: Final = 1 << 20


def grid_of(shape: Sequence[int], chunks: Sequence[int]) -> tuple[int, ...]:
    """Return the number of chunks along each axis of an array."""
    return tuple(-(-size // part) for size, part in zip(shape, chunks, strict=True))


def check_missing(name: str, shape: Sequence[int], chunks: Sequence[int], lost: int, advice: str) -> None:
    """Refuse an array that misses more than 2^20 of its chunks.

    Args:
        name: The name of the array in the message.
        shape: The shape of the array.
        chunks: The shape of a chunk.
        lost: The number of chunks that are not stored.
        advice: What the user can do, as the end of the message.

    Raises:
        FileError: If more chunks are missing.
    """
    if lost > _MOST_MISSING:
        total = prod(grid_of(shape, chunks))
        raise FileError(
            f"{name} has {total:,} chunks by its shape, {' x '.join(map(str, shape))}, and {total - lost:,} of them "
            f"are stored; no more than {_MOST_MISSING:,} missing ones are read: {advice}."
        )


def note_missing(lost: int, total: int, fill: Any) -> str:
    """Return a note on the `lost` chunks, out of `total`, that read as the fill value."""
    verbs = "is not stored and reads" if lost == 1 else "are not stored and read"
    return f"{lost} of its {total} chunks {verbs} as its fill value, {fill}."
