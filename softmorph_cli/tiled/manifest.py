"""What an interrupted run has to know to go on: a small file, replaced as a whole."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from softmorph_cli.errors import SoftmorphError
from softmorph_cli.filters.filter import SoftFilter
from softmorph_cli.filters.settings import Settings
from softmorph_cli.system.files import replacing
from softmorph_cli.tiled.plan import Cut
from softmorph_cli.tiled.prepared import task
from softmorph_cli.tiled.single_pass import Facts

NAME: Final = "softmorph-tiles.json"

# Raise it when files of an older version can no longer be continued.
_EDITION: Final = 1

# Seconds between two writes while tiles are done: a run that is killed repeats no more than that.
_OFTEN: Final = 2.0


# Why a part may stop, the later ones telling more.
REASONS: Final = ("iterations", "stable", "max_iterations")

# What may be wrong with the file.
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
class Course:
    """How far a part is.

    Attributes:
        passes: Passes that are complete.
        iterations: Iterations that are complete.
        reason: Why it stopped; "" while it runs.
        version: Of each tile: the last pass that wrote its image; 0 for none.
        live: Of each tile: first and last (exclusive) along each axis of a box in the map that holds the
            voxels which the last iteration of the last pass changed; None where it changed none.
        dead: Of each tile: whether nothing can ever change in it.
        last: The last iteration of the pass under way that changed anything, from 1; 0 for none yet.
        done: Tiles of the pass under way that are done: where they are live, whether they were
            written and are dead.
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
class State:
    """How far a run is.

    Attributes:
        courses: One for each part begun.
        written: Tiles whose result the target has.
        facts: What is known of these, where every tile is done at once.
        named: By their paths, the inodes of files and stores that are ready and take their names now, so that a run
            that is killed meanwhile knows them again.
    """

    courses: list[Course] = field(default_factory=list)
    written: list[int] = field(default_factory=list)
    facts: Facts = field(default_factory=Facts)
    named: dict[str, int] = field(default_factory=dict)


def named_by(folder: Path) -> dict[str, int]:
    """Return what `State.named` is in an interrupted run with this scratch folder; nothing where there is none."""
    try:
        return _named(_read(folder / NAME)["state"])
    except _DAMAGE:
        return {}


def cut_of(folder: Path) -> Cut | None:
    """Return how an interrupted run with this scratch folder cut its map; None where there is none, or no telling."""
    try:
        identity = _read(folder / NAME)["identity"]
        return tuple(identity["tile"]), tuple(identity["halo"]), identity["pass_length"]
    except _DAMAGE:
        return None


def other_default(folder: Path, chosen: SoftFilter, shape: tuple[int, ...]) -> str | None:
    """Return the method of an interrupted run that the same filter would go on with, were it named.

    Args:
        folder: The run's scratch folder.
        chosen: The filter as it is asked for now.
        shape: The map's.

    Raises:
        SoftmorphError: As `work.task`.
    """
    try:
        known = _read(folder / NAME)["identity"]
        method = known["settings"]["method"]
    except _DAMAGE:
        return None
    if chosen.method is not None or method == task(chosen, shape).settings.method:
        return None
    then = task(replace(chosen, method=method), shape).identity()
    return method if json.loads(json.dumps(then)).items() <= known.items() else None


class Manifest:
    """The file.

    Args:
        folder: Where it lies.
        identity: What the run's result depends on; a run with another is not continued.
        flush: Called before every write: brings to the disk what the file will say is done.
    """

    def __init__(
        self, folder: Path, identity: dict[str, Any], flush: Callable[[], object] = lambda: None
    ) -> None:
        """Keep where and what."""
        self.path, self._flush = folder / NAME, flush
        self.identity = json.loads(json.dumps({"edition": _EDITION, **identity}))
        self._saved = 0.0

    def load(self, tiles: int, parts: int) -> tuple[State, str]:
        """Return how far an interrupted run came, and in words why that cannot be continued, if so.

        Args:
            tiles: How many the run has.
            parts: How many its filter has.
        """
        if not self.path.exists():
            return State(), ""
        try:
            read = _read(self.path)
            identity = read["identity"]
            # Another run has other numbers of tiles and parts.
            state = _state(read["state"], tiles, parts) if identity == self.identity else State()
        except _DAMAGE:
            return State(), f"{self.path} is damaged: the interrupted run was not continued but begun anew."
        if identity != self.identity:
            names = sorted({*identity, *self.identity})
            other = ", ".join(name for name in names if identity.get(name) != self.identity.get(name))
            return (
                State(),
                f"{self.path} is of a run with another {other}: it was not continued but begun anew.",
            )
        return state, ""

    def save(self, state: State) -> None:
        """Write how far the run is; who finds the file finds all of it."""
        self._flush()
        said = {"identity": self.identity, "state": asdict(state)}
        text = json.dumps({**said, "sum": _sum(said)})
        with replacing(self.path, force=True, follow=False) as temporary:
            temporary.write_text(text, encoding="utf-8")
        self._saved = time.monotonic()

    def save_sometimes(self, state: State) -> None:
        """Write it if the last time is a while ago."""
        if time.monotonic() - self._saved > _OFTEN:
            self.save(state)


def _read(path: Path) -> dict[str, Any]:
    """Return what the file holds, of the settings those alone that their method listens to.

    Raises:
        ValueError: If it was changed since it was written; files of earlier versions have no checksum.
    """
    read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if "sum" in read and read.pop("sum") != _sum(read):
        raise ValueError("another checksum")
    settings = Settings(**read["identity"]["settings"]).as_dict()
    return {**read, "identity": {**read["identity"], "settings": settings}}


def _sum(said: Any) -> str:
    # Of what JSON makes of it: the keys of its objects are text.
    return hashlib.sha256(json.dumps(json.loads(json.dumps(said)), sort_keys=True).encode()).hexdigest()


def _state(read: Mapping[str, Any], tiles: int, parts: int) -> State:
    """Return what is written of a run with so many tiles.

    Raises:
        ValueError: If it cannot be of one; others where it is of another form altogether.
    """
    # As it was called when there were words of planes and nothing else.
    courses = [_course(course) for course in read["courses" if "courses" in read else "words"]]
    facts = Facts(**{name: _number(value) for name, value in read["facts"].items()})
    state = State(courses, [_count(tile) for tile in read["written"]], facts, _named(read))
    listed = [*state.written, *(tile for course in courses for tile in course.done)]
    lengths = {len(each) for course in courses for each in (course.version, course.live, course.dead)}
    if len(courses) > parts or not lengths <= {tiles} or not all(tile < tiles for tile in listed):
        raise ValueError("another number of tiles")
    return state


def _course(read: Mapping[str, Any]) -> Course:
    done = {
        _count(int(tile)): (_live(live), _flag(new), _flag(dead))
        for tile, (live, new, dead) in read["done"].items()
    }
    if read["reason"] not in ("", *REASONS):
        raise ValueError(read["reason"])
    return Course(
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
    if type(read) is not int or read < 0:  # of which True would be one
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
