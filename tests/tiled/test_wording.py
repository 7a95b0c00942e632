"""Messages of tiles that another process works on."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from softmorph_cli.system.parameters import named, named_as_options
from softmorph_cli.tiled.crew import _TileWork
from softmorph_cli.tiled.tile_worker import Site


def advice(site: Site, item: int) -> str:
    return named("clip", True)


def test_another_process_names_parameters_as_this_one_does() -> None:
    nothing: Any = None
    work = _TileWork("run", Site(nothing, nothing, nothing, nothing, nothing, Path(), 1), advice, None)
    assert work(0) == "clip=True"
    with named_as_options():
        packed = pickle.dumps(_TileWork("run", work.site, advice, None))
    assert pickle.loads(packed)(0) == "--clip"
