"""Fixtures: each test runs in a folder of its own; files that several tests read."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers_cli import random_map, run, save
from helpers_evaluate import SHAPE, dice, mask, tube
from helpers_folders import GOOD, blob
from helpers_inspect import OUTPUTS, SPACING, drawn, flags
from helpers_learned import QUICK, write_hearts


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for variable in ("NO_COLOR", "FORCE_COLOR", "SLURM_CPUS_PER_TASK", "OMP_NUM_THREADS"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


@pytest.fixture
def source(here: Path) -> Path:
    """Six good files."""
    (here / "in").mkdir()
    for number, name in enumerate(GOOD):
        save(here / "in" / name, blob(number))
    return here / "in"


@pytest.fixture
def pair() -> tuple[Path, Path]:
    return save("pred.nii.gz", tube(shift=1)), save("ref.nii.gz", mask(tube()))


@pytest.fixture
def folders() -> dict[str, float]:
    """Four cases of two folders and one left over on either side; the Dice of each."""
    Path("predictions").mkdir()
    Path("references").mkdir()
    found = {}
    for number in range(4):
        image = random_map(SHAPE, number) * (number < 3)
        truth = mask(random_map(SHAPE, number + 9) * 0.5 + image * 0.5)
        save(f"predictions/case_{number}.nii.gz", image)
        save(f"references/case_{number}.nii", truth)
        found[f"case_{number}"] = dice(image, truth) if truth.any() else 1.0
    save("predictions/extra.nii.gz", random_map(SHAPE))
    save("references/lost.nii.gz", mask(random_map(SHAPE)))
    return found


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the map, and with everything that one run makes of it."""
    folder = tmp_path_factory.mktemp("inspect")
    save(folder / "tree.nii.gz", drawn(), SPACING)
    ended = run("inspect", folder / "tree.nii.gz", *flags(OUTPUTS, folder))
    (folder / "out.txt").write_text(ended.out, encoding="utf-8")
    (folder / "err.txt").write_text(ended.err, encoding="utf-8")
    return folder


@pytest.fixture
def tree(kept: Path) -> Path:
    """The map under its short name, in the folder of the test."""
    Path("tree.nii.gz").write_bytes((kept / "tree.nii.gz").read_bytes())
    return Path("tree.nii.gz")


@pytest.fixture
def skeleton(kept: Path) -> Path:
    """The skeleton that inspect wrote."""
    Path("skeleton.nii.gz").write_bytes((kept / "skeleton.nii.gz").read_bytes())
    return Path("skeleton.nii.gz")


@pytest.fixture(scope="module")
def document(kept: Path) -> Any:
    return json.loads((kept / "j.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ten hearts, and the prior of eight of them with all that its training writes."""
    folder = tmp_path_factory.mktemp("learned")
    before = Path.cwd()
    os.chdir(folder)
    try:
        write_hearts(10, 1)
        beside = ("--preview", "sheet.png", "--json-file", "prior.json")
        # So small a prior is worse than interpolation on the two hearts that are held out.
        ended = run("prior", "train", "maps", "p.safetensors", "--images", "images", *QUICK, *beside, code=3)
        Path("out.txt").write_text(ended.out, encoding="utf-8")
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def prior(learned: Path) -> Path:
    """The prior, and two other hearts, in the folder of the test."""
    shutil.copy(learned / "p.safetensors", "p.safetensors")
    write_hearts(2, 2, folder="others")
    return Path("p.safetensors")
