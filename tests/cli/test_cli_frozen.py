"""The JSON that every command prints, and the provenance in files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from helpers_cli import run, save
from helpers_frozen import agrees

from softmorph_cli.cli.app import app
from softmorph_cli.completion import prior_file
from softmorph_cli.completion.box import Box
from softmorph_cli.completion.network import Architecture, ImplicitFunction
from softmorph_cli.completion.prior import IntensityRule, Prior
from softmorph_cli.io.reading import read
from softmorph_cli.io.writing import write
from softmorph_cli.volume import Volume

SHAPE = (14, 16, 18)
SPACING = (0.8, 0.5, 0.5)


def tube(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Draw a ring with a branch, a hole in it and a speck: values are multiples of 1/64."""
    places = np.indices(shape).astype(np.float64)
    z, y, x = places if len(shape) == 3 else (np.zeros(shape), *places)
    away = np.hypot(y - 7, x - 8) - 4.5
    level = z - 6 if len(shape) == 3 else z
    ring = np.hypot(away, level)
    branch = np.where(x > 12, np.hypot(y - 7, level), 9.0)
    speck = np.hypot(np.hypot(y - 1, x - 1), level - 3)
    soft = np.clip(1.2 - np.minimum(np.minimum(ring, branch), speck + 0.6) / 2.5, 0, 1)
    return np.asarray(np.round(soft * 64) / 64, np.float32)


@pytest.fixture(autouse=True)
def _maps(here: Path) -> None:
    """Write the maps into the test's folder: paths in documents are then relative."""
    save("map.nii.gz", tube(), SPACING)
    save("other.nii.gz", np.roll(tube(), 1, axis=1), SPACING)
    save("mask.nii.gz", (tube() > 0.5).astype(np.uint8), SPACING)
    write(Volume(tube((32, 36)), "YX"), Path("map.png"))


FILTERS: dict[str, tuple[str, ...]] = {
    "skeletonize": ("skeletonize",),
    "skeletonize_hard": ("skeletonize", "--hard", "--threshold", "0.4"),
    "skeletonize_exact": ("skeletonize", "--levels", "exact", "--prune-contrast", "0.05"),
    "skeletonize_product": ("skeletonize", "--preset", "softmorph-3d"),
    "skeletonize_cldice": ("skeletonize", "--method", "cldice"),
    "skeletonize_sampled": ("skeletonize", "--method", "sampled", "--seed", "3", "--iterations", "2"),
    "skeletonize_iso": ("skeletonize", "--resample", "iso", "--no-finish"),
    "erode": ("erode", "--radius", "1mm"),
    "dilate": ("dilate", "--connectivity", "18", "--method", "product"),
    "open": ("open", "--erosion-connectivity", "26", "--dilation-connectivity", "6", "--iterations", "2"),
    "close": ("close", "--radius", "2vox", "--region", "2:12,:,:"),
    "gradient": ("gradient",),
    "tophat": ("tophat", "--method", "levels", "--levels", "16"),
    "blackhat": ("blackhat", "--method", "smooth-levels"),
    "apply": ("apply", "majority", "--iterations", "1"),
    "fill": ("fill",),
    "despeckle": ("despeckle", "--min-size", "3vox"),
    "threshold": ("threshold", "--threshold", "0.4", "--largest", "1"),
    "threshold_labels": ("threshold", "--labels", "--min-size", "1mm3"),
    "resample": ("resample", "--spacing", "1mm"),
    "interpolate": ("interpolate", "--missing", "3:5", "--spacing", "iso"),
    "chain": ("chain", "close:iterations=1,connectivity=26", "despeckle:min-size=3vox", "skeletonize:hard"),
}

WRITTEN = {
    "command": ("skeletonize", "--hard", "--threshold", "0.4"),
    "chain": ("chain", "close:iterations=1", "despeckle:min-size=3vox", "skeletonize:levels=8"),
}


def arguments(words: tuple[str, ...], source: str, target: str) -> list[str]:
    """Put IN and OUT where a command takes them."""
    command, *rest = words
    if command == "apply":
        return [command, rest[0], source, target, *rest[1:]]
    return [command, source, target, *rest]


@pytest.mark.parametrize("name", FILTERS)
def test_the_document_of_a_filter(name: str) -> None:
    words = [*arguments(FILTERS[name], "map.nii.gz", "out.nii.gz"), "--json"]
    agrees(f"filter_{name}", run(*words).json)


@pytest.mark.parametrize("suffix", [".nii.gz", ".tif", ".ome.tif", ".nrrd", ".mha", ".zarr", ".png"])
@pytest.mark.parametrize("name", WRITTEN)
def test_the_provenance_of_a_file(name: str, suffix: str) -> None:
    source = "map.png" if suffix == ".png" else "map.nii.gz"
    run(*arguments(WRITTEN[name], source, f"out{suffix}"), "--clip")
    made = read(Path(f"out{suffix}")).source
    assert made is not None
    agrees(f"provenance_{name}{suffix.replace('.', '_')}", dict(made.provenance))


OTHERS: dict[str, tuple[Any, ...]] = {
    "stats": ("stats", "map.nii.gz"),
    "stats_many": ("stats", "map.nii.gz", "other.nii.gz"),
    "inspect": ("inspect", "map.nii.gz", "--prune", "radius", "--json"),
    "inspect_mask": ("inspect", "mask.nii.gz", "--json"),
    "evaluate": ("evaluate", "other.nii.gz", "map.nii.gz"),
    "evaluate_mask": ("evaluate", "map.nii.gz", "mask.nii.gz"),
    "topology_numbers": ("topology", "numbers", "map.nii.gz"),
    "topology_numbers_2d": ("topology", "numbers", "map.png", "--no-bars"),
    "topology_repair": ("topology", "repair", "map.nii.gz", "out.nii.gz", "--betti", "1,1,0"),
}


SMALL = ("--steps", 2, "--width", 2, "--layers", 1, "--device", "cpu")
PRIORS: dict[str, tuple[Any, ...]] = {
    "prior_info": ("prior", "info", "p.safetensors"),
    "prior_evaluate": ("prior", "evaluate", "p.safetensors", "maps", "--hide", "every:2"),
    "prior_segment": ("prior", "segment", "image.nii.gz", "out.nii.gz", "--prior", "p.safetensors"),
    "prior_train": ("prior", "train", "maps", "q.safetensors", "--validate", 0, *SMALL),
}


@pytest.mark.parametrize("name", PRIORS)
def test_the_document_of_a_prior(name: str) -> None:
    """With a network of zeros, which no fit changes: its figures are the same on every machine."""
    Path("maps").mkdir()
    for k in range(8):
        save(
            f"maps/{k}.nii.gz", np.pad(np.ones((6, 3, 3 + k % 3), np.uint8), ((0, 0), (1, 2), (1, 5 - k % 3)))
        )
    save("image.nii.gz", np.random.default_rng(0).random((6, 6, 9)).astype(np.float32))
    architecture = Architecture(3, 2, 2, 1, "relu", True)
    weights = {key: torch.zeros_like(one) for key, one in ImplicitFunction(architecture).state_dict().items()}
    zeros = Prior(
        *(architecture, weights, torch.zeros(4, 2), ("class 1",), "ZYX", ((0, 0, 1), (0, 1, 0), (1, 0, 0))),
        *(Box((18.0, 12.0, 13.5), "mm"), IntensityRule()),
        subjects=tuple(f"{k}.nii.gz" for k in range(4)),
    )
    prior_file.save(zeros, Path("p.safetensors"))
    # Such a prior is poorer than interpolation, and explains nothing of an image.
    ended = run(*PRIORS[name], "--json", code=3 if name in ("prior_evaluate", "prior_segment") else 0)
    agrees(f"document_{name}", ended.json)


@pytest.mark.parametrize("name", OTHERS)
def test_the_document_of_a_command(name: str) -> None:
    words = OTHERS[name] if "--json" in OTHERS[name] else (*OTHERS[name], "--json")
    agrees(f"document_{name}", run(*words).json)


def test_the_manifest_and_the_tables_of_a_batch() -> None:
    Path("maps").mkdir()
    for name in ("map.nii.gz", "other.nii.gz"):
        Path(name).rename(Path("maps", name))
    Path("maps", "broken.nii.gz").write_bytes(b"no map")
    steps = ("close:iterations=1", "skeletonize:hard")
    document = run("batch", "maps", "lines", *steps, "--workers", 1, "--json", code=1).json
    agrees("document_batch", document)
    lines = Path("lines/softmorph-manifest.jsonl").read_text(encoding="utf-8").splitlines()
    agrees("manifest_batch", [json.loads(line) for line in lines])
    agrees("columns_batch", Path("lines/summary.csv").read_text(encoding="utf-8").splitlines()[0])


def declared(command: Any) -> dict[str, Any]:
    """Return the arguments and options of a command by their names, with the default of each."""
    if hasattr(command, "commands"):
        return {name: declared(one) for name, one in command.commands.items()}
    return {
        " ".join((*one.opts, *one.secondary_opts)): "required"
        if one.required
        else one.default
        if isinstance(one.default, int | float | str | None)
        else repr(one.default)
        for one in command.params
    }


def test_arguments_and_options_of_every_command() -> None:
    agrees("options", declared(typer.main.get_command(app)))
