"""OME-Zarr: geometry, versions, resolutions, labels, and agreement with other programs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import ome_zarr_models
import pytest
from helpers_omezarr import chunk_files, metadata
from helpers_typing import present, zarr
from helpers_zarr import NAMES, SOFT, make

from softmorph_cli.errors import FileError, InputError, UsageError
from softmorph_cli.io.blocks import open_blocks
from softmorph_cli.io.options import WriteOptions
from softmorph_cli.io.probing import probe
from softmorph_cli.io.reading import read
from softmorph_cli.io.writing import write, write_labels
from softmorph_cli.volume import Volume

RNG = np.random.default_rng(0)
UNITS = {"um": "micrometer", "nm": "nanometer", "mm": "millimeter"}
PROVENANCE = {"command": "softmorph erode é", "version": "0.1", "parameters": {"iterations": 2}}


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["TCZYX", "CZYX", "ZYX", "CYX", "YX"])
def test_stores_of_other_programs_are_written_in_their_version(whole: Path, version: str, axes: str) -> None:
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
    stated = (image.attributes if version == "0.4" else image.attributes.ome).multiscales[0]
    assert [axis.name for axis in stated.axes] == list(axes.lower())
    assert [axis.type for axis in stated.axes] == [NAMES[a] for a in axes]
    assert [axis.unit for axis in stated.axes if axis.type == "space"] == ["micrometer"] * len(spatial)
    steps = stated.datasets[0].coordinateTransformations
    assert list(steps[0].scale) == scale
    assert list(steps[1].translation) == place
    values = zarr.open_group(str(target), mode="r")[stated.datasets[0].path]
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
def test_other_units_are_converted(whole: Path, unit: str, name: str | None, factor: float) -> None:
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
    # The chunk of the first half is damaged, and is not needed.
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


def test_integers_of_other_programs_are_not_scaled(whole: Path) -> None:
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


def test_axes_that_the_format_cannot_hold_are_refused(whole: Path) -> None:
    volume = Volume(SOFT[None, None], "VCZYX")
    with pytest.raises(InputError, match="holds time and one axis of channels beside space, not axes VCZYX"):
        write(volume, whole / "map.zarr")
    write(Volume(SOFT[None], "VZYX"), whole / "map.zarr")
    assert read(whole / "map.zarr").array.shape == (1, 6, 7, 8)


@pytest.mark.parametrize("inside", ["0", ""])
def test_the_scale_and_offset_of_xarray_are_applied_with_a_note(tmp_path: Path, inside: str) -> None:
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
