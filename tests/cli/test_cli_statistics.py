"""The JSON of schema 2: exactly the fields of the contract, every number computed again from the files."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_cli import SPACING, SimpleITK, load, nibabel, process, random_map, run, save
from scipy import ndimage

import softmorph_cli

NUMBER = (int, float)
STATISTICS: dict[str, Any] = {
    "sum": NUMBER,
    "expected_volume": NUMBER,
    "volume_std": NUMBER,
    "volume_std_independent": NUMBER,
    "volume_std_comonotone": NUMBER,
    "volume_quantiles": {"q05": NUMBER, "q50": NUMBER, "q95": NUMBER},
    "volume_unit": str,
    "mean": NUMBER,
    "min": NUMBER,
    "max": NUMBER,
    "histogram": {"edges": [NUMBER], "counts": [int]},
    "entropy_bits": NUMBER,
    "voxels_above_half": int,
    "components_above_half": int,
    "connectivity": int,
}
INPUT = {
    "path": str,
    "format": str,
    "shape": [int],
    "axes": str,
    "spacing": [NUMBER],
    "unit": str,
    "dtype": str,
}
# What every document has; it may say more, never less.
SCHEMA: dict[str, Any] = {
    "schema": int,
    "softmorph_version": str,
    "command": str,
    "input": INPUT,
    "output": {"path": str},
    "steps": [
        {
            "operation": str,
            "method": str,
            "parameters": {},
            "iterations": int,
            "stop_reason": str,
            "seconds": {"filter": NUMBER, "total": NUMBER},
        }
    ],
    "before": STATISTICS,
    "after": STATISTICS,
    "change": {"sum_abs": NUMBER, "max_abs": NUMBER},
    "device": str,
    "seconds": {"read": NUMBER, "filter": NUMBER, "write": NUMBER, "total": NUMBER},
    "notes": [str],
    "warnings": [str],
}


def check(found: Any, wanted: Any, where: str = "") -> None:
    if isinstance(wanted, dict):
        assert isinstance(found, dict), where
        assert set(wanted) <= set(found), where
        for name, kind in wanted.items():
            check(found[name], kind, f"{where}.{name}")
    elif isinstance(wanted, list):
        assert isinstance(found, list), where
        for one in found:
            check(one, wanted[0], f"{where}[]")
    else:
        assert isinstance(found, wanted), where
        assert not isinstance(found, bool), where
        assert not isinstance(found, float) or math.isfinite(found), where


def agree(found: dict[str, Any], array: np.ndarray, voxel: float, unit: str) -> None:
    p = array.astype(np.float64)
    assert found["sum"] == pytest.approx(p.sum())
    assert found["expected_volume"] == pytest.approx(p.sum() * voxel)
    assert found["volume_std"] == pytest.approx(math.sqrt((p * (1 - p)).sum()) * voxel)
    assert found["volume_std_independent"] == found["volume_std"]
    falling = np.sort(p, axis=None)[::-1]
    variance = ((2 * np.arange(p.size) + 1) * falling).sum() - p.sum() ** 2
    # Never too small, and at most 1 part in 1500 too large.
    assert -1e-9 <= found["volume_std_comonotone"] / voxel - math.sqrt(variance) <= math.sqrt(variance) / 1500
    quantiles = {"q05": 0.95, "q50": 0.5, "q95": 0.05}
    assert found["volume_quantiles"] == pytest.approx(
        {q: (p > t).sum() * voxel for q, t in quantiles.items()}
    )
    assert found["volume_unit"] == unit
    assert found["mean"] == pytest.approx(p.mean())
    assert (found["min"], found["max"]) == (p.min(), p.max())
    counts, edges = np.histogram(p, bins=len(found["histogram"]["counts"]), range=(0, 1))
    assert found["histogram"] == {"edges": edges.tolist(), "counts": counts.tolist()}
    open_ = p[(p > 0) & (p < 1)]
    entropy = -(open_ * np.log2(open_) + (1 - open_) * np.log2(1 - open_)).sum()
    assert found["entropy_bits"] == pytest.approx(entropy)
    assert found["voxels_above_half"] == (p > 0.5).sum()
    full = np.ones((3,) * p.ndim)
    assert found["components_above_half"] == ndimage.label(p > 0.5, full)[1]
    assert found["connectivity"] == {2: 8, 3: 26}[p.ndim]


@pytest.mark.parametrize("command", [["skeletonize"], ["erode"], ["apply", "isolated"]])
@pytest.mark.parametrize("suffix", [".nii.gz", ".tif", ".mha"])
def test_every_field_from_the_files(command: list[str], suffix: str) -> None:
    save(f"in{suffix}", random_map())
    ended = run(*command, f"in{suffix}", f"out{suffix}", "--json-file", "out.json", "--json", "--quiet")
    document = ended.json
    assert json.loads(Path("out.json").read_text(encoding="utf-8")) == document
    check(document, SCHEMA)
    assert document["schema"] == 2
    assert document["softmorph_version"] == softmorph_cli.__version__
    before, after = load(f"in{suffix}"), load(f"out{suffix}")
    agree(document["before"], before, math.prod(SPACING), "mm^3")
    agree(document["after"], after, math.prod(SPACING), "mm^3")
    difference = np.abs(after.astype(np.float64) - before)
    assert document["change"]["sum_abs"] == pytest.approx(difference.sum())
    assert document["change"]["max_abs"] == pytest.approx(difference.max())
    assert document["input"]["path"] == f"in{suffix}"
    assert document["input"]["dtype"] == "float32"
    assert document["input"]["unit"] == "mm"
    assert document["input"]["spacing"] == pytest.approx(SPACING)
    assert document["output"]["path"] == f"out{suffix}"
    assert document["steps"][0]["operation"] == command[0]
    assert all(value >= 0 for value in document["seconds"].values())


@pytest.mark.parametrize("suffix", [".nii.gz", ".tif", ".mha", ".npy"])
def test_shape_axes_and_spacing_go_together(suffix: str) -> None:
    """A reader who zips axes with shape has to find the right sizes, whatever the file's own order."""
    save(f"in{suffix}", random_map())
    for described in (
        run("erode", f"in{suffix}", "out.npy", "--json", "--force").json["input"],
        run("stats", f"in{suffix}", "--json").json["input"],
    ):
        assert dict(zip(described["axes"], described["shape"], strict=True)) == {"Z": 6, "Y": 7, "X": 8}


@pytest.mark.parametrize("suffix", [".nii.gz", ".tif", ".mha", ".npy"])
def test_info_too(suffix: str) -> None:
    save(f"in{suffix}", random_map())
    described = run("info", f"in{suffix}", "--json").json["input"]
    assert dict(zip(described["axes"], described["shape"], strict=True)) == {"Z": 6, "Y": 7, "X": 8}


@pytest.mark.parametrize(
    ("target", "options", "stored"),
    [
        ("out.nii.gz", [], "float32"),
        ("out.nii.gz", ["--output-type", "uint8"], "uint8"),
        ("out.tif", ["--output-type", "float16"], "float16"),
        ("out.nii.gz", ["--hard"], "uint8"),
        ("out.npy", ["--hard"], "uint8"),
        ("out.npy", [], "float32"),
    ],
)
def test_output_names_what_ran_and_what_was_written(target: str, options: list[str], stored: str) -> None:
    save("in.nii.gz", random_map())
    document = run("skeletonize", "in.nii.gz", target, "--json", *options).json
    assert document["device"] == "cpu"
    assert document["output"]["dtype"] == stored
    source = softmorph_cli.read(target).source
    assert source is not None
    assert source.dtype == stored
    assert document["steps"][0]["method"] == ("binary" if "--hard" in options else "nested")


@pytest.mark.parametrize(
    ("options", "recorded"),
    [
        (["--method", "levels", "--levels", "8"], {"levels": 8}),
        (["--method", "sampled", "--seed", "7"], {"levels": 64, "seed": 7}),
        (["--method", "smooth-levels", "--sharpness", "9"], {"smooth_levels": 16, "sharpness": 9}),
        (["--iterations", "2"], {"iterations": 2}),
        (["--radius", "3mm"], {"radius": "3mm"}),
        (["--connectivity", "26"], {"erosion_connectivity": 26}),
    ],
)
def test_a_run_can_be_repeated_from_its_parameters(options: list[str], recorded: dict[str, Any]) -> None:
    save("in.nii.gz", random_map())
    document = run("erode", "in.nii.gz", "out.nii.gz", "--json", *options).json
    assert recorded.items() <= document["steps"][0]["parameters"].items()


def test_outputs_carry_their_provenance() -> None:
    import tifffile

    save("in.npy", random_map())
    for suffix in (".nii.gz", ".tif", ".ome.tif", ".mha", ".nrrd"):
        run("erode", "in.npy", f"out{suffix}", "--iterations", "2")
    with tifffile.TiffFile("out.tif") as imagej, tifffile.TiffFile("out.ome.tif") as ome:
        texts = [
            nibabel.load("out.nii.gz").header.extensions[0].get_content(),
            (imagej.imagej_metadata or {})["Info"],
            str(ome.ome_metadata).replace("&quot;", '"'),
            SimpleITK.ReadImage("out.mha").GetMetaData("softmorph"),
            SimpleITK.ReadImage("out.nrrd").GetMetaData("softmorph"),
        ]
    for text in texts:
        text = text.decode() if isinstance(text, bytes) else text
        for part in ("softmorph erode", softmorph_cli.__version__, "minmax", '"iterations": 2'):
            assert part in text


@pytest.mark.parametrize(
    ("options", "reason", "words"),
    [
        (
            ["--iterations", "2"],
            "iterations",
            "2 iterations (as many as asked for; lines are not finished to one voxel)",
        ),
        ([], "stable", "(nothing changed any more)"),
        (["--method", "multilinear"], "tolerance", "(still changing, by less than --tolerance)"),
        (
            ["--max-iterations", "1"],
            "max_iterations",
            "1 iteration (stopped at the cap; lines are not finished to one voxel)",
        ),
    ],
)
def test_why_it_stopped(options: list[str], reason: str, words: str) -> None:
    save("in.npy", random_map((2, 9, 9)).clip(0.4, 1))
    ended = run("skeletonize", "in.npy", "out.npy", "--json", *options)
    assert ended.json["steps"][0]["stop_reason"] == reason
    assert words in ended.err
    capped = "warning: stopped at the cap of 1 iterations before it came to rest."
    assert (capped in ended.err) == (reason == "max_iterations")
    assert len(ended.json["warnings"]) == ended.err.count("warning: ")


def test_without_a_voxel_size_volumes_are_voxels() -> None:
    save("in.npy", random_map())
    document = run("erode", "in.npy", "out.npy", "--json").json
    agree(document["before"], random_map(), 1.0, "voxels")
    assert document["input"]["spacing"] is None
    assert document["input"]["unit"] is None
    assert "expected foreground (voxels): " in run("stats", "in.npy").out


def test_an_image_has_an_area() -> None:
    save("in.tif", random_map((7, 8)), SPACING)
    found = run("stats", "in.tif", "--json").json["statistics"]
    agree(found, random_map((7, 8)), 2.0 * 1.5, "mm^2")


def test_each_channel_has_its_own() -> None:
    image = random_map((3, 6, 7, 8))
    save("in.npy", image)
    document = run("erode", "in.npy", "out.npy", "--axes", "CZYX", "--json").json
    for name, file in (("before", "in.npy"), ("after", "out.npy")):
        parts = document[name]["per_channel"]
        assert [part["index"] for part in parts] == [[0], [1], [2]]
        for part, array in zip(parts, load(file), strict=True):
            agree(part, array, 1.0, "voxels")
        assert document[name]["sum"] == pytest.approx(load(file).sum(dtype=np.float64))


def test_stats_alone() -> None:
    save("in.mha", random_map())
    ended = run("stats", "in.mha", "--json", "--json-file", "out.json", "--preview", "out.png")
    check(ended.json, {"schema": int, "softmorph_version": str, "input": INPUT, "statistics": STATISTICS})
    agree(ended.json["statistics"], random_map(), math.prod(SPACING), "mm^3")
    assert json.loads(Path("out.json").read_text(encoding="utf-8")) == ended.json


def test_the_table_agrees_with_the_json() -> None:
    save("in.nii.gz", random_map())
    out = run("stats", "in.nii.gz").out
    found = run("stats", "in.nii.gz", "--json").json["statistics"]
    assert f"expected volume (mm³): {found['expected_volume']:,.5g}\n" in out
    for name in ("independent", "comonotone"):
        assert f"standard deviation, voxels {name}: {found[f'volume_std_{name}']:,.5g}\n" in out
    quantiles = " / ".join(f"{found['volume_quantiles'][q]:,.5g}" for q in ("q05", "q50", "q95"))
    assert f"5 / 50 / 95 % quantile, voxels comonotone: {quantiles}\n" in out
    assert f"voxels above 0.5: {found['voxels_above_half']}\n" in out
    assert f"components above 0.5 (26-connected): {found['components_above_half']}\n" in out
    assert "6 × 7 × 8 (ZYX), voxel size 3 × 2 × 1.5 mm" in out


def test_a_real_process_prints_one_object_and_nothing_else() -> None:
    save("in.nii.gz", random_map())
    ended = process("erode", "in.nii.gz", "out.nii.gz", "--json", "-q")
    assert ended.code == 0
    assert ended.err == ""
    assert ended.out.startswith("{")
    check(ended.json, SCHEMA)


@pytest.mark.parametrize("size", [1e200, 1e-200])
def test_absurd_voxel_sizes_give_a_document_or_a_sentence(size: float) -> None:
    content = save("in.mha", random_map(), (2.5, 2.5, 2.5)).read_bytes()
    Path("in.mha").write_bytes(content.replace(b"2.5 2.5 2.5", b" ".join([str(size).encode()] * 3)))
    for arguments in (["erode", "in.mha", "out.mha", "--json"], ["stats", "in.mha", "--json"]):
        ended = process(*arguments)
        assert ended.code in (0, 1)
        assert "Traceback" not in ended.err
        assert "RuntimeWarning" not in ended.err
        if ended.code == 0:
            check(ended.json["input"], {"path": str})
        else:
            assert "error: in.mha" in ended.err
            assert not Path("out.mha").exists()
