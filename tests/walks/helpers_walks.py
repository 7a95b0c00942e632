"""What the walks share: commands typed as in a shell, and the folders of a study of nnU-Net patients."""

from __future__ import annotations

import json
import os
import pickle
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from typer.testing import CliRunner

from softmorph_cli.cli.app import app

# Half of it has types, which know little of the classes that are read.
SimpleITK: Any = import_module("SimpleITK")

SHAPE: Final = (18, 26, 30)
# The corner in which every drawn network sees an island; no vessel comes there.
ISLAND: Final = np.zeros(SHAPE, bool)
ISLAND[:6, 18:, 23:] = True
CLASSES: Final[Mapping[str, Any]] = {"background": 0, "vein": 1, "artery": 2}
# The artery lies in the vessels; a label map holds 1 where a vessel is no artery.
REGIONS: Final[Mapping[str, Any]] = {"background": 0, "vessel": [1, 2], "artery": 2}


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        out: What it wrote to its output.
        err: What it wrote of errors, notes and warnings.
    """

    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def typed(line: str, code: int = 0) -> Ended:
    """Run one line as it is typed in a shell, in this process; a failure that is no exit is raised as it is."""
    program, *words = shlex.split(line)
    assert program == "softmorph"
    result = CliRunner().invoke(app, words, prog_name="softmorph")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, f"{line}\n{result.stderr}"
    return Ended(result.stdout, result.stderr)


def in_process(*words: object, code: int = 0) -> Ended:
    """Run a command in a process of its own, as a workflow manager does."""
    command = [sys.executable, "-m", "softmorph_cli", *map(str, words)]
    ended = subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", timeout=120, check=False
    )
    assert ended.returncode == code, ended.stderr
    return Ended(ended.stdout, ended.stderr)


def in_bash(script: str, **variables: str) -> str:
    """Run a script of Bash that ends at its first error, and return what it prints; `softmorph` is this softmorph."""
    prelude = f'set -euo pipefail\nsoftmorph() {{ {shlex.quote(sys.executable)} -m softmorph_cli "$@"; }}\n'
    ended = subprocess.run(
        ["bash", "-c", prelude + script],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def jq(program: str, document: str) -> str | None:
    """Return what jq prints of a JSON text, or None where there is no jq."""
    if shutil.which("jq") is None:
        return None
    ended = subprocess.run(
        ["jq", "-r", program], input=document, capture_output=True, text=True, timeout=60, check=True
    )
    return ended.stdout


def _segments(seed: int, offset: float) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Return the ends of the three segments of a line that forks in two, in voxels along z, y and x."""
    rng = np.random.default_rng(seed)
    fork = np.array([9.0, 8.0 + offset, 14.0]) + rng.uniform(-1, 1, 3)
    ends = ([9.0, 8.0 + offset, 3.0], [5.0, 4.5 + offset, 26.0], [13.0, 11.5 + offset, 26.0])
    return [(fork, np.array(end)) for end in ends]


# How the lines of a patient differ: what is added to the seed, and to y.
_VESSELS: Final = {"vein": (0, 0.0), "artery": (100, 10.0)}


def line_lengths(number: int, vessel: str) -> float:
    """Return the length of the drawn line of a patient's vein or artery in mm."""
    seed, offset = _VESSELS[vessel]
    sizes = np.array(spacing_of(number)[::-1])
    return float(sum(np.linalg.norm((end - fork) * sizes) for fork, end in _segments(number + seed, offset)))


def _away(number: int, vessel: str) -> NDArray[Any]:
    """Return the distance of each voxel to a line of a patient, in voxels."""
    seed, offset = _VESSELS[vessel]
    grid = np.moveaxis(np.indices(SHAPE), 0, -1).astype(float)
    nearest = np.full(SHAPE, np.inf)
    for fork, end in _segments(number + seed, offset):
        way = end - fork
        share = np.clip(((grid - fork) @ way) / (way @ way), 0, 1)
        nearest = np.minimum(nearest, np.linalg.norm(grid - fork - share[..., None] * way, axis=-1))
    return nearest


@dataclass(frozen=True)
class Patient:
    """A drawn patient: a vein and an artery, each a line that forks in two.

    Attributes:
        truth: The labels: 1 in the vein, 2 in the artery.
        probabilities: Those of the network, a channel for each class, or for each region.
        painted: The labels that the network paints of them.
    """

    truth: NDArray[np.uint8]
    probabilities: NDArray[np.float32]
    painted: NDArray[np.uint8]

    @classmethod
    def drawn(cls, number: int, *, regions: bool = False) -> Patient:
        """Draw a patient; the network sees the vessels a little thin, and an island of vein that is not there."""
        vein, artery = _away(number, "vein"), _away(number, "artery")
        truth = np.zeros(SHAPE, np.uint8)
        truth[vein < 2.2], truth[artery < 2.2] = 1, 2
        z, y, x = np.indices(SHAPE)
        island = np.sqrt((z - 2.0) ** 2 + (y - 22.0) ** 2 + (x - 27.0) ** 2)
        inside = [3 * (2.0 - np.minimum(vein, island + 0.6)), 3 * (2.0 - artery)]
        if regions:
            inside[0] = np.maximum(*inside)
            p = 1 / (1 + np.exp(-np.stack(inside)))
            painted = np.where(p[1] > 0.5, 2, p[0] > 0.5)
        else:
            raised = np.exp(np.stack([np.zeros(SHAPE), *inside]))
            p = raised / raised.sum(axis=0)
            painted = p.argmax(axis=0)
        return cls(truth, p.astype(np.float32), painted.astype(np.uint8))


def write_image(path: Path, array: NDArray[Any], spacing: tuple[float, float, float]) -> None:
    """Write an array of axes z, y, x as an image; `spacing` is the voxel size in mm along x, y and z."""
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin((-40.0, 12.5, 7.0))
    SimpleITK.WriteImage(image, str(path), True)


def spacing_of(number: int) -> tuple[float, float, float]:
    """Return the voxel size of a patient in mm along x, y and z; each patient has another."""
    return (0.8 + 0.1 * number, 0.8 + 0.1 * number, 1.0 + 0.25 * number)


def describe(folder: Path, *, regions: bool = False) -> None:
    """Write the descriptions that nnU-Net copies into a folder of predictions."""
    labels: dict[str, Any] = (
        {"labels": REGIONS, "regions_class_order": [1, 2]} if regions else {"labels": CLASSES}
    )
    dataset = {"channel_names": {"0": "CT"}, **labels, "numTraining": 5, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(dataset), encoding="utf-8")
    plans = {
        "dataset_name": "Dataset017_Vessels",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
    }
    (folder / "plans.json").write_text(json.dumps(plans), encoding="utf-8")
    (folder / "predict_from_raw_data_args.json").write_text('{"save_probabilities": true}', encoding="utf-8")


class Trap:
    """An object that leaves a file behind where it is unpickled, so that a test sees whether it was."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what unpickling would call."""
        return (Path.touch, (Path("unpickled").absolute(),))


def write_study(*, count: int = 5, regions: bool = False) -> dict[str, Patient]:
    """Write the folders of a study into the current folder, as nnU-Net leaves them; return the patients by name.

    `predictions` holds what `nnUNetv2_predict --save_probabilities` writes, `postprocessed` its label maps after
    `nnUNetv2_apply_postprocessing`, `imagesTs` and `labelsTs` the images and the reference labels.
    """
    folders = [Path(name) for name in ("predictions", "postprocessed", "imagesTs", "labelsTs")]
    for folder in folders:
        folder.mkdir()
    predictions, postprocessed, images, references = folders
    patients = {}
    for number in range(1, count + 1):
        name, spacing = f"case_{number:03}", spacing_of(number)
        patient = patients[name] = Patient.drawn(number, regions=regions)
        np.savez_compressed(predictions / f"{name}.npz", probabilities=patient.probabilities)
        (predictions / f"{name}.pkl").write_bytes(pickle.dumps(Trap()))
        write_image(predictions / f"{name}.nii.gz", patient.painted, spacing)
        write_image(postprocessed / f"{name}.nii.gz", patient.painted * ~ISLAND, spacing)
        grey = (100 * (patient.truth > 0) - 50 + np.random.default_rng(number).normal(0, 9, SHAPE)).astype(
            np.int16
        )
        write_image(images / f"{name}_0000.nii.gz", grey, spacing)
        write_image(references / f"{name}.nii.gz", patient.truth, spacing)
    for folder in (predictions, postprocessed):
        describe(folder, regions=regions)
    (predictions / "postprocessing.pkl").write_bytes(pickle.dumps(Trap()))
    (postprocessed / "postprocessing.pkl").write_bytes(pickle.dumps(Trap()))
    return patients
