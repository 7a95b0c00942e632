"""`filter_tiles` filters a map of any size in bounded memory; the result equals that of the whole map bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from softmorph_cli.errors import FileError
from softmorph_cli.filters.filter import SoftFilter
from softmorph_cli.filters.settings import Result
from softmorph_cli.io.blocks import BoxReader, BoxWriter
from softmorph_cli.system import machine
from softmorph_cli.tiled import manifest as manifests
from softmorph_cli.tiled.manifest import RunState, TileManifest
from softmorph_cli.tiled.multi_pass import MultiPass
from softmorph_cli.tiled.plan import TilePlan
from softmorph_cli.tiled.plane_store import DamagedError, written
from softmorph_cli.tiled.progress import OnTile
from softmorph_cli.tiled.region_backend import ValueTypes
from softmorph_cli.tiled.single_pass import TileFacts
from softmorph_cli.tiled.tile_boxes import Tiling
from softmorph_cli.tiled.tile_executor import TileExecutor
from softmorph_cli.tiled.tile_run import TileRun
from softmorph_cli.tiled.tile_worker import TileWorker
from softmorph_cli.tiled.tiled_filter import TiledFilter, tiled_filter

# Called with the result, and with a function that saves the inodes of the outputs that are being renamed, by path.
Finish = Callable[[Result, Callable[[Mapping[str, int]], None]], object]

_TEMPORARY: Final = ".softmorph-tiles-"


def filter_tiles(
    source: BoxReader,
    target: BoxWriter,
    chosen: SoftFilter,
    plan: TilePlan,
    *,
    scratch: Path | None = None,
    beside: Path | None = None,
    resume: bool = False,
    fingerprint: str = "",
    progress: OnTile | None = None,
    error_target: BoxWriter | None = None,
    finish: Finish | None = None,
    executor: TileExecutor | None = None,
) -> Result:
    """Filter a map tile by tile, and write the result to a target.

    Args:
        source: The map, from which boxes of voxels are read.
        target: The target that the result is written to: uint8 0 and 1 for a hard skeleton, else values of the
            source's floating-point type.
        chosen: The filter.
        plan: The shape of the tiles, their halo and the number of iterations per pass.
        scratch: A folder that stores the images of tiles between passes, for this run only. It is created if missing,
            emptied at the end (and removed, if a run created it), and kept when the run is interrupted. None for a
            temporary folder.
        beside: The parent of the temporary folder; None for the system's folder of temporary files.
        resume: Whether to resume an interrupted run with the same identity in the scratch folder. Tiles of its result
            that a target lacks are written again.
        fingerprint: A hash of the state of the source; a run with another fingerprint is not resumed.
        progress: A callback that is called after every tile.
        error_target: The target that the standard error of method `sampled` is written to.
        finish: A callback that is called when the targets have the whole result, before the scratch folder is emptied.
            If the callback is interrupted, a resumed run calls it without filtering again.
        executor: The executor that filters the tiles; None to filter them in this process.

    Returns:
        The filter's result (iterations, reason to stop, warnings), without an image.

    Raises:
        InputError: If the map is no probability map.
        FileError: If the scratch folder cannot be used.
        SoftmorphError: If the filter does not suit the map's shape, or cannot run on tiles.
    """
    work = tiled_filter(chosen, tuple(source.shape))
    kind = ValueTypes.of(source)
    threads = work.settings.threads or machine.threads()
    targets = [target] if error_target is None else [target, error_target]
    with _folder(scratch, beside) as folder:
        worker = TileWorker(work, plan, source, target, kind, folder, threads, error_target)

        def flush() -> None:
            if scratch is not None:  # a temporary folder is not resumed
                for one in targets:
                    one.flush()
                worker.store.flush()

        manifest = TileManifest(folder, _identity(work, plan, kind, fingerprint), flush)
        state, problem = manifest.load(len(worker.tiling), len(work.parts)) if resume else (RunState(), "")
        boxes = map(worker.tiling.core, state.written)
        if not all(one.resumed for one in targets) or not all(
            one.has(box) for box in boxes for one in targets
        ):
            state.written.clear()
            state.facts = TileFacts()
        executor = executor or TileExecutor()
        executor.check(worker)
        run_type = TileRun if plan.pass_length is None else MultiPass
        while True:
            run = run_type(worker, executor, manifest, state, progress or (lambda _: None))
            try:
                result = work.marked(run.run())
                result = replace(result, warnings=(*result.warnings, *([problem] if problem else [])))
                if finish is not None:
                    # If killed inside finish(), a resumed run restarts from here.
                    manifest.save(state)
                    finish(result, partial(_save_names, manifest, state))
                return result
            except DamagedError as error:
                if not resume or problem:
                    raise
                # Files of the interrupted run are damaged: the whole map is filtered again.
                cause = str(error).partition(";")[0]
                problem = f"{cause}: the interrupted run was not continued but begun anew."
                state = RunState()
            except BaseException:
                # After any interruption, a resumed run has the tiles that are done.
                with suppress(OSError):
                    manifest.save(state)
                raise


def resumable(
    source: BoxReader, chosen: SoftFilter, plan: TilePlan, *, scratch: Path, fingerprint: str = ""
) -> bool:
    """Return whether `filter_tiles` with these arguments would resume an interrupted run."""
    work = tiled_filter(chosen, tuple(source.shape))
    manifest = TileManifest(scratch, _identity(work, plan, ValueTypes.of(source), fingerprint))
    _, problem = manifest.load(len(Tiling(plan.shape, plan.tile)), len(work.parts))
    return not problem and manifest.path.exists()


def _save_names(manifest: TileManifest, state: RunState, inodes: Mapping[str, int]) -> None:
    state.named = dict(inodes)
    manifest.save(state)


def _identity(work: TiledFilter, plan: TilePlan, kind: ValueTypes, fingerprint: str) -> dict[str, object]:
    cut_as = {"tile": plan.tile, "halo": plan.halo, "pass_length": plan.pass_length}
    return {**work.identity(), **cut_as, "dtype": kind.own.name, "input": fingerprint}


@contextmanager
def _folder(scratch: Path | None, beside: Path | None) -> Iterator[Path]:
    if scratch is None:
        # A cancelled worker may still write a last file.
        with TemporaryDirectory(prefix=_TEMPORARY, dir=beside, ignore_cleanup_errors=True) as name:
            yield Path(name)
        return
    scratch = scratch.absolute()
    with written(scratch):
        made = not scratch.exists() or (scratch / manifests.NAME).exists()
        scratch.mkdir(parents=True, exist_ok=True)
        others = [entry.name for entry in scratch.iterdir() if not _ours(entry)]
    if others:
        raise FileError(f"{scratch} is not a scratch folder: it holds {others[0]}. Name a new or empty one.")
    yield scratch
    with suppress(OSError):
        # The manifest is removed last: it describes the other files.
        for path in sorted(scratch.iterdir(), key=lambda kept: kept.name == manifests.NAME):
            path.unlink()
        if made:
            scratch.rmdir()


def _ours(path: Path) -> bool:
    return path.suffix in (".planes", ".part") or path.name.startswith((manifests.NAME, ".softmorph-"))
