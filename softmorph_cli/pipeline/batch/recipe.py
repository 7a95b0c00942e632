"""What is done to every file, as data: it goes to other processes, and the manifest knows it by a fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from softmorph_cli import __version__
from softmorph_cli.filters.filter import MASK, Filter, SoftFilter
from softmorph_cli.io.options import DEFAULT, ReadOptions
from softmorph_cli.pipeline.outputs import ResultOptions

if TYPE_CHECKING:
    from softmorph_cli.filters.settings import Settings
    from softmorph_cli.pipeline.process import Outputs

# They change how fast a result comes, not what it is.
_SAME_RESULT: Final = ("device", "threads")


_USUAL: Final = ResultOptions()


@dataclass(frozen=True)
class Recipe:
    """What is done to every file.

    Attributes:
        filters: The steps; none where a batch is summarized alone.
        settings: How they run where they do not say.
        pipeline: The file that holds them; None where they were typed.
        reading: How files are read.
        writing: How results are written; whether files are replaced is the batch's.
    """

    filters: tuple[Filter, ...]
    settings: Settings
    pipeline: Path | None = None
    reading: ReadOptions = DEFAULT
    writing: ResultOptions = _USUAL

    def on_threads(self, threads: int) -> Recipe:
        """Return the recipe for so many threads."""
        filters = tuple(
            replace(one, threads=threads) if isinstance(one, SoftFilter) else one for one in self.filters
        )
        return replace(self, filters=filters, settings=replace(self.settings, threads=threads))

    def outputs(self, target: Path, *, force: bool = False) -> Outputs:
        """Return what is written for one file."""
        from softmorph_cli.pipeline.process import Outputs

        return Outputs.of(self.writing, target=target, force=force)

    @property
    def told(self) -> dict[str, Any]:
        """All that a result depends on, beside the file: plain values.

        Raises:
            SoftmorphError: If a step is wrong.
        """
        chosen = {**asdict(self.settings), "method": None}
        settings = {name: value for name, value in chosen.items() if name not in _SAME_RESULT}
        reading = {
            name: _stamp(value) if isinstance(value, Path) else value
            for name, value in self.reading.given.items()
        }
        steps = [
            {
                "operation": one.operation,
                **{name: _content(value) for name, value in one.given(self.settings).items()},
            }
            for one in self.filters
        ]
        return {
            "steps": steps,
            "method": self.settings.method,
            "settings": settings,
            "in_force": [
                one.settings.as_dict() if one.settings is not None and one.gives != MASK else {}
                for one in self.filters
            ],
            "reading": reading,
            "output_type": self.writing.output_type,
            **{name: True for name in ("pyramid", "renormalize", "argmax") if getattr(self.writing, name)},
            "version": ".".join(__version__.split(".")[:2]),
        }

    @property
    def fingerprint(self) -> str:
        """Sixteen letters that change when a result would."""
        return fingerprint_of(self.told)


def fingerprint_of(told: Mapping[str, Any]) -> str:
    """Return the fingerprint of what `Recipe.told` is, or was when a manifest was written."""
    text = json.dumps(told, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _stamp(path: Path) -> list[Any]:
    try:
        state = path.stat()
    except OSError:
        return [path.name]
    if path.is_dir():
        # Of a folder each case has an image of its own, which the manifest knows beside the case.
        return [path.name]
    return [path.name, state.st_size, state.st_mtime_ns]


def _content(value: Any) -> Any:
    """Return a value; of a rule file what it holds, since the rule may change under its name."""
    from softmorph_cli.rules.rulefile import named_file
    from softmorph_cli.rules.simple_points import SUFFIX

    path = named_file(value) if isinstance(value, str) else None
    if path is None:
        return value
    try:
        held = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return value
    return held + SUFFIX if value.endswith(SUFFIX) else held
