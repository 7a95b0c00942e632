"""Messages of tiles that another process works on."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from softmorph_cli.system.parameters import named, named_as_options
from softmorph_cli.tiled.tile_executor import _TileFunction
from softmorph_cli.tiled.tile_worker import TileWorker


def advice(worker: TileWorker, item: int) -> str:
    return named("clip", True)


def test_another_process_names_parameters_as_this_one_does() -> None:
    nothing: Any = None
    work = _TileFunction(
        "run", TileWorker(nothing, nothing, nothing, nothing, nothing, Path(), 1), advice, None
    )
    assert work(0) == "clip=True"
    with named_as_options():
        packed = pickle.dumps(_TileFunction("run", work.worker, advice, None))
    assert pickle.loads(packed)(0) == "--clip"
