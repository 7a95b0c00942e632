"""The division of cores and memory of this machine among workers, and the choice of the engine for a batch."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Final

from softmorph_cli.errors import UsageError
from softmorph_cli.pipeline.batch import engine
from softmorph_cli.pipeline.batch.engine import Engine
from softmorph_cli.pipeline.batch.plan import FileJob
from softmorph_cli.pipeline.batch.recipe import Recipe
from softmorph_cli.pipeline.batch.task import size_of
from softmorph_cli.system import machine

# Memory of a worker before it has read a file: Python, its libraries, compiled kernels.
_IDLE: Final = 300 << 20
_ITEMSIZE: Final = 4
_NIFTI_HEAD: Final = 112


@dataclass(frozen=True)
class Shares:
    """The shares of cores and memory of a machine that each of several workers may use.

    Attributes:
        workers: Number of workers.
        threads: Number of CPU threads of each worker.
        memory: Bytes of memory that each worker may use; None if memory is not limited.
        note: A note for the user if memory limits the number of workers, else None.
    """

    workers: int
    threads: int
    memory: int | None = None
    note: str | None = None


def shares(jobs: Sequence[FileJob], recipe: Recipe, workers: int | None) -> Shares:
    """Divide cores and memory among workers, and return the shares.

    Args:
        jobs: The files of the batch.
        recipe: The steps and options for each file.
        workers: Largest number of workers; None for as many as cores and memory allow.

    Raises:
        UsageError: If `workers` is less than 1.
    """
    _check_workers(workers)
    cores, allowed = machine.threads(), machine.memory()
    threads = recipe.settings.threads
    count = workers or max(1, cores // (threads or 1))
    count = max(1, min(count, len(jobs)))
    note = None
    if workers is None and allowed is not None and count > 1:
        needed = _IDLE + most_needed((job.source for job in jobs), recipe)
        fitting = max(1, min(count, int(allowed // needed)))
        if fitting < count:
            note = (
                f"{fitting} worker{'s' if fitting > 1 else ''} instead of {count}: the largest file needs about "
                f"{needed / 2**30:.1f} GiB, and {allowed / 2**30:.1f} GiB may be used; --workers decides otherwise."
            )
            count = fitting
    memory = allowed // count if allowed is not None and count > 1 else None
    return Shares(count, threads or max(1, cores // count), memory, note)


def most_needed(paths: Iterable[Path], recipe: Recipe) -> int:
    """Return the estimated bytes of memory that the largest of the files needs while it is processed."""
    per_voxel = 3 * _ITEMSIZE + max(
        (step.settings or recipe.settings).bytes_per_voxel(_ITEMSIZE) for step in recipe.filters
    )
    return max(map(_voxels, paths), default=0) * per_voxel


def _voxels(path: Path) -> int:
    """Return the estimated number of voxels of a file, from the NIfTI header or the file size."""
    try:
        if path.name.lower().endswith((".nii", ".nii.gz")):
            return _nifti_voxels(path)
        size = size_of(path)
        # One byte a voxel, half a byte compressed: opening every file would take too long.
        return size // 4 if path.suffix.lower() == ".npy" else size
    except (OSError, ValueError, struct.error, EOFError):
        return 0  # reported when the file is read


def _nifti_voxels(path: Path) -> int:
    import gzip
    import zlib

    with path.open("rb") as raw:
        packed = path.name.lower().endswith(".gz")
        try:
            head = gzip.GzipFile(fileobj=raw).read(_NIFTI_HEAD) if packed else raw.read(_NIFTI_HEAD)
        except zlib.error as error:
            raise ValueError from error
    order = "<" if head[:4] in (b"\x5c\x01\0\0", b"\x1c\x02\0\0") else ">"
    if struct.unpack_from(f"{order}i", head)[0] == 540:  # NIfTI-2
        sizes = struct.unpack_from(f"{order}8q", head, 16)
    else:
        sizes = struct.unpack_from(f"{order}8h", head, 40)
    return prod(max(1, size) for size in sizes[1 : 1 + min(max(sizes[0], 0), 7)])


def choose(jobs: Sequence[FileJob], recipe: Recipe, workers: int | None) -> tuple[Engine, str | None]:
    """Return an engine of threads for a GPU or of processes for the CPU, and a note for the user or None."""
    if recipe.settings.device.startswith("cuda"):
        _check_workers(workers)
        # One computes while another reads and another writes.
        return engine.thread_engine(min(workers or 3, max(1, len(jobs)))), None
    shared = shares(jobs, recipe, workers)
    return engine.process_engine(shared.workers, shared.threads, shared.memory), shared.note


def _check_workers(workers: int | None) -> None:
    if workers is not None and workers < 1:
        raise UsageError(f"--workers {workers}: at least 1 is needed.")
