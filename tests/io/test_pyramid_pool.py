"""Coarser resolutions as maxima: a flat dilation, of which every second voxel is kept along each axis."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import ome_zarr_models
import pytest
import torch
from helpers_nested import nested_reference
from helpers_topology import noisy, vessels
from helpers_typing import zarr
from scipy import ndimage

from softmorph_cli.errors import UsageError
from softmorph_cli.io.blocks import open_blocks
from softmorph_cli.io.new_blocks import create_blocks
from softmorph_cli.io.options import WriteOptions
from softmorph_cli.io.writing import write, write_labels
from softmorph_cli.kernels.level_sets import LevelSets
from softmorph_cli.losses import label_pyramid
from softmorph_cli.volume import Volume

RNG = np.random.default_rng(16)


def levels(store: Path) -> list[np.ndarray]:
    """The stored numbers of all resolutions, as another program reads them."""
    count = sum(child.name.isdigit() for child in store.iterdir())
    return [np.asarray(zarr.open_array(str(store / str(number)), mode="r")[...]) for number in range(count)]


def dilated(finest: np.ndarray, spatial: int, level: int) -> np.ndarray:
    """The maximum over 2^level voxels from each voxel on along spatial axes, then every 2^level-th voxel."""
    by = [1] * (finest.ndim - spatial) + [2**level] * spatial
    shifts = [-(size // 2) for size in by]
    found = ndimage.maximum_filter(finest, by, mode="constant", origin=shifts)
    return np.asarray(found[tuple(slice(None, None, step) for step in by)])


@pytest.mark.parametrize("output_type", ["float32", "uint8"])
@pytest.mark.parametrize(
    ("axes", "shape"),
    [
        ("YX", (150, 131)),
        ("YX", (257, 3)),
        ("ZYX", (7, 150, 129)),
        ("ZYX", (1, 66, 130)),
        ("CYX", (3, 130, 77)),
        ("TCZYX", (2, 2, 5, 67, 6)),
    ],
)
def test_each_resolution_is_the_dilated_finest_one(
    tmp_path: Path, axes: str, shape: tuple[int, ...], output_type: str
) -> None:
    array = RNG.random(shape, dtype=np.float32)
    how: dict[str, Any] = {"output_type": output_type, "pyramid": True, "pyramid_pool": "max"}
    write(Volume(array, axes), tmp_path / "map.zarr", **how)
    finest, *coarser = levels(tmp_path / "map.zarr")
    assert coarser
    for level, found in enumerate(coarser, 1):
        np.testing.assert_array_equal(found, dilated(finest, sum(a in "ZYX" for a in axes), level))
        assert found.dtype == finest.dtype


def test_blocks_give_the_same_maxima(tmp_path: Path) -> None:
    array = RNG.random((67, 140, 71), dtype=np.float32)
    write(Volume(array, "ZYX"), tmp_path / "in.zarr")
    source = open_blocks(tmp_path / "in.zarr")
    with create_blocks(tmp_path / "out.zarr", source, pyramid="max") as out:
        whole = tuple(slice(0, size) for size in source.shape)
        out.write(whole, source.read(whole))
    finest, *coarser = levels(tmp_path / "out.zarr")
    assert len(coarser) == 2
    for level, found in enumerate(coarser, 1):
        np.testing.assert_array_equal(found, dilated(finest, 3, level))


@pytest.mark.parametrize("axes", ["YX", "ZYX"])
def test_a_vessel_of_one_voxel_survives_every_resolution(tmp_path: Path, axes: str) -> None:
    """A bent line, on sizes that 2 does not divide; of the means none is above one half."""
    size = {"YX": (259, 261), "ZYX": (67, 131, 133)}[axes]
    points = np.linspace(0, 1, 1000)
    turns = [0.5 + 0.4 * np.sin(4 * points + number) for number in range(len(size) - 1)]
    places = [np.round(one * (n - 1)).astype(int) for one, n in zip([*turns, points], size, strict=True)]
    map_ = np.zeros(size, np.float32)
    map_[tuple(places)] = 0.9
    connected = np.ones((3,) * len(size))
    assert ndimage.label(map_ > 0.5, connected)[1] == 1
    found = {}
    for pool in ("max", "mean"):
        write(Volume(map_, axes), tmp_path / f"{pool}.zarr", pyramid=True, pyramid_pool=pool)
        found[pool] = levels(tmp_path / f"{pool}.zarr")[1:]
        assert len(found[pool]) >= 2
    for thick, faint in zip(found["max"], found["mean"], strict=True):
        assert set(np.unique(thick)) == {0, np.float32(0.9)}
        assert ndimage.label(thick > 0.5, connected)[1] == 1
        assert (thick > 0.5).any(axis=tuple(range(len(size) - 1))).all()  # it spans x
        assert (thick > faint).any()
    assert found["mean"][-1].max() < 0.5


@pytest.mark.parametrize("shape", [(128, 192), (64, 128, 64)])
def test_it_is_the_pyramid_of_labels_of_training(tmp_path: Path, shape: tuple[int, ...]) -> None:
    mask = (ndimage.gaussian_filter(RNG.standard_normal(shape), 1.5) > 0.3).astype(np.float32)
    axes = "ZYX"[-len(shape) :]
    write(Volume(mask, axes), tmp_path / "map.zarr", output_type="mask", pyramid=True, pyramid_pool="max")
    _, *coarser = levels(tmp_path / "map.zarr")
    wanted = label_pyramid(torch.from_numpy(mask)[None, None], [one.shape for one in coarser])
    assert coarser
    for found, planes in zip(coarser, wanted, strict=True):
        np.testing.assert_array_equal(found, planes[0, 0].numpy())


@pytest.mark.parametrize("output_type", ["float32", "uint8"])
def test_levels_of_a_nested_skeleton_stay_and_no_loss_is_claimed(tmp_path: Path, output_type: str) -> None:
    skeleton = np.pad(nested_reference(noisy(vessels(24), 1.0, 2), 16), 24)
    stated = {"command": "softmorph skeletonize", "version": "1"}
    stated["parameters"] = {"method": "nested", "levels": 16, "finish": True}  # type: ignore[assignment]
    how: dict[str, Any] = {"output_type": output_type, "pyramid": True, "provenance": stated}
    notes = write(Volume(skeleton, "ZYX"), tmp_path / "max.zarr", pyramid_pool="max", **how)
    assert not any("resolution" in one for one in notes)
    mean = write(Volume(skeleton, "ZYX"), tmp_path / "mean.zarr", pyramid_pool="mean", **how)
    assert any("coarser ones are means, and a threshold breaks their lines" in one for one in mean)
    top = 255 if output_type == "uint8" else 1
    differ = 0
    for threshold in LevelSets(16).thresholds.tolist():
        cut = (skeleton > threshold).astype(np.uint8)
        wanted = dilated(cut, 3, 1)
        coarse = {pool: levels(tmp_path / f"{pool}.zarr")[1] / top > threshold for pool in ("max", "mean")}
        np.testing.assert_array_equal(coarse["max"], wanted)
        differ += not np.array_equal(coarse["mean"], wanted)
        # Lines are whole: as many pieces, or fewer where two lie in neighbouring blocks.
        pieces = [ndimage.label(one, np.ones((3, 3, 3)))[1] for one in (cut, coarse["max"])]
        assert pieces[1] <= pieces[0]
    assert differ == 16


@pytest.mark.parametrize(
    ("pool", "stated"), [(None, "mean"), ("mean", "mean"), ("max", "max"), ("labels", "nearest")]
)
def test_metadata_say_how_resolutions_were_made(tmp_path: Path, pool: str | None, stated: str) -> None:
    volume, path = Volume(np.eye(70, dtype=np.float32), "YX"), tmp_path / "map.zarr"
    if pool == "labels":
        write_labels(np.eye(70, dtype=np.int32), volume, path, WriteOptions(pyramid=True))
    else:
        write(volume, path, pyramid=True, pyramid_pool=pool)
    (image,) = json.loads((path / ".zattrs").read_text())["multiscales"]
    words = {"mean": "mean of", "max": "maximum of", "nearest": "every second voxel"}
    assert image["type"] == stated
    assert words[stated] in image["metadata"]["method"]
    ome_zarr_models.open_ome_zarr(str(path), version="0.4")
    write(volume, tmp_path / "one.zarr")
    (image,) = json.loads((tmp_path / "one.zarr/.zattrs").read_text())["multiscales"]
    assert not {"type", "metadata"} & set(image)


def test_what_has_no_effect_is_refused(tmp_path: Path) -> None:
    volume = Volume(np.eye(70, dtype=np.float32), "YX")
    with pytest.raises(UsageError, match=r"none is written: add pyramid=True, or leave out pyramid_pool\."):
        write(volume, tmp_path / "map.zarr", pyramid_pool="mean")
    with pytest.raises(UsageError, match="pyramid_pool is max or mean, not 'min'"):
        write(volume, tmp_path / "map.zarr", pyramid=True, pyramid_pool="min")
    with pytest.raises(UsageError, match="every second one, not a mean or maximum: leave out pyramid_pool"):
        write_labels(
            np.eye(70, dtype=np.int32),
            volume,
            tmp_path / "map.zarr",
            WriteOptions(pyramid=True, pyramid_pool="max"),
        )
    assert not [*tmp_path.iterdir()]
