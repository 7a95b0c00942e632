"""OME-Zarr in and out: geometry, versions, resolutions, what other programs make of it, and damage."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import ome_zarr_models
import pytest
from helpers_typing import present, zarr
from helpers_zarr import NAMES, SOFT, make

from softmorph_cli.errors import FileError, InputError, UsageError
from softmorph_cli.io import WriteOptions, check_target, open_blocks, probe, read, write, write_labels
from softmorph_cli.io.omezarr import OmeZarr
from softmorph_cli.system import naming
from softmorph_cli.volume import Volume

RNG = np.random.default_rng(0)
UNITS = {"um": "micrometer", "nm": "nanometer", "mm": "millimeter"}
PROVENANCE = {"command": "softmorph erode é", "version": "0.1", "parameters": {"iterations": 2}}


def metadata(path: Path) -> Path:
    return path / ("zarr.json" if (path / "zarr.json").exists() else ".zattrs")


def chunk_files(array: Path) -> list[Path]:
    marks = (".zarray", ".zattrs", "zarr.json")
    return sorted(p for p in array.rglob("*") if p.is_file() and p.name not in marks)


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Path]:
    """A folder in which nothing temporary is left."""
    yield tmp_path
    assert not [p.name for p in tmp_path.iterdir() if p.name.startswith(".softmorph")]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["TCZYX", "CZYX", "ZYX", "CYX", "YX"])
def test_what_others_wrote_comes_back_in_its_version(whole: Path, version: str, axes: str) -> None:
    shape = {"T": 2, "C": 3, "Z": 4, "Y": 5, "X": 6}
    array = RNG.random([shape[a] for a in axes], dtype=np.float32)
    scale = [{"T": 1.5, "C": 1.0, "Z": 3.0, "Y": 0.5, "X": 0.25}[a] for a in axes]
    place = [{"T": 0.0, "C": 0.0, "Z": 30.0, "Y": -5.0, "X": 2.5}[a] for a in axes]
    names = ["soma", "axon", "glia"]
    omero = {"channels": [{"label": n, "color": "0000AA", "window": {}} for n in names]}
    source = make(
        whole / "in.zarr",
        array,
        axes,
        version=version,
        scale=scale,
        translation=place,
        extra={"omero": omero},
    )
    found = read(source)
    spatial = axes[-3:] if "Z" in axes else "YX"
    assert (found.axes, found.unit) == (axes, "um")
    assert found.spacing == tuple(scale[-len(spatial) :])
    assert found.channels == (tuple(names) if "C" in axes else None)
    assert np.array_equal(found.array, array)
    assert found.affine is not None
    # The corner, in mm, in the order x, y, z.
    np.testing.assert_allclose(found.affine[:2, 3], [2.5e-3, -5e-3])
    target = whole / "out.ome.zarr"
    assert write(found, target, provenance=PROVENANCE) == []
    assert zarr.open_group(str(target), mode="r").metadata.zarr_format == (2 if version == "0.4" else 3)
    again = read(target)
    assert (again.axes, again.spacing, again.unit, again.channels) == (
        axes,
        found.spacing,
        "um",
        found.channels,
    )
    np.testing.assert_allclose(present(again.affine), present(found.affine))
    assert np.array_equal(again.array, array)
    assert again.source is not None
    assert again.source.provenance == PROVENANCE
    # An independent reader validates it, and finds the same.
    image: Any = ome_zarr_models.open_ome_zarr(str(target), version=cast(Literal["0.4", "0.5"], version))
    told = (image.attributes if version == "0.4" else image.attributes.ome).multiscales[0]
    assert [axis.name for axis in told.axes] == list(axes.lower())
    assert [axis.type for axis in told.axes] == [NAMES[a] for a in axes]
    assert [axis.unit for axis in told.axes if axis.type == "space"] == ["micrometer"] * len(spatial)
    steps = told.datasets[0].coordinateTransformations
    assert list(steps[0].scale) == scale
    assert list(steps[1].translation) == place
    values = zarr.open_group(str(target), mode="r")[told.datasets[0].path]
    assert np.array_equal(np.asarray(values[...]), array)


@pytest.mark.parametrize("unit", ["um", "nm", "mm", None])
def test_a_new_store_is_0_4_and_holds_the_unit(whole: Path, unit: str | None) -> None:
    volume = Volume(SOFT, "ZYX", (3.0, 0.5, 0.25), unit)
    assert write(volume, whole / "my-map.ome.zarr") == []
    (whole / "my-map.ome.zarr").rename(whole / "map.zarr")
    again = read(whole / "map.zarr")
    assert (again.spacing, again.unit, again.notes) == ((3.0, 0.5, 0.25), unit, ())
    attributes = json.loads((whole / "map.zarr" / ".zattrs").read_text())["multiscales"][0]
    assert (attributes["version"], attributes["name"]) == ("0.4", "my-map")
    assert [axis.get("unit") for axis in attributes["axes"]] == [UNITS.get(unit or "")] * 3
    ome_zarr_models.open_ome_zarr(str(whole / "map.zarr"), version="0.4")


@pytest.mark.parametrize(
    ("unit", "name", "factor"), [("angstrom", "nm", 0.1), ("meter", "mm", 1e3), ("parsec", None, 1)]
)
def test_other_units_are_brought_to_ours(whole: Path, unit: str, name: str | None, factor: float) -> None:
    found = read(make(whole / "in.zarr", unit=unit, scale=[3.0, 2.0, 2.0]))
    assert found.unit == name
    np.testing.assert_allclose(found.spacing or (), np.array([3.0, 2.0, 2.0]) * factor)


def test_no_unit_and_scale_one_is_no_voxel_size(whole: Path) -> None:
    found = read(make(whole / "in.zarr", unit=None))
    assert (found.spacing, found.unit, found.affine) == (None, None, None)
    write(found, whole / "out.zarr")
    assert read(whole / "out.zarr").spacing is None


def test_the_transformation_of_the_image_comes_after_that_of_the_resolution(whole: Path) -> None:
    outer = [
        {"type": "scale", "scale": [2.0, 2.0, 10.0]},
        {"type": "translation", "translation": [1.0, 0.0, 0.0]},
    ]
    found = read(make(whole / "in.zarr", scale=[3.0, 0.5, 0.1], translation=[4.0, 0.0, 7.0], outer=outer))
    assert found.spacing == (6.0, 1.0, 1.0)
    assert found.affine is not None
    np.testing.assert_allclose(found.affine[:3, 3] * 1e3, [70.0, 0.0, 9.0])


def test_a_region_stays_at_its_place_and_only_it_is_read(whole: Path) -> None:
    source = make(
        whole / "in.zarr", SOFT, scale=[3.0, 0.5, 0.25], translation=[1.0, 1.0, 1.0], chunks=(3, 7, 8)
    )
    # The chunk of the first half is damaged, and nobody asks for it.
    chunk_files(source / "0")[0].write_bytes(b"broken")
    found = read(source, region="3:6,2:5,:")
    assert np.array_equal(found.array, SOFT[3:6, 2:5])
    assert found.affine is not None
    np.testing.assert_allclose(found.affine[:3, 3] * 1e3, [1.0, 2.0, 10.0])
    write(found, whole / "out.zarr")
    steps = json.loads((whole / "out.zarr" / ".zattrs").read_text())["multiscales"][0]["datasets"][0]
    assert steps["coordinateTransformations"][1] == {"type": "translation", "translation": [10.0, 2.0, 1.0]}
    with pytest.raises(FileError, match="a chunk that is cut short or damaged"):
        read(source)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_resolution_is_chosen_by_path_or_option(whole: Path, version: str) -> None:
    coarse = SOFT[::2, ::2, ::2]
    source = make(whole / "in.zarr", version=version, coarse=coarse, scale=[2.0, 1.0, 1.0])
    found = read(source)
    assert found.notes == ("it has 2 resolutions; the finest is read, resolution=1 is coarser.",)
    for other in (read(source, resolution=1), read(source / "1")):
        assert np.array_equal(other.array, coarse)
        assert (other.spacing, other.notes) == ((4.0, 2.0, 2.0), ())
    with pytest.raises(InputError, match=r"has 2 resolutions, 0 to 1, and no resolution=2\."):
        read(source, resolution=2)
    with pytest.raises(UsageError, match="names one array of a Zarr store already; leave resolution out"):
        read(source / "1", resolution=0)
    with pytest.raises(FileError, match=r"in\.zarr has no 5; it holds 0, 1\."):
        read(source / "5")


def test_other_formats_have_one_resolution(whole: Path) -> None:
    np.save(whole / "map.npy", SOFT)
    with pytest.raises(InputError, match="is NumPy and has one resolution only; leave resolution out"):
        read(whole / "map.npy", resolution=1)


def test_pyramid(whole: Path) -> None:
    array = RNG.random((3, 150, 129), dtype=np.float32)
    volume = Volume(array, "ZYX", (3.0, 0.5, 0.25), "um")
    write(volume, whole / "map.zarr", pyramid=True)
    shapes = [read(whole / "map.zarr", resolution=n).array.shape for n in range(3)]
    assert shapes == [(3, 150, 129), (2, 75, 65), (38, 33)]
    second = read(whole / "map.zarr", resolution=1)
    np.testing.assert_allclose(second.array[0, :, :64], _mean(array[:2, :, :128]), atol=1e-6)
    # What has no second half is its own mean.
    np.testing.assert_allclose(second.array[1, 3, 64], array[2, 6:8, 128].mean(), atol=1e-6)
    assert second.spacing == (6.0, 1.0, 0.5)
    assert second.affine is not None
    # Between the centres of the two voxels it is made of.
    np.testing.assert_allclose(second.affine[:3, 3] * 1e3, [0.125, 0.25, 1.5])
    ome_zarr_models.open_ome_zarr(str(whole / "map.zarr"), version="0.4")
    for target in ("map.tif", "map.npy"):
        with pytest.raises(UsageError, match=r"pyramid=True goes with OME-Zarr, not with"):
            write(volume, whole / target, pyramid=True)


def _mean(array: Any) -> Any:
    z, y, x = array.shape
    return array.reshape(z // 2, 2, y // 2, 2, x // 2, 2).mean(axis=(1, 3, 5))[0]


@pytest.mark.parametrize("pyramid", [False, True])
def test_integers_masks_and_labels(whole: Path, pyramid: bool) -> None:
    array = RNG.random((2, 80, 80), dtype=np.float32) * np.float32(0.1)
    volume = Volume(array, "ZYX")
    for kind, step in (("uint8", 255), ("uint16", 65535)):
        write(volume, whole / "map.zarr", output_type=kind, force=True, pyramid=pyramid)
        assert np.abs(read(whole / "map.zarr").array - array).max() <= 0.502 / step
        assert probe(whole / "map.zarr").dtype == kind
    hard = volume.with_array((array > 0.05).astype(np.float32))
    write(hard, whole / "mask.zarr", output_type="mask", pyramid=pyramid)
    assert np.array_equal(read(whole / "mask.zarr").array, hard.array)
    labels = np.repeat(np.arange(20, dtype=np.int32), 640).reshape(array.shape)
    write_labels(labels, volume, whole / "labels.zarr", WriteOptions(pyramid=pyramid))
    with pytest.raises(InputError, match=r"holds labels \(1, 2, .*choose one label with label"):
        read(whole / "labels.zarr")
    assert np.array_equal(read(whole / "labels.zarr", label=3).array, labels == 3)
    if pyramid:
        small = np.asarray(zarr.open_array(str(whole / "labels.zarr" / "1"), mode="r")[...])
        assert np.array_equal(small, labels[::2, ::2, ::2])
        assert set(np.unique(zarr.open_array(str(whole / "mask.zarr" / "1"), mode="r")[...])) <= {0, 1}
    ome_zarr_models.open_ome_zarr(str(whole / "labels.zarr"), version="0.4")


def test_integers_of_others_are_no_probabilities_by_themselves(whole: Path) -> None:
    source = make(whole / "in.zarr", (SOFT * 255).astype(np.uint8))
    with pytest.raises(InputError, match="divide_by=255"):
        read(source)
    assert read(source, divide_by=255).array.max() <= 1


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_label_images_of_a_store(whole: Path, version: str) -> None:
    labels = np.repeat(np.arange(4, dtype=np.uint16), 84).reshape(SOFT.shape)
    source = make(whole / "in.zarr", version=version, scale=[2.0, 1.0, 1.0])
    group = zarr.open_group(str(source / "labels"), mode="w", zarr_format=2 if version == "0.4" else 3)
    listed = {"labels": ["cells"]}
    group.attrs.update(listed if version == "0.4" else {"ome": {"version": "0.5", **listed}})
    make(
        source / "labels" / "cells", labels, version=version, extra={"image-label": {}}, scale=[2.0, 1.0, 1.0]
    )
    with pytest.raises(InputError, match=r"holds labels \(1, 2, 3\)"):
        read(source / "labels" / "cells")
    for path in (source / "labels" / "cells", source / "labels" / "cells" / "0"):
        found = read(path, label=2)
        assert np.array_equal(found.array, labels == 2)
        assert found.spacing == (2.0, 1.0, 1.0)
    with pytest.raises(
        FileError, match=r"labels is a list of label images, it holds cells; name one, as in .*cells"
    ):
        read(source / "labels")


def test_plain_arrays_and_groups(whole: Path) -> None:
    zarr.save_array(str(whole / "flat.zarr"), SOFT, zarr_format=2)
    assert read(whole / "flat.zarr").axes == "ZYX"
    film = np.stack([SOFT, SOFT])
    zarr.create_array(str(whole / "film.zarr"), data=film, zarr_format=3)
    with pytest.raises(InputError, match=r"has 4 axes, .* does not name them; say what they are with axes"):
        read(whole / "film.zarr")
    assert read(whole / "film.zarr", axes="TZYX").axes == "TZYX"
    zarr.create_array(
        str(whole / "named.zarr"),
        data=film.transpose(1, 2, 3, 0),
        zarr_format=3,
        dimension_names=list("zyxc"),
    )
    named = read(whole / "named.zarr")
    assert named.axes == "CZYX"
    assert np.array_equal(named.array, film)
    group = zarr.open_group(str(whole / "group.zarr"), mode="w")
    group.create_array("inner", data=SOFT)
    with pytest.raises(
        FileError, match=r"is a Zarr group that does not say what it is, it holds inner; name an array"
    ):
        read(whole / "group.zarr")
    assert read(whole / "group.zarr" / "inner").array.shape == SOFT.shape
    for key, words in (
        ("plate", "is a plate of many images"),
        ("bioformats2raw.layout", "holds several images"),
    ):
        group.attrs.clear()
        group.attrs[key] = {}
        with pytest.raises(FileError, match=words):
            read(whole / "group.zarr")


def test_axes_in_another_order_or_with_other_names(whole: Path) -> None:
    found = read(make(whole / "in.zarr", SOFT, "XYZ", scale=[0.25, 0.5, 3.0]))
    assert (found.axes, found.spacing) == ("ZYX", (3.0, 0.5, 0.25))
    assert np.array_equal(found.array, SOFT.T)
    mixed = read(make(whole / "mixed.zarr", np.stack([SOFT, SOFT], -1), "ZYXC"))
    assert mixed.axes == "CZYX"
    assert "which OME-Zarr does not allow; they are read by name" in mixed.notes[0]
    source = make(whole / "named.zarr")
    text = metadata(source).read_text().replace('"z"', '"depth"')
    metadata(source).write_text(text)
    other = read(source)
    assert other.axes == "ZYX"
    assert "are called depth, y, x and are taken as z, y, x" in other.notes[0]


def _told(path: Path, change: Any) -> None:
    told = json.loads(metadata(path).read_text())
    change(told["multiscales"][0])
    metadata(path).write_text(json.dumps(told))


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
def test_metadata_that_cannot_be_used(whole: Path, change: Any, words: str) -> None:
    source = make(whole / "in.zarr")
    _told(source, change)
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
    told = json.loads(path.read_text())
    for name, words in (
        ("weird", "is compressed with weird, which is not known here"),
        ("pickle", "never unpickled"),
    ):
        if version == "0.5":
            told["codecs"][-1] = {"name": name, "configuration": {}}
        else:
            told["compressor"] = {"id": name}
        path.write_text(json.dumps(told))
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
    # One bit that flipped: the checksum of ours tells.
    chunk.write_bytes(content[:-20] + bytes([content[-20] ^ 1]) + content[-19:])
    with pytest.raises(FileError, match="cut short or damaged"):
        read(whole / "ours.zarr")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_missing_chunk_is_told_of_others_and_refused_in_ours(whole: Path, version: str) -> None:
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


def test_only_stores_are_replaced_and_only_with_force(whole: Path) -> None:
    volume = Volume(SOFT, "ZYX")
    target = whole / "map.zarr"
    write(volume, target)
    with pytest.raises(FileError, match=r"map\.zarr exists already; add force=True to replace it"):
        write(volume, target)
    write(volume.with_array(SOFT * np.float32(0.5)), target, force=True)
    assert np.array_equal(read(target).array, SOFT * np.float32(0.5))
    with pytest.raises(FileError, match="would lie inside the Zarr store"):
        write(volume, target / "inner.zarr", force=True)
    precious = whole / "data.zarr"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work")
    for refused in (
        lambda: write(volume, precious, force=True),
        lambda: check_target(precious, WriteOptions(force=True)),
    ):
        with pytest.raises(FileError, match="is a folder and no Zarr store, so it is not replaced"):
            refused()
    assert (precious / "thesis.txt").read_text() == "years of work"
    with pytest.raises(FileError, match="is a folder; name a file in it"):
        check_target(target.rename(whole / "map.tif"), WriteOptions(force=True))


def test_a_store_is_written_over_its_own_source_and_through_a_link(whole: Path) -> None:
    source = make(whole / "in.zarr", version="0.5")
    (whole / "link.zarr").symlink_to(source)
    found = read(source)
    write(found.with_array(found.array * np.float32(0.5)), whole / "link.zarr", force=True)
    assert (whole / "link.zarr").is_symlink()
    assert np.array_equal(read(source).array, SOFT * np.float32(0.5))


@pytest.mark.parametrize("existing", [True, False])
@pytest.mark.parametrize("exchange", [True, False])
def test_the_swap_works_with_and_without_help_of_the_system(
    whole: Path, monkeypatch: pytest.MonkeyPatch, existing: bool, exchange: bool
) -> None:
    if not exchange:
        monkeypatch.setattr(naming, "exchange", lambda *paths: False)
    volume = Volume(SOFT, "ZYX")
    if existing:
        make(whole / "map.zarr")
    write(volume, whole / "map.zarr", force=True)
    assert sorted(p.name for p in whole.iterdir()) == ["map.zarr"]
    assert np.array_equal(read(whole / "map.zarr").array, SOFT)


@pytest.mark.parametrize("existing", [True, False])
def test_a_full_disk_leaves_things_as_they_were(
    whole: Path, monkeypatch: pytest.MonkeyPatch, existing: bool
) -> None:
    if existing:
        make(whole / "map.zarr")

    def fill(self: OmeZarr, volume: Volume, array: object, path: Path, *rest: object) -> list[str]:
        (path / ".zgroup").write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(OmeZarr, "write", fill)
    with pytest.raises(
        FileError, match=r"map\.zarr could not be written: the disk is full; nothing was left"
    ):
        write(Volume(SOFT, "ZYX"), whole / "map.zarr", force=True)
    assert [p.name for p in whole.iterdir()] == (["map.zarr"] if existing else [])
    if existing:
        assert np.array_equal(read(whole / "map.zarr").array, SOFT)


_LIMITED = """
import resource, signal, sys
import numpy as np
from softmorph_cli.errors import FileError
from softmorph_cli.io import write
from softmorph_cli.volume import Volume
array = np.random.default_rng(0).random((70, 100, 100), dtype=np.float32)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
try:
    write(Volume(array, "ZYX"), sys.argv[1])
except FileError as error:
    assert "could not be written" in str(error), error
else:
    raise AssertionError("it was cut short and nobody noticed")
"""


@pytest.mark.posix
def test_a_write_that_the_system_cuts_short_is_noticed(whole: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(whole / "map.zarr")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert list(whole.iterdir()) == []


_SLOW = """
import signal, sys
import numpy as np
from softmorph_cli.io import write
from softmorph_cli.volume import Volume
def stop(number, frame):
    raise KeyboardInterrupt
signal.signal(signal.SIGTERM, stop)
array = np.random.default_rng(0).random((400, 400, 400), dtype=np.float32)
print("now", flush=True)
try:
    write(Volume(array, "ZYX"), sys.argv[1], force=True)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.posix
def test_an_interrupted_write_leaves_nothing(whole: Path) -> None:
    target = make(whole / "map.zarr")
    with subprocess.Popen([sys.executable, "-c", _SLOW, str(target)], stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        run.stdout.readline()
        until = time.monotonic() + 60
        while time.monotonic() < until and run.poll() is None:
            begun = [p for p in whole.iterdir() if p.name.startswith(".softmorph")]
            if begun and len(list(begun[0].rglob("*"))) > 20:
                break
            time.sleep(0.002)
        run.send_signal(signal.SIGTERM)
        assert run.wait(60) == 130
    assert [p.name for p in whole.iterdir()] == ["map.zarr"]
    assert np.array_equal(read(target).array, SOFT)


def test_formats_change(whole: Path) -> None:
    from nibabel import Nifti1Image, save

    affine = np.diag([0.5, 0.25, 3.0, 1.0])
    affine[:3, 3] = 4.0, -5.0, 6.0
    save(Nifti1Image(SOFT.T, affine), whole / "in.nii")  # type: ignore[no-untyped-call]
    volume = read(whole / "in.nii")
    assert write(volume, whole / "out.zarr") == []
    again = read(whole / "out.zarr")
    assert (again.spacing, again.unit) == ((3.0, 0.25, 0.5), "mm")
    np.testing.assert_allclose(present(again.affine), present(volume.affine))
    write(again, whole / "back.nii")
    back = read(whole / "back.nii")
    np.testing.assert_allclose(present(back.affine), present(volume.affine))
    assert volume.affine is not None
    turned = replace(volume, affine=volume.affine * np.array([[-1.0], [1.0], [1.0], [1.0]]))
    lost = write(turned, whole / "turned.zarr")
    assert lost == ["OME-Zarr cannot hold orientation and origin (the affine) of this map."]
    assert read(whole / "turned.zarr").spacing == (3.0, 0.25, 0.5)
    # Nobody misses an origin of zero.
    assert write(read(make(whole / "plain.zarr", scale=[2.0, 1.0, 1.0])), whole / "out.tif") == []


def test_singleton_and_slices_come_back(whole: Path) -> None:
    source = make(whole / "in.zarr", SOFT[:1], scale=[3.0, 0.5, 0.25], translation=[9.0, 0.0, 0.0])
    flat = read(source)
    assert flat.axes == "YX"
    write(flat, whole / "out.zarr")
    again = read(whole / "out.zarr")
    assert again.source is not None
    assert again.source.shape == (1, 7, 8)
    np.testing.assert_allclose(present(again.affine), present(flat.affine))
    sliced = read(make(whole / "stack.zarr"), per_slice=True)
    assert sliced.axes == "SYX"
    write(sliced, whole / "slices.zarr")
    assert read(whole / "slices.zarr").axes == "ZYX"


def test_axes_that_the_format_does_not_have(whole: Path) -> None:
    volume = Volume(SOFT[None, None], "VCZYX")
    with pytest.raises(InputError, match="holds time and one axis of channels beside space, not axes VCZYX"):
        write(volume, whole / "map.zarr")
    write(Volume(SOFT[None], "VZYX"), whole / "map.zarr")
    assert read(whole / "map.zarr").array.shape == (1, 6, 7, 8)


def test_damage_is_told_by_info_too_and_labels_are_suggested(whole: Path) -> None:
    found = probe(make(whole / "in.zarr", coarse=SOFT[::2, ::2, ::2]))
    assert (found.format, found.kind, found.shape) == ("ome-zarr", "probability", SOFT.shape)
    assert found.suggestion == f"softmorph skeletonize {whole / 'in.zarr'} skeleton.zarr"
    holes = SOFT.copy()
    holes[4, 5, 6] = np.nan
    assert probe(make(whole / "holes.zarr", holes, chunks=(2, 7, 8))).nans == 1
    with pytest.raises(InputError, match=r"not a number \(NaN\), the first at \(z=4, y=5, x=6\)"):
        read(whole / "holes.zarr")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_chunks_that_are_not_stored_are_looked_for_and_not_asked_for(
    whole: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    source = make(whole / "in.zarr", np.zeros((3000, 6, 4), np.float32), version=version, chunks=(3, 3, 3))
    stored = zarr.open_array(str(source / "0"), mode="r+")
    part = RNG.random((8, 5, 4), dtype=np.float32)
    right = np.zeros((3000, 6, 4), np.float32)
    right[1234:1242, 1:] = part
    stored[1234:1242, 1:] = part
    asked: list[Any] = []
    before = zarr.Array.__getitem__

    def counted(array: Any, index: Any) -> Any:
        asked.append(index)
        return before(array, index)

    monkeypatch.setattr(zarr.Array, "__getitem__", counted)
    found = read(source)
    assert "of its 4000 chunks are not stored and read as its fill value, 0.0" in found.notes[0]
    assert np.array_equal(found.array, right)
    assert 0 < len(asked) <= len(chunk_files(source / "0"))
    blocks = open_blocks(source)
    box = (slice(1230, 1240), slice(2, 6), slice(1, 4))
    assert np.array_equal(blocks.read(box), right[box])


def test_a_fill_value_that_is_not_zero(whole: Path) -> None:
    source = make(whole / "in.zarr", version="0.4", chunks=(2, 7, 8))
    told = json.loads((source / "0" / ".zarray").read_text())
    (source / "0" / ".zarray").write_text(json.dumps(told | {"fill_value": 0.25}))
    chunk_files(source / "0")[1].unlink()
    right = SOFT.copy()
    right[2:4] = 0.25
    assert np.array_equal(read(source).array, right)


@pytest.mark.parametrize(("shape", "chunks", "said"), [
    ([2**31, 7, 8], [2, 7, 8], "has 1,073,741,824 chunks by its shape, 2147483648 x 7 x 8, and 3 of them are stored"),
    ([6, 7, 8], [0, 7, 8], "cut short or damaged"),
])  # fmt: skip
def test_shapes_and_chunks_that_cannot_be(
    whole: Path, shape: list[int], chunks: list[int], said: str
) -> None:
    source = make(whole / "in.zarr", version="0.4", chunks=(2, 7, 8))
    told = json.loads((source / "0" / ".zarray").read_text())
    (source / "0" / ".zarray").write_text(json.dumps(told | {"shape": shape, "chunks": chunks}))
    for look in (read, probe, open_blocks):
        with pytest.raises(FileError, match=said):
            look(source)


@pytest.mark.parametrize("inside", ["0", ""])
def test_the_scale_and_offset_of_xarray_are_applied_and_told(tmp_path: Path, inside: str) -> None:
    stored = np.round((SOFT - 0.1) * 200).astype(np.int16)
    path = make(tmp_path / "map.zarr", stored)
    zarr.open_array(str(path / "0"), mode="r+").attrs.update({"scale_factor": 0.005, "add_offset": 0.1})
    volume = read(path / inside)
    np.testing.assert_allclose(volume.array, stored * 0.005 + 0.1, atol=1e-6)
    assert "its values are the stored numbers times 0.005 plus 0.1, as its attributes say." in volume.notes
    blocks = open_blocks(path / inside)
    assert np.array_equal(blocks.read((slice(0, 3), slice(None), slice(None))), volume.array[:3])
    zarr.open_array(str(path / "0"), mode="r+").attrs["scale_factor"] = [2]
    with pytest.raises(FileError, match=r"a scale_factor '\[2\]'"):
        read(path / inside)
