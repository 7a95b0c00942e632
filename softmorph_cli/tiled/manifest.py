"""The manifest of a tiled run: a JSON file with the state of the run, from which an interrupted run is resumed."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from softmorph_cli.errors import SoftmorphError
from softmorph_cli.filters.filter import SoftFilter
from softmorph_cli.filters.settings import Settings
from softmorph_cli.system.files import replacing
from softmorph_cli.tiled.plan import Cut
from softmorph_cli.tiled.single_pass import TileFacts
from softmorph_cli.tiled.tiled_filter import tiled_filter

NAME: Final = "softmorph-tiles.json"

# Raised when the files of earlier versions can no longer be resumed.
_EDITION: Final = 1

# Seconds between two writes, and so at most what a killed run has to repeat.
_INTERVAL: Final = 2.0

# Reasons to stop, in order of importance to the user.
REASONS: Final = ("iterations", "stable", "max_iterations")

# Exceptions that a damaged file raises.
_DAMAGE: Final = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    SoftmorphError,
)

Corners = list[list[int]]


@dataclass
class PartState:
    """The state of a part of the filter (a sequence of iterations on one image, see `Part`).

    Attributes:
        passes: Number of complete passes.
        iterations: Number of complete iterations.
        reason: The reason why the part stopped, one of `REASONS`; "" while the part runs.
        version: For each tile, the number (from 1) of the last pass that wrote an image of the tile; 0 for no image.
        live: For each tile, a box that contains the voxels which the last iteration of the last pass changed, as start
            and stop index along each axis of the map; None if no voxel of the tile changed.
        dead: For each tile, whether no voxel of the tile can change any more.
        last: The last iteration of the running pass that changed a voxel, from 1; 0 if no iteration did so far.
        done: For each tile that the running pass has completed: the new entry of `live`, whether an image was written,
            and the new entry of `dead`.
    """

    passes: int = 0
    iterations: int = 0
    reason: str = ""
    version: list[int] = field(default_factory=list)
    live: list[Corners | None] = field(default_factory=list)
    dead: list[bool] = field(default_factory=list)
    last: int = 0
    done: dict[int, tuple[Corners | None, bool, bool]] = field(default_factory=dict)


@dataclass
class RunState:
    """The state of a tiled run.

    Attributes:
        courses: The states of the parts of the filter that have begun.
        written: Indices of the tiles whose result has been written to the target.
        facts: Sums and maxima over these tiles that warnings depend on, where tiles are filtered in a single pass.
        named: Maps the final paths of complete outputs to the inodes of the temporary files that are being renamed to
            these paths; if the run is killed meanwhile, a resumed run recognizes renamed outputs by their inodes.
    """

    courses: list[PartState] = field(default_factory=list)
    written: list[int] = field(default_factory=list)
    facts: TileFacts = field(default_factory=TileFacts)
    named: dict[str, int] = field(default_factory=dict)


class InterruptedRun:
    """An interrupted run, as described by the manifest in its scratch folder.

    Args:
        scratch: The scratch folder.

    Attributes:
        exists: Whether the scratch folder holds a manifest, valid or not.
        cut: The tile shape, halo and pass length of the run; None if the manifest is missing or damaged.
        named: The entry `RunState.named` of the manifest; empty if the manifest is missing or damaged.
    """

    def __init__(self, scratch: Path) -> None:
        self.exists = (scratch / NAME).exists()
        self._content: dict[str, Any] = {}
        self.cut: Cut | None = None
        self.named: dict[str, int] = {}
        with suppress(*_DAMAGE):
            self._content = _read(scratch / NAME)
            identity = self._content["identity"]
            self.cut = tuple(identity["tile"]), tuple(identity["halo"]), identity["pass_length"]
        with suppress(*_DAMAGE):
            self.named = _named(self._content["state"])

    def other_default(self, chosen: SoftFilter, shape: tuple[int, ...]) -> str | None:
        """Return the method of the interrupted run, if this run differs only in the default method; else None.

        Args:
            chosen: The filter that is to resume the run.
            shape: The map's shape.

        Raises:
            SoftmorphError: If the filter does not suit the map's shape, or cannot run on tiles.
        """
        try:
            known = self._content["identity"]
            method = known["settings"]["method"]
        except _DAMAGE:
            return None
        if chosen.method is not None or method == tiled_filter(chosen, shape).settings.method:
            return None
        then = tiled_filter(replace(chosen, method=method), shape).identity()
        return method if json.loads(json.dumps(then)).items() <= known.items() else None


class TileManifest:
    """A manifest of a tiled run that can be read and written.

    Args:
        folder: The scratch folder.
        identity: All parameters that the result depends on; a run with another identity is not resumed.
        flush: A callback that is called before the manifest is written: it flushes the files to the disk which the
            manifest states as done.
    """

    def __init__(
        self, folder: Path, identity: dict[str, Any], flush: Callable[[], object] = lambda: None
    ) -> None:
        self.path, self._flush = folder / NAME, flush
        self.identity = json.loads(json.dumps({"edition": _EDITION, **identity}))
        self._saved = 0.0

    def load(self, tiles: int, parts: int) -> tuple[RunState, str]:
        """Return the state of the interrupted run, and a message if this run cannot be resumed (else "").

        The state is a new one if the run cannot be resumed, or if there is no manifest.

        Args:
            tiles: Number of tiles of the map.
            parts: Number of parts of the filter.
        """
        if not self.path.exists():
            return RunState(), ""
        try:
            read = _read(self.path)
            identity = read["identity"]
            # The numbers of tiles and parts are those of the same run.
            state = _state(read["state"], tiles, parts) if identity == self.identity else RunState()
        except _DAMAGE:
            return (
                RunState(),
                f"{self.path} is damaged: the interrupted run was not continued but begun anew.",
            )
        if identity != self.identity:
            names = sorted({*identity, *self.identity})
            other = ", ".join(name for name in names if identity.get(name) != self.identity.get(name))
            return (
                RunState(),
                f"{self.path} is of a run with another {other}: it was not continued but begun anew.",
            )
        return state, ""

    def save(self, state: RunState) -> None:
        """Write the state to a temporary file, and rename this to the manifest atomically."""
        self._flush()
        content = {"identity": self.identity, "state": asdict(state)}
        text = json.dumps({**content, "sum": _checksum(content)})
        with replacing(self.path, force=True, follow=False) as temporary:
            temporary.write_text(text, encoding="utf-8")
        self._saved = time.monotonic()

    def save_sometimes(self, state: RunState) -> None:
        """Save the state as `save` does, if the manifest was last saved more than `_INTERVAL` seconds ago."""
        if time.monotonic() - self._saved > _INTERVAL:
            self.save(state)


def _read(path: Path) -> dict[str, Any]:
    """Return the content of a manifest, without settings that have no effect with the method of the run.

    Raises:
        ValueError: If the checksum is wrong; manifests of earlier versions have no checksum.
    """
    read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if "sum" in read and read.pop("sum") != _checksum(read):
        raise ValueError("another checksum")
    settings = Settings(**read["identity"]["settings"]).as_dict()
    return {**read, "identity": {**read["identity"], "settings": settings}}


def _checksum(content: Any) -> str:
    # Of the values as they are read again: the keys of objects are then text.
    return hashlib.sha256(json.dumps(json.loads(json.dumps(content)), sort_keys=True).encode()).hexdigest()


def _state(read: Mapping[str, Any], tiles: int, parts: int) -> RunState:
    """Return the state of a run that is parsed from the JSON object `read` of a manifest.

    Raises:
        ValueError: If the number of tiles or parts is another one; further exceptions if the manifest is damaged.
    """
    # Earlier versions had parts for words of planes only, and named them so.
    courses = [_course(course) for course in read["courses" if "courses" in read else "words"]]
    facts = TileFacts(**{name: _number(value) for name, value in read["facts"].items()})
    state = RunState(courses, [_count(tile) for tile in read["written"]], facts, _named(read))
    listed = [*state.written, *(tile for course in courses for tile in course.done)]
    lengths = {len(each) for course in courses for each in (course.version, course.live, course.dead)}
    if len(courses) > parts or not lengths <= {tiles} or not all(tile < tiles for tile in listed):
        raise ValueError("another number of tiles")
    return state


def _course(read: Mapping[str, Any]) -> PartState:
    done = {
        _count(int(tile)): (_live(live), _flag(new), _flag(dead))
        for tile, (live, new, dead) in read["done"].items()
    }
    if read["reason"] not in ("", *REASONS):
        raise ValueError(read["reason"])
    return PartState(
        passes=_count(read["passes"]),
        iterations=_count(read["iterations"]),
        reason=read["reason"],
        version=[_count(version) for version in read["version"]],
        live=[_live(live) for live in read["live"]],
        dead=[_flag(dead) for dead in read["dead"]],
        last=_count(read["last"]),
        done=done,
    )


def _live(read: Any) -> Corners | None:
    return None if read is None else [[_count(first), _count(last)] for first, last in read]


def _named(state: Mapping[str, Any]) -> dict[str, int]:
    return {path: _count(inode) for path, inode in state.get("named", {}).items()}


def _count(read: Any) -> int:
    if type(read) is not int or read < 0:  # True is an instance of int
        raise TypeError(read)
    return read


def _flag(read: Any) -> bool:
    if not isinstance(read, bool):
        raise TypeError(read)
    return read


def _number(read: Any) -> float:
    if type(read) not in (int, float) or not math.isfinite(read):
        raise TypeError(read)
    return float(read)
