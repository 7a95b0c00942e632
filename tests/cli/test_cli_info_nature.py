"""softmorph info tells predictions from images, scores, distances and labels, and says where it is unsure."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import nilearn  # type: ignore[import-untyped]
import numpy as np
import pytest
import skimage
import tifffile
from helpers_cli import complaint, nibabel, run, save
from scipy import ndimage

NIBABEL = Path(str(import_module("nibabel.testing").data_path))
NILEARN = Path(nilearn.__file__).parent / "datasets" / "data"
SKIMAGE = Path(skimage.__file__).parent / "data"
SAMPLES = Path(__file__).parents[2] / "sample_data"


def brain(tissue: str) -> Path:
    """Return T1 image, or grey or white matter as probability times 255, of the MNI template."""
    return next(NILEARN.glob(f"mni_icbm152_{tissue}_*.nii.gz"))


def z_map() -> Path:
    """Return a thresholdless z-map of NeuroVault; its background is 0 and its header has no intent."""
    return NILEARN / "image_10426.nii.gz"


@dataclass(frozen=True)
class Row:
    """What `info` has to say of a file: its kind, whether that is sure, what lies in it, and which command it names."""

    make: Callable[[], Path]
    kind: str
    sure: bool
    structure: str | None = None
    command: str | None = "skeletonize"


def ball(radius: float, shape: tuple[int, ...] = (40, 40, 40)) -> np.ndarray:
    places = np.indices(shape) - (np.array(shape) // 2).reshape(-1, 1, 1, 1)
    return np.asarray(radius - np.sqrt((places**2).sum(axis=0)), np.float32)


def sigmoid(array: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-array)), np.float32)


def drawn(name: str, array: np.ndarray, *sizes: float) -> Callable[[], Path]:
    return lambda: Path(save(name, array, sizes) if sizes else save(name, array))


def with_intent(code: int) -> Callable[[], Path]:
    def make() -> Path:
        image = nibabel.Nifti1Image(ball(9.0), np.eye(4))
        image.header["intent_code"] = code
        image.to_filename("intent.nii.gz")
        return Path("intent.nii.gz")

    return make


def of_ct() -> Path:
    air = np.full((12, 40, 40), -1024, np.int16)
    air[:, 8:30, 8:30] = np.random.default_rng(0).normal(40, 20, (12, 22, 22))
    air[:, 10:14, 10:14] = 900
    return Path(save("ct.nii.gz", air, (1, 1, 1)))


def lines() -> np.ndarray:
    array = np.zeros((60, 60), np.float32)
    array[30, 5:55] = array[8:50, 20] = 0.9
    return array


def balls() -> np.ndarray:
    array = np.full((40, 48, 48), -9, np.float32)
    for at in ((10, 10, 10), (28, 12, 34), (20, 34, 14), (30, 38, 38)):
        array[tuple(slice(c - 8, c + 9) for c in at)] = ball(5, (17, 17, 17))
    return sigmoid(2 * array)


def regions() -> np.ndarray:
    array = np.zeros((20, 20, 20), np.int16)
    array[4:10, 4:10], array[12:18, 6:15], array[4:9, 12:18] = 3, 11, 17
    return array


UNDECIDED = sigmoid(ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((40, 40, 40)), 2) * 20)
NORMAL = np.random.default_rng(0).normal(0, 1, (20, 20, 20)).astype(np.float32)
TABLE = {
    "a T1 image": Row(lambda: brain("t1"), "image", True, command=None),
    "a T1 image of SPM": Row(lambda: NIBABEL / "anatomical.nii", "image", True, command=None),
    "a moved T1 image": Row(lambda: NIBABEL / "reoriented_anat_moved.nii", "image", True, command=None),
    "functional images": Row(lambda: NIBABEL / "functional.nii", "image", True, command=None),
    "diffusion images": Row(lambda: NIBABEL / "example4d.nii.gz", "image", True, command=None),
    "a micrograph": Row(lambda: SKIMAGE / "cell.png", "image", True, command=None),
    "a photograph of coins": Row(lambda: SKIMAGE / "coins.png", "image", True, command=None),
    "a photograph of much contrast": Row(lambda: SKIMAGE / "camera.png", "probability", False),
    "a drawn CT image": Row(of_ct, "image", True, command=None),
    "grey matter": Row(lambda: brain("gm"), "probability", True),
    "white matter": Row(lambda: brain("wm"), "probability", True),
    "a z-map": Row(z_map, "scores", True, command=None),
    "z-scores by the header": Row(with_intent(5), "scores", True, command=None),
    "t-scores by the header": Row(with_intent(3), "scores", True, command=None),
    "normal numbers": Row(lambda: NIBABEL / "test.mgz", "scores", False),
    "normal numbers in 3D": Row(drawn("normal.npy", NORMAL), "scores", False),
    "logits": Row(drawn("logits.npy", 3 * np.clip(ball(9.0), -5, 5) + NORMAL.mean()), "logits", True),
    "a signed distance map": Row(drawn("sdf.npy", ball(12.0)), "distances", True, command=None),
    "distances in mm": Row(
        drawn(
            "distances.nii.gz",
            ndimage.distance_transform_edt(ball(12.0) > 0, sampling=(2, 0.5, 0.5)).astype(np.float32),
            2,
            0.5,
            0.5,
        ),
        "distances",
        True,
        command=None,
    ),
    "vessels": Row(lambda: SAMPLES / "vessel_tree.nii.gz", "probability", True, "vessels"),
    "a mask of vessels": Row(lambda: SAMPLES / "vessel_tree_truth.nii.gz", "mask", True, "vessels"),
    "vessels in 2D": Row(lambda: SAMPLES / "retina_vessels.tif", "probability", True, "vessels"),
    "blobs": Row(drawn("balls.npy", balls()), "probability", True, "blobs", "stats"),
    "lines": Row(drawn("lines.npy", lines()), "probability", True, "lines", "inspect"),
    "a slab": Row(
        drawn("slab.npy", np.repeat(sigmoid(9 - 3 * np.abs(np.arange(40.0) - 20)), 1600).reshape(40, 40, 40)),
        "probability",
        True,
    ),
    "an undecided network": Row(drawn("undecided.npy", UNDECIDED), "probability", False),
    "a network that found nothing": Row(drawn("low.npy", UNDECIDED**4 / 4), "probability", False),
    "a mask of 0 and 255": Row(
        drawn("m.nii.gz", (255 * (balls() > 0.5)).astype(np.uint8), 1, 1, 1), "mask", True, "blobs", "stats"
    ),
    "labels": Row(drawn("labels.npy", regions()), "labels", True),
}


@pytest.mark.parametrize("name", TABLE)
def test_a_file_is_what_info_says(name: str) -> None:
    row = TABLE[name]
    source = row.make()
    facts = run("info", source, "--json").json
    found = tuple(facts.get(key) for key in ("kind", "sure", "structure"))
    assert found == (row.kind, row.sure, row.structure)
    if row.command is None:
        assert facts["try_next"] is None
        assert facts["needs"]
    else:
        words = shlex.split(facts["try_next"])
        assert words[:3] == ["softmorph", row.command, str(source)]
        assert not facts.get("needs")


# The rows of real files that take seconds to filter are typed elsewhere.
@pytest.mark.parametrize(
    "name",
    [
        name
        for name, row in TABLE.items()
        if row.command and "matter" not in name and "vessels" not in name and "photograph" not in name
    ],
)
def test_what_info_recommends_runs(name: str) -> None:
    words: list[Any] = shlex.split(run("info", TABLE[name].make(), "--json").json["try_next"])
    run(*words[1:])


def test_uncertain_is_written_beside_the_kind() -> None:
    assert run("info", SKIMAGE / "camera.png").out.splitlines()[0].endswith(": perhaps a probability map")
    assert run("info", NIBABEL / "test.mgz").out.splitlines()[0].endswith(": test statistics or logits")
    shown = run("info", brain("t1")).out
    assert ": image, not a probability map\n" in shown
    assert "needs: a prediction" in shown
    assert "--divide-by 255 reads it" in shown


def test_scores_and_distances_are_no_logits_to_a_filter() -> None:
    save("sdf.npy", ball(12.0))
    for source, word in ((z_map(), "z- or t-scores"), (Path("sdf.npy"), "from voxel to voxel")):
        sentence = complaint(run("erode", source, "out.nii.gz", code=1).err)
        assert word in sentence
        assert "--from-logits" not in sentence


def test_a_micrograph_of_sixteen_bits_is_told(here: Path) -> None:
    grains = ndimage.gaussian_filter(np.random.default_rng(0).normal(0, 1, (96, 96)), 3)
    camera = np.clip(21000 + 60000 * grains, 0, 65535).astype(np.uint16)
    tifffile.imwrite(here / "cells.tif", camera)
    facts = run("info", "cells.tif", "--json").json
    assert (facts["kind"], facts["sure"], facts["try_next"]) == ("image", True, None)
    assert "filters take it as it is" in facts["needs"]


def test_a_number_too_large_for_float64_to_count_to_is_no_label(here: Path) -> None:
    np.save("huge.npy", np.full((5, 5, 5), 1e300))
    facts = run("info", "huge.npy", "--json").json
    assert facts["kind"] == "image"
    np.save("most.npy", np.full((5, 5, 5), 2**53))
    facts = run("info", "most.npy", "--json").json
    assert facts["kind"] == "labels"
    assert f"--label {2**53}" in facts["try_next"]
