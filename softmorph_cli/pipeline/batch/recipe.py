"""The recipe of a batch: the steps and options for every file, identified in the manifest by a hash (fingerprint)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from softmorph_cli import __version__
from softmorph_cli.filters.filter import MASK, Filter
from softmorph_cli.io.options import DEFAULT, ReadOptions
from softmorph_cli.pipeline.outputs import OutputOptions
from softmorph_cli.pipeline.steps.measuring import Measuring
from softmorph_cli.pipeline.steps.registry import changing
from softmorph_cli.system.parameters import declared

if TYPE_CHECKING:
    from softmorph_cli.filters.settings import Settings

# Settings that change the speed, not the result.
_SPEED_ONLY: Final = ("device", "threads")
_DEFAULT_OUTPUTS: Final = OutputOptions()


@dataclass(frozen=True)
class Recipe:
    """A recipe of a batch: the steps and options that are applied to every file. It can be pickled.

    Attributes:
        filters: The filters that are applied one after the other; empty if the batch is only summarized.
        settings: Default settings for parameters that a step does not set.
        pipeline: The TOML file that contains the steps; None if the steps were typed on the command line.
        reading: Options for reading files.
        writing: Options for writing results, except `force`, which is set for each file.
        thumbnails: Whether small pictures of the results are kept, for a page of all files.
    """

    filters: tuple[Filter, ...]
    settings: Settings
    pipeline: Path | None = None
    reading: ReadOptions = DEFAULT
    writing: OutputOptions = _DEFAULT_OUTPUTS
    thumbnails: bool = False

    @property
    def keeps(self) -> bool:
        """Whether something is kept of each file beside its result: what was measured, or small pictures."""
        return self.thumbnails or bool(self.measured)

    def on_threads(self, threads: int) -> Recipe:
        """Return a copy of the recipe whose filters use the given number of threads."""
        own = {"threads": threads}
        filters = tuple(
            replace(one, **own) if "threads" in declared(type(one)) else one for one in self.filters
        )
        return replace(self, filters=filters, settings=replace(self.settings, threads=threads))

    @property
    def parameters(self) -> dict[str, Any]:
        """All parameters that a result depends on beside the input file, as values for JSON.

        Raises:
            SoftmorphError: If a step is invalid.
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
            for one in changing(self.filters)
        ]
        return {
            "steps": steps,
            "method": self.settings.method,
            "settings": settings,
            "in_force": [
                one.settings.as_dict() if one.settings is not None and one.gives != MASK else {}
                for one in changing(self.filters)
            ],
            **({"measured": measured} if (measured := self.measured) else {}),
            "reading": reading,
            "output_type": self.writing.output_type,
            **{name: True for name in ("pyramid", "renormalize", "argmax") if getattr(self.writing, name)},
            **self.writing.pooling_stated,
            "version": ".".join(__version__.split(".")[:2]),
        }

    @property
    def measured(self) -> list[dict[str, Any]]:
        """The steps that measure, with their places among all steps, as values for JSON."""
        return [
            {"step": number, "operation": one.operation, **one.given(self.settings)}
            for number, one in enumerate(self.filters, 1)
            if isinstance(one, Measuring)
        ]

    @property
    def fingerprint(self) -> str:
        """A hash of the parameters (16 hexadecimal digits), which differs if results may differ."""
        return fingerprint_of(self.parameters)


def fingerprint_of(parameters: Mapping[str, Any]) -> str:
    """Return a hash (16 hexadecimal digits) of parameters from `Recipe.parameters` or from a manifest.

    It does not depend on the steps that measure, which change no result.
    """
    made = {name: value for name, value in parameters.items() if name != "measured"}
    text = json.dumps(made, sort_keys=True, default=str)
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
    """Return `value`, or if it names a file, what tells its content, as a file may change and keep its name."""
    from softmorph_cli.rules.rulefile import named_file
    from softmorph_cli.rules.simple_points import SUFFIX

    if isinstance(value, Path):
        return _stamp(value)
    path = named_file(value) if isinstance(value, str) else None
    if path is None:
        return value
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return value
    return digest + SUFFIX if value.endswith(SUFFIX) else digest
