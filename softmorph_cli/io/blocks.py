"""Maps larger than memory: read and written block by block, with the same rules as whole ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import FileError, InputError, UsageError
from softmorph_cli.files import check_writable, replacing_store
from softmorph_cli.io import select
from softmorph_cli.io.formats import read_raw, target_format
from softmorph_cli.io.lazy import Lazy
from softmorph_cli.io.npz import NAME as NNUNET
from softmorph_cli.io.omezarr import Native, OmeZarr, Place, layout
from softmorph_cli.io.raw import Affine, Array, Kept, Provenance, Raw
from softmorph_cli.io.stores import node
from softmorph_cli.io.storing import chunk_shape, create_array, create_group, workers
from softmorph_cli.io.values import check_options, check_type, full_scale, no_label, probabilities
from softmorph_cli.io.writing import encode
from softmorph_cli.volume import Source

_SINGLE = np.dtype(np.float32)


@dataclass(frozen=True)
class Blocks:
    """One image of a file, of which blocks are read; any number of threads may do so.

    Attributes:
        path: The file.
        shape: Along the axes of space.
        axes: "ZYX" or "YX".
        spacing: As in `Volume`.
        unit: As in `Volume`.
        affine: As in `Volume`.
        dtype: The element type on disk.
        chunks: The extent of what the file stores in one piece; blocks made of whole ones are read fastest.
        in_memory: Whether the format keeps no pieces, so that all of the file is held in memory.
        source: As in `Volume`.
        notes: What had to be decided.
        channels: None; one channel is all there is.
    """

    path: Path
    shape: tuple[int, ...]
    axes: str
    spacing: tuple[float, ...] | None
    unit: str | None
    affine: Affine | None
    dtype: str
    chunks: tuple[int, ...]
    in_memory: bool
    source: Source
    notes: tuple[str, ...]
    channels: tuple[str, ...] | None = None
    _read: Callable[[tuple[slice, ...]], Array] = field(repr=False, kw_only=True)

    def read(self, slices: Sequence[slice]) -> npt.NDArray[np.float32]:
        """Read a block as probabilities.

        Args:
            slices: A range for each axis of space, without steps.

        Returns:
            float32 in [0, 1], nobody else's.

        Raises:
            FileError: If the file is damaged there.
            InputError: If the values there are no probabilities.
        """
        cuts = tuple(slice(*part.indices(size)[:2]) for part, size in zip(slices, self.shape, strict=True))
        return self._read(cuts)


def open_blocks(
    path: str | Path,
    *,
    resolution: int | None = None,
    axes: str | None = None,
    channel: int | str | None = None,
    channel_axis: int | str | None = None,
    divide_by: float | None = None,
    label: int | None = None,
    clip: bool = False,
    from_logits: str | None = None,
    region: str | None = None,
    mask: str | Path | None = None,
) -> Blocks:
    """Open a map without reading it: OME-Zarr, TIFF, uncompressed NIfTI or .npy in parts, others whole.

    The options are those of `read`, and the blocks together are what it returns. Integers that no option
    explains are gone through once here, because their largest decides what they mean.

    Raises:
        FileError: As `read`.
        InputError: As `read`, or if more than one image is left: blocks are those of one.
        UsageError: As `read`.
    """
    path = Path(path)
    name = str(path)
    check_options(divide_by, label, from_logits)
    family, raw = read_raw(path, resolution=resolution, lazy=True)
    if family.name == NNUNET:
        raise InputError(f"{name} is an .npz, which is read as a whole only.")
    in_memory = not isinstance(raw.array, Lazy | np.memmap)
    check_type(raw, name)
    raw = replace(raw, array=_in_parts(raw.array))
    raw = select.arrange(select.name_axes(raw, name, axes=axes, channel_axis=channel_axis))
    filed, full = raw.axes or "", select.spatial(raw)
    inside = _Mask(Path(mask), raw, name) if mask is not None else None
    if region is not None:
        raw, cuts = select.crop(raw, region, name)
        if inside is not None:
            inside.crop(cuts)
    softmax = from_logits == "softmax"
    raw = _one_image(raw, name, channel, softmax=softmax)
    full_spacing = raw.spacing
    raw, array, dropped = select.drop_singleton(raw, raw.array)
    raw = replace(raw, array=array)
    letters = select.spatial(raw)
    place = [letter for letter in full if letter != dropped]
    mapped = raw.array.ndim - len(letters)

    def stored(cuts: tuple[slice, ...]) -> tuple[Raw, Array | None]:
        index: tuple[Any, ...] = (..., *cuts)
        part = replace(raw, array=np.asarray(raw.array[index]))
        return part, inside.read(dict(zip(place, cuts, strict=True)), cuts) if inside is not None else None

    divisor, notes = divide_by, list[str]()
    if label is not None or (
        divide_by is None
        and from_logits is None
        and raw.array.dtype.kind in "iub"
        and raw.slope == 1
        and raw.inter == 0
    ):
        lazy = cast(Lazy, raw.array)
        parts = (stored(cuts) for cuts in lazy.boxes())
        divisor, notes = _settle(raw, parts, name, divide_by, label, clip)

    def read_block(cuts: tuple[slice, ...]) -> Array:
        part, seen = stored(cuts)
        where = ", ".join(f"{a.lower()} {c.start}:{c.stop}" for a, c in zip(letters, cuts, strict=True))
        values, _ = probabilities(
            part,
            f"{name} (block {where})",
            _SINGLE,
            inside=seen,
            divide_by=divisor,
            label=label,
            clip=clip,
            from_logits=from_logits,
            corner=(0,) * mapped + tuple(cut.start for cut in cuts),
        )
        if softmax and channel is not None:
            values = select.pick_channel(replace(part, array=values), channel, name).array
        return np.ascontiguousarray(values.reshape(values.shape[-len(cuts) :]))

    return Blocks(
        path=path,
        shape=raw.array.shape[mapped:],
        axes=letters,
        spacing=tuple(raw.spacing[a] for a in letters) if set(letters) <= set(raw.spacing) else None,
        unit=raw.unit,
        affine=raw.affine,
        dtype=raw.dtype,
        chunks=cast(Lazy, raw.array).chunks[mapped:],
        in_memory=in_memory,
        source=Source(
            path,
            family.name,
            raw.shape,
            raw.dtype,
            Kept(family.name, raw.native, filed, full_spacing, dropped),
            raw.provenance,
        ),
        notes=(*raw.notes, *notes),
        _read=read_block,
    )


class _Mask:
    """Where values count, read along with each block."""

    def __init__(self, path: Path, raw: Raw, name: str) -> None:
        _, other = read_raw(path, lazy=True)
        check_type(other, str(path))
        other = replace(other, array=_in_parts(other.array))
        other = select.arrange(select.name_axes(other, str(path)))
        letters = select.spatial(raw)
        shape, found = raw.array.shape[-len(letters) :], other.array.shape
        if [size for size in found if size > 1] != [size for size in shape if size > 1]:
            raise InputError(
                f"--mask {path} has shape {found}; {name} has {shape}: a mask needs one value for each voxel."
            )
        self._array = other.array[tuple(slice(None) if size > 1 else 0 for size in found)]
        self._letters = [a for a, size in zip(letters, shape, strict=True) if size > 1]
        self._all = letters

    def crop(self, cuts: tuple[slice, ...]) -> None:
        """Cut the same region out."""
        kept = [cut for letter, cut in zip(self._all, cuts, strict=True) if letter in self._letters]
        self._array = self._array[tuple(kept)]

    def read(self, cuts: Mapping[str, slice], shape: Sequence[slice]) -> Array:
        """Read a block; an axis that has no range of its own has one voxel."""
        part = np.asarray(self._array[tuple(cuts.get(letter, slice(0, 1)) for letter in self._letters)])
        return np.asarray(part != 0).reshape([cut.stop - cut.start for cut in shape])


def _in_parts(array: Any) -> Array:
    """An array in memory or in a mapped file as one that is read part by part, always into a copy."""
    if isinstance(array, Lazy):
        return cast(Array, array)
    chunks = (*(1 for _ in array.shape[:-2]), *array.shape[-2:])
    return cast(Array, Lazy(array, chunks, lambda stored, index: np.array(stored[index])))


def _one_image(raw: Raw, name: str, channel: int | str | None, *, softmax: bool) -> Raw:
    """Leave the mapped axes out, of size one each; for softmax keep the channels, if one is chosen later."""
    if channel is not None and not softmax:
        raw = select.pick_channel(raw, channel, name)
    for letter in (raw.axes or "").removesuffix(select.spatial(raw)):
        at = (raw.axes or "").index(letter)
        count = raw.array.shape[at]
        if letter == "C" and softmax and (count == 1 or channel is not None):
            continue
        if count > 1:
            raise InputError(
                f"{name} holds {count} images along axis {letter}, and what is read in parts is one image; "
                "choose one with --channel."
            )
        axes = (raw.axes or "").replace(letter, "")
        raw = replace(raw, array=raw.array.take(0, axis=at), axes=axes, channels=None)
    return raw


def _settle(
    raw: Raw,
    parts: Iterable[tuple[Raw, Array | None]],
    name: str,
    divide_by: float | None,
    label: int | None,
    clip: bool,
) -> tuple[float | None, list[str]]:
    """What no block can tell alone: whether the label is there, or what integers mean."""
    low, high = 0, 0
    for number, (part, seen) in enumerate(parts):
        array = part.array if seen is None else np.where(seen, part.array, np.zeros((), part.array.dtype))
        if label is None:
            here = int(array.min()), int(array.max())
            low, high = here if number == 0 else (min(low, here[0]), max(high, here[1]))
        elif (np.rint(array * np.float64(raw.slope) + raw.inter) == label).any():
            return divide_by, []
    if label is not None:
        raise no_label(raw.array, name, label)
    if low >= 0 and high <= 1:
        return 1, ["it holds only 0 and 1 and is taken as a mask."]
    return full_scale(raw, name, low, high, clip=clip), []


class Written:
    """A store that is being written, by any number of threads, each voxel once.

    Attributes:
        shape: Along the axes of space.
        chunks: Blocks made of whole ones, or that reach the end, are written side by side; others one by one.
        resumed: Whether an earlier run's store is gone on with.
        lost: What the file cannot keep, one sentence each.
    """

    def __init__(
        self, array: Any, folder: Path, dtype: str, pool: Any, resumed: bool, lost: list[str]
    ) -> None:
        """Write to an open array; for `create_blocks`."""
        self._array, self._folder, self._dtype, self._pool = array, folder, dtype, pool
        self.shape: tuple[int, ...] = tuple(array.shape)
        self.chunks: tuple[int, ...] = tuple(array.chunks)
        self.resumed, self.lost = resumed, lost
        self._alone = Lock()

    def write(self, slices: Sequence[slice], block: Array) -> None:
        """Store a block of probabilities; when this returns, its chunks are in the folder.

        Raises:
            InputError: If the block does not fit, or a mask is asked for and it holds other values.
            OSError: If the system refuses.
        """
        cuts = self._cuts(slices)
        shape = tuple(cut.stop - cut.start for cut in cuts)
        if block.shape != shape:
            raise InputError(f"a block of shape {block.shape} does not fill one of {shape}.")
        stored, _ = encode(block, self._dtype)
        # A part of a chunk is put in by writing the chunk again, which only one may do at a time.
        with nullcontext() if self._whole(cuts) else self._alone:
            # In a thread that no signal interrupts: see `workers`.
            self._pool.submit(self._array.__setitem__, cuts, stored).result()

    def has(self, slices: Sequence[slice]) -> bool:
        """Whether all chunks of a block are there, as an earlier run left them.

        Blocks that were made of whole chunks are there whole or not at all; of others, a part may be.
        """
        ranges = [
            range(cut.start // one, -(-cut.stop // one))
            for cut, one in zip(self._cuts(slices), self.chunks, strict=True)
        ]
        return all(
            self._chunk(tuple(r[i] for r, i in zip(ranges, number, strict=True))).is_file()
            for number in np.ndindex(*map(len, ranges))
        )

    def missing(self) -> int:
        """How many chunks are not there yet."""
        grid = (-(-size // one) for size, one in zip(self.shape, self.chunks, strict=True))
        return sum(not self._chunk(number).is_file() for number in np.ndindex(*grid))

    def _chunk(self, number: tuple[int, ...]) -> Path:
        return self._folder / str(self._array.metadata.encode_chunk_key(number))

    def _cuts(self, slices: Sequence[slice]) -> tuple[slice, ...]:
        return tuple(slice(*part.indices(size)[:2]) for part, size in zip(slices, self.shape, strict=True))

    def _whole(self, cuts: tuple[slice, ...]) -> bool:
        return all(
            cut.start % one == 0 and (cut.stop % one == 0 or cut.stop == size)
            for cut, size, one in zip(cuts, self.shape, self.chunks, strict=True)
        )


@contextmanager
def create_blocks(
    path: str | Path,
    like: Blocks,
    *,
    dtype: str = "float32",
    chunks: Sequence[int] | None = None,
    force: bool = False,
    keep: bool = False,
    resume: bool = False,
    provenance: Provenance | None = None,
) -> Iterator[Written]:
    """Write an OME-Zarr block by block; it takes its name when the block ends well, and every chunk is there.

    Args:
        path: A name that ends in .zarr.
        like: The map whose axes, geometry and version are those of the new one.
        dtype: float32, uint8 (255 means 1), uint16, or "mask" (0 and 1).
        chunks: The extent of a chunk; by default 64 or 128 along each axis.
        force: Whether an existing store may be replaced.
        keep: If the block raises, leave what was written beside `path`, for a later run to resume.
        resume: Go on with what an earlier run kept, if it is of the same shape, type, chunks and provenance;
            keeps it as well. `Written.has` says which blocks are there.
        provenance: As for `write`.

    Yields:
        What blocks are written to.

    Raises:
        FileError: As `write`; if the block ends and chunks were not written; or if what was kept is of
            another run.
        UsageError: If the name or the type is that of another format.
    """
    path = Path(path)
    family = target_format(path, dtype)
    if not isinstance(family, OmeZarr):
        raise UsageError(f"{path}: a map larger than memory is written as OME-Zarr; end its name with .zarr.")
    check_writable(path, force=force, store=True)
    one = {"uint8": 255, "uint16": 65535}.get(dtype, 1)
    stored = "uint8" if dtype == "mask" else dtype
    shape = like.shape
    chunks = tuple(chunks or chunk_shape(shape, like.axes))
    chunks = tuple(min(size, wanted) for size, wanted in zip(shape, chunks, strict=True))
    attributes, lost = layout(
        like, _native(like), [shape], name=_stem(path), one=one, provenance=provenance or {}
    )
    with replacing_store(path, force=force, keep=keep, resume=resume) as folder:
        found = node(folder / "0") if resume else None
        if found is None:
            create_group(folder, attributes)
            array = create_array(folder / "0", attributes, shape, stored, chunks, like.axes.lower())
        else:
            array = _reopen(folder, path, attributes, shape, stored, chunks)
        with workers() as pool:
            written = Written(array, folder / "0", dtype, pool, found is not None, lost)
            yield written
        if left := written.missing():
            raise FileError(f"{path} is not complete: {left} of its chunks were not written.")


def _reopen(
    folder: Path, path: Path, attributes: Any, shape: tuple[int, ...], dtype: str, chunks: tuple[int, ...]
) -> Any:
    import zarr

    group, other = (
        node(folder),
        f"{folder} was kept by a run with other settings; remove it, or run without --resume.",
    )
    if group is None or dict(group.attributes) != json.loads(json.dumps(attributes)):
        raise FileError(other)
    array: Any = zarr.open_array(str(folder / "0"), mode="r+", config={"write_empty_chunks": True})
    if (tuple(array.shape), str(array.dtype), tuple(array.chunks)) != (shape, dtype, chunks):
        raise FileError(other)
    # What was cut off in the middle of a chunk.
    for left in folder.rglob("*.partial"):
        left.unlink(missing_ok=True)
    return array


def _native(like: Place) -> Native | None:
    source = getattr(like, "source", None)
    kept = source.header if isinstance(source, Source) else None
    return kept.native if isinstance(kept, Kept) and kept.format == OmeZarr.name else None


def _stem(path: Path) -> str:
    return path.name.removesuffix(".zarr").removesuffix(".ome")
