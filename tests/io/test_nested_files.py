"""Level sets {p > t} of a written nested skeleton equal those before writing, also by other programs."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
import pytest
import tifffile
from helpers_nested import nested_reference
from helpers_topology import noisy, vessels
from helpers_typing import SimpleITK, nibabel, zarr
from PIL import Image

from softmorph_cli.errors import SoftmorphWarning, UsageError
from softmorph_cli.io.blocks import open_blocks
from softmorph_cli.io.new_blocks import create_blocks
from softmorph_cli.io.options import ReadOptions
from softmorph_cli.io.reading import read
from softmorph_cli.io.writing import write
from softmorph_cli.kernels.level_sets import Levels, LevelSets, nested_levels
from softmorph_cli.topology.betti import betti_numbers
from softmorph_cli.volume import Volume

COUNTS = (8, 16, 32, 64)
TYPES = {
    ".nii": ("float32", "uint8", "uint16"),
    ".nii.gz": ("float32", "uint8", "uint16"),
    ".tif": ("float32", "float16", "uint8", "uint16"),
    ".ome.tif": ("float32", "float16", "uint8", "uint16"),
    ".png": ("uint8", "uint16"),
    ".nrrd": ("float32", "uint8", "uint16"),
    ".mha": ("float32", "uint8", "uint16"),
    ".npy": ("float32", "float16", "float64", "uint8", "uint16"),
    ".zarr": ("float32", "uint8", "uint16"),
}
TOPS = {"uint8": 255, "uint16": 65535}


def made(levels: Levels, **more: Any) -> dict[str, Any]:
    parameters = {"method": "nested", "levels": levels, "finish": True, **more}
    return {"command": "softmorph skeletonize", "version": "1", "parameters": parameters}


def every_edge(sets: LevelSets, dtype: Any = np.float32) -> np.ndarray:
    """An image of the least and the greatest value of each bin, and of more between."""
    low, high = sets.floats(dtype)
    shares = np.array([0, 1e-6, 0.01, 0.3, 0.5, 0.77, 0.999, 1])
    values = np.clip(low + (high - low) * shares[:, None], low, high).astype(dtype)
    return np.concatenate([np.zeros((1, values.shape[1]), dtype), values])


def same_sets(read: np.ndarray, wanted: np.ndarray, sets: LevelSets) -> None:
    # Plain numbers are compared in the type of the array, those of NumPy in float64.
    for threshold in (*sets.thresholds, *sets.thresholds.tolist()):
        assert np.array_equal(read > threshold, wanted > threshold), threshold


def nibabel_reads(path: Path) -> np.ndarray:
    return np.asarray(nibabel.load(path).get_fdata()).T


def itk_reads(path: Path) -> np.ndarray:
    return np.asarray(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path)))


def pillow_reads(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


INDEPENDENT: dict[str, Callable[[Path], np.ndarray]] = {
    ".nii": nibabel_reads,
    ".nii.gz": nibabel_reads,
    ".tif": tifffile.imread,
    ".ome.tif": tifffile.imread,
    ".nrrd": itk_reads,
    ".mha": itk_reads,
    ".npy": np.load,
    ".zarr": lambda path: zarr.open_array(f"{path}/0", mode="r")[...],
}


def scaled(numbers: np.ndarray, output_type: str, suffix: str) -> np.ndarray:
    # What NIfTI holds of the scale its readers apply.
    if suffix.startswith(".nii") or output_type not in TOPS:
        return numbers
    assert numbers.dtype == output_type
    return numbers / np.float32(TOPS[output_type])


@pytest.mark.parametrize(
    ("suffix", "output_type", "wide"),
    [
        (suffix, output_type, wide)
        for suffix, output_types in TYPES.items()
        for output_type in output_types
        # .npy keeps the type of the map.
        for wide in ((np.float64,) if output_type == "float64" else (np.float32, np.float64))
    ],
)
def test_every_level_of_every_file(tmp_path: Path, suffix: str, output_type: str, wide: Any) -> None:
    path = tmp_path / f"map{suffix}"
    for count in COUNTS:
        sets = LevelSets(count)
        image = every_edge(sets, wide)
        chosen = None if output_type == "float64" else output_type
        write(Volume(image, "YX"), path, output_type=chosen, force=True, provenance=made(count))
        one = TOPS.get(output_type) if suffix == ".npy" else None
        again = read(path, divide_by=one)
        same_sets(again.array, image, sets)
        assert np.abs(again.array - image).max() <= 1 / TOPS.get(output_type, 1024)
        if suffix != ".npy":
            assert again.source is not None
            assert again.source.dtype == output_type
            assert nested_levels(again.source.provenance) == sets
        readers: list[Callable[[Path], Any]] = [pillow_reads, imageio.imread, itk_reads]
        if suffix != ".png":
            readers = [INDEPENDENT[suffix]]
        for reader in readers:
            numbers = np.squeeze(reader(path))
            same_sets(scaled(numbers, output_type, suffix), image, sets)


@pytest.mark.parametrize("output_type", TOPS)
def test_plain_rounding_breaks_thresholds_that_bins_keep(tmp_path: Path, output_type: str) -> None:
    """Nothing above would fail if rounding alone did it."""
    p = noisy(vessels(24), 1.0, 3)
    image, sets, path = nested_reference(p, 8), LevelSets(8), tmp_path / "s.nii"
    # As the README says for arrays.
    short = {"parameters": {"method": "nested", "levels": 8}}
    for provenance, kept in ((None, False), (made(8), True), (short, True)):
        write(Volume(image, "ZYX"), path, output_type=output_type, force=True, provenance=provenance)
        again = read(path).array
        assert all(np.array_equal(again > t, image > t) for t in sets.thresholds) is kept
    assert all(betti_numbers(again > t) == betti_numbers(p > t) for t in sets.thresholds)


@pytest.mark.parametrize("sets", [LevelSets(64, 0.0101), LevelSets(16, 0.25), LevelSets(192)])
@pytest.mark.parametrize("output_type", ["float32", "float16", "uint16"])
def test_any_lowest_level_and_number(tmp_path: Path, sets: LevelSets, output_type: str) -> None:
    image = every_edge(sets)
    stated = made(sets.count, lowest=sets.lowest)
    write(Volume(image, "YX"), tmp_path / "s.tif", output_type=output_type, provenance=stated)
    again = read(tmp_path / "s.tif")
    same_sets(again.array, image, sets)
    assert nested_levels(again.source.provenance if again.source else {}) == sets


def test_the_scale_of_the_source_is_not_that_of_the_result(tmp_path: Path) -> None:
    sets = LevelSets(64)
    image = every_edge(sets)
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.int16)
    source = nibabel.Nifti1Image(
        np.arange(image.size, dtype=np.int16).reshape(image.T.shape), np.eye(4), header
    )
    source.header.set_slope_inter(1 / 1000, 0.1)
    source.to_filename(tmp_path / "in.nii")
    volume = read(tmp_path / "in.nii").with_array(image)
    for output_type in TYPES[".nii"]:
        write(volume, tmp_path / "s.nii", output_type=output_type, force=True, provenance=made(64))
        same_sets(read(tmp_path / "s.nii").array, image, sets)
        same_sets(np.squeeze(nibabel_reads(tmp_path / "s.nii")), image, sets)


@pytest.mark.parametrize("output_type", ["float16", "uint8", "uint16"])
def test_rounding_moves_the_thresholds_of_exact_levels_and_nothing_else(
    tmp_path: Path, output_type: str
) -> None:
    p = noisy(vessels(16), 1.0, 1)
    image = nested_reference(p, "exact")
    write(Volume(image, "ZYX"), tmp_path / "s.tif", output_type=output_type, provenance=made("exact"))
    again = read(tmp_path / "s.tif")
    assert nested_levels(again.source.provenance if again.source else {}) == "exact"
    for value in np.unique(again.array)[::25]:
        above = again.array > value
        # It is the level set at the highest value that is left out.
        assert np.array_equal(above, image > image[~above].max())
        assert betti_numbers(above) == betti_numbers(p > image[~above].max())


@pytest.mark.parametrize("output_type", TOPS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_above_a_half_stay_above_it_in_integers(tmp_path: Path, dtype: Any, output_type: str) -> None:
    """Of exact levels and of any map: a logit of 0 is 0.5, and 0.5 * 255 lies between two integers."""
    half = dtype(0.5)
    image = np.array([[np.nextafter(half, dtype(0)), half, np.nextafter(half, dtype(1)), 0, 1]])
    for number, provenance in enumerate((made("exact"), None)):
        path = tmp_path / f"{number}.png"
        write(Volume(image, "YX"), path, output_type=output_type, provenance=provenance)
        assert (read(path).array > 0.5).tolist() == [[False, False, True, False, True]]
    top = TOPS[output_type]
    stored = np.asarray(pillow_reads(path))
    assert stored.tolist() == [[top // 2, top // 2, top // 2 + 1, 0, top]]


@pytest.mark.parametrize(
    ("name", "output_type", "count", "message"),
    [
        ("s.nii.gz", "uint8", 128, "output_type='uint16'"),
        ("s.png", "uint8", 192, "levels=64"),
        ("s.png", None, 32768, "output_type='float32'"),
        ("s.tif", "float16", 4096, "output_type='float32'"),
    ],
)
def test_levels_that_do_not_fit_are_refused(
    tmp_path: Path, name: str, output_type: str | None, count: int, message: str
) -> None:
    volume = Volume(np.eye(6, dtype=np.float32), "YX")
    with pytest.raises(UsageError, match=message):
        write(volume, tmp_path / name, output_type=output_type, provenance=made(count))
    assert list(tmp_path.iterdir()) == []


def test_lost_levels_have_a_note(tmp_path: Path) -> None:
    volume = Volume(every_edge(LevelSets(16)), "YX", (1.0, 1.0), "um")
    assert write(volume, tmp_path / "a.tif", output_type="uint8", provenance=made(16)) == [
        "uint8 keeps 256 steps: values are rounded by up to 0.004; its 16 level sets stay."
    ]
    assert write(volume, tmp_path / "b.tif", output_type="uint8", provenance=made("exact")) == [
        "uint8 keeps 256 steps: values are rounded by up to 0.002."
    ]
    (messages,) = write(volume, tmp_path / "c.zarr", pyramid=True, provenance=made(16))
    assert "only resolution 0 is the nested skeleton" in messages
    assert write(volume, tmp_path / "d.zarr", pyramid=True, provenance=made(16, method="levels")) == []


@pytest.mark.parametrize("output_type", TYPES[".zarr"])
def test_block_by_block_is_the_same_file(tmp_path: Path, output_type: str) -> None:
    """In this process and in another one, to which what is written to is pickled."""
    p = noisy(vessels(36), 1.0, 2)
    image = np.where(p > 1 / 32, p, 0).astype(np.float32)
    write(Volume(image, "ZYX"), tmp_path / "in.zarr")
    source, whole = open_blocks(tmp_path / "in.zarr"), tmp_path / "whole.zarr"
    write(Volume(image, "ZYX"), whole, output_type=output_type, provenance=made(16))
    with create_blocks(
        tmp_path / "out.zarr", source, dtype=output_type, chunks=(12, 36, 36), provenance=made(16)
    ) as out:
        for number, writer in enumerate([out, pickle.loads(pickle.dumps(out)), out]):
            cut = (slice(12 * number, 12 * number + 12), slice(0, 36), slice(0, 36))
            writer.write(cut, source.read(cut))
    stored = [zarr.open_array(f"{path}/0", mode="r")[...] for path in (tmp_path / "out.zarr", whole)]
    assert np.array_equal(*stored)
    same_sets(read(tmp_path / "out.zarr").array, image, LevelSets(16))


def test_levels_that_do_not_fit_are_refused_before_a_block_is_written(tmp_path: Path) -> None:
    write(Volume(np.eye(8, dtype=np.float32), "YX"), tmp_path / "in.zarr")
    source = open_blocks(tmp_path / "in.zarr")
    with (
        pytest.raises(UsageError, match="output_type='uint16'"),
        create_blocks(tmp_path / "out.zarr", source, dtype="uint8", provenance=made(128)),
    ):
        raise AssertionError
    assert [path.name for path in tmp_path.iterdir()] == ["in.zarr"]


def test_only_the_file_itself_is_a_nested_skeleton(tmp_path: Path) -> None:
    """Not a coarser resolution, not its logits, not what is put in its place."""
    image = every_edge(LevelSets(16))
    image = np.tile(image, (16, 16))
    write(Volume(image, "YX"), tmp_path / "s.zarr", pyramid=True, provenance=made(16))

    def found(**how: Any) -> Any:
        volumes = (read(tmp_path / "s.zarr", **how), open_blocks(tmp_path / "s.zarr", ReadOptions(**how)))
        first, second = (nested_levels(one.source.provenance if one.source else {}) for one in volumes)
        assert first == second
        return first

    assert found() == found(region="0:20,10:50") == LevelSets(16)
    for how in ({"resolution": 1}, {"divide_by": 2.0}):
        assert found(**how) is None
    with pytest.warns(SoftmorphWarning, match="look like probabilities"):
        assert found(from_logits="sigmoid") is None
    inside = read(tmp_path / "s.zarr/1")
    assert inside.source is not None
    assert inside.source.provenance["command"] == "softmorph skeletonize"
    assert nested_levels(inside.source.provenance) is None
    volume = read(tmp_path / "s.zarr")
    assert volume.with_array(volume.array / 2).source.provenance == {}  # type: ignore[union-attr]
