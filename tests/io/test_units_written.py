"""Units of length, steps of time and positions: what a file says is written in every format that can say it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_typing import SimpleITK, nibabel, present, tifffile, zarr

from softmorph_cli.io.reading import read
from softmorph_cli.io.writing import write
from softmorph_cli.volume import Volume

MAP = np.random.default_rng(0).random((3, 4, 5, 6), dtype=np.float32)
SIZES = (2.0, 0.75, 0.5)


def film(folder: Path, kind: str, step: float | None, unit: str = "s") -> Path:
    """A series of volumes in um whose images are `step` apart, written by other programs."""
    path = folder / f"in.{kind}"
    if kind == "nii":
        image = nibabel.Nifti1Image(MAP.T, None)
        image.header["pixdim"][1:5] = *SIZES[::-1], step or 0
        image.header.set_xyzt_units("micron", {"s": "sec", "ms": "msec", "": "unknown"}[unit])
        image.to_filename(path)
    elif kind == "ome.tif":
        stated: dict[str, Any] = {"TimeIncrement": step, "TimeIncrementUnit": unit} if step else {}
        stated |= {f"PhysicalSize{letter}": size for letter, size in zip("ZYX", SIZES, strict=True)}
        tifffile.imwrite(path, MAP, photometric="minisblack", metadata={"axes": "TZYX", **stated})
    elif kind == "tif":
        stated = {"finterval": step, "tunit": unit} if step else {}
        stated |= {"axes": "TZYX", "unit": "micron", "spacing": SIZES[0]}
        tifffile.imwrite(path, MAP, imagej=True, resolution=(1 / SIZES[2], 1 / SIZES[1]), metadata=stated)
    elif kind == "zarr":
        group = zarr.open_group(path, mode="w", zarr_format=2)
        group.create_array("0", data=MAP)
        names = {"s": "second", "ms": "millisecond"}
        time = {"name": "t", "type": "time"} | ({"unit": names[unit]} if unit else {})
        space = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
        scale = [{"type": "scale", "scale": [step or 1.0, *SIZES]}]
        group.attrs["multiscales"] = [
            {
                "version": "0.4",
                "axes": [time, *space],
                "datasets": [{"path": "0", "coordinateTransformations": scale}],
            }
        ]
    elif kind == "nrrd":
        head = (
            "NRRD0005\ntype: float\ndimension: 4\nsizes: 6 5 4 3\nkinds: space space space time\nendian: little\n"
            f'encoding: raw\nspacings: 0.5 0.75 2 {step or "nan"}\nunits: "um" "um" "um" "{unit}"\n\n'
        )
        path.write_bytes(head.encode() + MAP.tobytes())
    return path


def step_in(path: Path) -> tuple[float, str]:
    """Return the time step and its unit by other programs, 0 if there is none."""
    name = path.name
    if name.endswith(".nii"):
        header = nibabel.load(path).header
        return float(header["pixdim"][4]), header.get_xyzt_units()[1]
    if name.endswith(".mha"):
        return SimpleITK.ReadImage(path).GetSpacing()[3], ""
    if name.endswith(".nrrd"):
        head = path.read_bytes().partition(b"\n\n")[0].decode()
        fields = dict(line.split(": ", 1) for line in head.splitlines()[1:] if ": " in line)
        if "spacings" in fields:
            return float(fields["spacings"].split()[-1]), fields["units"].split()[-1].strip('"')
        directions = fields["space directions"].split()[-1].strip("()").split(",")
        return float(directions[-1]), fields.get("space units", '""').split()[-1].strip('"')
    if name.endswith(".zarr"):
        image = zarr.open_group(path, mode="r").attrs["multiscales"][0]
        scale = image["datasets"][0]["coordinateTransformations"][0]["scale"][0]
        return scale, image["axes"][0].get("unit", "")
    with tifffile.TiffFile(path) as file:
        if file.is_ome:
            pixels = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
            return float(pixels.get("TimeIncrement", 0)), pixels.get("TimeIncrementUnit", "")
        assert file.imagej_metadata is not None
        return file.imagej_metadata.get("finterval", 0.0), file.imagej_metadata.get("tunit", "")


KINDS = ["nii", "ome.tif", "tif", "zarr", "nrrd"]
SECONDS = {"nii": "sec", "ome.tif": "s", "tif": "sec", "zarr": "second", "nrrd": "s", "mha": ""}


@pytest.mark.parametrize("source", KINDS)
@pytest.mark.parametrize("target", [*KINDS, "mha"])
def test_the_time_step_is_written_if_a_format_holds_it(tmp_path: Path, source: str, target: str) -> None:
    for number, (step, unit, seconds) in enumerate(((0.25, "s", 0.25), (40.0, "ms", 0.04))):
        folder = tmp_path / str(number)
        folder.mkdir()
        volume = read(film(folder, source, step, unit))
        assert (volume.axes, volume.unit) == ("TZYX", "um")
        # tifffile before 2026 rounds the ratio of a resolution.
        assert volume.spacing == pytest.approx(SIZES, rel=1e-9)
        out = folder / f"out.{target}"
        lost = write(volume, out)
        found, name = step_in(out)
        if (source == target and target != "nrrd") or (source, target) == ("ome.tif", "tif"):
            # In the unit of the source: an OME-TIFF stays one.
            assert found == pytest.approx(step)
            assert name.startswith(unit[0])
        else:
            assert found == pytest.approx(seconds)
            assert name == SECONDS[target]
        assert [text for text in lost if "time" in text] == (
            [f"MetaImage has no unit of time: the time step is written as {seconds}, which is in s."]
            if target == "mha"
            else []
        )
        # And from there to the next format.
        write(read(out), folder / "again.nii")
        found, name = step_in(folder / "again.nii")
        assert found * {"msec": 1e-3}.get(name, 1) == pytest.approx(seconds)
        assert name == (
            "unknown"
            if target == "mha"
            else "msec"
            if (source, target, unit) == ("nii", "nii", "ms")
            else "sec"
        )


@pytest.mark.parametrize("source", KINDS)
@pytest.mark.parametrize("target", [*KINDS, "mha"])
def test_an_unknown_time_step_stays_unknown(tmp_path: Path, source: str, target: str) -> None:
    lost = write(read(film(tmp_path, source, None, "")), tmp_path / f"out.{target}")
    assert [text for text in lost if "time" in text] == []
    write(read(tmp_path / f"out.{target}"), tmp_path / "again.nii")
    assert step_in(tmp_path / "again.nii")[0] in (0, 1)
    if source != target:
        found, _ = step_in(tmp_path / f"out.{target}")
        assert found in (0, 1) or np.isnan(found)


@pytest.mark.parametrize("target", [*KINDS, "mha", "npy"])
def test_a_time_step_in_an_unknown_unit(tmp_path: Path, target: str) -> None:
    lost = write(read(film(tmp_path, "nii", 7.0, "")), tmp_path / f"out.{target}")
    stated = [text for text in lost if "time" in text]
    if target in ("tif", "ome.tif"):
        assert stated == ["the unit of its time step is unknown, and TIFF counts in s: it is not kept."]
        assert step_in(tmp_path / f"out.{target}")[0] == 0
    elif target == "npy":
        assert stated == ["NumPy cannot hold the time step."]
    else:
        assert stated == []
        assert step_in(tmp_path / f"out.{target}") == (7.0, "unknown" if target == "nii" else "")


def test_the_time_step_is_dropped_with_its_axis(tmp_path: Path) -> None:
    path = film(tmp_path, "ome.tif", 0.25)
    for options in ({"time": 1}, {"axes": "CZYX"}):
        volume = read(path, **options)
        assert "T" not in volume.axes
        assert not [text for text in write(volume, tmp_path / "out.npy", force=True) if "time" in text]
        write(volume, tmp_path / "out.nii", force=True)
        assert step_in(tmp_path / "out.nii") == (1.0, "unknown")


@pytest.mark.parametrize("source", ["tif", "ome.tif", "zarr", "nrrd"])
@pytest.mark.parametrize("unit", ["um", "nm", "mm"])
@pytest.mark.parametrize("axes", ["ZYX", "YX"])
def test_a_nifti_is_in_the_unit_of_the_source_and_claims_no_position(
    tmp_path: Path, source: str, unit: str, axes: str
) -> None:
    sizes = SIZES[-len(axes) :]
    write(Volume(MAP[0] if axes == "ZYX" else MAP[0, 0], axes, sizes, unit), tmp_path / f"in.{source}")
    volume = read(tmp_path / f"in.{source}")
    assert volume.unit == unit
    assert volume.spacing == pytest.approx(sizes)
    assert write(volume, tmp_path / "out.nii.gz") == []
    # NIfTI has no nm.
    wanted, factor, millimetres = {"um": ("um", 1, 1e-3), "nm": ("um", 1e-3, 1e-6), "mm": ("mm", 1, 1)}[unit]
    image = nibabel.load(tmp_path / "out.nii.gz")
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (0, 0)
    assert image.header.get_xyzt_units()[0] == {"um": "micron", "mm": "mm"}[wanted]
    np.testing.assert_allclose(image.header.get_zooms()[: len(axes)], np.multiply(sizes[::-1], factor))
    # ITK reads lengths in mm.
    theirs = SimpleITK.ReadImage(tmp_path / "out.nii.gz")
    np.testing.assert_allclose(theirs.GetSpacing()[: len(axes)], np.multiply(sizes[::-1], millimetres))
    again = read(tmp_path / "out.nii.gz")
    assert (again.unit, again.affine, again.notes) == (wanted, None, ())
    assert again.spacing == pytest.approx(np.multiply(sizes, factor))


@pytest.mark.parametrize("target", ["nii.gz", "nrrd"])
def test_a_position_in_micrometres_comes_back_in_micrometres(tmp_path: Path, target: str) -> None:
    affine = np.array([[0, -0.3, 0.4, 7], [0, 0.4, 0.3, -8], [2, 0, 0, 9], [0, 0, 0, 1000]]) / 1000
    volume = Volume(MAP[0], "ZYX", (2.0, 0.5, 0.5), "um", affine)
    write(volume, tmp_path / f"out.{target}")
    again = read(tmp_path / f"out.{target}")
    assert again.unit == "um"
    assert again.spacing == pytest.approx((2.0, 0.5, 0.5))
    np.testing.assert_allclose(present(again.affine), affine, rtol=1e-6, atol=1e-12)
    if target == "nii.gz":
        image = nibabel.load(tmp_path / "out.nii.gz")
        assert int(image.header["sform_code"]) == 2
        np.testing.assert_allclose(present(image.affine)[:3], 1000 * affine[:3, [2, 1, 0, 3]], rtol=1e-6)
        theirs = SimpleITK.ReadImage(tmp_path / "out.nii.gz")
        at = theirs.TransformIndexToPhysicalPoint((5, 3, 2))
        np.testing.assert_allclose([-at[0], -at[1], at[2]], (affine @ [2, 3, 5, 1])[:3], atol=1e-7)


def test_a_position_in_a_store_is_written_to_nifti(tmp_path: Path) -> None:
    affine = np.diag([0.002, 0.00075, 0.0005, 1.0])[[2, 1, 0, 3]]
    affine[:3, 3] = 0.001, 0.002, 0.003
    write(Volume(MAP[0], "ZYX", SIZES, "um", affine), tmp_path / "in.zarr")
    write(read(tmp_path / "in.zarr"), tmp_path / "out.nii")
    image = nibabel.load(tmp_path / "out.nii")
    assert int(image.header["sform_code"]) == 2
    np.testing.assert_allclose(image.affine[:3, 3], (1, 2, 3))


def test_both_codes_zero_are_a_voxel_size_and_no_position(tmp_path: Path) -> None:
    """Method 1 of the standard; what quaternion, offsets and rows hold is not looked at."""
    image = nibabel.Nifti1Image(MAP[0].T, None)
    image.header["pixdim"][1:4] = SIZES[::-1]
    image.header.set_xyzt_units("mm")
    image.header["quatern_b"], image.header["qoffset_x"] = 1, 50
    image.header["srow_x"] = 9, 9, 9, 9
    image.to_filename(tmp_path / "in.nii")
    volume = read(tmp_path / "in.nii")
    assert (volume.spacing, volume.unit, volume.affine, volume.notes) == (SIZES, "mm", None, ())
    header = nibabel.load(tmp_path / "in.nii").header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (0, 0)
    # nibabel makes an affine of the voxel size alone.
    best = header.get_best_affine()
    np.testing.assert_allclose(np.abs(best[:3, :3]), np.diag(SIZES[::-1]))
    assert SimpleITK.ReadImage(tmp_path / "in.nii").GetSpacing() == SIZES[::-1]
    write(volume, tmp_path / "out.nii")
    after = nibabel.load(tmp_path / "out.nii").header
    assert (int(after["sform_code"]), int(after["qform_code"])) == (0, 0)
    np.testing.assert_allclose(after.get_best_affine(), best)
