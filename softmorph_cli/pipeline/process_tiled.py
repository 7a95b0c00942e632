"""`TiledProcess` filters a file larger than memory tile by tile into an OME-Zarr, with the result of `process`."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from softmorph_cli.errors import FileError, SoftmorphError, UsageError
from softmorph_cli.filters.filter import TILES, Filter, SoftFilter
from softmorph_cli.filters.settings import Result
from softmorph_cli.io import documents
from softmorph_cli.io.blocks import Blocks, chunks_of_tiles, create_blocks, open_blocks
from softmorph_cli.io.formats import file_of, read_raw, suffix_of
from softmorph_cli.io.options import DEFAULT, ReadOptions
from softmorph_cli.kernels.level_sets import nested_levels
from softmorph_cli.pipeline import describe
from softmorph_cli.pipeline.measure_blocks import measured, slab_voxels
from softmorph_cli.pipeline.outputs import OutputOptions
from softmorph_cli.pipeline.process import Processed
from softmorph_cli.pipeline.result_files import stored_type
from softmorph_cli.skeleton import image_kind
from softmorph_cli.system import machine
from softmorph_cli.system.files import is_store, not_written, replacing
from softmorph_cli.system.temporaries import partial
from softmorph_cli.tiled import (
    BASE,
    InterruptedRun,
    OnTile,
    TileExecutor,
    TilePlan,
    TileProgress,
    filter_tiles,
    plan,
    resumable,
)
from softmorph_cli.volume import Volume

if TYPE_CHECKING:
    from softmorph_cli.workers.cluster import Cluster, ClusterOptions

_OPTIONS: Final = "--memory, --scratch, --resume, --scheduler and --local-cluster"
_CONTINUED: Final = "what is done stays done, and the same command with --resume goes on"
_NOT_CONTINUED: Final = "start again, with --scratch DIR to be able to go on"


@dataclass(frozen=True)
class _Prepared:
    """An open map with the filter, plan and executor for a tiled run.

    Attributes:
        blocks: The open map.
        step: The filter; where the map is a nested skeleton, the filter's threshold is one of the map's levels.
        notes: Notes for the user on this choice of the threshold.
        filter: The filter `step` with lengths in the unit of the map.
        plan: The shape of the tiles, their halo and the number of iterations per pass.
        same_cut: Whether tile shape, halo and pass length equal those of the interrupted run that is resumed.
        executor: The executor that filters the tiles.
        leave: Function that ends the connection to a cluster, and a cluster that was started for this run.
        stored: The type that the result is stored as, such as "mask" or "float32".
    """

    blocks: Blocks
    step: Filter
    notes: tuple[str, ...]
    filter: SoftFilter
    plan: TilePlan
    same_cut: bool
    executor: TileExecutor
    leave: Callable[[], None]
    stored: str


@dataclass(frozen=True)
class TiledProcess:
    """A filter that is applied to a file tile by tile; the result equals that of `process` bit for bit.

    Attributes:
        command: Name of the command in the provenance.
        source: The file to read: OME-Zarr, TIFF, uncompressed NIfTI or .npy; other formats are read into memory.
        target: The file to write, an .ome.zarr or .zarr.
        step: The filter.
        outputs: Options for writing the result, and paths of further output files.
        reading: Options for reading the file.
        memory: Bytes of memory for the process, or for each process of a cluster; None for most of the machine's.
        scratch: A folder that stores the images of tiles between passes; None for a temporary folder.
        resume: Whether to resume an interrupted run with the same scratch folder.
        cluster: Options of the cluster that filters the tiles; None to filter them in this process.
        tell: A callback that is called with notes for the user.
    """

    command: str
    source: Path
    target: Path
    step: Filter
    outputs: OutputOptions
    reading: ReadOptions = DEFAULT
    memory: int | None = None
    scratch: Path | None = None
    resume: bool = False
    cluster: ClusterOptions | None = None
    tell: Callable[[str], None] = lambda note: None

    def plan(self) -> TilePlan:
        """Return the plan (tile shape and estimates) without filtering the map.

        Raises:
            SoftmorphError: If the step, an output or an option is not possible tile by tile, the map cannot be opened,
                memory is too little for any tile, or the cluster cannot be reached.
        """
        with self._prepared() as ready:
            return ready.plan

    def run(self, progress: OnTile | None = None) -> Processed:
        """Filter the map and write the outputs.

        Args:
            progress: A callback that is called after every tile.

        Raises:
            UsageError: If the step, an output or an option is not possible tile by tile.
            SoftmorphError: If the map cannot be opened, memory is too little for any tile, the cluster cannot be
                reached, or filtering or writing fails; the target is then unchanged.
        """
        started = time.perf_counter()
        with self._prepared() as ready:
            about_classes = ready.blocks.class_notes(slab_voxels(self.memory)) if self.step.cuts else ()
            replaced = describe.over_input(self.source, self.target, ready.blocks.source)
            for message in (*ready.blocks.notes, *about_classes, *replaced):
                self.tell(message)
            read_seconds = time.perf_counter() - started
            return self._filter(ready, progress, read_seconds)

    @cached_property
    def interrupted(self) -> InterruptedRun | None:
        """The interrupted run in the scratch folder; None unless `resume` is set and a scratch folder is given."""
        return InterruptedRun(self.scratch) if self.resume and self.scratch is not None else None

    @property
    def kept(self) -> bool:
        """Whether the scratch folder holds the manifest of an interrupted run."""
        return self.scratch is not None and InterruptedRun(self.scratch).exists

    def finished_outputs(self) -> list[Path]:
        """Return the paths of outputs that the interrupted run had finished, and that were not replaced since."""
        named, found = self.interrupted.named if self.interrupted else {}, []
        for path in (self.target, *self.outputs.beside):
            with suppress(OSError):
                if path.stat().st_ino == named.get(str(path)):
                    found.append(path)
        return found

    def complete(self) -> bool:
        """Return whether the run that is to be resumed is complete already.

        The run is complete if all outputs exist, the scratch folder holds no manifest, the target's provenance equals
        that of this command, and the target is newer than all files that are read.

        Raises:
            SoftmorphError: If the source cannot be opened.
        """
        exist = all(path.is_file() or is_store(path) for path in self.outputs.beside)
        if self.interrupted is None or self.interrupted.exists or not is_store(self.target) or not exist:
            return False
        try:
            made = read_raw(self.target, lazy=True)[1]
            written = min(path.stat().st_mtime_ns for path in _files(self.target))
        except (SoftmorphError, OSError):
            return False
        stored = self._stored(self.step)
        if made.array.dtype != np.dtype("uint8" if stored == "mask" else stored):
            return False
        if self.outputs.pyramid and not (self.target / "1").is_dir():
            return False
        blocks = open_blocks(self.source, self.reading)
        step, _ = self._settled(blocks)
        wanted = json.loads(json.dumps(self._provenance(step)))
        read = [path.stat().st_mtime_ns for one in self._sources for path in _files(one)]
        return dict(made.provenance) == wanted and max(read) < written

    def _settled(self, blocks: Blocks) -> tuple[Filter, tuple[str, ...]]:
        """Return the step with its threshold at a level of a nested skeleton, and notes; the map may be read for it."""
        return self.step.settled(image_kind.exact_levels(blocks)) if self.step.cuts else (self.step, ())

    @property
    def _sources(self) -> list[Path]:
        return [self.source, *self.reading.files]

    def _stored(self, step: Filter) -> str:
        return stored_type([step], self.target, self.outputs) or "float32"

    def _provenance(self, step: Filter) -> dict[str, Any]:
        made_by = {"operation": step.operation, "method": step.method_in_force, "parameters": step.in_force}
        return describe.provenance(
            self.command, [made_by], self.reading.as_json | self.outputs.pooling_stated
        )

    def _fingerprint(self) -> str:
        """Return a hash that changes when an input file, a file in an input store or an option for reading changes."""
        states = []
        for source in self._sources:
            for path in _files(source):
                state = path.stat()
                states.append((str(path), state.st_size, state.st_mtime_ns))
        return hashlib.sha256(repr((states, sorted(self.reading.as_json.items()))).encode()).hexdigest()

    def _check(self) -> None:
        if not self.step.takes_tiles:
            raise UsageError(f"{self.step.operation} takes the whole map: leave out {_OPTIONS}.")
        if self.resume and self.scratch is None:
            raise UsageError("--resume needs the --scratch DIR of the run that was interrupted.")
        for path in (self.target, self.outputs.standard_error):
            if path is not None and suffix_of(path) not in (".zarr", ".ome.zarr"):
                raise UsageError(
                    f"{path}: tile by tile, as on a cluster, an OME-Zarr is written; end its name with .zarr."
                )
        for name in ("renormalize", "argmax", "background"):
            if getattr(self.outputs, name):
                raise UsageError(f"--{name} needs the whole map: leave it out, or leave out {_OPTIONS}.")

    @contextmanager
    def _prepared(self) -> Iterator[_Prepared]:
        """Open the map, connect to the cluster and plan the tiles, without filtering the map."""
        self._check()
        # Before the store is read, which starts its threads.
        machine.share_one_heap()
        blocks = open_blocks(self.source, self.reading)
        self.outputs.check_map(blocks, str(self.source))
        step, notes = self._settled(blocks)
        assert isinstance(step, SoftFilter)
        chosen = step.on_grid(blocks)
        like = None
        if self.interrupted is not None:
            self._check_default(self.interrupted, chosen, blocks.shape)
            like = self.interrupted.cut
        with ExitStack() as stack:
            executor, memory = TileExecutor(), self.memory
            if self.cluster is not None:
                cluster = stack.enter_context(self._connected(self.cluster, chosen.threads))
                chosen = replace(chosen, threads=cluster.threads)
                most = cluster.memory
                if most is not None:
                    memory = most * 3 // 4 if memory is None else min(memory, most)
                targets = (self.target, self.outputs.standard_error)
                folders = [path.parent for path in targets if path is not None]
                advice = _NOT_CONTINUED if self.scratch is None else _CONTINUED
                executor = TileExecutor(cluster, self._sources, folders, advice)
            cut = plan(
                chosen, blocks.shape, memory=memory, chunks=blocks.chunks, workers=executor.workers, like=like
            )
            same_cut = (cut.tile, cut.halo, cut.pass_length) == like
            yield _Prepared(
                blocks, step, notes, chosen, cut, same_cut, executor, stack.close, self._stored(step)
            )

    def _check_default(self, run: InterruptedRun, chosen: SoftFilter, shape: tuple[int, ...]) -> None:
        method = run.other_default(chosen, shape)
        if method is not None:
            raise UsageError(
                f"{self.scratch} is of a run with --method {method}, which is not the default: add --method {method} "
                "beside --resume to continue it, or name another --scratch."
            )

    @contextmanager
    def _connected(self, options: ClusterOptions, threads: int | None) -> Iterator[Cluster]:
        from softmorph_cli.workers.cluster import connected

        memory, allowed = self.memory, machine.memory()
        if (
            options.scheduler is None
            and options.workers is None
            and memory is not None
            and allowed is not None
        ):
            wanted = max(1, machine.threads() // (threads or 1))
            fitting = max(1, min(wanted, allowed // memory))
            if fitting < wanted:
                self.tell(
                    f"{fitting} processes instead of {wanted}: each may take --memory, and this machine has no more."
                )
            options = replace(options, workers=fitting)
            threads = threads or max(1, machine.threads() // fitting)
        with connected(options, memory=memory, threads=threads, tell=self.tell) as cluster:
            yield cluster

    def _filter(self, ready: _Prepared, progress: OnTile | None, read_seconds: float) -> Processed:
        """Filter the map, and rename the temporary outputs to their final paths when all outputs are complete."""
        started = time.perf_counter()
        blocks, step = ready.blocks, ready.step
        fingerprint, resume = self._fingerprint(), self.resume and ready.same_cut
        if (
            self.scratch is not None
            and resume
            and resumable(blocks, ready.filter, ready.plan, scratch=self.scratch, fingerprint=fingerprint)
        ):
            self._undo_renames()
        create: dict[str, Any] = {
            "force": self.outputs.force,
            "keep": self.scratch is not None,
            "resume": resume,
            "chunks": chunks_of_tiles(blocks.shape, blocks.axes, ready.plan.tile),
            "provenance": self._provenance(step),
        }
        processed: Processed | None = None
        with ExitStack() as beside, ExitStack() as stores:
            errors = None
            if self.outputs.standard_error is not None:
                errors = stores.enter_context(create_blocks(self.outputs.standard_error, blocks, **create))
            # Renamed before the standard errors, so that these have no name yet if it fails.
            written = stores.enter_context(
                create_blocks(
                    self.target,
                    blocks,
                    dtype=ready.stored,
                    pyramid=self.outputs.pooling,
                    memory=max(1, self.memory - BASE) if self.memory else None,
                    **create,
                )
            )
            targets = [one for one in (written, errors) if one is not None]
            # Before a folder is removed that a worker may still write into.
            stores.callback(ready.leave)

            def report_pyramid(done: int, total: int) -> None:
                if progress is not None:
                    progress(TileProgress(step.operation, "pyramid", done, done, total))

            def finish(result: Result, save_names: Callable[[Mapping[str, int]], None]) -> None:
                nonlocal processed
                for one in targets:
                    one.complete(report_pyramid)
                ready.leave()
                lost = [sentence for one in targets for sentence in one.lost]
                made = open_blocks(written.folder)
                seconds = {"read": read_seconds, "filter": time.perf_counter() - started}
                processed = self._described(ready, result, lost, made, seconds)
                places = {self.target: written.folder}
                if self.outputs.standard_error is not None and errors is not None:
                    places[self.outputs.standard_error] = errors.folder
                if self.outputs.preview is not None:
                    from softmorph_cli.plots.preview import preview_blocks

                    words = (f"softmorph {self.command} {self.source.name}", describe.words([step]))
                    with self._beside(self.outputs.preview, beside) as place:
                        preview_blocks(blocks, made, place, self.outputs, self.outputs.preview, *words)
                    places[self.outputs.preview] = place
                if self.outputs.json_file is not None:
                    with self._beside(self.outputs.json_file, beside) as place:
                        documents.write(processed.document, place)
                    places[self.outputs.json_file] = place
                # Pipes and devices are written to by copying, not by renaming.
                save_names(
                    {
                        str(path): place.stat().st_ino
                        for path, place in places.items()
                        if place.parent == path.resolve().parent
                    }
                )
                stores.close()
                beside.close()

            remote = self.cluster is not None and self.cluster.scheduler is not None
            filter_tiles(
                blocks,
                written,
                ready.filter,
                ready.plan,
                scratch=self.scratch,
                # Other machines do not see the temporary folder of this one.
                beside=self.target.resolve().parent if remote else None,
                resume=self.resume,
                fingerprint=fingerprint,
                progress=progress,
                error_target=errors,
                finish=finish,
                executor=ready.executor,
            )
        assert processed is not None
        return processed

    def _undo_renames(self) -> None:
        """Rename finished stores of the interrupted run back to partial files, and remove finished JSON and preview."""
        for path in self.finished_outputs():
            if path in (self.outputs.json_file, self.outputs.preview):
                path.unlink()
                continue
            kept = partial(path)
            # The store that was replaced and not yet removed.
            shutil.rmtree(kept, ignore_errors=True)
            path.resolve().rename(kept)

    @contextmanager
    def _beside(self, path: Path, stack: ExitStack) -> Iterator[Path]:
        """Yield a temporary file that is renamed to `path` when `stack` is closed; error messages name `path`."""
        temporary = stack.enter_context(replacing(path, force=self.outputs.force))
        try:
            yield temporary
        except FileError:
            raise
        except OSError as error:
            kept = None if self.scratch is None else partial(self.target)
            raise not_written(path, error, kept=kept) from error

    def _described(
        self,
        ready: _Prepared,
        result: Result,
        lost: Sequence[str],
        made: Blocks,
        seconds: Mapping[str, float],
    ) -> Processed:
        """Return the report on the run; it is made before the result may replace the input (at the same path)."""
        blocks, step, started = ready.blocks, ready.step, time.perf_counter()
        # A map of one voxel with the geometry of this one.
        voxel = np.zeros((1,) * len(blocks.shape), np.float32)
        place = Volume(voxel, blocks.axes, blocks.spacing, blocks.unit, blocks.affine, source=blocks.source)
        warnings = [*step.ineffective(), *step.concerns(place, TILES), *result.warnings, *lost]
        before, after = (measured(one, self.memory) for one in (blocks, made))
        shape = {"shape": list(blocks.shape)}
        report = describe.step(step, result, blocks.unit, seconds["filter"]) | {
            "tiles": describe.plan(ready.plan)
        }
        notes = [*ready.notes]
        if nested_levels(made.source.provenance) is None:
            notes += step.remarks(before.components_above_half, after.components_above_half)
        content = {
            "input": documents.described(place) | shape | {"read_with": self.reading.as_json},
            "output": describe.output(self.target, place, ready.stored) | shape,
            "steps": [report],
            "before": before.as_dict(),
            "after": after.as_dict(),
            "change": None,
            "device": "cpu",
        }
        seconds = {**seconds, "measure": time.perf_counter() - started}
        document = documents.document(self.command, content, seconds=seconds, notes=notes, warnings=warnings)
        return Processed(document, before, after, (result,), tuple(notes), tuple(warnings))


def _files(source: Path) -> list[Path]:
    """Return a list of the file `source`, or of all files in the store `source`, sorted by path."""
    return sorted(source.rglob("*")) if source.is_dir() else [file_of(source)]
