"""From works to figures: one size after the other, all that is compared in turn."""

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

# A work that takes long is known well enough after this many seconds of warm runs.
PATIENCE: Final = 20.0
# Runs of less than a time slice may all be caught behind someone else's: there are more of them.
LEAST: Final = 0.25


@dataclass(frozen=True)
class Measurement:
    """What was measured of one work on one map.

    Attributes:
        operation: As `Work`.
        method: As `Work`.
        detail: As `Work`.
        map: What was drawn: "noise" or "vessels".
        shape: Its shape.
        share_above_half: The part of its voxels above 0.5.
        seconds: The smallest of the warm runs.
        runs: How many of them there were.
        first_seconds: The first run, which compiles or loads the kernel.
        mvoxel_per_s: Millions of voxels a second.
        ratio_to_copy: Its time over that of a plain copy of the map.
        ratio_to_ruler: Its time over that of SciPy's grey erosion, None on CUDA.
        peak_bytes: The most memory beyond the input, the result included; None where it was not measured.
        peak_to_input: The same over the bytes of the input.
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
        """The name of the work."""
        return f"{self.operation} {self.detail}, {self.method}"


@dataclass(frozen=True)
class Comparison:
    """What was measured of another library's function.

    Attributes:
        name: The function, for people.
        library: Its package.
        version: Its version.
        shape: Shape of the map.
        seconds: As `Measurement`.
        mvoxel_per_s: As `Measurement`.
        work: The name of the work it is compared with, None for what all are compared with.
        ratio: The time of softmorph's work over this one.
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
    """How the time per voxel grows with the map: 1 where twice the voxels take twice the time.

    Attributes:
        work: Its name.
        smallest: Shape of the smallest map.
        largest: Shape of the largest map.
        ratio: Time per voxel of the largest over that of the smallest.
    """

    work: str
    smallest: tuple[int, ...]
    largest: tuple[int, ...]
    ratio: float


@dataclass(frozen=True)
class Measured:
    """All figures of one shape, and why some are missing."""

    rows: tuple[Measurement, ...]
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...]


def measure(
    shape: tuple[int, ...],
    chosen: Sequence[Work],
    how: Hardware,
    *,
    repeats: int,
    memory: bool,
    tell: Callable[[str], None] = lambda words: None,
) -> Measured:
    """Measure works on maps of one shape, with what they are compared with in the same run.

    Args:
        shape: (Z, Y, X) or (Y, X).
        chosen: What to measure.
        how: Where.
        repeats: Warm runs of each; fewer of what takes long.
        memory: Whether to measure the peak memory, on the CPU in a fresh process for each work.
        tell: Hears what is under way.

    Raises:
        InputError: If every work refuses to run; the message is the first one's.
    """
    peers, missing = _peers(chosen, len(shape), how)
    size = " x ".join(map(str, shape))
    tell(f"{size}: drawing the maps")
    drawn = {
        name: maps.DRAWN[name](shape) for name in {one.drawn for one in chosen} | {one.drawn for one in peers}
    }
    shares = {name: float((array > 0.5).mean()) for name, array in drawn.items()}
    placed = {name: how.place(array) for name, array in drawn.items()}

    tasks = {peer.name: peer.task(placed[peer.drawn], how) for peer in peers}
    tasks |= {work.name: work.task(placed[work.drawn], how) for work in chosen}
    with warnings.catch_warnings():
        # That one iteration thins too much is no news here.
        warnings.simplefilter("ignore", SoftmorphWarning)
        timings, refused = take_turns(
            tasks,
            repeats=repeats,
            least=LEAST,
            patience=PATIENCE,
            settle=_settle(how),
            tell=lambda name: tell(f"{size}: {name}"),
        )
    notes = [*missing, *(f"{size}: {name} is left out: {why}" for name, why in refused.items())]

    rows = []
    for work in chosen:
        if work.name not in timings:
            continue
        peak_bytes = None
        if memory:
            tell(f"{size}: memory of {work.name}")
            try:
                if how.on_cuda:
                    peak_bytes = peak.on_cuda(tasks[work.name], how.device)
                else:
                    peak_bytes = peak.of_fresh_process(work, shape, threads=how.threads)
            except SoftmorphError as error:
                notes.append(str(error))
        rows.append(_row(work, shape, shares[work.drawn], timings, peak_bytes))
    if not rows:
        raise InputError(str(next(iter(refused.values()))))
    return Measured(tuple(rows), _comparisons(peers, rows, timings), tuple(notes))


def growth(rows: Sequence[Measurement]) -> list[Growth]:
    """Return how each work's time per voxel grows from the smallest to the largest of its maps, if several."""
    found = []
    for name in dict.fromkeys(row.name for row in rows):
        own = sorted((row for row in rows if row.name == name), key=lambda row: math.prod(row.shape))
        if len(own) > 1:
            ratio = own[0].mvoxel_per_s / own[-1].mvoxel_per_s
            found.append(Growth(name, own[0].shape, own[-1].shape, ratio))
    return found


def _peers(chosen: Sequence[Work], dimensions: int, how: Hardware) -> tuple[list[Peer], list[str]]:
    present, notes = [], []
    likes = {(work.operation, work.method) for work in chosen}
    for peer in PEERS:
        if dimensions not in peer.dimensions or (how.on_cuda and not peer.on_cuda):
            continue
        if peer.like is not None and peer.like not in likes:
            continue
        if peer.version is None:
            notes.append(f"{peer.name} is left out: {peer.library} is not installed.")
        else:
            present.append(peer)
    return present, notes


def _settle(how: Hardware) -> Callable[[], None]:
    if not how.on_cuda:
        return lambda: None
    import torch

    # Work on a GPU is only queued when a call returns.
    return lambda: torch.cuda.synchronize(how.device)


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
