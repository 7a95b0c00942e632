"""OME-Zarr stores with invalid metadata, damaged or missing chunks."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_omezarr import chunk_files, metadata
from helpers_typing import zarr
from helpers_zarr import SOFT, make

from softmorph_cli.errors import FileError, InputError
from softmorph_cli.io.blocks import open_blocks
from softmorph_cli.io.probing import probe
from softmorph_cli.io.reading import read
from softmorph_cli.io.writing import write
from softmorph_cli.volume import Volume


def _changed(path: Path, change: Any) -> None:
    stated = json.loads(metadata(path).read_text())
    change(stated["multiscales"][0])
    metadata(path).write_text(json.dumps(stated))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.update(version="0.3"), r"they are of version 0\.3; read are 0\.4 and 0\.5"),
        (lambda m: m.pop("axes"), "they do not name the axes"),
        (lambda m: m.update(axes=["z", "y", "x"]), "they do not name the axes"),
        (lambda m: m["axes"][0].update(type="time"), "they call the axis 'z' one of time, not of space"),
        (lambda m: m["axes"][0].update(name="x"), "must have distinct names"),
        (
            lambda m: [a.update(type="other", name=n) for a, n in zip(m["axes"], "abd", strict=True)],
            "0 axes of space",
        ),
        (lambda m: m["axes"].pop(), "its axes of space are z, y, without y or x"),
        (lambda m: m.pop("datasets"), r"they list no resolution \(datasets\)"),
        (lambda m: m["datasets"][0].pop("path"), "a resolution has no path"),
        (lambda m: m["datasets"][0].update(path="../../x"), "a resolution has no path inside the store"),
        (lambda m: m["datasets"][0].update(path="9"), "lists the resolution '9', and there is no such array"),
        (
            lambda m: m["datasets"][0]["coordinateTransformations"][0].update(scale=[1, 1]),
            "has 2 numbers for 3 axes",
        ),
        (
            lambda m: m["datasets"][0]["coordinateTransformations"][0].update(scale=[1, 0, 1]),
            "is 1, 0, 1; voxel sizes are positive",
        ),
        (
            lambda m: m["datasets"][0]["coordinateTransformations"][0].update(scale=["a", 1, 1]),
            "not numbers",
        ),
        (
            lambda m: m["datasets"][0].update(coordinateTransformations=[{"type": "affine"}]),
            "neither a scale nor a translation",
        ),
        (lambda m: m["datasets"][0].update(coordinateTransformations=5), "are no list"),
    ],
)
def test_invalid_metadata_are_refused(whole: Path, change: Any, words: str) -> None:
    source = make(whole / "in.zarr")
    _changed(source, change)
    with pytest.raises(FileError, match=words):
        read(source)
    with pytest.raises(FileError, match=words):
        probe(source)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_damaged_metadata(whole: Path, version: str) -> None:
    source = make(whole / "in.zarr", version=version)
    for path in (metadata(source), source / "0" / ("zarr.json" if version == "0.5" else ".zarray")):
        text = path.read_text()
        path.write_text(text[: len(text) // 2])
        with pytest.raises(FileError, match="is cut short or no JSON; copy the store again"):
            read(source)
        path.write_text("[1, 2]")
        with pytest.raises(FileError, match="is no JSON object"):
            read(source)
        path.write_bytes(b"\xff\xfe\x00")
        with pytest.raises(FileError, match="is cut short or no JSON"):
            read(source)
        path.write_text(text)
    assert read(source).array.shape == SOFT.shape


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_unknown_codecs_and_pickles(whole: Path, version: str) -> None:
    source = make(whole / "in.zarr", version=version)
    path = source / "0" / ("zarr.json" if version == "0.5" else ".zarray")
    stated = json.loads(path.read_text())
    for name, words in (
        ("weird", "is compressed with weird, which is not known here"),
        ("pickle", "never unpickled"),
    ):
        if version == "0.5":
            stated["codecs"][-1] = {"name": name, "configuration": {}}
        else:
            stated["compressor"] = {"id": name}
        path.write_text(json.dumps(stated))
        with pytest.raises(FileError, match=words):
            read(source)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_truncated_chunk(whole: Path, version: str) -> None:
    for name in ("theirs.zarr", "ours.zarr"):
        if name == "theirs.zarr":
            make(whole / name, version=version)
        else:
            write(read(whole / "theirs.zarr"), whole / name)
        chunk = chunk_files(whole / name / "0")[0]
        content = chunk.read_bytes()
        # Blosc itself does not miss the last byte.
        for length in (0, 5, 40, len(content) - (1 if name == "ours.zarr" else 9)):
            chunk.write_bytes(content[:length])
            with pytest.raises(
                FileError,
                match=rf"has a chunk that is cut short or damaged, {re.escape(str(chunk))} \(.*copy it, or the",
            ):
                read(whole / name)
        chunk.write_bytes(content)
    # One flipped bit: stores of softmorph have a checksum.
    chunk.write_bytes(content[:-20] + bytes([content[-20] ^ 1]) + content[-19:])
    with pytest.raises(FileError, match="cut short or damaged"):
        read(whole / "ours.zarr")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_missing_chunk_has_a_note_and_is_refused_in_stores_of_softmorph(whole: Path, version: str) -> None:
    source = make(whole / "in.zarr", version=version, chunks=(2, 7, 8))
    write(read(source), whole / "out.zarr")
    chunk_files(source / "0")[1].unlink()
    found = read(source)
    assert found.notes == ("1 of its 3 chunks is not stored and reads as its fill value, 0.0.",)
    assert not found.array[2:4].any()
    lost = chunk_files(whole / "out.zarr" / "0")[0]
    lost.unlink()
    words = rf"misses 1 of its 1 chunks, the first of them {re.escape(str(lost))}, and softmorph wrote all of"
    with pytest.raises(FileError, match=words):
        read(whole / "out.zarr")


def test_zeros_are_stored_too(whole: Path) -> None:
    write(Volume(np.zeros((4, 5, 6), np.float32), "ZYX"), whole / "zeros.zarr")
    assert read(whole / "zeros.zarr").notes == ()


def test_folders_that_are_no_stores(whole: Path) -> None:
    (whole / "empty.zarr").mkdir()
    (whole / "maps").mkdir()
    with pytest.raises(FileError, match=r"is a folder without Zarr's metadata"):
        read(whole / "empty.zarr")
    with pytest.raises(FileError, match="is a folder; name one file in it"):
        read(whole / "maps")
    (whole / "file.zarr").write_bytes(b"PK\x03\x04 and more")
    with pytest.raises(FileError, match=r"is called \.zarr but it is a zip archive"):
        read(whole / "file.zarr")


def test_probe_reports_damage_and_suggests_labels(whole: Path) -> None:
    found = probe(make(whole / "in.zarr", coarse=SOFT[::2, ::2, ::2]))
    assert (found.format, found.kind, found.shape) == ("ome-zarr", "probability", SOFT.shape)
    assert found.suggestion == f"softmorph skeletonize {whole / 'in.zarr'} skeleton.zarr"
    holes = SOFT.copy()
    holes[4, 5, 6] = np.nan
    assert probe(make(whole / "holes.zarr", holes, chunks=(2, 7, 8))).nans == 1
    with pytest.raises(InputError, match=r"not a number \(NaN\), the first at \(z=4, y=5, x=6\)"):
        read(whole / "holes.zarr")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_missing_chunks_are_listed_and_not_read(
    whole: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    source = make(whole / "in.zarr", np.zeros((3000, 6, 4), np.float32), version=version, chunks=(3, 3, 3))
    stored = zarr.open_array(str(source / "0"), mode="r+")
    part = np.random.default_rng(0).random((8, 5, 4), dtype=np.float32)
    right = np.zeros((3000, 6, 4), np.float32)
    right[1234:1242, 1:] = part
    stored[1234:1242, 1:] = part
    requested: list[Any] = []
    before = zarr.Array.__getitem__

    def counted(array: Any, index: Any) -> Any:
        requested.append(index)
        return before(array, index)

    monkeypatch.setattr(zarr.Array, "__getitem__", counted)
    found = read(source)
    assert "of its 4000 chunks are not stored and read as its fill value, 0.0" in found.notes[0]
    assert np.array_equal(found.array, right)
    assert 0 < len(requested) <= len(chunk_files(source / "0"))
    blocks = open_blocks(source)
    box = (slice(1230, 1240), slice(2, 6), slice(1, 4))
    assert np.array_equal(blocks.read(box), right[box])


def test_a_fill_value_that_is_not_zero(whole: Path) -> None:
    source = make(whole / "in.zarr", version="0.4", chunks=(2, 7, 8))
    stated = json.loads((source / "0" / ".zarray").read_text())
    (source / "0" / ".zarray").write_text(json.dumps(stated | {"fill_value": 0.25}))
    chunk_files(source / "0")[1].unlink()
    right = SOFT.copy()
    right[2:4] = 0.25
    assert np.array_equal(read(source).array, right)


@pytest.mark.parametrize(("shape", "chunks", "messages"), [
    ([2**31, 7, 8], [2, 7, 8], "has 1,073,741,824 chunks by its shape, 2147483648 x 7 x 8, and 3 of them are stored"),
    ([6, 7, 8], [0, 7, 8], "cut short or damaged"),
])  # fmt: skip
def test_impossible_shapes_and_chunks_are_refused(
    whole: Path, shape: list[int], chunks: list[int], messages: str
) -> None:
    source = make(whole / "in.zarr", version="0.4", chunks=(2, 7, 8))
    stated = json.loads((source / "0" / ".zarray").read_text())
    (source / "0" / ".zarray").write_text(json.dumps(stated | {"shape": shape, "chunks": chunks}))
    for look in (read, probe, open_blocks):
        with pytest.raises(FileError, match=messages):
            look(source)
