"""Every writer on a disk that is full: one sentence, status 1, and what was there before, whole."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from helpers_cli import complaint, everything, random_map, run, save

INSPECT = ("inspect", "in.nii.gz", "-q")
# What is written, and the command; OUT stands for it.
WRITERS: dict[str, tuple[object, ...]] = {
    "out.nii": ("erode", "in.nii.gz", "OUT"),
    "out.nii.gz": ("erode", "in.nii.gz", "OUT"),
    "out.tif": ("erode", "in.nii.gz", "OUT"),
    "out.ome.tif": ("erode", "in.nii.gz", "OUT"),
    "out.npy": ("erode", "in.nii.gz", "OUT"),
    "out.nrrd": ("erode", "in.nii.gz", "OUT"),
    "out.mha": ("erode", "in.nii.gz", "OUT"),
    "labels.mha": ("threshold", "in.nii.gz", "OUT", "--labels"),
    "out.png": ("erode", "flat.npy", "OUT"),
    "out.zarr": ("erode", "in.nii.gz", "OUT"),
    "pyramid.zarr": ("erode", "in.nii.gz", "OUT", "--pyramid"),
    "tiles.zarr": ("erode", "in.nii.gz", "OUT", "--memory", "1GB", "--iterations", 1),
    "labels.nii.gz": ("threshold", "in.nii.gz", "OUT", "--labels"),
    "stats.json": ("stats", "in.nii.gz", "--json-file", "OUT"),
    "stats.csv": ("stats", "in.nii.gz", "--csv", "OUT"),
    "curve.png": ("stats", "in.nii.gz", "--preview", "OUT"),
    "preview.png": (*INSPECT, "--preview", "OUT"),
    "page.html": (*INSPECT, "--report", "OUT"),
    "branches.csv": (*INSPECT, "--csv", "OUT"),
    "graph.graphml": (*INSPECT, "--graphml", "OUT"),
    "tree.swc": (*INSPECT, "--swc", "OUT"),
    "lines.obj": (*INSPECT, "--obj", "OUT"),
    "shapes.csv": (*INSPECT, "--shapes", "OUT"),
    "pairs.csv": ("evaluate", "in.nii.gz", "in.nii.gz", "--csv", "OUT", "--metrics", "dice"),
}


@pytest.fixture(scope="module", autouse=True)
def _compiled(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("warm")
    np.save(folder / "in.npy", random_map((5, 6, 7)))
    run("erode", folder / "in.npy", folder / "out.npy")
    run("inspect", folder / "in.npy", "-q")


@pytest.fixture(autouse=True)
def _maps(here: Path) -> None:
    z, y, x = np.indices((18, 20, 22))
    tube = np.exp(-((y - 10 + np.sin(z / 3)) ** 2 + (x - 11) ** 2) / 6)
    save("in.nii.gz", (tube * (0.9 + 0.1 * random_map(tube.shape))).astype(np.float32))
    save("flat.npy", random_map((60, 70)))


@contextmanager
def no_more_than(size: int) -> Iterator[None]:
    """Let no file grow larger; Python itself ignores the signal that comes with it."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def largest(path: Path) -> int:
    return max(one.stat().st_size for one in (path, *path.rglob("*")) if one.is_file())


def fill(path: Path) -> None:
    """Write until the disk is full."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    with suppress(OSError):
        while True:
            os.write(descriptor, bytes(1 << 12))
    os.close(descriptor)


@pytest.mark.posix
@pytest.mark.parametrize("name", WRITERS)
def test_a_file_that_may_not_grow(name: str) -> None:
    words = [name if word == "OUT" else word for word in WRITERS[name]]
    run(*words)
    before = everything()
    # Not up to the last byte: a document states its durations, whose number of digits varies.
    for size in (0, 1, largest(Path(name)) // 2, largest(Path(name)) * 9 // 10):
        with no_more_than(size):
            ended = run(*words, "--force", code=1)
        assert name in complaint(ended.err)
        assert everything() == before


@pytest.mark.linux
@pytest.mark.parametrize("name", WRITERS)
def test_a_disk_without_a_byte_left(name: str, here: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk takes root; files that may not grow are tested without")
    disk = here / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("this system lets nobody mount a small disk; files that may not grow are tested without")
    try:
        words = [f"disk/{name}" if word == "OUT" else word for word in WRITERS[name]]
        run(*words)
        fill(disk / "filler")
        before = everything()
        ended = run(*words, "--force", code=1)
        assert "the disk is full" in complaint(ended.err)
        assert everything() == before
    finally:
        subprocess.run(["umount", str(disk)], check=True)
