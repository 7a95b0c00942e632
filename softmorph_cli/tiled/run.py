"""The door: a filter on a map of any size, in bounded memory, bit for bit as if the map were one piece."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from softmorph_cli.errors import FileError
from softmorph_cli.filters.filter import SoftFilter
from softmorph_cli.filters.settings import Result, warn_if_capped
from softmorph_cli.io.boxes import BoxReader, BoxWriter
from softmorph_cli.system import machine
from softmorph_cli.tiled import manifest as manifests
from softmorph_cli.tiled.crew import Crew
from softmorph_cli.tiled.manifest import REASONS, Manifest, State
from softmorph_cli.tiled.multi_pass import Passes
from softmorph_cli.tiled.plan import Plan, cut
from softmorph_cli.tiled.plane_store import DamagedError, written
from softmorph_cli.tiled.prepared import Task, task
from softmorph_cli.tiled.progress import Report, TileProgress
from softmorph_cli.tiled.region_backend import Kind
from softmorph_cli.tiled.single_pass import Facts
from softmorph_cli.tiled.tile_worker import Left, Site
from softmorph_cli.tiled.tiling import Box, Tiling

# Given the result, and what writes down which files and stores take their names now, by their inodes.
Finish = Callable[[Result, Callable[[Mapping[str, int]], None]], object]

_TEMPORARY: Final = ".softmorph-tiles-"


def filter_tiles(
    source: BoxReader,
    target: BoxWriter,
    chosen: SoftFilter,
    *,
    memory: int | None = None,
    scratch: Path | None = None,
    beside: Path | None = None,
    resume: bool = False,
    fingerprint: str = "",
    target_kept: bool = False,
    has: Callable[[Box], bool] = lambda box: True,
    progress: Report | None = None,
    error_target: BoxWriter | None = None,
    plan: Plan | None = None,
    flush: Callable[[], object] = lambda: None,
    finish: Finish | None = None,
    crew: Crew | None = None,
) -> Result:
    """Filter a map tile by tile.

    Args:
        source: The map.
        target: Takes the result: uint8 0 and 1 from a hard skeleton, else of the source's floating-point type.
        chosen: The filter.
        memory: Bytes that the process may take; None for most of what the machine allows.
        scratch: A folder for what lies between passes, this run's alone; made if missing, emptied at the end
            (and removed, if a run made it), kept as it is when the run is interrupted. None for a temporary one.
        beside: Where a temporary one is made; None for where this machine has its temporary files.
        resume: Go on where an interrupted run with the same scratch folder was, if it was the same run.
        fingerprint: Of the source's content: another one is not the same run.
        target_kept: Whether the target still holds what the interrupted run wrote; if not, all of it is
            written again.
        has: Whether a box of it is there and can be read; if any is not, all of it is written again.
        progress: Called after every tile.
        error_target: Takes the standard error of method `sampled`.
        plan: How to cut the map; None to decide here.
        flush: Brings to the disk what was written to the targets.
        finish: Called when the target holds all of the result, before the scratch folder is emptied: a run that is
            interrupted in there need not filter again.
        crew: The executor of the tiles' work; None for this process alone.

    Returns:
        What a filter says of itself, without an image.

    Raises:
        InputError: If the map is no probability map, or memory is too little for any tile.
        FileError: If the scratch folder cannot be used.
        SoftmorphError: As `work.task`.
    """
    work = task(chosen, tuple(source.shape))
    kind = Kind.of(source)
    decided = plan or cut(work, memory, tuple(source.chunks), kind.wide.itemsize)
    with _folder(scratch, beside) as folder:
        site = Site(
            work,
            decided,
            source,
            target,
            kind,
            folder,
            work.settings.threads or machine.threads(),
            error_target,
        )

        def to_disk() -> None:
            if scratch is not None:  # or nobody can go on with it
                flush()
                site.store.flush()

        manifest = Manifest(folder, _identity(work, decided, kind, fingerprint), to_disk)
        state, told = manifest.load(len(site.tiling), len(work.parts)) if resume else (State(), "")
        if not target_kept or not all(has(site.tiling.core(tile)) for tile in state.written):
            state.written.clear()
            state.facts = Facts()
        crew = crew or Crew()
        crew.check(site)
        while True:
            run = _Run(site, crew, manifest, state, progress or (lambda _: None))
            try:
                result = work.marked(run.once() if decided.pass_length is None else run.passes())
                result = replace(result, warnings=(*result.warnings, *([told] if told else [])))
                if finish is not None:
                    # Who is killed in there goes on there.
                    manifest.save(state)
                    finish(result, partial(_name, manifest, state))
                return result
            except DamagedError as error:
                if not resume or told:
                    raise
                # What an earlier run left: all of it is made once more.
                told = (
                    f"{str(error).partition(';')[0]}: the interrupted run was not continued but begun anew."
                )
                state = State()
            except BaseException:
                # Whatever ended it: what is done need not be done again.
                with suppress(OSError):
                    manifest.save(state)
                raise


def interrupted(
    source: BoxReader, chosen: SoftFilter, plan: Plan, *, scratch: Path, fingerprint: str = ""
) -> State | None:
    """Return the state of the interrupted run that `filter_tiles` would resume; None where it would begin anew.

    Args:
        source: The map, and so all others as for `filter_tiles`.
        chosen: The filter.
        plan: How the map is cut.
        scratch: The folder.
        fingerprint: Of the source's content.
    """
    work = task(chosen, tuple(source.shape))
    manifest = Manifest(scratch, _identity(work, plan, Kind.of(source), fingerprint))
    state, told = manifest.load(len(Tiling(plan.shape, plan.tile)), len(work.parts))
    return None if told or not manifest.path.exists() else state


def _name(manifest: Manifest, state: State, ready: Mapping[str, int]) -> None:
    state.named = dict(ready)
    manifest.save(state)


def _identity(work: Task, plan: Plan, kind: Kind, fingerprint: str) -> dict[str, object]:
    cut_as = {"tile": plan.tile, "halo": plan.halo, "pass_length": plan.pass_length}
    return {**work.identity(), **cut_as, "dtype": kind.own.name, "input": fingerprint}


@contextmanager
def _folder(scratch: Path | None, beside: Path | None) -> Iterator[Path]:
    if scratch is None:
        # A worker that nobody waits for any more may be about to write a last file.
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
        # What tells of the others goes last.
        for path in sorted(scratch.iterdir(), key=lambda kept: kept.name == manifests.NAME):
            path.unlink()
        if made:
            scratch.rmdir()


def _ours(path: Path) -> bool:
    return path.suffix in (".planes", ".part") or path.name.startswith((manifests.NAME, ".softmorph-"))


class _Run:
    """One map on its way."""

    def __init__(self, site: Site, crew: Crew, manifest: Manifest, state: State, report: Report) -> None:
        self.site, self.crew, self.manifest, self.state, self.report = site, crew, manifest, state, report

    def once(self) -> Result:
        """Filter every tile in one go."""
        work = self.site.work
        with closing(self.crew.each(self.site, Site.filter, self._left(), Site.read)) as coming:
            for tile, facts in coming:
                self.state.facts += facts
                self._wrote(tile, "filter")
        assert work.iterations is not None
        warnings = self.site.once.warnings(self.state.facts)
        return Result(None, iterations=work.iterations, radius=work.radius, warnings=warnings)

    def passes(self) -> Result:
        """Filter in passes, then write what they leave."""
        passes = Passes(self.site, self.crew, self.manifest, self.state, self.report)
        passes.run()
        courses, last = self.state.courses, passes.last()
        left = (
            Left(tile, {number: {tile: courses[number].version[tile]} for number in last})
            for tile in self._left()
        )
        with closing(self.crew.each(self.site, Site.finish, left)) as coming:
            for ended, _ in coming:
                self._wrote(ended.tile, "write")
        # Parts that follow each other take their iterations in turn.
        before = (0, *(part + 1 for part in last))
        turns = (courses[first:end] for first, end in pairwise(before))
        result = Result(
            None,
            iterations=max(sum(course.iterations for course in turn) for turn in turns),
            stop_reason=max((course.reason for course in courses), key=REASONS.index),
        )
        return warn_if_capped(result, self.site.work.settings)

    def _left(self) -> list[int]:
        """Return the tiles whose result the target lacks."""
        done = set(self.state.written)
        return [tile for tile in range(len(self.site.tiling)) if tile not in done]

    def _wrote(self, tile: int, stage: str) -> None:
        self.state.written.append(tile)
        self.manifest.save_sometimes(self.state)
        self.report(
            TileProgress(
                operation=self.site.work.name,
                stage=stage,
                tile=tile,
                done=len(self.state.written),
                total=len(self.site.tiling),
                passes=max((course.passes for course in self.state.courses), default=1),
            )
        )
