"""Cases as nnU-Net writes them: probabilities, labels by SimpleITK, two descriptions."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from helpers_typing import SimpleITK
from numpy.typing import NDArray

SHAPE = (5, 7, 4)
LABELS = {"background": 0, "liver": 1, "tumour": 2}
# Turned about two axes and flipped, and still a rotation: x runs to the back, y upwards, z to the right.
DIRECTION = (0.0, 0.28, -0.96, 1.0, 0.0, 0.0, 0.0, 0.96, 0.28)


def softmax(logits: NDArray[Any]) -> NDArray[Any]:
    raised = np.exp(logits - logits.max(axis=0))
    return np.asarray(raised / raised.sum(axis=0), dtype=np.float32)


def logits_of(count: int, shape: tuple[int, ...] = SHAPE) -> NDArray[Any]:
    return np.asarray(3 * np.random.default_rng(3).standard_normal((count, *shape)), dtype=np.float32)


def image_of(array: NDArray[Any], direction: tuple[float, ...] = DIRECTION) -> Any:
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing((0.8, 1.5, 3.0)[: array.ndim])
    image.SetOrigin((10.0, -20.0, 30.0)[: array.ndim])
    if array.ndim == 3:
        image.SetDirection(direction)
    return image


def describe(
    folder: Path, labels: Any = None, reader: str | None = "SimpleITKIO", ending: str = ".nii.gz", **more: Any
) -> None:
    dataset = {"labels": labels or LABELS, "file_ending": ending, "channel_names": {"0": "CT"}, **more}
    (folder / "dataset.json").write_text(json.dumps(dataset))
    if reader:
        plans = {
            "image_reader_writer": reader,
            "transpose_forward": [1, 0, 2],
            "transpose_backward": [1, 0, 2],
        }
        (folder / "plans.json").write_text(json.dumps(plans))


def case(
    folder: Path,
    probabilities: NDArray[Any],
    labels: NDArray[Any] | None = None,
    *,
    ending: str = ".nii.gz",
    key: str = "probabilities",
) -> Path:
    path = folder / "case_007.npz"
    arrays: dict[str, Any] = {key: probabilities}
    np.savez_compressed(path, **arrays)
    (folder / "case_007.pkl").write_bytes(pickle.dumps({"spacing": (3.0, 1.5, 0.8)}))
    if labels is None:
        labels = probabilities.argmax(axis=0)
    SimpleITK.WriteImage(image_of(labels.astype(np.uint8)), str(folder / f"case_007{ending}"), True)
    return path
