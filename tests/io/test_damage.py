"""Only a file that is cut short or fails a checksum is called damaged; of any other the reason is told."""

from __future__ import annotations

import errno
import struct
import zlib
from pathlib import Path
from typing import cast

import pytest
from isal import isal_zlib

from softmorph_cli.io.damage import Damaged, Unsupported, not_read


@pytest.mark.parametrize(
    ("error", "how"),
    [
        (EOFError("Compressed file ended before the end-of-stream marker"), "it ends too early"),
        (OSError("Expected 40 bytes, got 12 bytes from object"), "it ends too early"),
        (struct.error("unpack requires a buffer of 8 bytes"), "it ends too early"),
        (zlib.error("Error -3 while decompressing data"), "its compressed data do not unpack"),
        (cast("type[Exception]", isal_zlib.error)("Error -5"), "its compressed data do not unpack"),
        (Damaged("its CRC is wrong"), "its CRC is wrong"),
    ],
)
def test_truncation_and_checksums_are_damage(error: Exception, how: str) -> None:
    messages = str(not_read(Path("map.nii"), "NIfTI", error))
    assert (
        messages
        == f"map.nii starts as a NIfTI file but is cut short or damaged ({how}); copy or write it again."
    )


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ModuleNotFoundError("No module named 'compression.zstd'"), "No module named 'compression.zstd'"),
        (ValueError("w2 should be positive, but is -0.0001"), "w2 should be positive, but is -0.0001"),
        (Unsupported("its encoding is deflate64"), "its encoding is deflate64"),
        (KeyError(), "KeyError"),
        (RuntimeError("first\nthe last line.\n"), "the last line"),
    ],
)
def test_other_errors_keep_their_text(error: Exception, reason: str) -> None:
    messages = str(not_read(Path("map.nii"), "NIfTI", error))
    assert messages == f"map.nii is a valid NIfTI that softmorph cannot read: {reason}."


def test_errors_of_the_system_are_no_damage() -> None:
    messages = str(not_read(Path("map.nii"), "NIfTI", OSError(errno.EIO, "Input/output error")))
    assert messages == "map.nii cannot be read: Input/output error."
