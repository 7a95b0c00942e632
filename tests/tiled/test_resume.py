"""An interrupted run is resumed where it was, and only if it is the same run."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_boxes import ArrayReader, ArrayWriter
from helpers_filters import made
from helpers_maps import same_bits, vessels
from helpers_tiles import StopError, Tiled, cut_by_hand, tiled, until, whole

from softmorph_cli.errors import FileError
from softmorph_cli.filters.filter import MASK, SoftFilter
from softmorph_cli.filters.settings import Result, Settings
from softmorph_cli.tiled import InterruptedRun, TileProgress, filter_tiles
from softmorph_cli.tiled.manifest import NAME, RunState, TileManifest
from softmorph_cli.tiled.tiled_filter import tiled_filter

MAP = vessels((44, 51, 60), 3, branches=8, noise=0.1).astype(np.float32)
LEVELS = made("skeletonize", Settings("levels", levels=128))
TILE, LENGTH = (16, 24, 24), 2


def run(
    spec: SoftFilter,
    out: np.ndarray,
    length: int | None,
    scratch: Path,
    *,
    target_kept: bool = False,
    **more: Any,
) -> Result:
    plan, target = cut_by_hand(spec, MAP.shape, TILE, length), ArrayWriter(out, resumed=target_kept)
    return filter_tiles(ArrayReader(MAP), target, spec, plan, scratch=scratch, **more)


@pytest.mark.parametrize(
    "spec",
    [
        LEVELS,
        made("skeletonize", Settings("nested")),
        made("skeletonize", Settings("nested", levels="exact", prune_contrast=0.05)),
        made("skeletonize", hard=True, threshold=0.4),
    ],
    ids=["levels", "nested", "exact", "hard"],
)
def test_a_run_interrupted_anywhere_has_the_same_result(spec: SoftFilter, tmp_path: Path) -> None:
    undisturbed: Tiled = tiled(spec, MAP, TILE, LENGTH)
    kinds = [(one.stage, one.part) for one in undisturbed.progress]
    total = len(kinds)
    rng = np.random.default_rng(1)
    # The first and the last report of every part and stage, and two at random.
    ends = [kinds.index(kind) + 1 for kind in dict.fromkeys(kinds)]
    stops = {*ends, *(end - 1 for end in ends[1:]), *(rng.choice(total, 2, replace=False) + 1)}
    for first in sorted(map(int, stops)):
        scratch, out = tmp_path / f"s{first}", np.zeros_like(MAP, np.uint8 if spec.gives == MASK else None)
        seen: list[Any] = []
        with pytest.raises(StopError):
            run(spec, out, LENGTH, scratch, progress=until(first, seen))
        second: list[Any] = []
        more: Any = {"resume": True, "target_kept": True}
        if total - first > 3:
            with pytest.raises(StopError):
                run(spec, out, LENGTH, scratch, progress=until(3, second), **more)
        result = run(spec, out, LENGTH, scratch, progress=second.append, **more)
        assert same_bits(out, undisturbed.image)
        assert (result.iterations, result.stop_reason) == (undisturbed.result.iterations, "stable")
        assert result.finished == undisturbed.result.finished
        # No tile was done twice, and the scratch folder is removed.
        assert len(seen) + len(second) == total
        assert result.warnings == ()
        assert not scratch.exists()


def test_only_images_that_are_still_needed_are_kept(tmp_path: Path) -> None:
    """When all tiles of the second part have been written once, the images of the first are removed."""
    spec, parts = made("skeletonize", Settings("nested")), list[tuple[int, set[str]]]()

    def look(progress: TileProgress) -> None:
        if progress.part == "finishing":
            parts.append((progress.passes, {path.name[0] for path in (tmp_path / "s").glob("*.planes")}))

    run(spec, np.zeros_like(MAP), LENGTH, tmp_path / "s", progress=look)
    assert next(kept for passes, kept in parts if passes == 1) == {"0", "1"}
    assert {"".join(kept) for passes, kept in parts if passes > 1} == {"1"}


def test_a_run_of_level_sets_of_an_earlier_version_is_resumed(tmp_path: Path) -> None:
    scratch, out, first, rest = tmp_path / "s", np.zeros_like(MAP), list[Any](), list[Any]()
    with pytest.raises(StopError):
        run(LEVELS, out, LENGTH, scratch, progress=until(30, first))
    manifest = scratch / NAME
    content = json.loads(manifest.read_text())
    content["state"]["words"] = content["state"].pop("courses")
    content["identity"]["settings"] |= {"smooth_levels": 16, "sharpness": 20.0, "seed": 0, "tolerance": 0.02}
    del content["sum"], content["state"]["named"]
    manifest.write_text(json.dumps(content))
    result = run(LEVELS, out, LENGTH, scratch, resume=True, progress=rest.append)
    assert result.warnings == ()
    assert same_bits(out, whole(LEVELS, MAP).image)
    assert len(first) + len(rest) == len(tiled(LEVELS, MAP, TILE, LENGTH).progress)


def test_a_lost_target_is_written_again(tmp_path: Path) -> None:
    undisturbed = tiled(LEVELS, MAP, TILE, LENGTH)
    out, seen = np.zeros_like(MAP), list[Any]()
    with pytest.raises(StopError):
        run(LEVELS, out, LENGTH, tmp_path / "s", progress=until(len(undisturbed.progress) - 2, seen))
    out[...] = 0
    run(LEVELS, out, LENGTH, tmp_path / "s", resume=True)
    assert same_bits(out, undisturbed.image)


def test_tiles_of_a_single_pass_are_not_filtered_again(tmp_path: Path) -> None:
    spec = made("tophat", Settings("multilinear"), iterations=2)
    out, seen, rest = np.zeros_like(MAP), list[Any](), list[Any]()
    with pytest.raises(StopError):
        run(spec, out, None, tmp_path / "s", progress=until(5, seen))
    result = run(spec, out, None, tmp_path / "s", progress=rest.append, resume=True, target_kept=True)
    wanted = whole(spec, MAP)
    assert same_bits(out, wanted.image)
    assert result.warnings == wanted.warnings
    assert len(seen) + len(rest) == len(tiled(spec, MAP, TILE).progress)


@pytest.mark.parametrize("change", ["levels", "input", "broken", "cut short"])
def test_another_run_is_not_resumed_and_a_warning_says_so(change: str, tmp_path: Path) -> None:
    scratch, out, spec = tmp_path / "s", np.zeros_like(MAP), LEVELS
    with pytest.raises(StopError):
        run(LEVELS, out, LENGTH, scratch, progress=until(20, []), fingerprint="a")
    manifest, fingerprint = scratch / NAME, "a"
    wanted = "is damaged: the interrupted run was not continued but begun anew"
    if change == "levels":
        spec, wanted = made("skeletonize", Settings("levels", levels=64)), "another settings: it was not"
    elif change == "input":
        fingerprint, wanted = "b", "another input: it was not continued but begun anew"
    elif change == "broken":
        manifest.write_text("{}")
    else:
        manifest.write_text(manifest.read_text()[:-20])
    result = run(spec, out, LENGTH, scratch, resume=True, fingerprint=fingerprint)
    assert same_bits(out, whole(spec, MAP).image)
    assert wanted in result.warnings[0]


@pytest.mark.parametrize("damage", ["missing", "short", "altered"])
def test_a_damaged_image_between_passes_restarts_the_run(damage: str, tmp_path: Path) -> None:
    scratch, out = tmp_path / "s", np.zeros_like(MAP)
    with pytest.raises(StopError):
        run(LEVELS, out, LENGTH, scratch, progress=until(30, []))
    for path in scratch.glob("*.planes"):
        kept = path.read_bytes()
        if damage == "missing":
            path.unlink()
        elif damage == "short":
            path.write_bytes(kept[: len(kept) // 2])
        else:
            path.write_bytes(kept[:-1500] + bytes(1500))
    result = run(LEVELS, out, LENGTH, scratch, resume=True)
    (warning,) = result.warnings
    assert "what was kept between passes is missing or damaged" in warning
    assert warning.endswith("the interrupted run was not continued but begun anew.")
    assert same_bits(out, whole(LEVELS, MAP).image)
    assert not scratch.exists()


def test_without_resume_a_run_starts_again(tmp_path: Path) -> None:
    scratch, out, seen = tmp_path / "s", np.zeros_like(MAP), list[Any]()
    with pytest.raises(StopError):
        run(LEVELS, out, LENGTH, scratch, progress=until(20, []))
    run(LEVELS, out, LENGTH, scratch, progress=seen.append)
    assert len(seen) == len(tiled(LEVELS, MAP, TILE, LENGTH).progress)


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(FileError, match=r"not a scratch folder: it holds thesis\.txt"):
        run(LEVELS, np.zeros_like(MAP), LENGTH, tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


WRONG: list[Any] = [
    None,
    "x",
    "1",
    1.5,
    float("nan"),
    -1,
    True,
    [],
    {},
    [[]],
    [float("inf")],
    {"a": []},
    10**400,
]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value of a document; of lists, of the first and the last item only."""
    yield path
    if isinstance(value, dict):
        for key, one in value.items():
            yield from places(one, (*path, key))
    elif isinstance(value, list):
        for number in sorted({0, len(value) - 1}) if value else ():
            yield from places(value[number], (*path, number))


def changed(value: Any, path: tuple[Any, ...], wrong: Any) -> Any:
    if not path:
        return wrong
    copy = list(value) if isinstance(value, list) else dict(value)
    copy[path[0]] = changed(value[path[0]], path[1:], wrong)
    return copy


SMALL, QUICK = MAP[:20, :22, :24], made("skeletonize", Settings("levels", levels=8))


def quick(out: np.ndarray, scratch: Path, **more: Any) -> Result:
    plan = cut_by_hand(QUICK, SMALL.shape, (10, 11, 24), LENGTH)
    return filter_tiles(ArrayReader(SMALL), ArrayWriter(out), QUICK, plan, scratch=scratch, **more)


@pytest.mark.parametrize("stage", ["pass", "write"])
@pytest.mark.parametrize("summed", [True, False], ids=["with its checksum", "of an older version"])
def test_a_manifest_with_a_value_of_a_wrong_type_restarts_the_run(
    stage: str, summed: bool, tmp_path: Path
) -> None:
    """Also without a checksum, as in earlier versions."""
    scratch, out = tmp_path / "s", np.zeros_like(SMALL)

    def stop(progress: TileProgress) -> None:
        if (progress.stage, progress.done) == (stage, 2):
            raise StopError

    with pytest.raises(StopError):
        quick(out, scratch, progress=stop)
    path = scratch / NAME
    content = json.loads(path.read_text())
    tiles, parts = len(content["state"]["courses"][0]["version"]), len(tiled_filter(QUICK, SMALL.shape).parts)
    manifest = TileManifest(
        scratch, {name: value for name, value in content["identity"].items() if name != "edition"}
    )
    state, problem = manifest.load(tiles, parts)
    assert problem == ""
    assert state.courses
    if not summed:
        del content["sum"]
    for place in places(content):
        for wrong in WRONG:
            path.write_text(json.dumps(changed(content, place, wrong)))
            state, problem = manifest.load(tiles, parts)
            known = InterruptedRun(scratch)
            if place[:2] == ("identity", "settings"):
                known.other_default(QUICK, SMALL.shape)
            if problem:
                assert problem.endswith("begun anew."), (place, wrong)
                assert state == RunState()
            else:
                # Numbers and flags of the right type, and values that may be empty.
                may = (int, bool, list, dict, type(None), *([float] if "facts" in place else []))
                assert type(wrong) in may, (place, wrong)
                check_types(state)
    path.write_text("[1, 2]")
    assert "is damaged" in quick(out, scratch, resume=True).warnings[0]
    assert same_bits(out, whole(QUICK, SMALL).image)


def check_types(state: RunState) -> None:
    def count(*values: Any) -> bool:
        return all(type(value) is int and value >= 0 for value in values)

    def live(corners: Any) -> bool:
        return corners is None or all(len(pair) == 2 and count(*pair) for pair in corners)

    assert count(*state.written, *state.named.values())
    assert {type(value) for value in asdict(state.facts).values()} == {float}
    for course in state.courses:
        assert count(course.passes, course.iterations, course.last, *course.version, *course.done)
        assert {type(value) for value in course.dead} == {bool}
        assert all(live(one) for one in course.live)
        assert all(live(box) and type(new) is type(dead) is bool for box, new, dead in course.done.values())


@pytest.mark.parametrize("length", [-2, -(2**62), 2**62])
def test_impossible_lengths_of_pieces_are_damage(length: int, tmp_path: Path) -> None:
    scratch, out = tmp_path / "s", np.zeros_like(SMALL)
    with pytest.raises(StopError):
        quick(out, scratch, progress=until(6, []))
    for path in scratch.glob("*.planes"):
        content = path.read_bytes()
        path.write_bytes(struct.pack("<q", length) + content[8:])
    result = quick(out, scratch, resume=True)
    assert "is missing or damaged (its pieces do not fill it)" in result.warnings[0]
    assert same_bits(out, whole(QUICK, SMALL).image)
