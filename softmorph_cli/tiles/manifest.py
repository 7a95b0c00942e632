"""What an interrupted run has to know to go on: a small file, replaced as a whole."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from softmorph_cli.errors import UsageError
from softmorph_cli.files import replacing
from softmorph_cli.filters.settings import Settings
from softmorph_cli.tiles.once import Facts
from softmorph_cli.tiles.plan import Cut
from softmorph_cli.tiles.spec import Spec, task

NAME: Final = "softmorph-tiles.json"

# Raise it when files of an older version can no longer be continued.
_EDITION: Final = 1

# Seconds between two writes while tiles are done: a run that is killed repeats no more than that.
_OFTEN: Final = 2.0


# What may be wrong with the file.
_DAMAGE: Final = (OSError, ValueError, KeyError, TypeError, AttributeError, UsageError)

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
    """

    courses: list[Course] = field(default_factory=list)
    written: list[int] = field(default_factory=list)
    facts: Facts = field(default_factory=Facts)


def cut_of(folder: Path) -> Cut | None:
    """Return how an interrupted run with this scratch folder cut its map; None where there is none, or no telling."""
    try:
        identity = _read(folder / NAME)["identity"]
        return tuple(identity["tile"]), tuple(identity["halo"]), identity["pass_length"]
    except _DAMAGE:
        return None


def other_default(folder: Path, spec: Spec, shape: tuple[int, ...]) -> str | None:
    """Return the method of an interrupted run that the same filter would go on with, were it named.

    Args:
        folder: The run's scratch folder.
        spec: The filter as it is asked for now.
        shape: The map's.

    Raises:
        SoftmorphError: As `spec.task`.
    """
    try:
        known = _read(folder / NAME)["identity"]
        method = known["settings"]["method"]
    except _DAMAGE:
        return None
    if spec.settings.method is not None or method == task(spec, shape).settings.method:
        return None
    then = task(replace(spec, settings=replace(spec.settings, method=method)), shape).identity()
    return method if json.loads(json.dumps(then)).items() <= known.items() else None


class Manifest:
    """The file.

    Args:
        folder: Where it lies.
        identity: What the run's result depends on; a run with another is not continued.
    """

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        """Keep where and what."""
        self.path = folder / NAME
        self.identity = json.loads(json.dumps({"edition": _EDITION, **identity}))
        self._saved = 0.0

    def load(self) -> tuple[State, str]:
        """Return how far an interrupted run came, and in words why that cannot be continued, if so."""
        if not self.path.exists():
            return State(), ""
        try:
            read = _read(self.path)
            identity, state = read["identity"], _state(read["state"])
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
        text = json.dumps({"identity": self.identity, "state": asdict(state)})
        with replacing(self.path, force=True, follow=False) as temporary:
            temporary.write_text(text, encoding="utf-8")
        self._saved = time.monotonic()

    def save_sometimes(self, state: State) -> None:
        """Write it if the last time is a while ago."""
        if time.monotonic() - self._saved > _OFTEN:
            self.save(state)


def _read(path: Path) -> dict[str, Any]:
    """Return what the file holds, of the settings those alone that their method listens to."""
    read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    settings = Settings(**read["identity"]["settings"]).as_dict()
    return {**read, "identity": {**read["identity"], "settings": settings}}


def _state(read: dict[str, Any]) -> State:
    courses = []
    # As it was called when there were words of planes and nothing else.
    for course in read["courses" if "courses" in read else "words"]:
        done = {
            int(tile): (live, bool(new), bool(dead)) for tile, (live, new, dead) in course.pop("done").items()
        }
        courses.append(Course(**course, done=done))
    return State(courses, [int(tile) for tile in read["written"]], Facts(**read["facts"]))
