"""The door: a filter on a map of any size, in bounded memory, bit for bit as if the map were one piece."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np

from softmorph_cli import machine
from softmorph_cli.errors import FileError
from softmorph_cli.filters.method import Family
from softmorph_cli.filters.run import standard_error
from softmorph_cli.filters.settings import Result, warn_if_capped
from softmorph_cli.kernels.bitplanes import bits_in_chunk, word_of
from softmorph_cli.kernels.bitplanes import chunks as words_of
from softmorph_cli.kernels.numba_cpu import NumbaBackend
from softmorph_cli.tiles import manifest as manifests
from softmorph_cli.tiles.blocks import Array, Source, Target
from softmorph_cli.tiles.manifest import Manifest, State
from softmorph_cli.tiles.once import Once
from softmorph_cli.tiles.passes import Passes
from softmorph_cli.tiles.plan import Plan, cut
from softmorph_cli.tiles.progress import Report, TileProgress
from softmorph_cli.tiles.spec import Spec, Task, task
from softmorph_cli.tiles.store import Store, written
from softmorph_cli.tiles.tiling import Tiling
from softmorph_cli.tiles.window import Kind, ahead, give_back_memory

_REASONS: Final = ("iterations", "stable", "max_iterations")


def filter_tiles(
    source: Source,
    target: Target,
    spec: Spec,
    *,
    memory: int | None = None,
    scratch: Path | None = None,
    resume: bool = False,
    fingerprint: str = "",
    target_kept: bool = False,
    progress: Report | None = None,
    error_target: Target | None = None,
    plan: Plan | None = None,
) -> Result:
    """Filter a map tile by tile.

    Args:
        source: The map.
        target: Takes the result: uint8 0 and 1 from a hard skeleton, else of the source's floating-point type.
        spec: The filter.
        memory: Bytes that the process may take; None for most of what the machine allows.
        scratch: A folder for what lies between passes, this run's alone; made if missing, emptied at the end
            (and removed, if a run made it), kept as it is when the run is interrupted. None for a temporary one.
        resume: Go on where an interrupted run with the same scratch folder was, if it was the same run.
        fingerprint: Of the source's content: another one is not the same run.
        target_kept: Whether the target still holds what the interrupted run wrote; if not, all of it is
            written again.
        progress: Called after every tile.
        error_target: Takes the standard error of method `sampled`.
        plan: How to cut the map; None to decide here.

    Returns:
        What a filter says of itself, without an image.

    Raises:
        InputError: If the map is no probability map, or memory is too little for any tile.
        FileError: If the scratch folder cannot be used.
        SoftmorphError: As `spec.task`.
    """
    work = task(spec, tuple(source.shape))
    kind = Kind(source)
    chosen = plan or cut(work, memory, tuple(source.chunks), kind.wide.itemsize)
    run = _Run(work, chosen, source, target, kind, progress, error_target)
    with _folder(scratch) as folder:
        manifest = Manifest(folder, _identity(work, chosen, kind, fingerprint))
        state, told = manifest.load() if resume else (State(), "")
        if not target_kept:
            state.written.clear()
            if chosen.pass_length is None:
                state.facts.clear()
        try:
            result = run.once(manifest, state) if chosen.pass_length is None else run.passes(manifest, state)
        except BaseException:
            # Whatever ended it: what is done need not be done again.
            with suppress(OSError):
                manifest.save(state)
            raise
    return replace(result, warnings=(*result.warnings, *([told] if told else [])))


def _identity(work: Task, plan: Plan, kind: Kind, fingerprint: str) -> dict[str, object]:
    cut_as = {"tile": plan.tile, "halo": plan.halo, "pass_length": plan.pass_length}
    return {**work.identity(), **cut_as, "dtype": kind.own.name, "input": fingerprint}


@contextmanager
def _folder(scratch: Path | None) -> Iterator[Path]:
    if scratch is None:
        with TemporaryDirectory(prefix="softmorph-tiles-") as name:
            yield Path(name)
        return
    with written(scratch):
        made = not scratch.exists() or (scratch / manifests.NAME).exists()
        scratch.mkdir(parents=True, exist_ok=True)
        others = [path.name for path in scratch.iterdir() if not _ours(path)]
    if others:
        raise FileError(f"{scratch} is not a scratch folder: it holds {others[0]}. Name a new or empty one.")
    yield scratch
    with suppress(OSError):
        for path in scratch.iterdir():
            path.unlink()
        if made:
            scratch.rmdir()


def _ours(path: Path) -> bool:
    return path.suffix in (".planes", ".part") or path.name.startswith((manifests.NAME, ".softmorph-"))


class _Run:
    """One map on its way."""

    def __init__(
        self,
        work: Task,
        plan: Plan,
        source: Source,
        target: Target,
        kind: Kind,
        progress: Report | None,
        error_target: Target | None,
    ) -> None:
        self.work, self.plan, self.source, self.target, self.kind = work, plan, source, target, kind
        self.error_target = error_target
        self.tiling = Tiling(plan.shape, plan.tile)
        self.threads = work.settings.threads or machine.threads()
        self.report: Report = progress or (lambda _: None)

    def once(self, manifest: Manifest, state: State) -> Result:
        """Filter every tile in one go."""
        work = self.work
        once = Once(work, self.tiling, self.plan.halo, self.threads, state.facts)
        done = set(state.written)
        left = [tile for tile in range(len(self.tiling)) if tile not in done]
        for tile, values in ahead(lambda tile: self.kind.read(self.source, once.region(tile)), left):
            self._write(tile, *once.filter(tile, values))
            del values
            self._wrote(tile, manifest, state, "filter")
        assert work.iterations is not None
        return Result(None, iterations=work.iterations, radius=work.radius, warnings=once.warnings())

    def passes(self, manifest: Manifest, state: State) -> Result:
        """Filter in passes, then write what they leave."""
        hard, settings = self.work.spec.hard, self.work.settings
        words = 1 if hard else len(words_of(settings.levels))
        dtype = np.dtype(np.uint8) if hard else word_of(settings.levels)
        store = Store(manifest.path.parent, self.tiling, self.plan.halo, dtype, self.threads)
        passes = Passes(
            self.work,
            self.plan,
            self.source,
            self.kind,
            store,
            manifest,
            state,
            words=words,
            threads=self.threads,
            report=self.report,
        )
        store.keep(passes.kept())
        passes.run()
        done = set(state.written)
        for tile in range(len(self.tiling)):
            if tile not in done:
                self._write(tile, *self._result(store, state, tile))
                self._wrote(tile, manifest, state, "write")
        result = Result(
            None,
            iterations=max(word.iterations for word in state.words),
            stop_reason=max((word.reason for word in state.words), key=_REASONS.index),
        )
        return warn_if_capped(result, settings)

    def _result(self, store: Store, state: State, tile: int) -> tuple[Array, Array | None]:
        core = self.tiling.core(tile)
        if self.work.spec.hard:
            return store.read(core, 0, state.words[0].version) != 0, None
        levels, like = self.work.settings.levels, np.empty(0, self.kind.wide)
        backend = NumbaBackend(self.threads)
        # In the order, and with the arithmetic, of the whole map's mean.
        mean: Array | None = None
        for number, word in enumerate(state.words):
            counted = backend.count(
                store.read(core, number, word.version), bits_in_chunk(levels, number), like
            )
            mean = counted if mean is None else mean + counted
        assert mean is not None
        mean /= levels
        drawn = self.work.method.family is Family.SAMPLES
        return mean, standard_error(mean, levels) if drawn and self.error_target else None

    def _write(self, tile: int, image: Array, error: Array | None) -> None:
        box = self.tiling.core(tile)
        own = np.dtype(np.uint8) if image.dtype == np.bool_ else self.kind.own
        self.target.write(box, np.ascontiguousarray(image, own))
        if error is not None and self.error_target is not None:
            self.error_target.write(box, np.ascontiguousarray(error, self.kind.own))

    def _wrote(self, tile: int, manifest: Manifest, state: State, stage: str) -> None:
        give_back_memory()
        state.written.append(tile)
        manifest.save_sometimes(state)
        words = max((word.passes for word in state.words), default=1)
        self.report(
            TileProgress(
                operation=self.work.name,
                stage=stage,
                tile=tile,
                done=len(state.written),
                total=len(self.tiling),
                passes=words,
            )
        )
