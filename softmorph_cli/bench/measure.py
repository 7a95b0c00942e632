"""Measuring workloads on maps of one size, in turn with functions of other libraries for comparison."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from softmorph_cli.bench import maps, peak
from softmorph_cli.bench.clock import Timing, take_turns
from softmorph_cli.bench.peers import COPY, PEERS, RULER, Peer
from softmorph_cli.bench.workloads import Hardware, Work
from softmorph_cli.errors import InputError, SoftmorphError, SoftmorphWarning

# Seconds of warm runs after which a slow workload is not repeated.
PATIENCE: Final = 20.0
# Least seconds of warm runs of a quick workload, so that not all of them wait for another process.
LEAST: Final = 0.25


@dataclass(frozen=True)
class Measurement:
    """The measurement of one workload on one map.

    Attributes:
        operation: Name of the operation, such as "erosion".
        method: Name of the method; "hard" for the exact binary skeleton.
        detail: Settings that distinguish the workload from others with this operation and method.
        map: Kind of the map, "noise" or "vessels".
        shape: Shape of the map.
        share_above_half: Share of the map's voxels above 0.5.
        seconds: Seconds of the shortest warm run (any run after the first).
        runs: Number of warm runs.
        first_seconds: Seconds of the first run, which compiles or loads the kernel.
        mvoxel_per_s: Millions of voxels processed in a second.
        ratio_to_copy: Time of the workload over that of a plain copy of the map.
        ratio_to_ruler: Time of the workload over that of SciPy's grey erosion; None on CUDA.
        peak_bytes: Peak memory beyond the input, the result included; None if not measured.
        peak_to_input: `peak_bytes` over the size of the input.
    """

    operation: str
    method: str
    detail: str
    map: str
    shape: tuple[int, ...]
    share_above_half: float
    seconds: float
    runs: int
    first_seconds: float
    mvoxel_per_s: float
    ratio_to_copy: float
    ratio_to_ruler: float | None
    peak_bytes: int | None
    peak_to_input: float | None

    @property
    def name(self) -> str:
        """The name of the workload: operation, detail and method."""
        return f"{self.operation} {self.detail}, {self.method}"


@dataclass(frozen=True)
class Comparison:
    """The measurement of another library's function.

    Attributes:
        name: Name of the function.
        library: Name of the package that has the function.
        version: Version of the package.
        shape: Shape of the map.
        seconds: Seconds of the shortest warm run of the function.
        mvoxel_per_s: Millions of voxels that the function processes in a second.
        work: Name of the workload that the function is compared with; None if it is compared with all.
        ratio: Time of the workload over that of the function; None without such a workload.
    """

    name: str
    library: str
    version: str
    shape: tuple[int, ...]
    seconds: float
    mvoxel_per_s: float
    work: str | None
    ratio: float | None


@dataclass(frozen=True)
class Growth:
    """Growth of the time per voxel from the smallest to the largest map.

    Attributes:
        work: Name of the workload.
        smallest: Shape of the smallest map.
        largest: Shape of the largest map.
        ratio: Time per voxel of the largest map over that of the smallest; 1 if twice the voxels take twice the time.
    """

    work: str
    smallest: tuple[int, ...]
    largest: tuple[int, ...]
    ratio: float


@dataclass(frozen=True)
class Measured:
    """The measurements on maps of one shape.

    Attributes:
        rows: The measurements of the workloads.
        comparisons: The measurements of functions of other libraries.
        notes: Sentences that say which measurements are missing, and why.
    """

    rows: tuple[Measurement, ...]
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...]


def measure(
    shape: tuple[int, ...],
    chosen: Sequence[Work],
    hardware: Hardware,
    *,
    repeats: int,
    memory: bool,
    report: Callable[[str], None] = lambda text: None,
) -> Measured:
    """Return measurements of workloads on maps of one shape, taken in turn with functions of other libraries.

    Peak memory on the CPU is measured in a fresh process for each workload.

    Args:
        shape: The shape of the maps.
        chosen: The workloads to measure.
        hardware: The device and the number of threads.
        repeats: Number of warm runs (after the first run); slow workloads get fewer.
        memory: Whether to measure peak memory, too.
        report: Callback that gets a description of each stage.

    Raises:
        InputError: If every workload raises an error; the message is that of the first error.
    """
    peers, missing = _peers(chosen, len(shape), hardware)
    size = " x ".join(map(str, shape))
    report(f"{size}: drawing the maps")
    drawn = {
        name: maps.DRAWN[name](shape) for name in {one.drawn for one in chosen} | {one.drawn for one in peers}
    }
    shares = {name: float((array > 0.5).mean()) for name, array in drawn.items()}
    placed = {name: hardware.place(array) for name, array in drawn.items()}

    tasks = {peer.name: peer.task(placed[peer.drawn], hardware) for peer in peers}
    tasks |= {work.name: work.task(placed[work.drawn], hardware) for work in chosen}
    with warnings.catch_warnings():
        # Settings that are warned about, such as a single iteration of thinning, are intended here.
        warnings.simplefilter("ignore", SoftmorphWarning)
        timings, refused = take_turns(
            tasks,
            repeats=repeats,
            least=LEAST,
            patience=PATIENCE,
            settle=_settle(hardware),
            report=lambda name: report(f"{size}: {name}"),
        )
    notes = [*missing, *(f"{size}: {name} is left out: {why}" for name, why in refused.items())]

    rows = []
    for work in chosen:
        if work.name not in timings:
            continue
        peak_bytes = None
        if memory:
            report(f"{size}: memory of {work.name}")
            try:
                if hardware.on_cuda:
                    peak_bytes = peak.on_cuda(tasks[work.name], hardware.device)
                else:
                    peak_bytes = peak.of_fresh_process(work, shape, threads=hardware.threads)
            except SoftmorphError as error:
                notes.append(str(error))
        rows.append(_row(work, shape, shares[work.drawn], timings, peak_bytes))
    if not rows:
        raise InputError(str(next(iter(refused.values()))))
    return Measured(tuple(rows), _comparisons(peers, rows, timings), tuple(notes))


def growth(rows: Sequence[Measurement]) -> list[Growth]:
    """Return the growth of the time per voxel for each workload that was measured on maps of several sizes."""
    found = []
    for name in dict.fromkeys(row.name for row in rows):
        own = sorted((row for row in rows if row.name == name), key=lambda row: math.prod(row.shape))
        if len(own) > 1:
            ratio = own[0].mvoxel_per_s / own[-1].mvoxel_per_s
            found.append(Growth(name, own[0].shape, own[-1].shape, ratio))
    return found


def _peers(chosen: Sequence[Work], dimensions: int, hardware: Hardware) -> tuple[list[Peer], list[str]]:
    present, notes = [], []
    likes = {(work.operation, work.method) for work in chosen}
    for peer in PEERS:
        if dimensions not in peer.dimensions or (hardware.on_cuda and not peer.on_cuda):
            continue
        if peer.like is not None and peer.like not in likes:
            continue
        if peer.version is None:
            notes.append(f"{peer.name} is left out: {peer.library} is not installed.")
        else:
            present.append(peer)
    return present, notes


def _settle(hardware: Hardware) -> Callable[[], None]:
    if not hardware.on_cuda:
        return lambda: None
    import torch

    # Calls on a GPU return before the work is done.
    return lambda: torch.cuda.synchronize(hardware.device)


def _row(
    work: Work, shape: tuple[int, ...], share: float, timings: dict[str, Timing], peak_bytes: int | None
) -> Measurement:
    timing = timings[work.name]
    voxels = math.prod(shape)
    return Measurement(
        operation=work.operation,
        method=work.method,
        detail=work.detail,
        map=work.drawn,
        shape=shape,
        share_above_half=share,
        seconds=timing.seconds,
        runs=len(timing.warm),
        first_seconds=timing.first,
        mvoxel_per_s=voxels / timing.seconds / 1e6,
        ratio_to_copy=timing.seconds / timings[COPY].seconds,
        ratio_to_ruler=timing.seconds / timings[RULER].seconds if RULER in timings else None,
        peak_bytes=peak_bytes,
        peak_to_input=None if peak_bytes is None else peak_bytes / (maps.ITEMSIZE * voxels),
    )


def _comparisons(
    peers: Sequence[Peer], rows: Sequence[Measurement], timings: dict[str, Timing]
) -> tuple[Comparison, ...]:
    found = []
    for peer in peers:
        seconds = timings[peer.name].seconds
        like = next((row for row in rows if (row.operation, row.method) == peer.like), None)
        found.append(
            Comparison(
                name=peer.name,
                library=peer.library,
                version=peer.version or "",
                shape=rows[0].shape,
                seconds=seconds,
                mvoxel_per_s=math.prod(rows[0].shape) / seconds / 1e6,
                work=None if like is None else like.name,
                ratio=None if like is None else like.seconds / seconds,
            )
        )
    return tuple(found)
