"""Plans: maps are cut so that memory is enough, maps that cannot fit are refused; and reports of progress."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_boxes import ArrayReader, ArrayWriter
from helpers_filters import made
from helpers_maps import same_bits, vessels
from helpers_reference import where
from helpers_tiles import tiled, whole

from softmorph_cli.compiler.compile import DIAGRAM, compile_rule
from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.filters.settings import Settings
from softmorph_cli.rules.expression import constant
from softmorph_cli.rules.neighborhood import block
from softmorph_cli.rules.rulefile import loads
from softmorph_cli.tiled import filter_tiles, plan
from softmorph_cli.tiled.tiled_filter import iteration_reach, tiled_filter

MB = 10**6
LEVELS = made("skeletonize", Settings("levels"))


def test_halos_follow_from_the_rules() -> None:
    assert tiled_filter(LEVELS, (9, 9, 9)).reach == (6, 6, 6)
    assert tiled_filter(LEVELS, (9, 9)).reach == (4, 4)
    assert tiled_filter(LEVELS, (9, 9)).halo is None
    assert tiled_filter(made("apply", Settings("levels"), rule="thinning-subfields"), (9, 9, 9)).reach == (
        2,
        4,
        8,
    )
    assert tiled_filter(made("skeletonize", Settings("product"), iterations=5), (9, 9, 9)).halo == (
        30,
        30,
        30,
    )
    assert tiled_filter(made("opening", iterations=3), (9, 9)).halo == (6, 6)
    assert tiled_filter(made("gradient", iterations=3), (9, 9)).halo == (3, 3)
    assert tiled_filter(made("closing", radius=4, spacing=(2, 1, 4)), (9, 9, 9)).halo == (4, 8, 2)


@pytest.mark.parametrize(
    ("d", "schedule"), [(2, '"subfields"'), (3, '"subfields"'), (2, '["N", "S", "E"]'), (3, '["U", "D"]')]
)
def test_the_reach_of_an_iteration_is_exact(d: int, schedule: str) -> None:
    # A parity depends on every voxel of the neighbourhood.
    parity = " ^ ".join(map(str, map(list, block(d))))
    rule = loads(f'dimensions = {d}\naction = "set"\nwhen = "{parity}"\nschedule = {schedule}\n', name="r")
    farthest = np.zeros(d, int)
    for place in product((12, 13), repeat=d):
        mask = np.zeros((26,) * d, bool)
        mask[place] = True
        for sub_iteration in rule.sub_iterations:
            inside = where(replace(sub_iteration, expression=constant(True)), mask)
            mask = np.where(inside, where(sub_iteration, mask), mask)
        # Parities are linear, so the response to one voxel shows everything that it influences.
        farthest = np.maximum(farthest, np.abs(np.argwhere(mask) - place).max(axis=0))
    assert tuple(farthest) == iteration_reach(compile_rule(rule, DIAGRAM), d)


@pytest.mark.parametrize("memory", [300, 500, 2000, 16000])
@pytest.mark.parametrize("shape", [(768, 768, 768), (100, 3000, 2000), (40000, 30000)])
def test_plans_fit_and_are_aligned_to_chunks(memory: int, shape: tuple[int, ...]) -> None:
    found = plan(LEVELS, shape, memory=memory * MB, chunks=(16,) * len(shape))
    assert found.peak_bytes <= memory * MB
    assert all(t % 16 == 0 or t == s for t, s in zip(found.tile, shape, strict=True))
    assert found.seconds > 0
    assert found.scratch_bytes > 0


def test_fewer_levels_give_larger_tiles_and_less_disk_space() -> None:
    few = plan(made("skeletonize", Settings("levels", levels=8)), (768,) * 3, memory=500 * MB)
    many = plan(LEVELS, (768,) * 3, memory=500 * MB)
    assert few.scratch_bytes < many.scratch_bytes
    assert few.tiles < many.tiles


def test_ranked_values_take_more_than_planes() -> None:
    planes, finished, exact = (
        plan(made("skeletonize", settings), (768,) * 3, memory=500 * MB)
        for settings in (
            Settings("nested", finish=False),
            Settings("nested"),
            Settings("nested", levels="exact"),
        )
    )
    assert planes.scratch_bytes < finished.scratch_bytes < exact.scratch_bytes
    assert planes.seconds < finished.seconds < exact.seconds
    # Finishing has a larger reach along the last axis.
    assert finished.pass_length is not None
    assert finished.halo == tuple(finished.pass_length * reach for reach in (6, 6, 8))


def test_maps_that_cannot_fit_are_refused() -> None:
    with pytest.raises(
        InputError, match=r"too little memory for skeleton of a map of 768 × 768 × 768 voxels: at"
    ):
        plan(LEVELS, (768,) * 3, memory=50 * MB)
    with pytest.raises(InputError, match="stops by what all of the map does"):
        plan(made("skeletonize", Settings("product")), (768,) * 3)
    with pytest.raises(UsageError, match="filtered on the CPU"):
        plan(made("erosion", Settings(device="cuda")), (768,) * 3)


def test_values_that_are_no_probabilities_are_refused() -> None:
    image = np.full((30, 30), 0.5, np.float32)
    image[29, 29] = 1.5
    for spec in (LEVELS, made("erosion")):
        with pytest.raises(InputError, match=r"values from 0\.5 to 1\.5"):
            tiled(spec, image, (16, 16), 2 if spec is LEVELS else None)
    with pytest.raises(InputError, match="divide by the maximum"):
        tiled(LEVELS, image.astype(np.uint8), (16, 16), 2)


def test_only_tiles_that_can_still_change_are_visited() -> None:
    image = np.zeros((64, 64, 64), np.float32)
    image[4:20, 4:20, 4:24] = 0.9  # thick, in one corner; the rest is empty or thin
    image[50, 50, 30:60] = 0.8
    spec = made("skeletonize", hard=True)
    got = tiled(spec, image, (16, 16, 16), 1)
    assert same_bits(got.image, whole(spec, image).image)
    passes = [p for p in got.progress if p.stage == "pass"]
    visits = {p.passes: p.total for p in passes}
    assert visits[1] == 64
    assert max(visits[number] for number in visits if number > 1) < 30
    assert visits[max(visits)] <= 12
    assert [p.done for p in passes if p.passes == 2] == list(range(1, visits[2] + 1))
    assert passes[-1].live == 0
    assert passes[0].operation == "skeleton"


_MEASURED = """
import sys, numpy as np
from pathlib import Path
from softmorph_cli.filters.settings import Settings
from softmorph_cli.filters.operations.skeletonize import Skeleton
from softmorph_cli.tiled import filter_tiles, plan

folder, memory = Path(sys.argv[1]), int(sys.argv[2])

class Planes:  # read and written without mapping the file, whose pages would count as memory
    shape, chunks, resumed = (256,) * 3, (64,) * 3, False
    def read(self, box):
        out = np.empty([part.stop - part.start for part in box], np.float32)
        with (folder / "in.raw").open("rb") as file:
            for k, z in enumerate(range(box[0].start, box[0].stop)):
                file.seek(4 * 256 * 256 * z)
                out[k] = np.fromfile(file, np.float32, 256 * 256).reshape(256, 256)[box[1:]]
        return out
    def write(self, box, values):
        with (folder / "out.raw").open("r+b") as file:
            for z, plane in enumerate(values, box[0].start):
                for y, row in enumerate(plane, box[1].start):
                    file.seek(4 * (256 * (256 * z + y) + box[2].start))
                    file.write(row.tobytes())

(folder / "out.raw").write_bytes(b"")
with (folder / "out.raw").open("r+b") as file:
    file.truncate(4 * 256**3)
levels = sys.argv[3]
nested = Settings("nested", levels="exact" if levels == "exact" else int(levels)) if levels else Settings("levels")
skeleton = Skeleton.make({}, nested)
cut = plan(skeleton, Planes.shape, memory=memory, chunks=Planes.chunks)
result = filter_tiles(Planes(), Planes(), skeleton, cut)
peak = next(l for l in Path("/proc/self/status").read_text().splitlines() if l.startswith("VmHWM"))
print(result.iterations, 1024 * int(peak.split()[1]))
"""


@pytest.mark.heavy
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
@pytest.mark.parametrize("levels", ["", "16", "exact"])
def test_memory_stays_below_what_was_allowed(levels: str, tmp_path: Path) -> None:
    image = vessels((256, 256, 256), 4, branches=30, noise=0.05).astype(np.float32)
    if levels:
        # Almost no voxel of noise ever goes, so that every list is as long as it can be.
        image = np.random.default_rng(0).random(image.shape, np.float32)
    image.tofile(tmp_path / "in.raw")
    known: Any = "exact" if levels == "exact" else int(levels or 64)
    # Before, so that the kernels are compiled: that takes some 40 MB more, once on every machine.
    wanted = whole(made("skeletonize", Settings("nested" if levels else "levels", levels=known)), image)
    allowed = 300 * MB
    ended = subprocess.run(
        [sys.executable, "-c", _MEASURED, str(tmp_path), str(allowed), levels],
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ),
    )
    iterations, peak = map(int, ended.stdout.split())
    assert same_bits(np.fromfile(tmp_path / "out.raw", np.float32).reshape(image.shape), wanted.image)
    assert iterations == wanted.iterations
    assert peak < allowed


def test_a_run_of_a_plan_leaves_an_empty_scratch_folder(tmp_path: Path) -> None:
    image = vessels((40, 30, 50), 8).astype(np.float32)
    out = np.empty_like(image)
    cut = plan(LEVELS, image.shape, memory=400 * MB, chunks=(16, 16, 16))
    filter_tiles(ArrayReader(image, cut.tile), ArrayWriter(out), LEVELS, cut, scratch=tmp_path)
    assert same_bits(out, whole(LEVELS, image).image)
    assert list(tmp_path.iterdir()) == []
