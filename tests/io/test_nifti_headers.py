"""Headers of NIfTI that are unusual, contradictory or impossible: read correctly with a note, or refused."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_typing import SimpleITK, nibabel, present

from softmorph_cli.errors import FileError, InputError, SoftmorphError
from softmorph_cli.io.probing import probe
from softmorph_cli.io.reading import read
from softmorph_cli.io.writing import write

VALUES = np.random.default_rng(0).random((6, 7, 8), dtype=np.float32)
SIZES = (0.5, 0.75, 2.0)
NAN, INF = float("nan"), float("inf")


def save(
    path: Path,
    *,
    sform: Any = None,
    qform: bool = False,
    behind: bytes = bytes(4),
    shape: tuple[int, ...] = VALUES.shape,
    **fields: Any,
) -> Path:
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.float32)
    header.set_data_shape(shape)
    header["xyzt_units"], header["magic"] = 2, b"n+1\0"
    header["pixdim"][:4] = 1, *SIZES
    header["qform_code"] = qform
    if sform is not None:
        header["sform_code"] = 1
        header["srow_x"], header["srow_y"], header["srow_z"] = np.asarray(sform, dtype=float)[:3]
    header["vox_offset"] = 348 + len(behind)
    for name, value in fields.items():
        header[name] = value
    path.write_bytes(header.binaryblock + behind + VALUES.tobytes(order="F"))
    return path


@pytest.mark.parametrize("quaternion", [(0, 1.0000005, 0), (0.70710695, 0, 0.70710695)])
def test_a_quaternion_longer_than_one_by_rounding_is_a_rotation(
    tmp_path: Path, quaternion: tuple[float, ...]
) -> None:
    b, c, d = (np.float32(part) for part in quaternion)
    path = save(tmp_path / "in.nii", qform=True, quatern_b=b, quatern_c=c, quatern_d=d, qoffset_x=10)
    assert float(b) ** 2 + float(c) ** 2 + float(d) ** 2 > 1
    volume = read(path)
    assert volume.spacing == SIZES[::-1]
    assert volume.notes == ()
    theirs = SimpleITK.ReadImage(path)
    for index in ((0, 0, 0), (5, 0, 0), (1, 2, 3)):
        x, y, z = theirs.TransformIndexToPhysicalPoint(index)
        assert volume.affine is not None
        np.testing.assert_allclose(volume.affine @ [*index[::-1], 1], [-x, -y, z, 1], atol=1e-4)
    # What is written is what strict readers take.
    write(volume, tmp_path / "out.nii")
    np.testing.assert_allclose(
        nibabel.load(tmp_path / "out.nii").affine, present(volume.affine)[:, [2, 1, 0, 3]], atol=1e-6
    )


GOOD = [[0.5, 0, 0, 3], [0, 0.75, 0, 4], [0, 0, 2, 5]]
NOWHERE = {
    "zero": np.zeros((3, 4)),
    "a column of zeros": [[0.5, 0, 0, 0], [0, 0.75, 0, 0], [0, 0, 0, 0]],
    "two columns alike": [[0.5, 0.5, 0, 0], [0, 0, 0, 0], [0, 0, 2, 0]],
    "not a number": [[0.5, 0, 0, 0], [0, 0.75, 0, 0], [0, 0, NAN, 0]],
    "an offset without end": [[0.5, 0, 0, INF], [0, 0.75, 0, 0], [0, 0, 2, 0]],
    "an absurd length": [[3e38, 0, 0, 0], [0, 0.75, 0, 0], [0, 0, 2, 0]],
}


@pytest.mark.parametrize("sform", NOWHERE.values(), ids=NOWHERE.keys())
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mha"])
def test_the_qform_replaces_an_invalid_sform(tmp_path: Path, sform: Any, suffix: str) -> None:
    volume = read(save(tmp_path / "in.nii", sform=sform, qform=True, qoffset_x=3, qoffset_y=4, qoffset_z=5))
    expected = np.array([[0, 0, 0.5, 3], [0, 0.75, 0, 4], [2, 0, 0, 5]])
    np.testing.assert_allclose(present(volume.affine)[:3], expected)
    assert (volume.spacing, volume.unit) == ((2.0, 0.75, 0.5), "mm")
    assert volume.notes == (
        "its sform places no voxels (not finite, or without an inverse): the qform is used.",
    )
    write(volume, tmp_path / f"out{suffix}")
    again = read(tmp_path / f"out{suffix}")
    assert again.notes == ()
    np.testing.assert_allclose(present(again.affine), present(volume.affine), atol=1e-6)


@pytest.mark.parametrize("sform", NOWHERE.values(), ids=NOWHERE.keys())
@pytest.mark.parametrize("suffix", [".nii", ".nrrd", ".tif"])
def test_without_a_valid_form_the_voxel_size_is_kept(tmp_path: Path, sform: Any, suffix: str) -> None:
    volume = read(save(tmp_path / "in.nii", sform=sform))
    assert volume.affine is None
    assert (volume.spacing, volume.unit) == ((2.0, 0.75, 0.5), "mm")
    assert volume.notes == (
        "its sform places no voxels (not finite, or without an inverse): its voxel size alone is used.",
    )
    write(volume, tmp_path / f"out{suffix}")
    assert read(tmp_path / f"out{suffix}").spacing == pytest.approx((2.0, 0.75, 0.5))


@pytest.mark.parametrize("quaternion", [(NAN, 0, 0), (3, 0, 0), (INF, INF, 0)])
def test_an_invalid_qform(tmp_path: Path, quaternion: tuple[float, ...]) -> None:
    fields: dict[str, Any] = dict(zip(("quatern_b", "quatern_c", "quatern_d"), quaternion, strict=True))
    volume = read(save(tmp_path / "alone.nii", qform=True, **fields))
    assert volume.affine is None
    assert volume.spacing == (2.0, 0.75, 0.5)
    volume = read(save(tmp_path / "both.nii", qform=True, sform=GOOD, **fields))
    assert volume.notes == (
        "its qform places no voxels (not finite, or without an inverse): the sform is used.",
    )
    assert volume.affine is not None
    assert volume.affine[:3, 3].tolist() == [3, 4, 5]
    write(volume, tmp_path / "out.nii")
    assert nibabel.load(tmp_path / "out.nii").header["qform_code"] == 0


def test_forms_that_disagree_have_a_note(tmp_path: Path) -> None:
    same: dict[str, Any] = {"qoffset_x": 3, "qoffset_y": 4, "qoffset_z": 5}
    assert read(save(tmp_path / "same.nii", sform=GOOD, qform=True, **same)).notes == ()
    # By 6 mm of 0.5 each.
    volume = read(save(tmp_path / "moved.nii", sform=GOOD, qform=True, **{**same, "qoffset_x": 9}))
    assert volume.notes == (
        "its sform and its qform put the image at different places, up to 12 voxels apart: the sform is used.",
    )
    # Turned by half around z: the corner at (5, 6, 0) goes furthest.
    turned = read(save(tmp_path / "turned.nii", sform=GOOD, qform=True, **same, quatern_d=1))
    far = np.hypot(2 * 5 * 0.5, 2 * 6 * 0.75) / 0.5
    assert f"up to {far:.3g} voxels apart" in turned.notes[0]


@pytest.mark.parametrize(
    ("shape", "axes", "left"),
    [
        ((6, 7, 8, 1, 1, 1), "CTZYX", (1, 1, 8, 7, 6)),
        ((6, 7, 8, 1, 1, 1, 1), "CTZYX", (1, 1, 8, 7, 6)),
        ((6, 7, 2, 1, 4, 1), "CTZYX", (4, 1, 2, 7, 6)),
        ((6, 7, 2, 4, 1, 1, 1), "CTZYX", (1, 4, 2, 7, 6)),
    ],
)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_axes_of_one_beyond_the_fifth_are_dropped(
    tmp_path: Path, shape: tuple[int, ...], axes: str, left: tuple[int, ...], suffix: str
) -> None:
    save(tmp_path / "in.nii", shape=shape)
    path = tmp_path / f"map{suffix}"
    nibabel.save(nibabel.load(tmp_path / "in.nii"), path)
    volume = read(path)
    assert volume.axes == axes
    np.testing.assert_array_equal(volume.array, VALUES.reshape(shape, order="F").T.reshape(left))
    write(volume, tmp_path / f"out{suffix}")
    np.testing.assert_array_equal(read(tmp_path / f"out{suffix}").array, volume.array)


@pytest.mark.parametrize(("code", "unit"), [(32, "Hz"), (40, "ppm"), (48, "rad/s")])
def test_a_fourth_axis_in_another_unit_than_time_has_a_note(tmp_path: Path, code: int, unit: str) -> None:
    sizes = (1, *SIZES, 2.5, 1, 1, 1)
    volume = read(save(tmp_path / "in.nii", shape=(6, 7, 4, 2), xyzt_units=2 | code, pixdim=sizes))
    note = f"its fourth axis is in {unit}, not in time: its step of 2.5 {unit} is kept in NIfTI only."
    assert volume.notes == (note,)
    write(volume, tmp_path / "out.nii")
    header = nibabel.load(tmp_path / "out.nii").header
    assert (header["pixdim"][4], header["xyzt_units"]) == (2.5, 2 | code)
    assert read(tmp_path / "out.nii").notes == (note,)
    write(volume, tmp_path / "out.nrrd")
    assert read(tmp_path / "out.nrrd").notes == ()
    # One image has no step.
    alone = save(tmp_path / "alone.nii", shape=(6, 7, 8, 1), xyzt_units=2 | code, pixdim=sizes)
    assert read(alone).notes == ()


def test_six_axes_with_a_last_one_above_size_one_need_names(tmp_path: Path) -> None:
    save(tmp_path / "in.nii", shape=(6, 7, 2, 1, 1, 4))
    with pytest.raises(InputError, match=r"has 5 axes.*axes='TCZYX'"):
        read(tmp_path / "in.nii")
    values = VALUES.reshape((6, 7, 2, 1, 4), order="F").T
    np.testing.assert_array_equal(read(tmp_path / "in.nii", axes="TCZYX").array, values)


def extension(code: int, text: bytes) -> bytes:
    size = -(-(8 + len(text)) // 16) * 16
    return struct.pack("<2i", size, code) + text.ljust(size - 8, b"\0")


@pytest.mark.parametrize(
    ("behind", "texts", "note"),
    [
        (b"\1\0\0\0" + bytes(160), [], None),
        (b"\1\0\0\0" + bytes(16), [], None),
        (b"\1\0\0\0" + extension(6, b"hello") + bytes(64), [b"hello"], None),
        (b"\0\1\0\0" + extension(44, b"who") + extension(6, b"hello"), [b"who", b"hello"], None),
        (b"\1\0\0\0" + struct.pack("<2i", 1 << 30, 6) + bytes(24), [], "no extension"),
        (b"\1\0\0\0" + struct.pack("<2i", -16, 6) + bytes(24), [], "no extension"),
    ],
)
def test_extensions_and_padding(tmp_path: Path, behind: bytes, texts: list[bytes], note: str | None) -> None:
    volume = read(save(tmp_path / "in.nii", behind=behind))
    np.testing.assert_array_equal(volume.array, VALUES.T)
    assert len(volume.notes) == (note is not None)
    assert (note or "") in "".join(volume.notes)
    write(volume, tmp_path / "out.nii")
    kept = nibabel.load(tmp_path / "out.nii").header.extensions
    assert [part.content.rstrip(b"\0") for part in kept] == texts


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"vox_offset": NAN}, "vox_offset = nan"),
        ({"dim": (3, 6, -7, 8, 1, 1, 1, 1)}, "dim = "),
        ({"dim": (8, 6, 7, 8, 1, 1, 1, 1)}, "dim = "),
        ({"dim": (32767, 6, 7, 8, 1, 1, 1, 1)}, "dim = "),
        ({"dim": (-129, 6, 7, 8, 1, 1, 1, 1)}, "dim = "),
        ({"datatype": 7}, "valid NIfTI that softmorph cannot read: data code 7 not recognized"),
        ({"scl_slope": 2, "scl_inter": INF}, "cannot read"),
        ({"dim": (3, 32767, 32767, 32767, 1, 1, 1, 1)}, r"cut short or damaged \(it ends too early\)"),
    ],
)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_impossible_fields_are_refused_by_name(
    tmp_path: Path, fields: dict[str, Any], text: str, suffix: str
) -> None:
    path = save(tmp_path / "in.nii", **fields)
    if suffix == ".nii.gz":
        (tmp_path / "in.nii.gz").write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(FileError, match=text):
        read(tmp_path / f"in{suffix}")


def test_every_hostile_field_is_read_and_written_again_or_refused(tmp_path: Path) -> None:
    """Every field of a header in turn, filled with what it should not hold."""
    good = save(tmp_path / "good.nii", sform=GOOD, qform=True).read_bytes()
    path, read_again, messages = tmp_path / "in.nii", 0, list[str]()
    for kind, at, *_ in nibabel.Nifti1Header.template_dtype.fields.values():
        base = kind.base if kind.subdtype else kind
        values: list[Any] = (
            [NAN, INF, -INF, -1, 0, 3e38, 1e-40] if base.kind == "f" else [-1, 0, 7, 127, -128]
        )
        for value in (b"\xff\x1b[2J", b"%s%n") if base.kind == "S" else values:
            content = bytearray(good)
            stored = np.array([value]).astype(base).tobytes()
            content[at : at + kind.itemsize] = (stored * (kind.itemsize // len(stored) or 1))[: kind.itemsize]
            path.write_bytes(content)
            try:
                probe(path)
                volume = read(path)
            except SoftmorphError as error:
                messages.append(str(error))
                continue
            for suffix in (".nii", ".nrrd", ".mha"):
                write(volume, tmp_path / f"out{suffix}", force=True)
                again = read(tmp_path / f"out{suffix}")
                assert again.array.shape == volume.array.shape
                if volume.affine is not None and volume.unit == "mm":
                    np.testing.assert_allclose(
                        present(again.affine), present(volume.affine), rtol=1e-5, atol=1e-5
                    )
            read_again += 1
    assert read_again > 60
    assert not [text for text in messages if len(text.splitlines()) != 1 or "\x1b" in text]


def test_a_signalling_nan_is_counted_without_a_warning(tmp_path: Path) -> None:
    content = bytearray(save(tmp_path / "in.nii", scl_slope=0.5).read_bytes())
    content[-4:] = struct.pack("<I", 0x7F800001)
    (tmp_path / "in.nii").write_bytes(content)
    assert probe(tmp_path / "in.nii").nans == 1


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_no_memory_is_allocated_for_missing_extensions(tmp_path: Path, suffix: str) -> None:
    content = bytearray(save(tmp_path / "in.nii", vox_offset=2e9).read_bytes())
    content[348:360] = struct.pack("<4B2i", 1, 0, 0, 0, 1_900_000_000, 6)
    (tmp_path / f"in{suffix}").write_bytes(gzip.compress(content) if suffix == ".nii.gz" else content)
    tracemalloc.start()
    with pytest.raises(FileError, match=r"cut short or damaged \(it ends too early\)"):
        read(tmp_path / f"in{suffix}")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1 << 26
