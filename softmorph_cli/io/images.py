"""PNG, NRRD and MetaImage through SimpleITK, whose world is LPS where ours is RAS."""

from __future__ import annotations

import os
import re
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from softmorph_cli.errors import FileError, InputError
from softmorph_cli.io.palette import of_palette
from softmorph_cli.io.provenance import SIGNATURE, as_text, parse
from softmorph_cli.io.raw import LABELS, ONE, Affine, Array, Provenance, Raw, in_millimetres, kept_native
from softmorph_cli.units import MILLIMETRES, length
from softmorph_cli.volume import Volume

_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_REVERSED = [2, 1, 0, 3]
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
# What a PNG says its pixels are.
_PNG_GREY, _PNG_PALETTE, _PNG_GREY_ALPHA, _PNG_RGBA = 0, 3, 4, 6
# MetaIO writes longer ones and cannot read the file afterwards.
_LONGEST_META = 30_000
# Keys that ITK makes up while reading, and would write a second time.
_ITK_KEYS = re.compile(r"ITK_|NRRD_(kinds|space|pixel|units|centerings)")
# A header's one file of voxels; a list or a numbered series of files is left to ITK.
_DATA_FILE = re.compile(
    rb"^(?:ElementDataFile *=|data ?file:) *(?!(?i:LIST|LOCAL))([^%\s]+)\s*$", re.MULTILINE
)


@contextmanager
def _silent() -> Iterator[None]:
    """Hold back what the C libraries under SimpleITK print; the exception says it again."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def read_image(path: Path, reader: str) -> Any:
    """Read with a named ITK reader, whatever the file is called."""
    import SimpleITK

    with _silent():
        return SimpleITK.ReadImage(str(path), imageIO=reader)


def read_pixels(path: Path, reader: str) -> Array:
    """Read the numbers alone; the first axis is the slowest."""
    import SimpleITK

    return np.asarray(SimpleITK.GetArrayFromImage(read_image(path, reader)))


def _write_image(image: Any, path: Path) -> None:
    import SimpleITK

    with _silent():
        try:
            SimpleITK.WriteImage(image, str(path), useCompression=True)
        except RuntimeError as error:
            # ITK keeps no error number; the last line of its text is the reason.
            raise OSError(str(error).strip().splitlines()[-1]) from error


@dataclass(frozen=True)
class Png:
    """8- and 16-bit grey PNG; the type's maximum means 1."""

    name: str = "png"
    title: str = "PNG"
    suffixes: tuple[str, ...] = (".png",)
    output_types: tuple[str, ...] = ("uint16", "uint8")
    holds: frozenset[str] = frozenset()

    def recognises(self, head: bytes) -> bool:
        """Whether the PNG signature is there."""
        return head.startswith(_PNG_MAGIC)

    def read(self, path: Path) -> Raw:
        """Read one image; a file that this package wrote says so and needs no guess about its range."""
        chunks = _chunks(path.read_bytes())
        # What lies behind the end of the image is none of it.
        if (chunks[0].name, chunks[-1].name) != (b"IHDR", b"IEND"):
            raise FileError(f"{path} is cut short: it starts as a PNG file but does not end as one.")
        texts = _texts(chunks)
        ours, labels = texts.get(ONE, ""), LABELS in texts
        notes: tuple[str, ...] = ()
        array = _samples(path, chunks)
        if chunks[0].body[9] == _PNG_PALETTE:
            colours = next((chunk.body for chunk in chunks if chunk.name == b"PLTE"), b"")
            turned, labels, note = of_palette(np.frombuffer(colours, np.uint8).reshape(-1, 3))
            array, notes = turned(array), (note,)
        if array.ndim == 3 and array.shape[-1] == 2 and (array[..., 1] == np.iinfo(array.dtype).max).all():
            array, notes = array[..., 0], ("its alpha channel is opaque everywhere, and is left out.",)
        colour = array.ndim == 3
        return Raw(
            array=array,
            axes="YXC" if colour else "YX",
            format=self.name,
            shape=array.shape,
            dtype=str(array.dtype),
            channels=("grey", "alpha") if colour and array.shape[-1] == 2 else None,
            full_scale=not labels,
            slope=_slope(ours),
            colour=colour,
            labels=labels,
            provenance=parse(texts.get(SIGNATURE), named=True),
            notes=notes,
        )

    def write(
        self,
        volume: Volume,
        array: Array,
        path: Path,
        *,
        one: int,
        provenance: Provenance,
        labels: bool = False,
    ) -> list[str]:
        """Write one grey image; a mask becomes 0 and 255, which is what a viewer can show."""
        import SimpleITK

        if array.ndim != 2:
            raise InputError(
                f"PNG holds one 2-D image, not a map of shape {array.shape} (axes {volume.axes}); "
                "write .tif or .nii.gz."
            )
        lost = []
        if one == 1 and not labels:
            array, one = array * np.uint8(255), 255
            lost.append("a mask is 0 and 255 in PNG.")
        _write_image(SimpleITK.GetImageFromArray(np.ascontiguousarray(array)), path)
        texts = {LABELS: str(array.max())} if labels else {ONE: str(one)}
        if provenance:
            texts[SIGNATURE] = as_text(provenance)
        _insert_texts(path, texts)
        return lost


def _insert_texts(path: Path, texts: dict[str, str]) -> None:
    # SimpleITK cannot write text chunks; they go behind IHDR, which always ends at byte 33.
    content = path.read_bytes()
    chunks = b"".join(
        _chunk(b"tEXt", key.encode("latin-1") + b"\0" + text.encode("ascii", "backslashreplace")).all
        for key, text in texts.items()
    )
    path.write_bytes(content[:33] + chunks + content[33:])


def _slope(one: str) -> float:
    """What stored numbers are multiplied by, where a file says which of them stands for 1."""
    return 1 / int(one) if one.isdecimal() and int(one) else 1.0


class _Chunk(NamedTuple):
    """One part of a PNG; all of it is its length, name, body and checksum."""

    name: bytes
    all: bytes

    @property
    def body(self) -> bytes:
        return self.all[8:-4]


def _chunk(name: bytes, body: bytes) -> _Chunk:
    checksum = zlib.crc32(name + body).to_bytes(4, "big")
    return _Chunk(name, len(body).to_bytes(4, "big") + name + body + checksum)


def _chunks(content: bytes) -> list[_Chunk]:
    """The chunks of a PNG, at least one, the last one IEND if the file is whole."""
    chunks, at = [], len(_PNG_MAGIC)
    while (end := at + 12 + int.from_bytes(content[at : at + 4], "big")) <= len(content):
        chunks.append(_Chunk(content[at + 4 : at + 8], content[at:end]))
        if chunks[-1].name == b"IEND":
            break
        at = end
    return chunks or [_Chunk(b"", b"")]


def _samples(path: Path, chunks: list[_Chunk]) -> Array:
    """The numbers of a PNG as they are stored.

    ITK makes colours of the indices into a palette, and cannot read grey with alpha. Both lie in the file as other
    pixels of the same number of bytes would, and as those it reads them.
    """
    head = chunks[0].body
    depth, kind = head[8], head[9]
    alpha, clear = kind == _PNG_GREY_ALPHA, any(chunk.name == b"tRNS" for chunk in chunks)
    if not (kind == _PNG_PALETTE or alpha or (kind == _PNG_GREY and clear)):
        return read_pixels(path, "PNGImageIO")
    as_depth, as_kind = (depth, _PNG_GREY) if not alpha else (16, _PNG_GREY) if depth == 8 else (8, _PNG_RGBA)
    parts = [_chunk(b"IHDR", head[:8] + bytes((as_depth, as_kind)) + head[10:])]
    parts += [chunk for chunk in chunks if chunk.name in (b"IDAT", b"IEND")]
    with TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.png"
        plain.write_bytes(_PNG_MAGIC + b"".join(part.all for part in parts))
        array = read_pixels(plain, "PNGImageIO")
    if alpha and depth == 8:
        return array.astype(">u2").view(np.uint8).reshape(*array.shape, 2)
    if alpha:
        return array.view(">u2").astype(np.uint16)
    # Greys of fewer than 8 bits are spread over all of them.
    return array // np.uint8(255 // (2**depth - 1)) if kind == _PNG_PALETTE else array


def _texts(chunks: list[_Chunk]) -> dict[str, str]:
    """The texts of a PNG; where a key comes twice, the last one."""
    texts = {}
    for chunk in chunks:
        if chunk.name == b"tEXt":
            key, _, text = chunk.body.partition(b"\0")
            texts[key.decode("latin-1")] = text.decode("latin-1")
    return texts


@dataclass(frozen=True)
class Itk:
    """A family that stores what an ITK image is: NRRD or MetaImage."""

    name: str
    title: str
    suffixes: tuple[str, ...]
    magic: re.Pattern[bytes]
    reader: str
    output_types: tuple[str, ...] = ("float32", "uint8", "uint16")
    holds: frozenset[str] = frozenset({"spacing", "affine", "stack", "uint32"})

    def recognises(self, head: bytes) -> bool:
        """Whether the family's first words are there."""
        return bool(self.magic.match(head))

    def read(self, path: Path) -> Raw:
        """Read pixels, direction, origin, spacing and the metadata dictionary."""
        import SimpleITK

        header = _header(path)
        data = _DATA_FILE.search(header)
        if data and not (path.parent / (name := os.fsdecode(data[1]))).exists():
            raise FileError(
                f"{path} keeps its voxels in {name}, which does not exist; copy the two files together."
            )
        image = read_image(path, self.reader)
        array = SimpleITK.GetArrayFromImage(image)
        vector = image.GetNumberOfComponentsPerPixel() > 1
        axes = {2: "YX", 3: "ZYX", 4: "TZYX"}.get(image.GetDimension())
        metadata = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
        factor, unit, affine, notes = self._world(header, metadata, image)
        spacing = {letter: size * factor for letter, size in zip("XYZ", image.GetSpacing(), strict=False)}
        ours, labels = metadata.get(ONE, "").strip(), LABELS in metadata
        return Raw(
            array=array,
            axes=axes + "C" * vector if axes else None,
            format=self.name,
            shape=tuple(image.GetSize()) + (image.GetNumberOfComponentsPerPixel(),) * vector,
            dtype=str(array.dtype),
            spacing=spacing,
            unit=unit,
            affine=affine,
            slope=_slope(ours),
            colour=vector and array.dtype == np.uint8 and array.shape[-1] in (3, 4) and not labels,
            labels=labels,
            provenance=parse(metadata.get(SIGNATURE), named=True),
            native=metadata,
            notes=notes,
        )

    def _world(
        self, header: bytes, metadata: dict[str, str], image: Any
    ) -> tuple[float, str | None, Affine | None, tuple[str, ...]]:
        """Find how the file measures space.

        MetaImage is in millimetres, and so is a NRRD with a `space` that names no unit. A NRRD without
        `space` has no affine, nor has one in a unit that nobody knows.

        Returns:
            What the stored lengths are to be multiplied by, the unit they are in then, the affine in mm, and
            what had to be decided.
        """
        if self.name != "nrrd":
            return 1.0, "mm", _affine(image), ()
        placed = "NRRD_space" in metadata
        named = _nrrd_units(header)
        found = {length(1.0, name) for name in named} or {(1.0, "mm" if placed else None)}
        factor, unit = found.pop()
        if found or (named and unit is None):
            units = ", ".join(dict.fromkeys(named))
            wrong = "differ from axis to axis" if found else "are not known"
            lost = "the unit, orientation and origin are dropped" if placed else "the unit is dropped"
            return 1.0, None, None, (f"its units of length, {units}, {wrong}: {lost}.",)
        if not placed or unit is None:
            return factor, unit, None, ()
        affine = _affine(image)
        affine[:3] *= factor * MILLIMETRES[unit]
        return factor, unit, affine, ()

    def write(
        self,
        volume: Volume,
        array: Array,
        path: Path,
        *,
        one: int,
        provenance: Provenance,
        labels: bool = False,
    ) -> list[str]:
        """Write compressed, with the source's metadata dictionary, always in millimetres."""
        import SimpleITK

        others = volume.mapped_axes.replace("C", "")
        if len(others) > 1:
            raise InputError(
                f"{self.title} holds one axis beside channels and space, not {others!r}; write .npy."
            )
        axes, sizes, affine = volume.axes, in_millimetres(volume), volume.affine
        if volume.spatial_dims == 2 and (others or (affine is not None and not _in_plane(affine))):
            array, axes = np.expand_dims(array, -3), f"{volume.mapped_axes}ZYX"
            depth = 1.0 if affine is None else float(np.linalg.norm(affine[:3, 0]))
            sizes = None if sizes is None else (depth, *sizes)
        if "C" in axes:
            array = np.moveaxis(array, axes.index("C"), -1)
        image: Any = SimpleITK.GetImageFromArray(np.ascontiguousarray(array), isVector="C" in axes)
        lost = _orient(image, affine, sizes)
        if sizes is not None and volume.unit not in MILLIMETRES:
            lost.append(f"the unit of its voxel size is unknown; {self.title} readers take it as mm.")
        if volume.channels:
            lost.append(f"{self.title} cannot hold the channel names {', '.join(volume.channels)}.")
        metadata = dict(kept_native(volume, self.name) or {})
        for key in (ONE, LABELS):
            metadata.pop(key, None)
        if one != 1:
            metadata[ONE] = str(one)
        if labels:
            metadata[LABELS] = str(array.max())
        if provenance:
            metadata[SIGNATURE] = as_text(provenance)
        for key, value in metadata.items():
            if self.name == "metaimage" and len(value) > _LONGEST_META:
                lost.append(f"{self.title} cannot hold the {len(value):,} characters of {key!r}.")
            elif not _ITK_KEYS.match(key):
                image.SetMetaData(key, value)
        _write_image(image, path)
        return lost


NRRD = Itk("nrrd", "NRRD", (".nrrd", ".nhdr"), re.compile(rb"NRRD\d"), "NrrdImageIO")
METAIMAGE = Itk(
    "metaimage",
    "MetaImage",
    (".mha", ".mhd"),
    re.compile(rb"\s*(ObjectType|NDims|Comment|ObjectSubType)\s*="),
    "MetaImageIO",
)


def _header(path: Path) -> bytes:
    """The text that a NRRD or a MetaImage begins with; of the latter, some voxels may follow it."""
    with path.open("rb") as stream:
        return stream.read(1 << 16).replace(b"\r\n", b"\n").split(b"\n\n")[0]


def _nrrd_units(header: bytes) -> list[str]:
    """The units of the axes of space as they are spelt, those left blank passed over."""
    for key in (b"space units", b"units"):
        field = re.search(rb"^" + key + rb":[ \t]*(.*)$", header, re.MULTILINE)
        spelt = [_text(word).strip() for word in re.findall(rb'"([^"]*)"', field[1])] if field else []
        if named := [word for word in spelt if word not in ("", "???", "none")]:
            # Axes beside space come last, or first and blank, as those of vectors do.
            return named[:3]
    return []


def _text(field: bytes) -> str:
    try:
        return field.decode()
    except UnicodeDecodeError:
        return field.decode("latin-1")


def _affine(image: Any) -> Affine:
    """LPS direction, origin and spacing -> RAS affine over the index (z, y, x, 1)."""
    dims = min(image.GetDimension(), 3)
    direction = np.reshape(image.GetDirection(), (image.GetDimension(),) * 2)[:dims, :dims]
    affine = np.eye(4)
    affine[:dims, :dims] = direction * image.GetSpacing()[:dims]
    affine[:dims, 3] = image.GetOrigin()[:dims]
    return (_LPS @ affine)[:, _REVERSED]


def _in_plane(affine: Affine) -> bool:
    """Whether a 2-D image says it all: the plane is z = 0, and x and y stay in it."""
    return bool(np.allclose(affine[2, 1:], 0) and np.allclose(affine[:2, 0], 0))


def _orient(image: Any, affine: Affine | None, sizes: tuple[float, ...] | None) -> list[str]:
    total = image.GetDimension()
    lost: list[str] = []
    if affine is not None:
        dims = min(total, 3)
        linear = (_LPS @ affine)[:, _REVERSED]
        steps = np.linalg.norm(linear[:dims, :dims], axis=0)
        direction, spacing, origin = np.eye(total), np.ones(total), np.zeros(total)
        if np.linalg.matrix_rank(linear[:dims, :dims]) == dims:
            direction[:dims, :dims] = linear[:dims, :dims] / steps
            spacing[:dims], origin[:dims] = steps, linear[:dims, 3]
            image.SetDirection(direction.ravel().tolist())
            image.SetSpacing(spacing.tolist())
            image.SetOrigin(origin.tolist())
            return lost
        lost.append("its affine is singular and cannot be kept.")
    if sizes is not None:
        image.SetSpacing([*reversed(sizes), *[1.0] * (total - len(sizes))])
    return lost
