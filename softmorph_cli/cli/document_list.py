"""The JSON document of each command, and what in a document disagrees with the declarations of its fields."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from softmorph_cli.cli.document_fields import OBJECTS, UNIT, Field, Fields
from softmorph_cli.filters.operations import OPERATIONS

ALWAYS: Final[Fields] = {
    "schema": Field("integer", "2; a change that breaks readers raises it."),
    "softmorph_version": Field("text", "Version of softmorph."),
    "command": Field("text", "Name of the command."),
    "seconds": Field("seconds", "Time of each stage, and `total`."),
    "notes": Field("list of text", "Remarks on the input and the result."),
    "warnings": Field("list of text", "What the user should know before using the result."),
    "error": Field(
        "error", "Only where the exit status is not 0; without a result the first three fields stay."
    ),
}
_FILTER: Final[Fields] = {
    "input": Field("file", "The map that was read."),
    "output": Field("file", "The file that was written."),
    "steps": Field("list of step", "What each step did."),
    "before": Field("statistics", "Statistics of the input."),
    "after": Field("statistics", "Statistics of the output."),
    "change": Field("change or null", "Difference of output and input; null on another grid."),
    "device": Field("text", "Where it ran: cpu, cuda:0, ..."),
    "dry_run": Field("flag", "With --dry-run: nothing was done."),
    "tiles": Field("tiles", "With --dry-run: how the map would be cut."),
}
_PARAMETERS: Final = Field("any", "Parameters in force, by name.")
_FILES: Final = {
    "files": Field("list of item", "Of several files: the result of each."),
    "failed": Field("list of failed", "Of several files: those that failed."),
}
_INPUT: Final = Field("file", "The file that was read.")
_DRY_RUN: Final = Field("flag", "With --dry-run: nothing was done.")
_PRIOR: Final = Field("prior", "The prior.")

DOCUMENTS: Final[Mapping[str, Fields]] = {
    **dict.fromkeys((*OPERATIONS, "chain", "topology simplify"), _FILTER),
    "batch": {
        "parameters": _PARAMETERS,
        "counts": Field("counts", "Number of files of each status."),
        "files": Field("list of item", "Each file."),
        "dry_run": _DRY_RUN,
    },
    "inspect": {
        "input": _INPUT,
        "map": Field("file or null", "The map of --map."),
        "parameters": _PARAMETERS,
        "graph": Field("graph", "Summary of the skeleton."),
        "components": Field("list of component", "Components, the longest first."),
        "branches": Field("list of branch", "Branches, the longest first."),
        "nodes": Field("list of node", "End points and junctions."),
        **_FILES,
    },
    "stats": {"input": _INPUT, "statistics": Field("statistics", "Statistics of the map."), **_FILES},
    "evaluate": {
        "prediction": Field("file", "The prediction."),
        "reference": Field("file", "The reference."),
        "metrics": Field("any", "Of one class alone: its metrics."),
        "classes": Field("list of class", "Metrics of each class."),
        "parameters": _PARAMETERS,
        "error_map": Field("any", "With --error-map: path, and the regions of each kind of error."),
        "pairs": Field("list of pair", "Of two folders: each pair."),
        "summary": Field("list of summary", "Of two folders: each metric over all pairs."),
        "interval": Field("any", "How intervals of the mean are computed."),
        "unmatched": Field("unmatched", "Of two folders: files without a partner."),
        "failed": Field("list of failed", "Of two folders: pairs that could not be compared."),
        "definitions": Field("list of definition", "With --explain: every metric."),
    },
    "topology numbers": {
        "input": _INPUT,
        "parameters": _PARAMETERS,
        "classes": Field("list of class", "Betti numbers and bars of each channel."),
    },
    "topology repair": {
        "input": _INPUT,
        "output": Field("file", "The file that was written."),
        "parameters": _PARAMETERS,
        "reached": Field("flag", "Whether the numbers that were asked for are in the file."),
        "stop_reason": Field("text", "reached, stuck or max_steps."),
        "iterations": Field("integer", "Steps that were done."),
        "best_iteration": Field("integer", "The step whose map was written; 0 is the input."),
        "change": Field("change", "How much the map changed."),
        "certificate": Field("certificate", "Betti numbers of the file, read back."),
    },
    "rules": {"rules": Field("list of rule", "The bundled rules, or the forms of the one that was named.")},
    "info": {
        "input": _INPUT,
        "min": Field("number or null", "Smallest value."),
        "max": Field("number or null", "Largest value."),
        "nans": Field("integer or null", "Values that are NaN."),
        "infinities": Field("integer or null", "Values that are infinite."),
        "distinct_values": Field("integer or null", "Number of different values, if they are few."),
        "kind": Field("text or null", "What it probably is: map, logits, labels, mask, image, ..."),
        "sure": Field("flag", "Whether no other kind is as likely."),
        "found": Field("text", "What `kind` is concluded from."),
        "structure": Field("text or null", "What lies above 0.5: lines, vessels or blobs."),
        "needs": Field("text or null", "What softmorph takes in place of a file that is no map."),
        "provenance": Field("any or null", "How softmorph made it: command, version, parameters."),
        "try_next": Field("text or null", "The command to try next."),
        "softmorph": Field("text", "Without a file: version of softmorph."),
        "python": Field("text", "Version of Python."),
        "system": Field("text", "Operating system."),
        "threads": Field("integer", "Threads that are used."),
        "memory": Field("text or null", "Memory that this process may use."),
        "cuda_devices": Field("text", "CUDA devices."),
        "cache_folder": Field("text", "Where compiled kernels are kept."),
        "libraries": Field("any", "Versions of libraries by name."),
        "extras": Field("any", "Versions of libraries that are optional, or how to install them."),
        "kernels": Field("list of text", "With --warm: the kernels that were compiled."),
    },
    "bench": {
        "parameters": _PARAMETERS,
        "machine": Field("any", "Processor, memory, device, versions."),
        "rows": Field("list of timing", "Time and memory of each task."),
        "comparisons": Field("list of timing", "Time of other libraries."),
        "growth": Field("list of timing", "Time per voxel of the largest map over that of the smallest."),
    },
    "prior train": {
        "input": Field("file", "The folder of maps."),
        "images": Field("file or null", "The folder of images."),
        "prior": _PRIOR,
    },
    "prior info": {"prior": _PRIOR},
    "prior evaluate": {
        "input": Field("file", "The folder of maps."),
        "prior": _PRIOR,
        "parameters": _PARAMETERS,
        "validation": Field("list of gap", "How well hidden slices are found."),
    },
    "prior segment": {
        "input": _INPUT,
        "output": Field("file", "The file that was written."),
        "prior": _PRIOR,
        "explained": Field("number", "Share of the variance of the image's intensities that is explained."),
        "min_fit": Field("number", "The share that --min-fit asks for."),
        "held_out_images": Field(
            "any or null", "The same share, and the Dice, of images that were held out in the training."
        ),
        "classes": Field("list of class", "Each class of the result."),
    },
}

_TYPES: Final[Mapping[str, Any]] = {
    "text": str,
    "integer": int,
    "number": (int, float),
    "flag": bool,
    "null": type(None),
}
_UNITS: Final = "(?:pm|nm|um|mm|cm|m|inch|voxels|pixels|[a-z]+)"


def mismatches(document: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each field of a document that is not declared, or is of another type than declared."""
    command = str(document.get("command"))
    if command not in DOCUMENTS and "error" not in document:
        return [f"the command {command} has no declared document"]
    return list(_object(document, {**ALWAYS, **DOCUMENTS.get(command, {})}, command))


def _object(value: Mapping[str, Any], known: Fields, place: str) -> Iterator[str]:
    for name, inner in value.items():
        declared = field_of(name, known)
        if declared is None:
            yield f"{place}: the field {name} is not declared"
        elif not any(_is(inner, kind) for kind in declared.kind.split(" or ")):
            yield f"{place}: {name} is {inner!r:.60} and declared as {declared.kind}"
        else:
            yield from _inner(inner, declared.kind, f"{place}: {name}")


def field_of(name: str, known: Fields) -> Field | None:
    """Return the declaration of a field; that of `length_mm` is `length_{unit}`."""
    if name in known:
        return known[name]
    spelt = (one for one in known if UNIT in one)
    fitting = (one for one in spelt if re.fullmatch(one.replace(UNIT, _UNITS), name))
    return next((known[one] for one in fitting), None)


def _is(value: Any, kind: str) -> bool:
    """Return whether a value is of a declared kind, apart from what is inside of an object or list."""
    if kind == "any":
        return value is not None
    if kind.startswith("list of "):
        return isinstance(value, list) and all(_is(one, kind.removeprefix("list of ")) for one in value)
    if kind in OBJECTS:
        return isinstance(value, Mapping)
    return isinstance(value, _TYPES[kind]) and (kind == "flag" or not isinstance(value, bool))


def _inner(value: Any, kinds: str, place: str) -> Iterator[str]:
    for kind in kinds.split(" or "):
        name = kind.removeprefix("list of ")
        if name in OBJECTS:
            several: Sequence[Any] = value if isinstance(value, list) else [value]
            for one in several:
                if isinstance(one, Mapping):
                    yield from _object(one, OBJECTS[name], place)
