"""Bad input: one clear sentence, exit status 1 (2 for what the parser alone can see), no file left behind."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from helpers_cli import BOXES, SimpleITK, complaint, everything, load, nibabel, random_map, refused, run, save

GOOD = random_map()


def with_value(value: float) -> np.ndarray:
    image = random_map()
    image[1, 2, 3] = value
    return image


def cut(name: str, share: float = 0.6) -> Path:
    path = save(name, GOOD)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    return path


def renamed(name: str, to: str) -> Path:
    return save(name, GOOD).rename(to)


def written(name: str, content: bytes) -> Path:
    path = Path(name)
    path.write_bytes(content)
    return path


def image_of(name: str, array: np.ndarray, *, vector: bool = False) -> Path:
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array, isVector=vector), name)
    return Path(name)


def tiff(name: str, array: np.ndarray, photometric: str = "minisblack") -> Path:
    tifffile.imwrite(name, array, photometric=photometric)
    return Path(name)


def pickled(name: str) -> Path:
    np.save(name, np.array([[1, None], [2, 3]], dtype=object), allow_pickle=True)
    return Path(name)


def zipped_twice(name: str) -> Path:
    return written(name, gzip.compress(save("x.nii.gz", GOOD).read_bytes()))


GREY = (255 * random_map((9, 11))).astype(np.uint8)
COLOUR = np.stack([GREY] * 3, axis=-1)
LABELS = np.repeat(np.array([0, 1, 2, 7, 7, 0], np.uint8), 56).reshape(6, 7, 8)

# What is given, how it is made, and what the sentence has to say.
BAD: dict[str, tuple[Callable[[], Path], tuple[str, ...]]] = {
    "above 1": (lambda: save("bad.npy", 300 * GOOD), ("values from", "--divide-by")),
    "one above 1": (lambda: save("bad.nii.gz", with_value(1.05)), ("1.05", "--clip")),
    "far above 1": (lambda: save("bad.mha", with_value(1e30)), ("1e+30", "[0, 1]")),
    "negative": (lambda: save("bad.nii.gz", GOOD - np.float32(0.05)), ("values from -0.0", "--clip")),
    "logits": (lambda: save("bad.tif", 20 * GOOD - 10), ("logits", "--from-logits sigmoid")),
    "NaN": (lambda: save("bad.nii.gz", with_value(np.nan)), ("1 value", "NaN", "(z=1, y=2, x=3)", "--mask")),
    "infinite": (lambda: save("bad.mha", with_value(-np.inf)), ("1 infinite", "(z=1, y=2, x=3)", "--mask")),
    "all NaN": (lambda: save("bad.npy", np.full((3, 3), np.nan, np.float32)), ("9 values", "(y=0, x=0)")),
    "empty NIfTI": (lambda: written("bad.nii.gz", b""), ("empty (0 bytes)",)),
    "empty TIFF": (lambda: written("bad.tif", b""), ("empty (0 bytes)",)),
    "empty PNG": (lambda: written("bad.png", b""), ("empty (0 bytes)",)),
    "empty npy": (lambda: written("bad.npy", b""), ("empty (0 bytes)",)),
    "cut .nii.gz": (lambda: cut("bad.nii.gz"), ("cut short or damaged",)),
    "cut .nii": (lambda: cut("bad.nii"), ("cut short or damaged",)),
    "cut .nii in the header": (lambda: written("bad.nii", save("x.nii", GOOD).read_bytes()[:200]), ("bad.nii",)),
    "cut .tif": (lambda: cut("bad.tif"), ("cut short",)),
    "cut .nrrd": (lambda: cut("bad.nrrd"), ("cut short",)),
    "cut .mha": (lambda: cut("bad.mha"), ("cut short",)),
    "cut .npy": (lambda: cut("bad.npy"), ("cut short",)),
    "cut .npy in the header": (lambda: cut("bad.npy", 0.05), ("cut short",)),
    "cut .png": (
        lambda: written("bad.png", image_of("x.png", GREY).read_bytes()[:-30]),
        ("cut short",),
    ),
    "gzipped nothing": (lambda: written("bad.nii.gz", gzip.compress(b"")), ("bad.nii.gz",)),
    "gzipped text": (lambda: written("bad.nii.gz", gzip.compress(b"hello " * 99)), ("NIfTI",)),
    "gzipped twice": (lambda: zipped_twice("bad.nii.gz"), ("gzipped twice; unpack it once: mv ",)),
    "zip cut": (lambda: written("bad.nii.gz", b"\x1f\x8b\x08"), ("cut short or damaged",)),
    "NIfTI called TIFF": (lambda: renamed("x.nii.gz", "bad.tif"), ("holds NIfTI", "mv bad.tif bad.nii.gz")),
    "TIFF called NIfTI": (lambda: renamed("x.tif", "bad.nii.gz"), ("holds TIFF", "mv bad.nii.gz bad.tif")),
    "npy called PNG": (lambda: renamed("x.npy", "bad.png"), ("holds NumPy", "mv bad.png bad.npy")),
    "NRRD called MetaImage": (lambda: renamed("x.nrrd", "bad.mha"), ("holds NRRD", "mv bad.mha bad.nrrd")),
    ".nii called .nii.gz": (lambda: renamed("x.nii", "bad.nii.gz"), ("not compressed", "mv bad.nii.gz bad.nii")),
    ".nii.gz called .nii": (lambda: renamed("x.nii.gz", "bad.nii"), ("compressed", "mv bad.nii bad.nii.gz")),
    "text": (lambda: written("bad.nii.gz", b"to whom it may concern\n"), ("NIfTI",)),
    "unknown": (lambda: written("bad.xyz", b"to whom it may concern\n"), ("cannot tell the file type", ".nii.gz")),
    "JPEG": (lambda: written("bad.jpg", b"\xff\xd8\xff\xe0" + bytes(99)), ("JPEG",)),
    "HDF5": (lambda: written("bad.h5", b"\x89HDF\r\n\x1a\n" + bytes(99)), ("HDF5",)),
    "DICOM": (lambda: written("bad.dcm", bytes(128) + b"DICM" + bytes(99)), ("DICOM",)),
    "zip": (lambda: written("bad.npy", b"PK\x03\x04" + bytes(99)), ("zip",)),
    "RGB TIFF": (lambda: tiff("bad.tif", COLOUR, "rgb"), ("colour", "--channel 0")),
    "RGB PNG": (lambda: image_of("bad.png", COLOUR, vector=True), ("colour", "--channel 0")),
    "RGBA PNG": (lambda: image_of("bad.png", COLOUR[..., [0, 1, 2, 0]], vector=True), ("4 samples", "--channel")),
    "RGB MetaImage": (lambda: image_of("bad.mha", COLOUR, vector=True), ("colour", "--channel")),
    "complex": (lambda: save("bad.npy", GOOD.astype(np.complex64)), ("complex", "float32")),
    "complex NIfTI": (lambda: save("bad.nii.gz", GOOD.astype(np.complex64)), ("complex", "float32")),
    "objects": (lambda: pickled("bad.npy"), ("Python objects", "never unpickled", "float32")),
    "text array": (lambda: save("bad.npy", np.array([["a", "b"], ["c", "d"]])), ("no numbers",)),
    "records": (lambda: save("bad.npy", np.zeros((3, 3), [("p", "f4")])), ("no numbers",)),
    "zero-size": (lambda: save("bad.npy", np.zeros((0, 7, 8), np.float32)), ("empty", "(0, 7, 8)")),
    "0-D": (lambda: save("bad.npy", np.array(0.5, np.float32)), ("0 axes", "2 to 5")),
    "1-D": (lambda: save("bad.npy", GOOD.ravel()), ("1 axis", "2 to 5")),
    "6-D": (lambda: save("bad.npy", random_map((2, 2, 2, 3, 4, 5))), ("6 axes", "2 to 5")),
    "6-D NIfTI": (
        lambda: save("bad.nii.gz", random_map((2, 2, 2, 3, 4, 5)), None),
        ("6 axes", "2 to 5"),
    ),
    "4-D without names": (lambda: save("bad.npy", random_map((2, 6, 7, 8))), ("4 axes", "--axes CZYX")),
    "uint8 NIfTI": (
        lambda: save("bad.nii.gz", (255 * GOOD).astype(np.uint8)),
        ("integers from", "--divide-by 255"),
    ),
    "int8": (lambda: save("bad.npy", (100 * GOOD).astype(np.int8)), ("integers from", "--divide-by 100")),
    "int64": (lambda: save("bad.npy", (2.0**40 * GOOD).astype(np.int64)), ("integers from", "--divide-by")),
    "negative integers": (lambda: save("bad.npy", (9 * GOOD).astype(np.int16) - 5), ("integers from -5",)),
    "12 bits in 16": (
        lambda: tiff("bad.tif", (4095 * GOOD).astype(np.uint16)),
        ("12 bits", "uint16", "--divide-by 4095"),
    ),
    "12 bits in a 16-bit PNG": (
        lambda: image_of("bad.png", (4095 * random_map((9, 11))).astype(np.uint16)),
        ("12 bits", "--divide-by 4095"),
    ),
    "labels": (lambda: save("bad.nii.gz", LABELS), ("labels (1, 2, 7)", "--label 1")),
    "labels in TIFF": (lambda: tiff("bad.tif", LABELS), ("labels (1, 2, 7)", "--label 1")),
    "missing": (lambda: Path("bad.nii.gz"), ("does not exist",)),
    "a folder": (lambda: Path("folder.nii.gz"), ("folder",)),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_a_sentence_and_nothing_else(what: str) -> None:
    make, says = BAD[what]
    Path("folder.nii.gz").mkdir()
    path = make()
    Path("x.nii").unlink(missing_ok=True)
    sentence = refused("erode", path, "out.npy", "--json-file", "s.json", "--preview", "p.png", says=says)
    assert str(path) in sentence
    assert sentence.endswith(".") or "mv " in sentence or "gunzip" in sentence or ".png" in sentence
    assert len(sentence) < 400
    assert not any(bad in sentence for bad in ("  ", "None", "( ", "errno", "Errno", "Success", "0x"))


@pytest.mark.parametrize("what", ["NaN", "labels", "cut .nii.gz", "RGB PNG", "missing", "uint8 NIfTI"])
@pytest.mark.parametrize("command", [["skeletonize"], ["apply", "majority"], ["tophat"]])
def test_other_commands_refuse_the_same(command: list[str], what: str) -> None:
    make, says = BAD[what]
    refused(*command, make(), "out.npy", says=says)


@pytest.mark.parametrize("what", [*BAD])
def test_stats_refuses_the_same(what: str) -> None:
    make, says = BAD[what]
    Path("folder.nii.gz").mkdir()
    path = make()
    refused("stats", path, "--json-file", "s.json", "--preview", "p.png", says=says)


@pytest.mark.parametrize("what", [*BAD])
def test_info_looks_at_it_or_refuses(what: str) -> None:
    make, _ = BAD[what]
    Path("folder.nii.gz").mkdir()
    path = make()
    from typer.testing import CliRunner

    from softmorph_cli.cli.app import app

    result = CliRunner().invoke(app, ["info", str(path)])
    assert isinstance(result.exception, SystemExit | type(None)), result.exception
    if result.exit_code:
        assert result.exit_code == 1
        assert str(path) in complaint(result.stderr)
    else:
        assert result.stderr == ""
        assert "kind: " in result.stdout


def test_bad_masks() -> None:
    save("in.nii.gz", GOOD)
    save("small.nii.gz", GOOD[:3])
    refused("erode", "in.nii.gz", "o.npy", "--mask", "missing.nii.gz", says="missing.nii.gz does not exist")
    refused(
        "erode", "in.nii.gz", "o.npy", "--mask", "small.nii.gz", says=("small.nii.gz", "in.nii.gz", "shape")
    )


def test_options_that_do_not_fit_the_file() -> None:
    save("in.nii.gz", GOOD)
    save("square.png.npy", random_map((9, 11)))
    for options, says in (
        (["--connectivity", "8"], ("connectivity 8", "6, 18, 26")),
        (["--radius", "0.1mm"], ("in.nii.gz", "voxel", "mm")),
        (["--radius", "1um"], ("in.nii.gz", "voxel", "mm")),
        (["--radius", "1e300mm"], ("in.nii.gz", "radius", "larger than the image")),
        (["--label", "3"], ("in.nii.gz", "label")),
        (["--channel", "0"], ("in.nii.gz", "no channel axis", "--channel-axis")),
        (["--channel-axis", "Q"], ("no axis Q", "ZYX")),
        (["--axes", "YX"], ("3 axes", "YX names 2", "--axes ZYX")),
        (["--region", "0:3"], ("in.nii.gz", "names 1 axes", "(6, 7, 8)")),
        (["--region", ":,:,0:99"], ("in.nii.gz", "axis X", "from 0 to 8")),
        (["--region", "3:3,:,:"], ("in.nii.gz", "axis Z")),
        (["--from-logits", "softmax"], ("in.nii.gz", "channel", "--channel-axis")),
        (["--divide-by", "0.5"], ("in.nii.gz", "after dividing by 0.5", "--clip")),
        (["--device", "cuda:99"], ("cuda:99", "--device cpu")),
    ):
        refused("erode", "in.nii.gz", "out.npy", *options, says=says)
    refused("erode", "square.png.npy", "out.npy", "--connectivity", "26", says=("connectivity 26", "4, 8"))
    refused("apply", "thinning-2d", "in.nii.gz", "out.npy", says=("thinning-2d", "2D", "3D"))
    refused("apply", "no-such-rule", "in.nii.gz", "out.npy", says="no-such-rule")
    refused("apply", "missing.toml", "in.nii.gz", "out.npy", says="missing.toml")
    refused("rules", "no-such-rule", says="no-such-rule")


def test_a_length_needs_a_voxel_size() -> None:
    save("in.npy", GOOD)
    refused(
        "erode", "in.npy", "out.npy", "--radius", "2.5mm", says=("in.npy", "how large its voxels are", "vox")
    )
    refused(
        "skeletonize", "in.npy", "out.npy", "--resample", "iso", says=("in.npy", "how large its voxels are")
    )
    run("erode", "in.npy", "out.npy", "--radius", "2vox")


def test_a_softmax_needs_a_channel_that_exists() -> None:
    save("in.npy", random_map((2, 6, 7, 8)))
    logits = ["--channel-axis", "0", "--from-logits", "softmax"]
    refused("erode", "in.npy", "out.npy", *logits, "--channel", "2", says=("in.npy", "no channel", "0 to 1"))


@pytest.mark.parametrize("value", ["", "ZY", "3", "-4"])
def test_a_channel_axis_that_is_none(value: str) -> None:
    save("in.nii.gz", GOOD)
    ended = run("erode", "in.nii.gz", "out.npy", f"--channel-axis={value}", code=(2 if value == "" else 1))
    complaint(ended.err)


# What the parser alone can see.
WRONG: dict[str, tuple[list[str], tuple[str, ...]]] = {
    "suffix": (["erode", "in.npy", "out.xyz"], ("out.xyz", ".nii.gz")),
    "two files": (["erode", "in.npy", "out.mhd"], ("out.mhd", ".mha")),
    "method": (["erode", "in.npy", "out.npy", "--method", "fuzzy"], ("fuzzy", "multilinear", "levels")),
    "cldice": (["erode", "in.npy", "out.npy", "--method", "cldice"], ("cldice", "skeletonize")),
    "levels": (["erode", "in.npy", "out.npy", "--levels", "7"], ("--levels", "7", "8, 16, 32")),
    "smooth levels": (["erode", "in.npy", "out.npy", "--smooth-levels", "0"], ("--smooth-levels", "0")),
    "cap": (["erode", "in.npy", "out.npy", "--max-iterations", "0"], ("--max-iterations", "0")),
    "tolerance": (["erode", "in.npy", "out.npy", "--tolerance", "nan"], ("--tolerance", "nan")),
    "sharpness": (["erode", "in.npy", "out.npy", "--sharpness", "0"], ("--sharpness", "0")),
    "iterations": (["erode", "in.npy", "out.npy", "--iterations", "0"], ("--iterations 0", "1")),
    "iterations of a skeleton": (["skeletonize", "in.npy", "out.npy", "-n", "-1"], ("--iterations -1", "1")),
    "iterations of a rule": (["apply", "majority", "in.npy", "out.npy", "-n", "0"], ("--iterations 0", "1")),
    "both": (["erode", "in.npy", "out.npy", "-n", "1", "-r", "1vox"], ("--iterations", "--radius")),
    "radius": (["erode", "in.npy", "out.npy", "--radius", "2.5"], ("--radius", "2.5mm")),
    "radius unit": (
        ["erode", "in.npy", "out.npy", "--radius", "2.5ly"],
        ("--radius", "2.5mm", "units are nm, um (µm, micron), mm, cm, m or vox (voxels, px)."),
    ),
    "radius in inches": (
        ["erode", "in.npy", "out.npy", "-r", "2in"],
        ("'2in' is no length", "mm, cm, m or vox (voxels, px)"),
    ),
    "size in inches": (
        ["despeckle", "in.npy", "out.npy", "--min-size", "2in3"],
        ("'2in3' is no size", "mm, cm, m or vox (voxels, px)"),
    ),
    "radius without end": (["erode", "in.npy", "out.npy", "--radius", "1e400mm"], ("--radius", "1e400mm")),
    "radius of nothing": (["erode", "in.npy", "out.npy", "--radius", "0mm"], ("--radius", "more than 0")),
    "connectivity": (["erode", "in.npy", "out.npy", "-c", "7"], ("connectivity 7", "4 or 8", "6, 18 or 26")),
    "threads": (["erode", "in.npy", "out.npy", "--threads", "0"], ("--threads 0", "1")),
    "device": (["erode", "in.npy", "out.npy", "--device", "gpu"], ("gpu", "cuda")),
    "type": (["erode", "in.npy", "out.npy", "--output-type", "int8"], ("--output-type int8", "uint8")),
    "type of format": (
        ["erode", "in.npy", "o.nii", "--output-type", "float16"],
        ("NIfTI", "float16", "uint16"),
    ),
    "hard type": (
        ["skeletonize", "in.npy", "o.nii", "--hard", "--output-type", "float32"],
        ("uint8", "float32"),
    ),
    "hard method": (
        ["skeletonize", "in.npy", "out.npy", "--hard", "--method", "levels"],
        ("--hard", "--method"),
    ),
    "threshold": (
        ["skeletonize", "in.npy", "out.npy", "--hard", "--threshold", "1"],
        ("--threshold 1", "below 1"),
    ),
    "threshold NaN": (
        ["skeletonize", "in.npy", "out.npy", "--hard", "--threshold", "nan"],
        ("--threshold nan",),
    ),
    "threshold of a soft skeleton": (
        ["skeletonize", "in.npy", "out.npy", "--threshold", "0.9"],
        ("--threshold", "--hard"),
    ),
    "preset": (["skeletonize", "in.npy", "out.npy", "--preset", "mine"], ("mine", "softmorph-2d")),
    "preset method": (
        ["skeletonize", "in.npy", "out.npy", "--preset", "cldice", "--method", "levels"],
        ("cldice", "levels"),
    ),
    "resample": (["skeletonize", "in.npy", "out.npy", "--resample", "2mm"], ("--resample 2mm", "iso")),
    "standard error": (["erode", "in.npy", "out.npy", "--standard-error", "e.npy"], ("--method sampled",)),
    "preview": (["erode", "in.npy", "out.npy", "--preview", "p.jpg"], ("p.jpg", ".png")),
    "region": (["erode", "in.npy", "out.npy", "--region", "middle"], ("--region", "z0:z1,y0:y1,x0:x1")),
    "axes": (["erode", "in.npy", "out.npy", "--axes", "ZZX"], ("--axes", "distinct", "CZYX")),
    "divide by": (["erode", "in.npy", "out.npy", "--divide-by", "0"], ("--divide-by", "positive")),
    "logits": (["erode", "in.npy", "out.npy", "--from-logits", "tanh"], ("--from-logits", "sigmoid", "tanh")),
    "exclusive": (
        ["erode", "in.npy", "out.npy", "--label", "1", "--divide-by", "2"],
        ("--label", "--divide-by"),
    ),
    "same": (["erode", "in.npy", "out.npy", "--json-file", "out.npy"], ("out.npy",)),
    "stats on input": (["erode", "in.npy", "out.npy", "--json-file", "in.npy", "--force"], ("in.npy",)),
    "info": (["info", "in.npy", "--warm"], ("--warm",)),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_usage_is_exit_status_2(what: str) -> None:
    arguments, says = WRONG[what]
    save("in.npy", GOOD)
    refused(*arguments, code=2, says=says)


@pytest.mark.parametrize(
    "arguments",
    [
        ["erode"],
        ["erode", "in.npy"],
        ["erode", "in.npy", "out.npy", "more"],
        ["erode", "in.npy", "out.npy", "--no-such-option"],
        ["erode", "in.npy", "out.npy", "--iterations", "few"],
        ["erode", "in.npy", "out.npy", "--method"],
        ["no-such-command"],
        ["--no-such-option"],
        ["stats"],
    ],
)
def test_what_the_parser_refuses_is_plain_where_there_is_no_terminal(arguments: list[str]) -> None:
    save("in.npy", GOOD)
    before = everything()
    ended = run(*arguments, code=2)
    assert ended.out == ""
    assert ended.err.strip()
    assert not BOXES.search(ended.err), ended.err
    assert everything() == before


def test_verbose_shows_the_traceback() -> None:
    ended = run("erode", "missing.npy", "out.npy", "--verbose", code=1)
    assert "Traceback" in ended.err
    assert ended.err.splitlines()[-1] == "error: missing.npy does not exist."


def test_advice_can_be_typed() -> None:
    folder = Path("a folder")
    folder.mkdir()
    mistaken = save("x.tif", GOOD).rename(folder / "my map.nii.gz")
    advice = refused("erode", mistaken, "out.npy").split("rename it: ")[1]
    assert os.system(advice) == 0
    run("erode", folder / "my map.tif", "out.npy")


@pytest.mark.posix
@pytest.mark.parametrize("source", ["pipe.npy", "<(cat in.npy)"])
def test_a_pipe_as_input_is_read_or_refused_but_never_waited_for(source: str) -> None:
    save("in.npy", random_map((40, 41, 42)))
    os.mkfifo("pipe.npy")
    writer = subprocess.Popen(["bash", "-c", "cat in.npy > pipe.npy"], stderr=subprocess.DEVNULL)
    line = f"exec {sys.executable} -m softmorph_cli erode {source} out.npy"
    try:
        ended = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, check=False)
    finally:
        writer.kill()
        writer.wait()
    if ended.returncode == 0:
        assert load("out.npy").shape == (40, 41, 42)
    else:
        assert ended.returncode == 1
        assert "pipe" in complaint(ended.stderr)
        assert not Path("out.npy").exists()


@pytest.mark.parametrize("spacing", [(-3.0, 2.0, 1.5), (0.0, 2.0, 1.5), (np.nan, 2.0, 1.5)])
def test_odd_voxel_sizes_in_a_nifti_header(spacing: tuple[float, ...]) -> None:
    image = nibabel.Nifti1Image(GOOD.T, None)
    image.header["pixdim"][1:4] = spacing[::-1]
    image.header["xyzt_units"] = 2
    image.header["vox_offset"] = 352
    Path("in.nii").write_bytes(bytes(image.header.binaryblock) + bytes(4) + GOOD.tobytes())
    run("erode", "in.nii", "out.nii", "--json-file", "s.json", "--preview", "p.png")
    kept = np.abs(nibabel.load("out.nii").header["pixdim"][1:4])
    wanted = np.abs(np.array(spacing[::-1], np.float32))
    # nibabel makes one of a size of zero.
    np.testing.assert_array_equal(kept, np.where(wanted == 0, 1, wanted))
