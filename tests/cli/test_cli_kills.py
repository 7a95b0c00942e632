"""SIGKILL, as a cluster's scheduler or the kernel sends it: the run that goes on ends with the same bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers_cli import random_map, save
from helpers_kills import Killed, kill_and_go_on

INSTANTS = 20


def check(found: list[Killed], *, left: bool = False) -> None:
    assert len(found) == INSTANTS
    for one in found:
        assert one.killed == -9, one
        assert one.status == 0, (one, Path("log.txt").read_text()[-2000:])
        assert one.equal, one
        assert left or not one.left, one


def test_a_batch() -> None:
    Path("in").mkdir()
    for number in range(4):
        save(f"in/{number}.nii.gz", random_map((8, 9, 10), number))
    words = ["batch", "in", "out", "erode", "--workers", "1", "-q"]
    names = [f"out/{number}.nii.gz" for number in range(4)]
    check(kill_and_go_on(words, [*words, "--resume"], same=names, clear=["out"], count=INSTANTS))


def test_a_run_in_tiles() -> None:
    save("in.npy", random_map((24, 25, 26)))
    words = ["skeletonize", "in.npy", "out.ome.zarr", "--levels", "8", "--memory", "1GB", "--scratch", "scratch"]
    words += ["--stats", "s.json", "--preview", "p.png", "-q"]
    found = kill_and_go_on(
        words,
        [*words, "--resume"],
        same=["out.ome.zarr"],
        clear=["out.ome.zarr", "s.json", "p.png"],
        count=INSTANTS,
        done="out.ome.zarr exists already",
    )
    check(found)


@pytest.mark.parametrize("target", ["out.nii.gz", "out.ome.zarr"])
def test_a_chain(target: str) -> None:
    np.save("in.npy", random_map((10, 11, 12)))
    words = ["chain", "in.npy", target, "close:iterations=1", "fill", "--stats", "s.json", "-q"]
    found = kill_and_go_on(
        words, [*words, "--force"], same=[target], clear=[target, "s.json"], count=INSTANTS
    )
    check(found)
