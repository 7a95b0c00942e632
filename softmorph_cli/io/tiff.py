"""Reading and writing OME, ImageJ and plain TIFF through tifffile; imagecodecs adds further compressions."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import partial
from math import ceil, prod
from pathlib import Path
from typing import Any

import numpy as np

from softmorph_cli.io.damage import NO_PAGES, Damaged, Unsupported
from softmorph_cli.io.itk_headers import shown
from softmorph_cli.io.logs import captured_log
from softmorph_cli.io.memory_check import fits
from softmorph_cli.io.provenance import SIGNATURE, as_text, parse
from softmorph_cli.io.raw import LABELS, ONE, Array, Encoding, Format, Raw, kept_native, time_step_of
from softmorph_cli.io.tiff_metadata import IMWRITE_OPTIONS, OME_TYPES, Native, in_page_order, read_metadata
from softmorph_cli.io.tiff_pages import (
    BROKEN,
    check_described_planes,
    check_layout_fields,
    check_page,
    choose_series,
    count_planes,
    decode,
)
from softmorph_cli.io.tiff_tiles import check_strips, keyframes, mend, stored_tiles
from softmorph_cli.io.tiff_values import Interpretation, interpret
from softmorph_cli.io.unnamed_axes import channels_last, usual_axes
from softmorph_cli.system.parameters import named
from softmorph_cli.volume import Volume

# The most bytes of pixels in a classic TIFF, whose offsets have 32 bits; the rest is for the tags.
CLASSIC_LIMIT = 2**32 - 2**25


@dataclass(frozen=True)
class Tiff(Format):
    """The TIFF format: OME-TIFF, ImageJ's TIFF and plain TIFF.

    Attributes:
        lazy: Whether voxels are read lazily, when they are needed.
        series: The index of the image series to read; None reads the first that is no reduced copy of another.
    """

    lazy: bool = False
    series: int | None = None
    name = "tiff"
    output_types = ("float32", "float16", "uint8", "uint16")
    holds = frozenset({"spacing", "stack", "channels", "time", "uint32"})

    def recognises(self, head: bytes) -> bool:
        """Return whether the first bytes of a file are those of a classic TIFF or a BigTIFF, in either byte order."""
        return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

    def read(self, path: Path) -> Raw:
        """Read one image series of a TIFF, with the axes that the metadata of the file state."""
        import tifffile

        with captured_log("tifffile") as complaints, tifffile.TiffFile(path) as file:
            # Counting the pages detects a circular list of them, along which reading would not end.
            if not len(file.pages):
                raise Damaged(NO_PAGES)
            check_described_planes(file)
            number, notes = choose_series(path, file, self.series)
            series = file.series[number]
            page: Any = series.keyframe
            for keyframe in dict.fromkeys((page, *keyframes(series))):
                check_page(keyframe)
            notes += mend(series)
            check_strips(path, series)
            meaning = interpret(path, file, page)
            planes, plane_notes = count_planes(path, file, number, complaints)
            notes += (*plane_notes, *meaning.notes)
            array = self._array(path, file, number, planes, meaning)
            if not isinstance(series.axes, str) or array.ndim != len(series.axes):
                raise Unsupported(
                    f"its axes are {shown(str(series.axes))}, and its pages have the shape {array.shape}"
                )
            axes, axes_notes = _axes(series.axes, array.shape)
            metadata = read_metadata(file, number, page, axes or "")
            notes += (*axes_notes, *metadata.notes)
            samples: tuple[str, ...] = ()
            if "S" in series.axes:
                samples = meaning.sample_names(array.shape[series.axes.index("S")])
            check_layout_fields(complaints)
            if broken := next(filter(BROKEN.search, complaints), None):
                # What tifffile can still read of a file that was cut short looks like a complete file.
                raise ValueError(broken)
            one, labels = _mark(page.description, ONE), _mark(page.description, LABELS) is not None
        labels = labels or meaning.labels
        native = metadata.native
        return Raw(
            array=array,
            axes=axes,
            format=self.name,
            shape=array.shape,
            dtype=str(array.dtype),
            spacing=metadata.spacing,
            unit=metadata.unit,
            time_step=metadata.time_step,
            channels=samples or metadata.channels,
            slope=1 / one if one and array.dtype.kind in "ui" else meaning.slope,
            inter=meaning.inter,
            full_scale=not labels,
            colour=bool(samples),
            labels=labels,
            provenance=parse(native.description, str(native.imagej.get("Info", ""))),
            native=native,
            notes=tuple(notes),
        )

    def _array(
        self, path: Path, file: Any, number: int, planes: int | None, meaning: Interpretation
    ) -> Array:
        """Return the numbers of a series; a lazy view if `lazy` is set or the numbers do not fit into memory."""
        series = file.series[number]
        if series.size * series.dtype.itemsize >= 1 << 63:
            raise Unsupported("by its metadata it holds over 2^63 bytes")
        # While one strip or tile is decompressed, both its copies and the other strips are in memory.
        parts = 1 + min(1, prod(series.keyframe.chunks) / max(1, series.size))
        if not self.lazy and fits(series.shape, ceil(series.dtype.itemsize * parts)):
            return meaning.apply(decode(path, file, series, planes))
        array = stored_tiles(path, number, partial(meaning.apply_to_part, path=path))
        if planes is not None and planes < series.size // max(1, series.keyframe.size):
            array = array[:planes]
        return array

    def write(self, volume: Volume, array: Array, path: Path, encoding: Encoding) -> list[str]:
        """Write a zlib-compressed TIFF in the flavour (OME, ImageJ, plain) of the source; .ome.tif is always OME-TIFF.

        If the source is no TIFF, the flavour is ImageJ. Element types and sizes that a flavour cannot hold change it.
        """
        import tifffile

        native = kept_native(volume, self.name)
        if not isinstance(native, Native):
            native = Native("imagej")
        lost: list[str] = []
        flavour, big = native.flavour, array.nbytes > CLASSIC_LIMIT
        if re.search(r"\.ome\.\w+$", path.name.lower()):
            flavour = "ome"
        if flavour == "imagej" and big:
            flavour = "ome"
            lost.append("ImageJ's own TIFF ends at 4 GiB; this is an OME BigTIFF.")
        if flavour == "imagej" and array.dtype == np.uint32:
            flavour = "ome"
            lost.append("ImageJ's own TIFF has no uint32; this is an OME-TIFF.")
        if str(array.dtype) not in OME_TYPES:
            if flavour != "plain":
                lost.append(f"ImageJ and OME have no {array.dtype}; this is a plain TIFF.")
            flavour = "plain"
        array, axes, renamed = in_page_order(volume, array, flavour)
        lost += renamed
        provenance = encoding.provenance
        signature: dict[str, Any] = {SIGNATURE: json.loads(as_text(provenance))} if provenance else {}
        if encoding.labels:
            signature[LABELS] = int(array.max())
        elif encoding.one != 1:
            signature[ONE] = encoding.one
        step = time_step_of(volume)
        kept = {"ome": native.time_increment, "imagej": native.imagej.get("finterval")}.get(flavour)
        if step is not None and not step.known and not kept:
            lost.append("the unit of its time step is unknown, and TIFF counts in s: it is not kept.")
        seconds = step.size if step and step.known else None
        options, not_kept = IMWRITE_OPTIONS[flavour](volume, axes, native, signature, seconds)
        lost += not_kept
        if flavour == "imagej" and array.shape[-1] == 1:
            # tifffile takes a last axis of size one for the samples of a pixel.
            array = array.reshape([*(array.shape[axes.index(a)] if a in axes else 1 for a in "TZCYX"), 1])
            options["metadata"]["axes"] = "TZCYXS"
        with captured_log("tifffile"):
            tifffile.imwrite(
                path,
                np.ascontiguousarray(array),
                photometric="minisblack",
                compression="zlib",
                # Without imagecodecs, zlib's default level 6 takes twice as long for 8 % less.
                compressionargs={"level": 1},
                bigtiff=big,
                software=f"softmorph {provenance.get('version', '')}".strip(),
                **options,
            )
        return lost


def _axes(found: str, shape: tuple[int, ...]) -> tuple[str | None, list[str]]:
    """Translate axis letters of tifffile: samples become channels, and a single nameless axis of pages becomes Z.

    Args:
        found: The axis letters that tifffile states.
        shape: The size of the array along each axis.

    Returns:
        The letters, None if they are ambiguous; and notes.
    """
    axes = found.replace("S", "V" if "C" in found else "C")
    nameless = [axis for axis in axes if axis not in "TZCYXV"]
    if nameless and "C" not in axes and channels_last(shape):
        return usual_axes(shape)
    if nameless and (len(nameless) > 1 or "Z" in axes):
        return None, []
    if nameless:
        note = (
            "its pages have no named axis and are taken as slices along z; "
            f"{named('axes', 'TYX')} or {named('per_slice', True)} changes it."
        )
        return axes.replace(nameless[0], "Z"), [note]
    return axes, []


def _mark(description: str, key: str) -> int | None:
    """Return the integer after a key of softmorph in the description of a TIFF; None if the key is missing."""
    found = re.search(key + r"(?:\W|quot)*(\d+)", description)
    return int(found[1]) if found else None
