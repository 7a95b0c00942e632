"""Maps larger than memory: a run that is interrupted after filtering does not filter again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_maps import vessels

from softmorph_cli.filters.operations.skeletonize import Skeleton
from softmorph_cli.io.writing import write
from softmorph_cli.pipeline.outputs import OutputOptions
from softmorph_cli.pipeline.process import process
from softmorph_cli.pipeline.process_tiled import TiledProcess
from softmorph_cli.tiled import TileProgress
from softmorph_cli.volume import Volume

SHAPE = (130, 140, 67)


def contents(store: Path) -> dict[str, bytes]:
    return {str(p.relative_to(store)): p.read_bytes() for p in store.rglob("*") if p.is_file()}


def test_a_run_interrupted_in_the_pyramid_does_not_filter_again(tmp_path: Path) -> None:
    source = tmp_path / "in.zarr"
    write(Volume(vessels(SHAPE, 4, noise=0.05).astype(np.float32), "ZYX", (2.0, 1.0, 1.0), "um"), source)
    step = Skeleton(levels=8, seed=3, method="sampled")

    def outputs(folder: str) -> tuple[Path, OutputOptions]:
        into = tmp_path / folder
        into.mkdir()
        return into / "out.zarr", OutputOptions(pyramid=True, standard_error=into / "error.zarr")

    whole, options = outputs("whole")
    process("skeletonize", source, whole, [step], options)
    target, options = outputs("tiles")
    seen = list[TileProgress]()

    def interrupt(progress: TileProgress) -> None:
        seen.append(progress)
        if progress.stage == "pyramid" and progress.done == 2:
            raise KeyboardInterrupt

    def run(resume: bool, progress: Any) -> None:
        how: dict[str, Any] = {"memory": 260_000_000, "scratch": tmp_path / "scratch", "resume": resume}
        TiledProcess("skeletonize", source, target, step, options, **how).run(progress)

    with pytest.raises(KeyboardInterrupt):
        run(False, interrupt)
    assert {one.stage for one in seen} == {"pass", "write", "pyramid"}
    assert not target.exists()
    again = list[TileProgress]()
    run(True, again.append)
    assert [(one.stage, one.total) for one in again] == [("pyramid", 5)] * len(again)
    assert len(again) <= 3
    for name in ("out.zarr", "error.zarr"):
        assert contents(target.with_name(name)) == contents(whole.with_name(name))
    assert sorted(path.name for path in tmp_path.rglob(".softmorph*")) == []
    assert not (tmp_path / "scratch").exists()
