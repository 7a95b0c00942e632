"""The steps and options of a batch: picklable, and identified in the manifest by a fingerprint."""

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
from softmorph_cli.pipeline.outputs import OutputOptions

if TYPE_CHECKING:
    from softmorph_cli.filters.settings import Settings

# Settings that change the speed, not the result.
_SPEED_ONLY: Final = ("device", "threads")
_DEFAULT_OUTPUTS: Final = OutputOptions()


@dataclass(frozen=True)
class Recipe:
    """What a batch does with every file.

    Attributes:
        filters: The steps; none where a batch is only summarized.
        settings: Settings of steps that have none of their own.
        pipeline: The TOML file that holds the steps; None where they were typed.
        reading: How files are read.
        writing: How results are written; `force` is set for each file.
    """

    filters: tuple[Filter, ...]
    settings: Settings
    pipeline: Path | None = None
    reading: ReadOptions = DEFAULT
    writing: OutputOptions = _DEFAULT_OUTPUTS

    def on_threads(self, threads: int) -> Recipe:
        """Return the recipe with a number of threads."""
        filters = tuple(
            replace(one, threads=threads) if isinstance(one, SoftFilter) else one for one in self.filters
        )
        return replace(self, filters=filters, settings=replace(self.settings, threads=threads))

    @property
    def parameters(self) -> dict[str, Any]:
        """Everything that a result depends on beside the file, as plain values.

        Raises:
            SoftmorphError: If a step is wrong.
        """
        chosen = {**asdict(self.settings), "method": None}
        settings = {name: value for name, value in chosen.items() if name not in _SPEED_ONLY}
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
        """Sixteen hexadecimal digits, different where a result would be."""
        return fingerprint_of(self.parameters)


def fingerprint_of(parameters: Mapping[str, Any]) -> str:
    """Return the fingerprint of `Recipe.parameters`, of this version or of the one that wrote a manifest."""
    text = json.dumps(parameters, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _stamp(path: Path) -> list[Any]:
    try:
        state = path.stat()
    except OSError:
        return [path.name]
    if path.is_dir():
        # A folder holds an image for each case, which is part of the identity of the case.
        return [path.name]
    return [path.name, state.st_size, state.st_mtime_ns]


def _content(value: Any) -> Any:
    """Return a value, or the hash of the rule file that it names: the rule may change and keep its name."""
    from softmorph_cli.rules.rulefile import named_file
    from softmorph_cli.rules.simple_points import SUFFIX

    path = named_file(value) if isinstance(value, str) else None
    if path is None:
        return value
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return value
    return digest + SUFFIX if value.endswith(SUFFIX) else digest
