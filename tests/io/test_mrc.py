"""MRC files as mrcfile writes them, judged by mrcfile and SimpleITK."""

from __future__ import annotations

import gzip
import io
import itertools
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
from helpers_typing import SimpleITK

from softmorph_cli.errors import FileError, InputError, UsageError
from softmorph_cli.io.blocks import open_blocks
from softmorph_cli.io.reading import read
from softmorph_cli.io.writing import write, write_labels
from softmorph_cli.volume import Volume

SOFT = np.random.default_rng(0).random((4, 5, 6), dtype=np.float32)


def save(path: Path, array: Any, size: Any = (1.5, 2.0, 2.5), **fields: Any) -> Path:
    packed = {"compression": "gzip"} if path.suffix == ".gz" else {}
    with mrcfile.new(path, **packed) as file:
        file.set_data(array)
        if size is not None:
            file.voxel_size = size
        for name, value in fields.items():
            file.header[name] = value
    return path


@pytest.mark.parametrize("name", ["map.mrc", "map.map", "map.rec", "map.mrc.gz"])
def test_values_and_voxel_sizes_equal_those_of_other_readers(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / name, SOFT)
    volume = read(path)
    assert np.array_equal(volume.array, SOFT)
    assert (volume.axes, volume.unit, volume.affine, volume.notes) == ("ZYX", "nm", None, ())
    assert volume.spacing == pytest.approx((0.25, 0.2, 0.15), rel=1e-12)
    assert volume.spacing is not None
    if name == "map.mrc":
        judge = SimpleITK.ReadImage(str(path))
        assert np.array_equal(SimpleITK.GetArrayFromImage(judge), volume.array)
        assert [size / 10 for size in judge.GetSpacing()] == pytest.approx(
            [*reversed(volume.spacing)], rel=1e-6
        )


@pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3))))
def test_axes_lie_as_the_header_says(tmp_path: Path, order: tuple[int, int, int]) -> None:
    # The axis of each number is as long as no other: x 6, y 5, z 4.
    stored = SOFT.transpose([{1: 2, 2: 1, 3: 0}[number] for number in reversed(order)])
    path = save(tmp_path / "map.mrc", stored, None, mapc=order[0], mapr=order[1], maps=order[2])
    with mrcfile.open(path, "r+") as file:
        file.header.mx, file.header.my, file.header.mz = 6, 5, 4
        file.header.cella.x, file.header.cella.y, file.header.cella.z = 9, 10, 10
    volume = read(path)
    assert np.array_equal(volume.array, SOFT)
    assert volume.spacing == pytest.approx((0.25, 0.2, 0.15))


def test_stacks(tmp_path: Path) -> None:
    volumes = np.stack([SOFT, 1 - SOFT])
    volume = read(save(tmp_path / "volumes.mrc", volumes))
    assert volume.axes == "VZYX"
    assert np.array_equal(volume.array, volumes)
    assert volume.spacing == pytest.approx((0.25, 0.2, 0.15))
    write(volume, tmp_path / "out.mrc")
    with mrcfile.open(tmp_path / "out.mrc") as file:
        assert file.is_volume_stack()
        assert np.array_equal(file.data, volumes)
    path = tmp_path / "images.mrc"
    with mrcfile.new(path) as file:
        file.set_data(SOFT)
        file.set_image_stack()
    images = read(path)
    assert (images.axes, images.spatial_dims) == ("VYX", 2)
    assert images.notes[-1] == "by its header it is a stack of images; axes='ZYX' changes it."
    assert read(path, axes="ZYX").axes == "ZYX"
    write(images, tmp_path / "out2.mrc")
    with mrcfile.open(tmp_path / "out2.mrc") as file:
        assert file.is_image_stack()
    with mrcfile.new(tmp_path / "image.mrc") as file:
        file.set_data(SOFT[0])
    assert read(tmp_path / "image.mrc").axes == "YX"


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.uint16, np.float16])
def test_types(tmp_path: Path, kind: Any) -> None:
    stored = (SOFT > 0.5).astype(kind) if np.dtype(kind).kind != "f" else SOFT.astype(kind)
    assert np.array_equal(read(save(tmp_path / "map.mrc", stored)).array, stored.astype(np.float32))


def test_densities_are_no_probabilities(tmp_path: Path) -> None:
    path = save(tmp_path / "emd.map", 12 * SOFT - 3)
    with pytest.raises(
        InputError, match=r"values from -\S+ to \S+.*probabilities lie in \[0, 1\]: .*clip=True"
    ):
        read(path)


def test_what_is_written_is_valid_and_keeps_the_origin(tmp_path: Path) -> None:
    path = save(tmp_path / "in.mrc", SOFT, nxstart=-3, origin=(10, 20, 30))
    assert write(read(path), tmp_path / "out.mrc", provenance={"version": "9"}) == []
    assert mrcfile.validate(tmp_path / "out.mrc", print_file=io.StringIO())
    with mrcfile.open(tmp_path / "out.mrc") as file:
        assert file.header.nxstart == -3
        assert file.header.origin.item() == (10, 20, 30)
        assert file.voxel_size.item() == pytest.approx((1.5, 2.0, 2.5))
        assert bytes(file.header.label[0]).startswith(b"softmorph 9")
        assert file.header.dmax == SOFT.max()
    # The same bytes again: no time of writing.
    assert write(read(path), tmp_path / "again.mrc", provenance={"version": "9"}) == []
    assert (tmp_path / "again.mrc").read_bytes() == (tmp_path / "out.mrc").read_bytes()


@pytest.mark.parametrize(
    ("start", "origin", "moved"),
    [
        # Voxels of 1.5, 2 and 2.5 angstrom; x begins at voxel 3, y at 1, z at 2.
        ((5, 0, 0), (100, 20, 30), ((8, 1, 2), (104.5, 22, 35))),
        ((0, 0, 0), (0, 0, 0), ((3, 1, 2), (4.5, 2, 5))),
        # Of an origin of 0 programs take the start, which therefore has to stay the only statement.
        ((-7, 0, 0), (0, 0, 0), ((-4, 1, 2), (0, 0, 0))),
    ],
)
def test_a_region_lies_where_it_lay_in_the_map(tmp_path: Path, start: Any, origin: Any, moved: Any) -> None:
    fields = dict(zip(("nxstart", "nystart", "nzstart"), start, strict=True))
    path = save(tmp_path / "in.mrc", SOFT, origin=origin, **fields)
    assert write(read(path, region="2:4,1:5,3:"), tmp_path / "out.mrc") == []
    with mrcfile.open(tmp_path / "out.mrc") as file:
        assert np.array_equal(file.data, SOFT[2:4, 1:5, 3:])
        assert (file.nstart.item(), file.header.origin.item()) == moved
        assert file.voxel_size.item() == pytest.approx((1.5, 2.0, 2.5))


def test_a_region_keeps_its_place_with_columns_along_z_and_beside_nnunet(tmp_path: Path) -> None:
    stored = SOFT.transpose(2, 1, 0)
    path = save(tmp_path / "in.mrc", stored, 2.0, mapc=3, mapr=2, maps=1, nxstart=7, origin=(10, 20, 30))
    write(read(path, region="1:,2:,3:"), tmp_path / "out.mrc")
    with mrcfile.open(tmp_path / "out.mrc") as file:
        assert np.array_equal(file.data, SOFT[1:, 2:, 3:])
        # The columns of the source lie along z.
        assert (file.nstart.item(), file.header.origin.item()) == ((3, 2, 8), (16, 24, 32))
    np.savez(tmp_path / "case.npz", probabilities=np.stack([1 - SOFT, SOFT]))
    image = save(tmp_path / "image.mrc", SOFT, 2.0, origin=(10, 20, 30))
    write(read(tmp_path / "case.npz", like=image, region="1:,:,3:"), tmp_path / "case.mrc")
    with mrcfile.open(tmp_path / "case.mrc") as file:
        assert file.header.origin.item() == (16, 20, 32)


def test_the_origin_of_a_region_of_unknown_size_is_not_kept(tmp_path: Path) -> None:
    path = save(tmp_path / "in.mrc", SOFT, None, nxstart=5, origin=(10, 20, 30))
    with mrcfile.open(path, "r+") as file:
        file.header.cella = (0, 0, 0)
    (note,) = write(read(path, region="1:,:,3:"), tmp_path / "out.mrc")
    assert note == "its voxel size is unknown: the origin of a region of it is not kept."
    with mrcfile.open(tmp_path / "out.mrc") as file:
        assert (file.nstart.item(), file.header.origin.item()) == ((8, 0, 1), (0, 0, 0))


def test_masks_labels_and_other_units(tmp_path: Path) -> None:
    mask = Volume((SOFT > 0.5).astype(np.float32), "ZYX", (2.0, 1.0, 1.0), "um")
    write(mask, tmp_path / "mask.mrc", output_type="mask")
    with mrcfile.open(tmp_path / "mask.mrc") as file:
        assert (int(file.header.mode), file.voxel_size.item()) == (0, pytest.approx((1e4, 1e4, 2e4)))
        assert np.array_equal(file.data, mask.array)
    labels = np.digitize(SOFT, (0.3, 0.6)) * 1000
    write_labels(labels, mask, tmp_path / "labels.mrc")
    with mrcfile.open(tmp_path / "labels.mrc") as file:
        assert np.array_equal(file.data, labels)
    unknown = Volume(SOFT, "ZYX", (2.0, 1.0, 1.0))
    assert write(unknown, tmp_path / "u.mrc") == [
        "the unit of its voxel size is unknown, and MRC counts in angstrom: it is not kept."
    ]
    assert read(tmp_path / "u.mrc").spacing is None
    with pytest.raises(UsageError, match=r"a gzipped MRC is read, not written; write \.mrc instead"):
        write(mask, tmp_path / "out.mrc.gz")
    with pytest.raises(InputError, match="MRC holds one axis beside x, y and z"):
        write(Volume(SOFT[None, None], "TCZYX"), tmp_path / "more.mrc")


def test_faults_that_are_passed_over_are_told(tmp_path: Path) -> None:
    content = save(tmp_path / "map.mrc", SOFT, None).read_bytes()
    path = tmp_path / "odd.mrc"

    def changed(*changes: tuple[int, bytes]) -> Any:
        made = bytearray(content)
        for at, new in changes:
            made[at : at + len(new)] = new
        path.write_bytes(made)
        return read(path)

    volume = changed((212, b"\x11\x11\0\0"))
    assert np.array_equal(volume.array, SOFT)
    assert volume.notes[0].startswith("its machine stamp is not that of its byte order")
    assert "machine stamp is none" in changed((212, b"abcd")).notes[0]
    assert "names its axes [3, 2, 2]" in changed((64, b"\2\0\0\0")).notes[-1]
    assert changed((64, bytes(12))).notes == ("its header gives no valid voxel size.",)
    path.write_bytes(content + b"xyz")
    assert "3 bytes behind its voxels are not used." in read(path).notes


def test_damage_and_hostile_headers(tmp_path: Path) -> None:
    content = save(tmp_path / "map.mrc", SOFT).read_bytes()
    path = tmp_path / "bad.mrc"
    for at, number, text in (
        (0, 2**31 - 1, "ends too early"),
        (0, -1, "its sizes are -1"),
        (12, 3, "its mode is 3; modes 0, 1, 2, 6 and 12"),
        (12, 101, "its mode is 101"),
        (92, 2**30 + 1, "its extended header has 1,073,741,825 bytes"),
        (92, -4, "its extended header has -4 bytes"),
        (92, 400, "ends too early"),
        (88, 401, "are no stack of volumes of 3"),
    ):
        made = bytearray(content)
        made[at : at + 4] = number.to_bytes(4, "little", signed=True)
        if at == 88:
            made[36:40] = b"\3\0\0\0"
        path.write_bytes(made)
        with pytest.raises(FileError, match=text):
            read(path)
    path.write_bytes(content[:-1])
    with pytest.raises(FileError, match="ends too early"):
        read(path)
    (tmp_path / "packed.mrc").write_bytes(gzip.compress(content))
    with pytest.raises(FileError, match=r"called \.mrc but is compressed; rename it: mv .*packed\.mrc\.gz"):
        read(tmp_path / "packed.mrc")


def test_blocks_and_an_extended_header(tmp_path: Path) -> None:
    path = tmp_path / "map.mrc"
    with mrcfile.new(path) as file:
        file.set_data(SOFT)
        file.set_extended_header(np.zeros(320, np.uint8))
    blocks = open_blocks(path)
    assert not blocks.in_memory
    assert np.array_equal(blocks.read((slice(1, 3), slice(0, 5), slice(2, 6))), SOFT[1:3, :, 2:6])
