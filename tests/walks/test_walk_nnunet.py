"""From five patients of nnU-Net to a study: cleaned maps, centrelines, tables, scores and a figure."""

from __future__ import annotations

import csv
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_walks import CLASSES, SimpleITK, line_lengths, spacing_of, typed, write_study
from scipy import ndimage

# What a user types, one line after another.
COMMANDS = (
    "softmorph batch predictions cleaned despeckle:min-size=60vox inspect",
    "softmorph batch cleaned centrelines skeletonize:hard",
    "softmorph evaluate cleaned labelsTs --metrics dice,betti_0_error --csv scores.csv",
    "softmorph inspect cleaned/case_001.nii.gz --channel artery --preview figure.pdf --light",
)
FOREGROUND = {name: label for name, label in CLASSES.items() if label}


def rows(path: str) -> list[dict[str, str]]:
    with Path(path).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def image(path: str) -> Any:
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path))


def test_five_patients_become_a_study_in_six_commands() -> None:
    assert len(COMMANDS) <= 6
    patients = write_study()
    told = [typed(line) for line in COMMANDS]
    assert not Path("unpickled").exists()

    cases = {(Path(row["file"]).name[:8], row["class"]): row for row in rows("cleaned/cases.csv")}
    assert sorted(cases) == sorted((name, label) for name in patients for label in FOREGROUND)
    scores = {(row["name"], row["class"]): row for row in rows("scores.csv")}
    branches = rows("cleaned/branches.csv")
    for number, (name, patient) in enumerate(patients.items(), 1):
        cleaned, lines = image(f"cleaned/{name}.nii.gz"), image(f"centrelines/{name}.nii.gz")
        place = SimpleITK.ReadImage(f"cleaned/{name}.nii.gz")
        assert place.GetSpacing()[:3] == pytest.approx(spacing_of(number))
        assert place.GetOrigin()[:3] == pytest.approx((-40.0, 12.5, 7.0))
        for channel, (label, number_of_label) in enumerate(FOREGROUND.items()):
            before = patient.probabilities[number_of_label] > 0.5
            pieces, count = ndimage.label(before, np.ones((3, 3, 3)))
            sizes = ndimage.sum_labels(before, pieces, range(1, count + 1))
            kept = np.isin(pieces, 1 + np.flatnonzero(sizes >= 60))
            # The island of the vein is gone, and nothing else.
            assert count == (2 if label == "vein" else 1)
            np.testing.assert_array_equal(cleaned[channel] > 0.5, kept)
            assert ndimage.label(lines[channel], np.ones((3, 3, 3)))[1] == 1
            assert np.all(kept[lines[channel] > 0])
            row = cases[name, label]
            assert (int(row["components"]), int(row["end_points"]), int(row["branches"])) == (1, 3, 3)
            own = [
                float(one["length_mm"])
                for one in branches
                if (one["file"], one["class"]) == (row["file"], label)
            ]
            assert len(own) == 3
            assert sum(own) == pytest.approx(float(row["length_mm"]))
            # Thinning ends up to a radius, 2 voxels, before each of three ends.
            drawn = line_lengths(number, label)
            assert drawn - 3 * 2.5 * max(spacing_of(number)) < sum(own) < 1.05 * drawn
            truth = patient.truth == number_of_label
            dice = 2 * (kept & truth).sum() / (kept.sum() + truth.sum())
            assert float(scores[name, label]["dice"]) == pytest.approx(dice)
            assert float(scores[name, label]["betti_0_error"]) == 0
    assert "vein (1)" in told[2].out
    # Only what concerns the lengths is warned of: voxels that are not cubic.
    lines = [line for ended in told for line in ended.err.splitlines() if line.startswith("warning: ")]
    assert all("thinning counts voxels" in line for line in lines)
    page = Path("figure.pdf").read_bytes()
    assert page.startswith(b"%PDF-")
    assert b"artery" in page  # the title
    content = next(
        zlib.decompress(one) for one in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", page, re.DOTALL)
    )
    # The first thing that is painted is the page, in white.
    before_it, _, _ = content.partition(b"\nf\n")
    assert b" 1 g\n0 0 m" in before_it
