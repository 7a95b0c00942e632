"""From a file to an OME-Zarr tile by tile: maps larger than memory, with the same result and the same document."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from softmorph_cli.errors import FileError, SoftmorphError, UsageError
from softmorph_cli.filters.filter import TILES, Filter, SoftFilter
from softmorph_cli.filters.settings import Result
from softmorph_cli.io import create_blocks, documents, open_blocks
from softmorph_cli.io.blocks import Blocks
from softmorph_cli.io.formats import read_raw, suffix_of
from softmorph_cli.io.options import ReadOptions
from softmorph_cli.io.storing import chunks_of_tiles
from softmorph_cli.level_sets import nested_levels
from softmorph_cli.metrics.statistics import Statistics, summarize
from softmorph_cli.pipeline import describe
from softmorph_cli.pipeline.perform import Done
from softmorph_cli.pipeline.process import Outputs, Processed
from softmorph_cli.system import machine
from softmorph_cli.system.files import is_store, not_written, partial, replacing
from softmorph_cli.tiled.crew import Crew
from softmorph_cli.tiled.manifest import NAME, cut_of, other_default
from softmorph_cli.tiled.plan import BASE, Plan, plan
from softmorph_cli.tiled.progress import Report, TileProgress
from softmorph_cli.tiled.region_backend import share_one_heap
from softmorph_cli.tiled.run import filter_tiles, interrupted
from softmorph_cli.volume import Volume

if TYPE_CHECKING:
    from softmorph_cli.workers.cluster import Cluster, ClusterOptions

# What looks at all of a map holds of it at once: in voxels at most and at least, and bytes of memory for each.
SLAB: Final = 2**26
LEAST: Final = 2**20
SHARE: Final = 20
_OPTIONS: Final = "--memory, --scratch, --resume, --scheduler and --local-cluster"


@dataclass(frozen=True)
class Large:
    """How a map larger than memory is worked on.

    Attributes:
        memory: Bytes that the process may take, or each process of a cluster; None for most of what the machine
            allows.
        scratch: A folder for what lies between passes; None for a temporary one.
        resume: Whether to go on where an interrupted run with the same scratch folder was.
        where: Which cluster works on the tiles; None for this process alone.
    """

    memory: int | None = None
    scratch: Path | None = None
    resume: bool = False
    where: ClusterOptions | None = None


@dataclass(frozen=True)
class Prepared:
    """A map, and how it will be filtered.

    Attributes:
        blocks: The map.
        step: What is done to it, its threshold a level of the map where that is a nested skeleton.
        notes: What a person should know about that.
        filter: The same on the grid of the map.
        plan: How the map is cut.
        goes_on: Whether that is how an interrupted run cut it that is to go on.
        crew: Who works on the tiles.
        leave: Ends what was started or asked for to work on them.
        kind: The type that the result is stored as.
    """

    blocks: Blocks
    step: Filter
    notes: tuple[str, ...]
    filter: SoftFilter
    plan: Plan
    goes_on: bool
    crew: Crew
    leave: Callable[[], None]
    kind: str


@contextmanager
def prepared(
    source: Path,
    step: Filter,
    outputs: Outputs,
    large: Large,
    reading: ReadOptions,
    tell: Callable[[str], None] = lambda note: None,
) -> Iterator[Prepared]:
    """Open a map, find who works on it and decide how it is cut; nothing is computed.

    Raises:
        UsageError: If the step, an output or an option does not go with tiles.
        SoftmorphError: If the map cannot be opened, memory is too little for any tile, or a cluster is not there.
    """
    if not step.takes_tiles:
        raise UsageError(f"{step.operation} takes the whole map: leave out {_OPTIONS}.")
    if large.resume and large.scratch is None:
        raise UsageError("--resume needs the --scratch DIR of the run that was interrupted.")
    for path in (outputs.target, outputs.standard_error):
        if path is not None and suffix_of(path) not in (".zarr", ".ome.zarr"):
            raise UsageError(
                f"{path}: tile by tile, as on a cluster, an OME-Zarr is written; end its name with .zarr."
            )
    # Whatever needs all of the map at once.
    for name in ("stages", "renormalize", "argmax"):
        if getattr(outputs, name):
            raise UsageError(
                f"--{name.replace('_', '-')} needs the whole map: leave it out, or leave out {_OPTIONS}."
            )
    # Before anything of the store is read: that is when its threads start.
    share_one_heap()
    blocks = open_blocks(source, reading)
    step, nearest = step.settled(nested_levels(blocks.source.provenance))
    assert isinstance(step, SoftFilter)
    chosen = step.on_grid(blocks)
    like = None
    if large.resume and large.scratch is not None:
        _check_default(large.scratch, chosen, blocks.shape)
        like = cut_of(large.scratch)
    with ExitStack() as stack:
        crew = Crew()
        memory = large.memory
        if large.where is not None:
            cluster = stack.enter_context(_cluster(large.where, memory, chosen.threads, tell))
            chosen = replace(chosen, threads=cluster.threads)
            most = cluster.memory
            if most is not None:
                memory = most * 3 // 4 if memory is None else min(memory, most)
            written = [path.parent for path in (outputs.target, outputs.standard_error) if path is not None]
            advice = "start again, with --scratch DIR to be able to go on"
            if large.scratch is not None:
                advice = "what is done stays done, and the same command with --resume goes on"
            crew = Crew(cluster, _sources(source, reading), written, advice)
        cut = plan(chosen, blocks.shape, memory=memory, chunks=blocks.chunks, workers=crew.workers, like=like)
        goes_on = (cut.tile, cut.halo, cut.pass_length) == like
        kind = outputs.stored([step]) or "float32"
        yield Prepared(blocks, step, nearest, chosen, cut, goes_on, crew, stack.close, kind)


def _check_default(scratch: Path, chosen: SoftFilter, shape: tuple[int, ...]) -> None:
    method = other_default(scratch, chosen, shape)
    if method is not None:
        raise UsageError(
            f"{scratch} is of a run with --method {method}, which is not the default: add --method {method} beside "
            "--resume to continue it, or name another --scratch."
        )


@contextmanager
def _cluster(
    where: ClusterOptions, memory: int | None, threads: int | None, tell: Callable[[str], None]
) -> Iterator[Cluster]:
    from softmorph_cli.workers.cluster import connected

    allowed = machine.memory()
    if where.scheduler is None and where.workers is None and memory is not None and allowed is not None:
        wanted = max(1, machine.threads() // (threads or 1))
        fitting = max(1, min(wanted, allowed // memory))
        if fitting < wanted:
            tell(
                f"{fitting} processes instead of {wanted}: each may take --memory, and this machine has no more."
            )
        where = replace(where, workers=fitting)
        threads = threads or max(1, machine.threads() // fitting)
    with connected(where, memory=memory, threads=threads, tell=tell) as cluster:
        yield cluster


def process_tiled(
    command: str,
    source: Path,
    step: Filter,
    outputs: Outputs,
    large: Large,
    *,
    reading: ReadOptions | None = None,
    progress: Report | None = None,
    tell: Callable[[str], None] = lambda note: None,
) -> Processed:
    """Run one step on a file tile by tile; the result is bit for bit that of `process`.

    Args:
        command: As for `process`.
        source: OME-Zarr, TIFF, uncompressed NIfTI or .npy; others are read whole.
        step: The step.
        outputs: The target is an .ome.zarr or .zarr.
        large: How.
        reading: How it is read.
        progress: Called after every tile.
        tell: Called with each note of the reader.

    Raises:
        SoftmorphError: As `prepare`, or if anything is refused or fails; the target is then as it was before.
    """
    reading = reading or ReadOptions()
    started = time.perf_counter()
    with prepared(source, step, outputs, large, reading, tell) as ready:
        differ = ready.blocks.told(_voxels(large.memory)) if step.cuts else ()
        for message in (*ready.blocks.notes, *differ, *describe.over_input(source, outputs.target)):
            tell(message)
        read_seconds = time.perf_counter() - started

        def told(result: Result, lost: Sequence[str], made: Blocks, filter_seconds: float) -> Processed:
            """Measure what was made, while it does not have its name yet: IN may have the same."""
            blocks, settled, begun = ready.blocks, ready.step, time.perf_counter()
            warnings = [
                *settled.ineffective(),
                *settled.concerns(_place(blocks), TILES),
                *result.warnings,
                *lost,
            ]
            before, after = (_measured(one, large.memory) for one in (blocks, made))
            place, filtered = _place(blocks), {"seconds": filter_seconds}
            report = describe.step(settled, Done(place, place, result), **filtered) | {
                "tiles": asdict(ready.plan)
            }
            shape = {"shape": list(blocks.shape)}
            document = {
                **documents.head(),
                "input": documents.described(place) | shape | {"read_with": reading.as_json},
                "output": describe.output(outputs.target, place, ready.kind) | shape,
                "steps": [report],
                "before": before.as_dict(),
                "after": after.as_dict(),
                "change": None,
                "device": "cpu",
                "seconds": {
                    "read": read_seconds,
                    "filter": filter_seconds,
                    "measure": time.perf_counter() - begun,
                },
                "warnings": warnings,
            }
            notes = [*ready.notes]
            if nested_levels(made.source.provenance) is None:
                notes += settled.remarks(before.components_above_half, after.components_above_half)
            return Processed(document, before, after, (result,), tuple(notes), tuple(warnings))

        return _filter(command, source, outputs, large, ready, reading, progress, told)


def _filter(
    command: str,
    source: Path,
    outputs: Outputs,
    large: Large,
    ready: Prepared,
    reading: ReadOptions,
    progress: Report | None,
    told: Callable[[Result, Sequence[str], Blocks, float], Processed],
) -> Processed:
    """Filter a map, and give all outputs their names when all of them are ready.

    Args:
        command: As for `process_tiled`, and so all others but the last.
        source: The file.
        outputs: What is written.
        large: How.
        ready: The map, and how it is cut.
        reading: How it is read.
        progress: Called after every tile.
        told: Makes the document of the filter's result, what the files cannot keep, what was made and the seconds.
    """
    started = time.perf_counter()
    blocks, step, shown = ready.blocks, ready.step, reading.as_json
    fingerprint = _fingerprint(_sources(source, reading), shown)
    if large.resume and ready.goes_on and large.scratch is not None:
        begun = interrupted(blocks, ready.filter, ready.plan, scratch=large.scratch, fingerprint=fingerprint)
        if begun is not None:
            _take_names_back(outputs, begun.named)
    create: dict[str, Any] = {
        "force": outputs.force,
        "keep": large.scratch is not None,
        # What is cut otherwise begins anew.
        "resume": large.resume and ready.goes_on,
        "chunks": chunks_of_tiles(blocks.shape, blocks.axes, ready.plan.tile),
        "provenance": _provenance(command, step, shown),
    }
    processed: Processed | None = None
    with ExitStack() as beside, ExitStack() as stores:
        errors = None
        if outputs.standard_error is not None:
            errors = stores.enter_context(create_blocks(outputs.standard_error, blocks, **create))
        # It takes its name first: what may still fail of it does so before the errors have theirs.
        written = stores.enter_context(
            create_blocks(
                outputs.target,
                blocks,
                dtype=ready.kind,
                pyramid=outputs.pyramid,
                memory=max(1, large.memory - BASE) if large.memory else None,
                **create,
            )
        )
        targets = [one for one in (written, errors) if one is not None]
        # Before a folder is removed that some worker may still be writing to.
        stores.callback(ready.leave)

        def coarser(done: int, total: int) -> None:
            if progress is not None:
                progress(TileProgress(step.operation, "pyramid", done, done, total))

        def finish(result: Result, write_down: Callable[[Mapping[str, int]], None]) -> None:
            nonlocal processed
            for one in targets:
                one.complete(coarser)
            ready.leave()
            lost = [sentence for one in targets for sentence in one.lost]
            made = open_blocks(written.folder)
            processed = told(result, lost, made, time.perf_counter() - started)
            places = {outputs.target: written.folder}
            if outputs.standard_error is not None and errors is not None:
                places[outputs.standard_error] = errors.folder
            if outputs.preview is not None:
                place = beside.enter_context(replacing(outputs.preview, force=outputs.force))
                with _naming(outputs.preview, outputs.target if large.scratch else None):
                    _preview(command, source, step, blocks, made, place)
                places[outputs.preview] = place
            if outputs.stats is not None:
                place = beside.enter_context(replacing(outputs.stats, force=outputs.force))
                with _naming(outputs.stats, outputs.target if large.scratch else None):
                    documents.write(processed.document, place)
                places[outputs.stats] = place
            # Into pipes and devices, what was written elsewhere is copied.
            write_down(
                {
                    str(path): place.stat().st_ino
                    for path, place in places.items()
                    if place.parent == path.resolve().parent
                }
            )
            stores.close()
            beside.close()

        def flush() -> None:
            for one in targets:
                one.flush()

        far = large.where is not None and large.where.scheduler is not None
        filter_tiles(
            blocks,
            written,
            ready.filter,
            scratch=large.scratch,
            # A temporary folder of this machine is not that of another one.
            beside=outputs.target.resolve().parent if far else None,
            resume=large.resume,
            fingerprint=fingerprint,
            target_kept=all(one.resumed for one in targets),
            has=lambda box: all(one.has(box) for one in targets),
            progress=progress,
            error_target=errors,
            plan=ready.plan,
            flush=flush,
            finish=finish,
            crew=ready.crew,
        )
    assert processed is not None
    return processed


@contextmanager
def _naming(path: Path, kept: Path | None) -> Iterator[None]:
    """Name this file in the error where it cannot be written, not the store that is open at the same time.

    Args:
        path: The file.
        kept: The store, if what was written of it is kept.
    """
    try:
        yield
    except FileError:
        raise
    except OSError as error:
        raise not_written(path, error, kept=None if kept is None else partial(kept)) from error


def taken(outputs: Outputs, named: Mapping[str, int]) -> list[Path]:
    """Return the outputs that an interrupted run had finished when it ended: nobody has replaced them since.

    Args:
        outputs: What is written.
        named: As `State.named`.
    """
    found = []
    for path in (outputs.target, *outputs.beside):
        with suppress(OSError):
            if path.stat().st_ino == named.get(str(path)):
                found.append(path)
    return found


def complete(
    command: str, source: Path, step: Filter, outputs: Outputs, large: Large, reading: ReadOptions
) -> bool:
    """Whether the run that --resume would continue has ended already.

    It has if all outputs exist, the scratch folder holds no manifest, the target's provenance is that of the same
    command, and the target is newer than all that is read.

    Args:
        command: As for `process_tiled`, and so are all others.
        source: The file.
        step: The step.
        outputs: What is written.
        large: How.
        reading: How it is read.

    Raises:
        SoftmorphError: If the file cannot be opened.
    """
    left = large.scratch is None or (large.scratch / NAME).exists()
    there = all(path.is_file() or is_store(path) for path in outputs.beside)
    if left or not large.resume or not is_store(outputs.target) or not there:
        return False
    try:
        made = read_raw(outputs.target, lazy=True)[1]
        written = min(path.stat().st_mtime_ns for path in _files(outputs.target))
    except (SoftmorphError, OSError):
        return False
    kind = outputs.stored([step]) or "float32"
    if made.array.dtype != np.dtype("uint8" if kind == "mask" else kind):
        return False
    if outputs.pyramid and not (outputs.target / "1").is_dir():
        return False
    blocks = open_blocks(source, reading)
    step, _ = step.settled(nested_levels(blocks.source.provenance))
    wanted = json.loads(json.dumps(_provenance(command, step, reading.as_json)))
    read = [path.stat().st_mtime_ns for one in _sources(source, reading) for path in _files(one)]
    return dict(made.provenance) == wanted and max(read) < written


def _provenance(command: str, step: Filter, shown: Mapping[str, Any]) -> dict[str, Any]:
    made_by = {"operation": step.operation, "method": step.method_in_force, "parameters": step.in_force}
    return describe.provenance(command, [made_by], shown)


def _sources(source: Path, reading: ReadOptions) -> list[Path]:
    """Return all that is read."""
    return [source, *reading.files]


def _files(source: Path) -> list[Path]:
    """Return a file itself, or the files of a store."""
    return sorted(source.rglob("*")) if source.is_dir() else [source]


def _take_names_back(outputs: Outputs, named: Mapping[str, int]) -> None:
    """Bring what an interrupted run had finished back to where it was before, so that it is gone on with as ever."""
    for path in taken(outputs, named):
        if path in (outputs.stats, outputs.preview):
            path.unlink()
            continue
        kept = partial(path)
        # What was replaced, and was about to be removed.
        shutil.rmtree(kept, ignore_errors=True)
        path.resolve().rename(kept)


def _preview(command: str, source: Path, step: Filter, blocks: Blocks, made: Blocks, place: Path) -> None:
    from softmorph_cli.plots.preview import preview_blocks

    title, words = f"softmorph {command} {source.name}", describe.words([step])
    preview_blocks(blocks, made, place, title=title, subtitle=words)


def _place(blocks: Blocks) -> Volume:
    """Return a map of one voxel at the place of a large one, for what looks at the geometry alone."""
    one = np.zeros((1,) * len(blocks.shape), np.float32)
    return Volume(one, blocks.axes, blocks.spacing, blocks.unit, blocks.affine, source=blocks.source)


def _measured(blocks: Blocks, memory: int | None) -> Statistics:
    slabs: Any = _Slabs(blocks, _voxels(memory))
    return summarize(slabs, spacing=blocks.spacing, unit=blocks.unit, spatial_dims=len(blocks.shape))


def _voxels(memory: int | None) -> int:
    """Return how many voxels of a map may be held at once, for what looks at all of it."""
    room = SLAB if memory is None else (memory - BASE) // SHARE
    return min(SLAB, max(room, LEAST))


class _Slabs:
    """A map as statistics index it: from the first row to the last, of which a slab is held."""

    def __init__(self, blocks: Blocks, voxels: int) -> None:
        self.blocks, self.shape, self.ndim = blocks, blocks.shape, len(blocks.shape)
        self.size = math.prod(blocks.shape)
        rows = voxels // math.prod(blocks.shape[1:])
        # Whole chunks where they fit: others are unpacked again for each slab.
        self.rows = max(1, rows // blocks.chunks[0] * blocks.chunks[0] or rows)
        self.begin, self.slab = 0, np.zeros((0, *blocks.shape[1:]), np.float32)

    def __getitem__(self, index: Any) -> Any:
        if index == ():
            return self
        first, *rest = index if isinstance(index, tuple) else (index,)
        cut = slice(first, first + 1) if isinstance(first, int) else first
        low, high, _ = cut.indices(self.shape[0])
        if not self.begin <= low <= high <= self.begin + len(self.slab):
            self.begin = low // self.rows * self.rows
            end = max(high, self.begin + self.rows)
            self.slab = np.zeros(0, np.float32)
            whole = [slice(None)] * (self.ndim - 1)
            self.slab = self.blocks.read((slice(self.begin, end), *whole))
        part = self.slab[low - self.begin : high - self.begin]
        return part[(0, *rest)] if isinstance(first, int) else part[(slice(None), *rest)]


def _fingerprint(sources: Sequence[Path], read_with: Mapping[str, Any]) -> str:
    """Return what changes when a file, or any file of a store, is another one."""
    told = []
    for source in sources:
        for path in _files(source):
            state = path.stat()
            told.append((str(path), state.st_size, state.st_mtime_ns))
    return hashlib.sha256(repr((told, sorted(read_with.items()))).encode()).hexdigest()
