"""What made a file comes back from it, in every format that can hold it, and nothing foreign ever harms."""

from __future__ import annotations

import json
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from helpers_typing import SimpleITK, nibabel
from typer.testing import CliRunner

from softmorph_cli import __version__
from softmorph_cli.cli.app import app
from softmorph_cli.io.probing import probe
from softmorph_cli.io.provenance import parse
from softmorph_cli.io.reading import read
from softmorph_cli.io.writing import write
from softmorph_cli.volume import Source, Volume

SUFFIXES = [".nii", ".nii.gz", ".tif", ".ome.tif", ".png", ".nrrd", ".mha"]
# Quotes, backslashes, equal signs, line ends, other alphabets: each format has its own way to escape them.
PROVENANCE = {
    "command": "softmorph skeletonize",
    "version": "0.1.0",
    "parameters": {"method": "levels", "levels": 64, "path": 'a\\b "c" = é\n脈\t<&>;', "x": [1, 2.5, None]},
}
FOREIGN = [
    "",
    "{",
    "null",
    "[1]",
    '"softmorph"',
    '{"softmorph": 3}',
    '{"softmorph": {}}',
    '{"softmorph": [1]}',
    '{"softmorph": {"a": NaN}}',
    '{"softmorph": {"a": 1e999}}',
    '{"softmorph": {"a": "\\ud800"}}',
    '{"softmorph": ' + '{"a": ' * 100_000 + "1" + "}" * 100_001,
    '{"softmorph": {"a": ' + "1" * 5000 + "}}",
    'I like "softmorph"',
    '{"softmorph": {"a": 1}',
]


def of(path: Path) -> dict[str, Any]:
    source = read(path).source
    assert source is not None
    assert dict(probe(path).provenance) == dict(source.provenance)
    return dict(source.provenance)


def fitting(volume: Volume, suffix: str) -> Volume:
    return replace(volume, array=volume.array[0], axes="YX", spacing=None) if suffix == ".png" else volume


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_provenance_is_read_again(volume: Volume, tmp_path: Path, suffix: str) -> None:
    write(fitting(volume, suffix), tmp_path / f"map{suffix}", provenance=PROVENANCE)
    assert of(tmp_path / f"map{suffix}") == PROVENANCE


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".npy"])
def test_a_file_without_provenance(volume: Volume, tmp_path: Path, suffix: str) -> None:
    write(fitting(volume, suffix), tmp_path / f"map{suffix}")
    assert of(tmp_path / f"map{suffix}") == {}


def test_npy_holds_no_provenance(volume: Volume, tmp_path: Path) -> None:
    write(volume, tmp_path / "map.npy", provenance=PROVENANCE)
    assert of(tmp_path / "map.npy") == {}


@pytest.mark.parametrize("suffix", [".nii.gz", ".tif", ".ome.tif", ".png", ".nrrd", ".mha"])
@pytest.mark.parametrize("output_type", ["uint8", "uint16"])
def test_beside_a_scale(volume: Volume, tmp_path: Path, suffix: str, output_type: str) -> None:
    path = tmp_path / f"map{suffix}"
    flat = fitting(volume, suffix)
    write(flat, path, output_type=output_type, provenance=PROVENANCE)
    assert of(path) == PROVENANCE
    np.testing.assert_allclose(read(path).array, flat.array, atol=0.002)


def test_plain_tiff(volume: Volume, tmp_path: Path) -> None:
    write(volume, tmp_path / "map.tif", output_type="float16", provenance=PROVENANCE)
    with tifffile.TiffFile(tmp_path / "map.tif") as file:
        assert not file.is_imagej
        assert not file.is_ome
    assert of(tmp_path / "map.tif") == PROVENANCE


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_last_of_several_writes_counts(volume: Volume, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"map{suffix}"
    current = fitting(volume, suffix)
    for number in range(3):
        write(current, path, force=True, provenance={**PROVENANCE, "parameters": {"number": number}})
        current = read(path)
        assert of(path)["parameters"] == {"number": number}


@pytest.mark.parametrize("suffix", [".nii.gz", ".tif", ".nrrd", ".mha"])
def test_a_write_without_provenance_keeps_that_of_the_source(
    volume: Volume, tmp_path: Path, suffix: str
) -> None:
    write(volume, tmp_path / f"one{suffix}", provenance=PROVENANCE)
    write(read(tmp_path / f"one{suffix}"), tmp_path / f"two{suffix}")
    assert of(tmp_path / f"two{suffix}") == PROVENANCE


def test_other_programs_keep_provenance(volume: Volume, tmp_path: Path) -> None:
    """What the docstring of io/provenance.py says of nibabel and of ITK."""
    write(volume, tmp_path / "map.nii.gz", provenance=PROVENANCE)
    image = nibabel.load(tmp_path / "map.nii.gz")
    changed = nibabel.Nifti1Image(image.get_fdata(dtype=np.float32) / 2, image.affine, image.header)
    nibabel.save(changed, tmp_path / "half.nii")
    assert of(tmp_path / "half.nii") == PROVENANCE
    write(volume, tmp_path / "map.nrrd", provenance=PROVENANCE)
    SimpleITK.WriteImage(SimpleITK.ReadImage(str(tmp_path / "map.nrrd")), str(tmp_path / "same.mha"))
    assert of(tmp_path / "same.mha") == PROVENANCE


@pytest.mark.parametrize("suffix", [".nii.gz", ".tif", ".ome.tif", ".nrrd", ".mha", ".png"])
def test_a_very_long_provenance(volume: Volume, tmp_path: Path, suffix: str) -> None:
    long = {**PROVENANCE, "parameters": {"steps": "erode " * 20_000}}
    lost = write(fitting(volume, suffix), tmp_path / f"map{suffix}", provenance=long)
    if suffix == ".mha":
        assert any(text.startswith("MetaImage cannot hold the 120,") for text in lost)
    assert of(tmp_path / f"map{suffix}") == ({} if suffix == ".mha" else long)


def test_provenance_is_found_beside_other_texts(volume: Volume, tmp_path: Path) -> None:
    information = "Title: stack\n" + json.dumps({"softmorph": PROVENANCE}) + '\nScale: 2\n{"other": 1}'
    tifffile.imwrite(tmp_path / "imagej.tif", volume.array, imagej=True, metadata={"Info": information})
    assert of(tmp_path / "imagej.tif") == PROVENANCE
    image = nibabel.Nifti1Image(volume.array.T, np.eye(4))
    for code, content in (
        ("comment", b"an older comment"),
        ("comment", json.dumps({"softmorph": PROVENANCE}).encode()),
        ("comment", b"\xff\xfe not UTF-8 \x00"),
        ("afni", b"<AFNI_attributes/>"),
        (44, b"\x00\x01\x02"),
    ):
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension(code, content))
    nibabel.save(image, tmp_path / "map.nii")
    assert of(tmp_path / "map.nii") == PROVENANCE


@pytest.mark.parametrize("text", FOREIGN)
def test_damaged_and_foreign_texts_are_no_provenance(text: str) -> None:
    assert parse(text) == {}
    assert parse(text.encode()) == {}
    assert parse(None, text, None) == {}
    inner = text.removeprefix('{"softmorph": ').removesuffix("}") if text.startswith('{"softmorph"') else text
    assert parse(inner, named=True) == {}


@pytest.mark.parametrize("text", [text for text in FOREIGN if 0 < len(text) < 1000])
def test_damaged_texts_do_not_stop_a_file_from_being_read(volume: Volume, tmp_path: Path, text: str) -> None:
    image = nibabel.Nifti1Image(volume.array.T, np.eye(4))
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", text.encode()))
    nibabel.save(image, tmp_path / "map.nii")
    tifffile.imwrite(tmp_path / "imagej.tif", volume.array, imagej=True, metadata={"Info": text})
    tifffile.imwrite(
        tmp_path / "plain.tif", volume.array, description=text, metadata=None, photometric="minisblack"
    )
    tifffile.imwrite(tmp_path / "map.ome.tif", volume.array, metadata={"axes": "ZYX", "Description": text})
    itk = SimpleITK.GetImageFromArray(volume.array)
    itk.SetMetaData("softmorph", text)
    for name in ("map.nrrd", "map.mha"):
        SimpleITK.WriteImage(itk, str(tmp_path / name))
    write(fitting(volume, ".png"), tmp_path / "map.png", provenance=PROVENANCE)
    content = (tmp_path / "map.png").read_bytes()
    body = b"tEXtsoftmorph\0" + text.encode("ascii", "replace")
    chunk = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    # Behind the good one, so that the last of two is the one that is read.
    (tmp_path / "map.png").write_bytes(content[:-12] + chunk + content[-12:])
    for path in sorted(tmp_path.iterdir()):
        found = of(path)
        # The value of this key is the provenance alone: an object that is not one of softmorph's is kept.
        assert found == {} or (path.suffix in (".nrrd", ".mha", ".png") and found == json.loads(text)), path


def test_a_source_with_provenance_can_be_pickled_and_compared(volume: Volume, tmp_path: Path) -> None:
    import pickle

    write(volume, tmp_path / "map.nii", provenance=PROVENANCE)
    source = read(tmp_path / "map.nii").source
    assert source is not None
    assert pickle.loads(pickle.dumps(source)).provenance == PROVENANCE
    assert source == replace(source, provenance={})
    assert "levels" not in repr(source)
    assert Source(tmp_path, "npy", (1,), "float32").provenance == {}


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".npy"])
def test_through_the_command_line(volume: Volume, tmp_path: Path, suffix: str) -> None:
    source, target = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    write(fitting(volume, suffix), source)
    done = CliRunner().invoke(app, ["skeletonize", str(source), str(target), "--levels", "8", "--quiet"])
    assert done.exit_code == 0, done.stderr
    found = of(target)
    stated = CliRunner().invoke(app, ["info", str(target)])
    as_json = json.loads(CliRunner().invoke(app, ["info", str(target), "--json"]).stdout)
    if suffix == ".npy":
        assert found == {}
        assert "made by" not in stated.stdout
        assert as_json["provenance"] is None
        return
    assert found["command"] == "softmorph skeletonize"
    assert found["version"] == __version__
    assert found["parameters"]["method"] == "nested"
    assert found["parameters"]["levels"] == 8
    assert f"made by softmorph skeletonize {__version__} (method nested, levels 8" in stated.stdout
    assert as_json["provenance"] == found


def test_info_prints_no_control_sequences(volume: Volume, tmp_path: Path) -> None:
    bad = {"command": "softmorph \x1b]0;mine\x07", "parameters": {"a": "\u202e", "b": True, "c": None}}
    write(volume, tmp_path / "map.nii", provenance=bad)
    stated = CliRunner().invoke(app, ["info", str(tmp_path / "map.nii")])
    assert "made by softmorph ?]0;mine? (a ?, b)" in stated.stdout
    write(volume, tmp_path / "more.nii", provenance={"parameters": "none", "command": 3})
    assert "made by 3\n" in CliRunner().invoke(app, ["info", str(tmp_path / "more.nii")]).stdout
