"""The text of a prior's file: a JSON object with every field of `Prior` that is no tensor, checked when it is read."""

from __future__ import annotations

import json
import math
import types
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, Final, Union, get_args, get_origin, get_type_hints

import numpy as np

from softmorph_cli.completion.options import (
    LARGEST_SEED,
    LARGEST_SIDE,
    LEAST_SIDE,
    METHODS,
    MOST_LAYERS,
    WIDEST,
)
from softmorph_cli.errors import SoftmorphError
from softmorph_cli.volume import SPATIAL_AXES

if TYPE_CHECKING:
    import numpy.typing as npt

    from softmorph_cli.completion.network import Architecture
    from softmorph_cli.completion.prior import Prior, Row

SCHEMA: Final = 1
CHECKSUM: Final = "checksum"
_TENSORS: Final = ("weights", "latents")
# A fit of more steps, or of more voxels in each, would take hours or all memory.
_MOST_STEPS: Final = 10**4
_MOST_POINTS: Final = 1 << 16


class RefusedError(SoftmorphError):
    """The reason why a file is no prior, for a sentence that begins with the file's name."""


@dataclass(frozen=True)
class Document:
    """The text of a file, after its checks.

    Attributes:
        unsigned: The JSON object without its checksum.
        checksum: The checksum.
        known: The fields of the prior that are no tensors.
    """

    unsigned: dict[str, Any]
    checksum: str
    known: dict[str, Any]

    @property
    def tensors(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the tensors that the stated network has, by name; the number of subjects is that of names."""
        return tensors_of(self.known["architecture"], len(self.known["subjects"]))

    def prior(self, weights: Mapping[str, npt.NDArray[Any]], latents: npt.NDArray[Any]) -> Prior:
        """Return the prior with these tensors, which are copied."""
        import torch

        from softmorph_cli.completion.prior import Prior

        tensors = {name: torch.from_numpy(array.copy()) for name, array in weights.items()}
        return Prior(weights=tensors, latents=torch.from_numpy(latents.copy()), **self.known)


def tensors_of(architecture: Architecture, subjects: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors of a file, by name; no memory is taken for the network."""
    import torch

    from softmorph_cli.completion.network import ImplicitFunction

    with torch.device("meta"):
        network = ImplicitFunction(architecture)
    width = architecture.width
    return {
        **{f"network.{name}": tuple(one.shape) for name, one in network.state_dict().items()},
        "latents": (subjects, width),
        "mean": (width,),
        "covariance": (width, width),
    }


def of(prior: Prior) -> dict[str, Any]:
    """Return the JSON object of a prior, without its tensors and its checksum."""
    known = {one.name: getattr(prior, one.name) for one in fields(prior) if one.name not in _TENSORS}
    return {"schema": SCHEMA, **{name: _plain(value) for name, value in known.items()}}


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return dict(value) if isinstance(value, Mapping) else value


def parse(text: str) -> Document:
    """Parse and check the text of a file.

    Raises:
        RefusedError: If it is no JSON object of this schema, or what it states cannot be.
    """
    try:
        document = strict_json(text)
    except ValueError as error:
        raise RefusedError("is damaged: its metadata are no JSON.") from error
    if not isinstance(document, dict) or "schema" not in document:
        raise RefusedError("is damaged: its metadata do not state a schema.")
    schema, checksum = document.pop("schema"), document.pop(CHECKSUM, None)
    if type(schema) is not int or schema != SCHEMA:
        raise RefusedError(
            f"has the schema {str(schema)[:20]}, and {SCHEMA} is read here: a later version of softmorph wrote it, so "
            "install that version."
        )
    if not isinstance(checksum, str):
        raise RefusedError("is damaged: it states no checksum.")
    known = _fields(document)
    _check(known)
    return Document({"schema": schema, **document}, checksum, known)


def strict_json(text: str) -> Any:
    """Parse JSON without NaN and infinity.

    Raises:
        ValueError: If the text is no JSON, or is nested too deeply.
    """

    def finite(number: str) -> float:
        if not math.isfinite(float(number)):
            raise ValueError(f"{number} is not finite")
        return float(number)

    try:
        return json.loads(text, parse_float=finite, parse_constant=finite)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _fields(document: Mapping[str, Any]) -> dict[str, Any]:
    from softmorph_cli.completion.prior import Prior

    hints = get_type_hints(Prior)
    names = {one.name for one in fields(Prior)} - set(_TENSORS)
    for name in sorted(names ^ set(document)):
        raise RefusedError(
            f"is damaged: its metadata {'lack' if name in names else 'hold'} the field {name!r:.40}."
        )
    return {name: _value(hints[name], document[name], name) for name in sorted(names)}


def _value(hint: Any, value: Any, name: str) -> Any:
    """Return a JSON value as a value of a type: a dataclass, a tuple, a mapping, a number, a text, or None.

    Raises:
        RefusedError: If it is none.
    """
    kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    if value is None and type(None) in kinds:
        return None
    kind = next(one for one in kinds if one is not type(None))
    if is_dataclass(kind) and isinstance(value, dict):
        hints = get_type_hints(kind)
        if set(value) == {one.name for one in fields(kind)}:
            given = {key: _value(hints[key], one, f"{name}.{key}") for key, one in value.items()}
            try:
                return kind(**given)  # type: ignore[operator]
            except SoftmorphError as error:
                raise RefusedError(f"is damaged: {error}") from error
    elif get_origin(kind) is tuple and isinstance(value, list):
        return tuple(_value(get_args(kind)[0], one, name) for one in value)
    elif get_origin(kind) is Mapping and isinstance(value, dict):
        return value
    elif kind is float and type(value) in (int, float) and abs(value) < 1e300:
        return float(value)
    elif kind in (int, str, bool) and type(value) is kind:
        return value
    raise RefusedError(f"is damaged: its field {name} has a value of the wrong kind.")


def _check(known: Mapping[str, Any]) -> None:
    """Raise `RefusedError` if fields contradict each other or are out of range."""
    architecture, box, dims = known["architecture"], known["box"], len(known["axes"])
    intensity, classes, directions = known["intensity"], known["classes"], known["directions"]
    right = {
        "architecture": architecture.dims == dims
        and architecture.width <= WIDEST
        and architecture.layers <= MOST_LAYERS
        and architecture.intensity == (intensity is not None),
        "axes": known["axes"] in SPATIAL_AXES,
        "classes": len(classes) == architecture.classes - 1 == len(set(classes)) and all(classes),
        "box": len(box.size) == dims
        and all(LEAST_SIDE < side < LARGEST_SIDE for side in box.size)
        and box.unit in ("mm", "voxels", None),
        "directions": directions is None or _unit_vectors(directions, dims),
        "intensity": intensity is None or 0 <= intensity.low < intensity.high <= 100,
        "seed": 0 <= known["seed"] <= LARGEST_SEED,
        "subjects": len(known["subjects"]) >= 2,
        "validation": _is_table(known["validation"]),
        **{
            name: 0 < known[name].steps <= _MOST_STEPS
            and 0 < known[name].points <= _MOST_POINTS
            and 0 < known[name].rate <= 10
            for name in ("completion", "segmentation")
        },
    }
    for name, one in right.items():
        if not one:
            raise RefusedError(f"is damaged: its field {name} does not fit the rest, or is out of range.")


def _is_table(rows: tuple[Row, ...]) -> bool:
    """Return whether a table of validation has one row of each method for each gap and class."""
    pairs = {(row.gap, row.label) for row in rows}
    wanted = {(*pair, method) for pair in pairs for method in METHODS}
    return len(rows) == len(wanted) and {(row.gap, row.label, row.method) for row in rows} == wanted


def _unit_vectors(directions: tuple[tuple[float, ...], ...], dims: int) -> bool:
    if len(directions) != dims or any(len(one) != 3 for one in directions):
        return False
    return bool(np.allclose(np.linalg.norm(np.array(directions), axis=1), 1, atol=1e-3))
