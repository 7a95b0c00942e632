"""What an interrupted run has to know to go on: a small file, replaced as a whole."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from softmorph_cli.errors import UsageError
from softmorph_cli.files import replacing
from softmorph_cli.filters.settings import Settings
from softmorph_cli.tiles.once import Facts
from softmorph_cli.tiles.plan import Cut

NAME: Final = "softmorph-tiles.json"

# Raise it when files of an older version can no longer be continued.
_EDITION: Final = 1

# Where all of these are the same, other settings are an oversight: most likely defaults that have changed.
_SAME_TASK: Final = ("operation", "shape", "input", "threshold")

# Seconds between two writes while tiles are done: a run that is killed repeats no more than that.
_OFTEN: Final = 2.0


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
        identity = json.loads((folder / NAME).read_text(encoding="utf-8"))["identity"]
        length = identity["pass_length"]
        return tuple(identity["tile"]), tuple(identity["halo"]), length
    except (OSError, ValueError, KeyError, TypeError):
        return None


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
        """Return how far an interrupted run came, and in words why that cannot be continued, if so.

        Raises:
            UsageError: If it is the same task with other settings; the sentence names them.
        """
        if not self.path.exists():
            return State(), ""
        try:
            read = json.loads(self.path.read_text(encoding="utf-8"))
            identity, state = read["identity"], _state(read["state"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return State(), f"{self.path} is damaged: the interrupted run was not continued but begun anew."
        known = identity if isinstance(identity, dict) else {}
        if isinstance(known.get("settings"), dict):
            self._check_settings(known)
        if known != self.identity:
            names = sorted({*known, *self.identity})
            other = ", ".join(name for name in names if known.get(name) != self.identity.get(name))
            return (
                State(),
                f"{self.path} is of a run with another {other}: it was not continued but begun anew.",
            )
        return state, ""

    def _check_settings(self, known: dict[str, Any]) -> None:
        """Take the settings of an interrupted run for those of this one where they mean the same.

        Raises:
            UsageError: If they mean something else, and the task is the same.
        """
        wanted = self.identity["settings"]
        # An older version wrote down more than mattered, and did not finish.
        theirs = {"finish": False, **known["settings"]}
        found = {name: theirs.get(name) for name in wanted}
        if found == wanted:
            known["settings"] = wanted
        elif all(known.get(name) == self.identity[name] for name in _SAME_TASK):
            raise UsageError(
                f"{self.path.parent} holds an interrupted run {_options(theirs, wanted)}: give the options of that "
                "run to go on with it, or leave out --resume to begin anew."
            )

    def save(self, state: State) -> None:
        """Write how far the run is; who finds the file finds all of it."""
        text = json.dumps({"identity": self.identity, "state": asdict(state)})
        with replacing(self.path, force=True) as temporary:
            temporary.write_text(text, encoding="utf-8")
        self._saved = time.monotonic()

    def save_sometimes(self, state: State) -> None:
        """Write it if the last time is a while ago."""
        if time.monotonic() - self._saved > _OFTEN:
            self.save(state)


def _options(theirs: dict[str, Any], ours: dict[str, Any]) -> str:
    """Return the options that tell one run from another: "with --method levels and --levels 128"."""
    names = [name for name, value in ours.items() if theirs.get(name) != value]
    if "method" in names:
        own = Settings(theirs["method"]).relevant(until_stable=True)
        names = ["method", *(name for name, value in own.items() if theirs.get(name) != value)]
    spelt = {name: f"--{name.replace('_', '-')} {theirs.get(name)}" for name in names}
    absent = [f"--{name.replace('_', '-')}" for name in names if theirs.get(name) is None]
    present = [option for name, option in spelt.items() if theirs.get(name) is not None]
    if "finish" in names:
        present.remove(spelt["finish"])
        (absent if theirs["finish"] else present).append("--no-finish")
    groups = ((kind, options) for kind, options in (("with", present), ("without", absent)) if options)
    return " and ".join(f"{kind} {' and '.join(options)}" for kind, options in groups)


def _state(read: dict[str, Any]) -> State:
    courses = []
    # As it was called when there were words of planes and nothing else.
    for course in read["courses" if "courses" in read else "words"]:
        done = {
            int(tile): (live, bool(new), bool(dead)) for tile, (live, new, dead) in course.pop("done").items()
        }
        courses.append(Course(**course, done=done))
    return State(courses, [int(tile) for tile in read["written"]], Facts(**read["facts"]))
