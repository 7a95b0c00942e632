"""Small folders of maps, recipes and batches for tests."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from softmorph_cli.filters.operations.morphological import Erosion
from softmorph_cli.filters.settings import Settings
from softmorph_cli.pipeline.batch.plan import FileSelection
from softmorph_cli.pipeline.batch.recipe import Recipe
from softmorph_cli.pipeline.batch.request import BatchRequest
from softmorph_cli.pipeline.batch.task import FileTask
from softmorph_cli.pipeline.chain import filters
from softmorph_cli.system.parameters import Parameter
from softmorph_cli.volume import Volume

SIDE = 12


def recipe(*steps: str, **more: Any) -> Recipe:
    return replace(Recipe(tuple(filters(steps or ("erode",), Settings())), Settings()), **more)


def folder(path: Path, *names: str) -> Path:
    """Make a folder of small maps as .npy; other names become empty files."""
    for number, name in enumerate(names):
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".npy"):
            np.save(file, np.random.default_rng(number).random((SIDE,) * 3, dtype=np.float32))
        else:
            file.touch()
    return path


def request(tmp_path: Path, *steps: str, **more: Any) -> BatchRequest:
    """Return a batch from the folder `in` to the folder `out`."""
    return BatchRequest(FileSelection(tmp_path / "in", tmp_path / "out"), recipe(*steps), **more)


def task(source: Path, target: Path, made: Recipe | None = None) -> FileTask:
    return FileTask(source.name, source, target, made or recipe())


@dataclass(frozen=True, kw_only=True)
class FatalErosion(Erosion):
    """An erosion that kills its process, or ends it with status 3 where the signal is 0."""

    signal: Annotated[int, Parameter("", shell=False)] = signal.SIGKILL

    def prepare(self, volume: Volume) -> Volume:
        if not self.signal:
            os._exit(3)
        os.kill(os.getpid(), self.signal)
        time.sleep(60)
        raise AssertionError("the process was not killed")


@dataclass(frozen=True, kw_only=True)
class EndlessErosion(Erosion):
    """An erosion that creates a file and does not return."""

    mark: Annotated[str, Parameter("", shell=False)] = ""

    def prepare(self, volume: Volume) -> Volume:
        Path(self.mark).touch()
        time.sleep(60)
        raise AssertionError("the process was not ended")


@dataclass(frozen=True, kw_only=True)
class FatalOnB(Erosion):
    """An erosion that, for in/b.npy, leaves half of out/b.npy and writes its process's number into a file.

    It then waits to be killed if it is the first, returns if it is not, or kills itself each time.
    """

    mark: Annotated[str, Parameter("", shell=False)] = ""
    always: Annotated[bool, Parameter("", shell=False)] = False

    def prepare(self, volume: Volume) -> Volume:
        assert volume.source is not None
        source, mark = volume.source.path, Path(self.mark)
        if source.name == "b.npy" and (self.always or not mark.exists()):
            out = source.parent.parent / "out"
            (out / f".softmorph-{os.urandom(6).hex()}-b.npy").write_bytes(b"half")
            beside = mark.with_suffix(".new")
            beside.write_text(str(os.getpid()))
            beside.rename(mark)
            if self.always:
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)
        return volume
