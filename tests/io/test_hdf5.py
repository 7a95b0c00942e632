"""HDF5 files as ilastik, Fiji and other programs write them with the HDF5 library."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from softmorph_cli.errors import FileError, InputError, SoftmorphError, UsageError
from softmorph_cli.io.blocks import open_blocks
from softmorph_cli.io.hdf5 import split
from softmorph_cli.io.options import ReadOptions
from softmorph_cli.io.probing import probe
from softmorph_cli.io.reading import read, read_labels
from softmorph_cli.io.writing import write
from softmorph_cli.volume import Volume

SOFT = np.random.default_rng(0).random((5, 6, 7), dtype=np.float32)
PAIR = np.stack([1 - SOFT, SOFT], axis=-1)


def tags(axes: str, *resolutions: float, **units: str) -> dict[str, Any]:
    """The attributes that ilastik writes."""
    sizes = resolutions or (0.0,) * len(axes)
    told = [
        {"key": key, "typeFlags": {"c": 1, "t": 8}.get(key, 2), "resolution": size, "description": ""}
        for key, size in zip(axes, sizes, strict=True)
    ]
    return {"axistags": json.dumps({"axes": told}), **({"axis_units": json.dumps(units)} if units else {})}


def save(
    path: Path, array: Any, attributes: dict[str, Any] | None = None, name: str = "exported_data", **how: Any
) -> Path:
    with h5py.File(path, "a") as file:
        dataset = file.create_dataset(name, data=array, **how)
        for key, value in (attributes or {}).items():
            dataset.attrs[key] = value
    return path


def test_a_map_of_ilastik_with_axes_voxel_size_and_channels_last(tmp_path: Path) -> None:
    told = tags("zyxc", 2.0, 0.5, 0.25, 0.0, z="um", y="um", x="um", c="")
    path = save(
        tmp_path / "p.h5", PAIR, {**told, "drange": (0.0, 1.0)}, chunks=(2, 3, 4, 2), compression="gzip"
    )
    volume = read(path)
    assert (volume.axes, volume.spacing, volume.unit, volume.notes) == ("CZYX", (2.0, 0.5, 0.25), "um", ())
    assert np.array_equal(volume.array, PAIR.transpose(3, 0, 1, 2))
    assert volume.source is not None
    assert (volume.source.shape, volume.source.dtype) == ((5, 6, 7, 2), "float32")
    assert np.array_equal(read(path, channel=1, region="1:4,2:6,0:7").array, SOFT[1:4, 2:6])


@pytest.mark.parametrize(
    ("axes", "sizes", "units", "spacing", "unit"),
    [
        ("zyx", (1000.0, 0.5, 0.5), {"z": "nm", "y": "um", "x": "um"}, (1000.0, 500.0, 500.0), "nm"),
        ("xyz", (0.5, 0.25, 2.0), {"x": "um", "y": "um", "z": "um"}, (2.0, 0.25, 0.5), "um"),
        ("zyx", (2.0, 1.0, 1.0), {}, (2.0, 1.0, 1.0), None),
        # What it does not say is not filled in: 0 is vigra's "not known", and pixels are no length.
        ("zyx", (0.0, 0.5, 0.5), {"y": "um", "x": "um"}, None, "um"),
        ("zyx", (1.0, 1.0, 1.0), {"z": "pixel", "y": "pixel", "x": "pixel"}, None, None),
    ],
)
def test_resolutions_and_their_units(
    tmp_path: Path, axes: str, sizes: tuple[float, ...], units: dict[str, str], spacing: Any, unit: str | None
) -> None:
    stored = SOFT.transpose(["zyx".index(axis) for axis in axes])
    volume = read(save(tmp_path / "p.h5", stored, tags(axes, *sizes, **units)))
    assert np.array_equal(volume.array, SOFT)
    assert volume.unit == unit
    assert volume.spacing == (pytest.approx(spacing, rel=1e-12) if spacing else None)


def test_time_steps_and_a_channel_axis_that_is_not_last(tmp_path: Path) -> None:
    told = tags("tczyx", 0.5, 0.0, 1.0, 1.0, 1.0, t="s", z="um", y="um", x="um")
    volume = read(save(tmp_path / "p.h5", np.stack([[SOFT, 1 - SOFT]] * 3), told), channel=1, time=2)
    assert np.array_equal(volume.array, 1 - SOFT)
    whole = read(tmp_path / "p.h5")
    assert whole.source is not None
    assert whole.source.header.time_step.size == 0.5


@pytest.mark.parametrize(("kind", "top"), [("uint8", 255), ("uint16", 65535)])
def test_a_renormalised_export_says_what_1_is_stored_as(tmp_path: Path, kind: str, top: int) -> None:
    stored = np.round(SOFT * top).astype(kind)
    path = save(tmp_path / "p.h5", stored, {**tags("zyx"), "drange": (0.0, float(top))})
    assert np.allclose(read(path).array, stored / top, atol=1e-7)
    # Without a range, or with that of another type, the file does not say so.
    for attributes in (
        {},
        {"drange": (0.0, 100.0)},
        {"drange": (-1.0, float(top))},
        {"drange": (0.0, np.nan)},
    ):
        bare = save(tmp_path / f"{len(list(tmp_path.iterdir()))}.h5", stored, {**tags("zyx"), **attributes})
        with pytest.raises(InputError, match=f"divide_by={top}"):
            read(bare)


def test_labels_of_ilastik(tmp_path: Path) -> None:
    labels = np.digitize(SOFT, (0.3, 0.6)).astype(np.uint8) + 1
    path = save(tmp_path / "p.h5", labels[..., None], {**tags("zyxc"), "drange": (0, 255)})
    found = read_labels(path)
    assert found is not None
    assert np.array_equal(found[0], labels[None])
    assert np.array_equal(read(path, label=2, channel=0).array, labels == 2)


def test_names_of_datasets(tmp_path: Path) -> None:
    path = save(tmp_path / "p.h5", SOFT, name="volume/soft")
    save(path, "no numbers", name="about")
    save(path, np.arange(9), name="list")
    assert np.array_equal(read(path).array, SOFT)
    save(path, 1 - SOFT, name="other")
    with pytest.raises(
        InputError,
        match=r"holds 2 datasets, /other \(5 x 6 x 7, float32\), /volume/soft .*info \S*/p.h5:/other$",
    ):
        read(path)
    for ending in (":/volume/soft", ":volume/soft", "/volume/soft", ":/volume"):
        assert np.array_equal(read(f"{path}{ending}").array, SOFT), ending
    assert probe(f"{path}:/other").suggestion.endswith("p.h5:/other skeleton.tif")
    with pytest.raises(InputError, match=r"has no dataset /volume/hard; it holds 2 datasets"):
        read(f"{path}:/volume/hard")
    with pytest.raises(InputError, match="holds no plain numbers"):
        read(f"{path}:/about")
    with pytest.raises(InputError, match="has 1 axis"):
        read(f"{path}:/list")
    with pytest.raises(FileError, match=r"missing\.h5 does not exist"):
        read(tmp_path / "missing.h5:/volume/soft")


def test_a_path_is_cut_only_behind_a_file_of_this_format(tmp_path: Path) -> None:
    path = save(tmp_path / "p.h5", SOFT)
    assert split(path) == (path, None)
    assert split(tmp_path / "p.h5:/a/b") == (path, "a/b")
    assert split(tmp_path / "map.nii:/a") == (tmp_path / "map.nii:/a", None)
    (tmp_path / "folder.h5").mkdir()
    assert split(tmp_path / "folder.h5/map.nii") == (tmp_path / "folder.h5/map.nii", None)


def test_axes_by_labels_of_dimensions_or_by_shape_and_sizes_in_micrometres(tmp_path: Path) -> None:
    path = save(tmp_path / "p.h5", SOFT, {"element_size_um": (2.0, 0.5, 0.5)})
    assert (read(path).axes, read(path).spacing, read(path).unit) == ("ZYX", (2.0, 0.5, 0.5), "um")
    save(tmp_path / "q.h5", PAIR)
    with pytest.raises(InputError, match="does not name them"):
        read(tmp_path / "q.h5")
    assert np.array_equal(read(tmp_path / "q.h5", axes="ZYXC", channel=1).array, SOFT)
    with h5py.File(tmp_path / "q.h5", "a") as file:
        for dimension, label in zip(file["exported_data"].dims, "zyxc", strict=True):
            dimension.label = label
    assert np.array_equal(read(tmp_path / "q.h5", channel=1).array, SOFT)


@pytest.mark.parametrize(
    "told",
    [
        "{", "[" * 5000, "[]", '{"axes": 3}', '{"axes": [{"key": "z"}, {"key": "z"}, {"key": "x"}]}',
        '{"axes": [{"key": "z"}]}', '{"axes": [{}, {}, {}]}',
        '{"axes": [{"key": "x", "resolution": "wide"}, {"key": "\\u001b", "resolution": 1e999}, 5]}',
    ],
)  # fmt: skip
def test_axistags_that_name_no_axes_are_not_used(tmp_path: Path, told: str) -> None:
    volume = read(save(tmp_path / "p.h5", SOFT, {"axistags": told, "axis_units": "[]", "drange": "wide"}))
    assert (volume.axes, volume.spacing) == ("ZYX", None)
    assert all(note.isprintable() for note in volume.notes)


def test_blocks_are_read_lazily_and_survive_pickling(tmp_path: Path) -> None:
    path = save(tmp_path / "p.h5", PAIR, tags("zyxc"), chunks=(2, 3, 7, 1), compression="lzf", shuffle=True)
    blocks = open_blocks(f"{path}:/exported_data", ReadOptions(channel=1))
    assert (blocks.shape, blocks.chunks, blocks.in_memory) == ((5, 6, 7), (2, 3, 7), False)
    for one in (blocks, pickle.loads(pickle.dumps(blocks))):
        assert np.array_equal(one.read((slice(1, 4), slice(2, 5), slice(0, 7))), SOFT[1:4, 2:5])


def test_a_dataset_of_terabytes_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "p.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("huge", shape=(40_000, 40_000, 40_000), dtype="f4", chunks=(1000, 1000, 1000))
        file.create_dataset("fine", shape=(40_000, 40_000, 40_000), dtype="f4", chunks=(8, 8, 8))
        file.create_dataset("piece", shape=(2**20, 2**20), dtype="f4", chunks=(2**15, 2**14))
        file.create_dataset("endless", shape=(2**40, 2**40), dtype="f4", chunks=(1024, 1024))
        file.create_dataset("bare", shape=(40_000, 40_000, 40_000), dtype="f4")
    for name, text in (
        ("huge", "which take about"),
        ("bare", "which take about"),
        ("fine", r"has 125,000,000,000 chunks by its shape.* and 0 of them are stored"),
        ("endless", r"over 2\^63 bytes|chunks by its shape"),
    ):
        with pytest.raises(SoftmorphError, match=text):
            read(f"{path}:/{name}")


def test_values_that_are_not_stored_are_told(tmp_path: Path) -> None:
    path = tmp_path / "p.h5"
    with h5py.File(path, "w") as file:
        some = file.create_dataset("some", shape=(4, 6, 6), dtype="f4", chunks=(2, 6, 6), fillvalue=0.25)
        some[:2] = 0.5
        file.create_dataset("none", shape=(4, 6, 6), dtype="f4")
    volume = read(f"{path}:/some")
    assert volume.notes == ("1 of its 2 chunks is not stored and reads as its fill value, 0.25.",)
    assert (volume.array[:2] == 0.5).all()
    assert (volume.array[2:] == 0.25).all()
    assert "none of its values are stored" in read(f"{path}:/none").notes[0]


def test_links_and_values_in_other_files_are_refused(tmp_path: Path) -> None:
    other = save(tmp_path / "other.h5", SOFT)
    path = tmp_path / "p.h5"
    with h5py.File(path, "w") as file:
        file["outside"] = h5py.ExternalLink(str(other), "/exported_data")
        file["aside"] = h5py.SoftLink("/soft")
        layout = h5py.VirtualLayout(SOFT.shape, "f4")
        layout[:] = h5py.VirtualSource(other, "exported_data", SOFT.shape)
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("raw", SOFT.shape, "f4", external=[(str(tmp_path / "soft.raw"), 0, SOFT.nbytes)])
    for name, text in (
        ("outside", "is a link to another file, and links are not followed; .*'/exported_data'"),
        ("outside/deeper", "is a link to another file"),
        ("aside", "is a link to another place of the file.*'/soft'"),
        ("virtual", "has its values in other files"),
        ("raw", "has its values in other files"),
    ):
        with pytest.raises(InputError, match=text):
            read(f"{path}:/{name}")


def test_unknown_filters_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "p.h5"
    with h5py.File(path, "w") as file:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((5, 6, 7))
        # As optional, the filter may be missing when the file is written.
        properties.set_filter(32001, h5py.h5z.FLAG_OPTIONAL, (2, 2))
        space = h5py.h5s.create_simple(SOFT.shape)
        h5py.h5d.create(file.id, b"soft", h5py.h5t.NATIVE_FLOAT, space, properties)
    with pytest.raises(
        FileError, match=r"compressed with Blosc \(HDF5's number 32001\).* write it again with gzip"
    ):
        read(path)


def test_damaged_files(tmp_path: Path) -> None:
    path = save(tmp_path / "p.h5", SOFT, tags("zyx"), chunks=(2, 3, 7), compression="gzip")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(FileError, match="cut short or damaged"):
        read(path)
    with h5py.File(save(tmp_path / "q.h5", SOFT, chunks=(5, 6, 7), compression="gzip")) as file:
        place = file["exported_data"].id.get_chunk_info(0).byte_offset
    broken = bytearray((tmp_path / "q.h5").read_bytes())
    broken[place + 20 : place + 60] = bytes(40)
    (tmp_path / "q.h5").write_bytes(broken)
    with pytest.raises(
        FileError, match=r"cut short or damaged \((filter returned failure|inflate\(\) failed)"
    ):
        read(tmp_path / "q.h5")
    # Texts of no length, for which libhdf5 would never return.
    heap = content.index(b"GCOL")
    first = int.from_bytes(content[heap + 24 : heap + 32], "little")
    after = heap + 32 + -(-first // 8) * 8
    path.write_bytes(content[:after] + bytes(16) + content[after + 16 :])
    with pytest.raises(FileError, match="its texts do not fit"):
        read(path)


def test_a_file_behind_a_user_block_and_one_of_another_name(tmp_path: Path) -> None:
    path = tmp_path / "p.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["soft"] = SOFT
    assert np.array_equal(read(path).array, SOFT)
    path.rename(tmp_path / "p.tif")
    with pytest.raises(FileError, match=r"called \.tif but holds HDF5; rename it: mv .*p\.h5"):
        read(tmp_path / "p.tif")


def test_it_is_not_written(tmp_path: Path) -> None:
    volume = Volume(SOFT, "ZYX")
    with pytest.raises(UsageError, match=r"HDF5 files are read, not written; write \.tif instead"):
        write(volume, tmp_path / "p.h5")
