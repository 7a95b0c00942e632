"""Other programs on OME-Zarr stores of softmorph: models of the specification, and independent readers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import ome_zarr_models
import pytest
import yaozarrs
from helpers_zarr import NAMES, make

from softmorph_cli.io.blocks import open_blocks
from softmorph_cli.io.new_blocks import create_blocks
from softmorph_cli.io.reading import read
from softmorph_cli.io.writing import write, write_labels
from softmorph_cli.volume import Volume

RNG = np.random.default_rng(0)
SIZES = {"T": 2, "C": 3, "Z": 67, "Y": 70, "X": 129}
SCALE = {"T": 1.5, "C": 1.0, "Z": 3.0, "Y": 0.5, "X": 0.25}
PLACE = {"T": 0.0, "C": 0.0, "Z": 30.0, "Y": -5.0, "X": 2.5}


def source(path: Path, axes: str, version: str) -> tuple[Path, Any]:
    array = RNG.random([SIZES[a] for a in axes], dtype=np.float32)
    numbers: dict[str, Any] = {"scale": [SCALE[a] for a in axes], "translation": [PLACE[a] for a in axes]}
    return make(
        path, array, axes, version=version, chunks=tuple(min(32, n) for n in array.shape), **numbers
    ), array


def check(store: Path, axes: str, version: str, levels: list[Any]) -> None:
    """Every resolution has the right position and values in other programs."""
    # The models of the specification; the second ones check the arrays too.
    ome_zarr_models.open_ome_zarr(str(store), version=version)  # type: ignore[arg-type]
    group = yaozarrs.validate_zarr_store(str(store))
    stated: Any = group.ome_metadata(version=version)
    image = stated.multiscales[0]
    assert [axis.name for axis in image.axes] == list(axes.lower())
    assert [axis.type for axis in image.axes] == [NAMES[a] for a in axes]
    assert {axis.unit for axis in image.axes if axis.type == "space"} == {"micrometer"}
    assert [dataset.path for dataset in image.datasets] == [str(n) for n in range(len(levels))]
    for number, (dataset, wanted) in enumerate(zip(image.datasets, levels, strict=True)):
        scale, translation = dataset.coordinateTransformations
        by = np.array([2.0**number if a in "ZYX" else 1.0 for a in axes])
        sizes = np.array([SCALE[a] for a in axes])
        np.testing.assert_allclose(scale.scale, by * sizes)
        # Between the centres of the voxels it is made of.
        np.testing.assert_allclose(translation.translation, [PLACE[a] for a in axes] + sizes * (by - 1) / 2)
        # Chunks and codecs of another implementation of Zarr, in C++.
        stored = np.asarray(cast(Any, group[dataset.path]).to_tensorstore().read().result())
        assert (stored.dtype, stored.shape) == (wanted.dtype, wanted.shape)
        np.testing.assert_allclose(stored, wanted, rtol=0, atol=1e-6 if wanted.dtype.kind == "f" else 0)


def halved(array: Any, axes: str) -> Any:
    """The mean of two voxels along each axis of space, in another way than the writer's."""
    for axis, letter in enumerate(axes):
        if letter in "ZYX":
            padded = np.pad(array, [(0, array.shape[k] % 2 * (k == axis)) for k in range(array.ndim)], "edge")
            array = np.moveaxis(padded, axis, -1).reshape(*np.delete(padded.shape, axis), -1, 2).mean(-1)
            array = np.moveaxis(array, -1, axis)
    return array


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["TCZYX", "ZYX", "YX"])
def test_a_whole_map_with_its_pyramid(tmp_path: Path, version: str, axes: str) -> None:
    path, array = source(tmp_path / "in.zarr", axes, version)
    write(read(path), tmp_path / "out.ome.zarr", pyramid=True)
    second = halved(array, axes)
    check(tmp_path / "out.ome.zarr", axes, version, [array, second, halved(second, axes)])


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["ZYX", "YX"])
def test_a_map_written_in_blocks_with_its_pyramid(tmp_path: Path, version: str, axes: str) -> None:
    path, array = source(tmp_path / "in.zarr", axes, version)
    blocks = open_blocks(path)
    with create_blocks(tmp_path / "out.ome.zarr", blocks, pyramid="mean") as out:
        for begin in range(0, blocks.shape[0], 64):
            cut = (slice(begin, begin + 64), *(slice(None) for _ in axes[1:]))
            out.write(cut, blocks.read(cut))
    second = halved(array, axes)
    check(tmp_path / "out.ome.zarr", axes, version, [array, second, halved(second, axes)])


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_masks_and_labels(tmp_path: Path, version: str) -> None:
    path, array = source(tmp_path / "in.zarr", "ZYX", version)
    volume = read(path)
    hard = volume.with_array(np.round(array))
    write(hard, tmp_path / "mask.zarr", output_type="mask")
    check(tmp_path / "mask.zarr", "ZYX", version, [hard.array.astype(np.uint8)])
    labels = (array * 5).astype(np.int32)
    write_labels(labels, volume, tmp_path / "labels.zarr")
    check(tmp_path / "labels.zarr", "ZYX", version, [labels.astype(np.uint8)])


def test_metadata_of_version_2_have_only_standard_members(tmp_path: Path) -> None:
    write(Volume(RNG.random((4, 5), dtype=np.float32), "YX"), tmp_path / "out.zarr")
    stated = json.loads((tmp_path / "out.zarr/0/.zarray").read_text())
    assert stated["compressor"] == {"id": "zstd", "level": 0}
    assert stated["filters"] is None
