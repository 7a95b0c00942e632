"""Pairs of maps for softmorph evaluate, and what is expected of them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
from helpers_cli import (
    nibabel,
    save,
)

KEYS = [
    "dice", "accuracy", "iou", "precision", "recall", "soft_dice", "cldice", "soft_cldice", "betti_0_error",
    "betti_1_error", "betti_2_error", "euler_error", "euler_ratio", "smd", "opt_j_f1", "hd95_mm", "assd_mm", "nsd",
    "diu", "tree_length_detected", "branches_detected", "leakage", "centreline_precision", "centreline_recall",
    "centreline_f1", "centreline_hd_mm", "centreline_hd95_mm",
]  # fmt: skip
PATCHES = ["betti_0_error_patches", "betti_1_error_patches", "betti_2_error_patches"]
MATCHING = [
    *("betti_matching_0_error", "betti_matching_1_error", "betti_matching_2_error"),
    *("soft_betti_matching_0_error", "soft_betti_matching_1_error", "soft_betti_matching_2_error"),
]
SHAPE = (10, 16, 18)


def tube(shape: tuple[int, ...] = SHAPE, shift: int = 0) -> np.ndarray:
    """Draw a bar along x with a branch along y, soft at its sides."""
    image = np.zeros(shape, np.float32)
    image[..., shape[-2] // 2 - 1 + shift : shape[-2] // 2 + 2 + shift, 2:-2] = 0.6
    image[..., 2 : shape[-2] // 2, shape[-1] // 2 - 1 : shape[-1] // 2 + 2] = 0.6
    image[..., shape[-2] // 2 + shift, 2:-2] = 0.9
    if len(shape) == 3:
        image[:3] = image[6:] = 0
    return image


def mask(image: np.ndarray) -> np.ndarray:
    return (image > 0.5).astype(np.uint8)


def dice(one: np.ndarray, other: np.ndarray) -> float:
    one, other = one > 0.5, other > 0.5
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def labelled(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4, SHAPE).astype(np.uint8)


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def softmax() -> np.ndarray:
    one = np.random.default_rng(4).random((3, *SHAPE)).astype(np.float32)
    return np.asarray(one / one.sum(axis=0))


def write_case(folder: str, name: str, probabilities: np.ndarray) -> np.ndarray:
    """Write what nnU-Net writes for a case; return its labels."""
    Path(folder).mkdir(exist_ok=True)
    labels: np.ndarray = probabilities.argmax(axis=0).astype(np.uint8)
    np.savez_compressed(Path(folder, f"{name}.npz"), probabilities=probabilities)
    save(Path(folder, f"{name}.nii.gz"), labels)
    described = {"labels": {"background": 0, "artery": 1, "vein": 2}, "file_ending": ".nii.gz"}
    Path(folder, "dataset.json").write_text(json.dumps(described), encoding="utf-8")
    return labels


def moved(name: str, image: np.ndarray, **changes: float) -> Path:
    path = save(name, image)
    file = nibabel.load(path)
    affine = file.affine.copy()
    for entry, value in changes.items():
        affine[int(entry[1]), int(entry[2])] = value
    nibabel.Nifti1Image(np.asarray(file.dataobj), affine, file.header).to_filename(path)
    return path
