"""softmorph info."""

from __future__ import annotations

import platform
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from softmorph_cli import __version__
from softmorph_cli.cli import answer, common, report
from softmorph_cli.errors import UsageError
from softmorph_cli.io import documents
from softmorph_cli.system.files import check_writable
from softmorph_cli.system.parameters import Parameter
from softmorph_cli.system.printable import typed

_LIBRARIES = (
    "torch",
    "numpy",
    "numba",
    "scipy",
    "dd",
    "nibabel",
    "SimpleITK",
    "tifffile",
    "h5py",
    "mrcfile",
    "zarr",
    "matplotlib",
)
# Separators of lists; sizes have a multiplication sign.
_BETWEEN = {"channels": ", ", "notes": " "}
# The footer, and what the title says by "perhaps".
_ELSEWHERE = ("provenance", "sure")
# By the extra that installs it.
_EXTRAS = {
    "terminal": "textual-image",
    "cluster": "distributed",
    "codecs": "imagecodecs",
    "dicom": "highdicom",
}


def info(
    source: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="File to describe.", show_default=False)
    ] = None,
    *,
    warm: Annotated[
        bool, Parameter("Compile every kernel now (a few minutes), so that no run has to.", first=True)
    ] = False,
    json: Annotated[bool, common.JSON] = False,
    json_file: Annotated[Path | None, common.JSON_FILE] = None,
    force: Annotated[bool, common.FORCE] = False,
    quiet: Annotated[bool, common.QUIET] = False,
    verbose: Annotated[bool, common.VERBOSE] = False,
) -> None:
    """What a file is and what to type next; without a file, what this installation is."""
    if source is not None and warm:
        raise UsageError("--warm goes without a file.")
    wanted = answer.Wanted(json, json_file, force)
    if json_file is not None:
        check_writable(json_file, force=force)
    started = time.perf_counter()
    if warm:
        names = _warm(quiet=quiet)
        seconds = {"compile": time.perf_counter() - started}
        answer.give(documents.document("info", {"kernels": names}, seconds=seconds), wanted)
        return
    title, facts, footer = _of_machine() if source is None else _of_file(source)
    content = facts if source is None else _content(facts)
    seconds = {"read": time.perf_counter() - started}
    answer.give(documents.document("info", content, seconds=seconds, notes=facts.get("notes", ())), wanted)
    if json or quiet:
        return
    lines = [
        [name.replace("_", " "), _BETWEEN[name].join(value) if name in _BETWEEN else _plain(value)]
        for name, value in facts.items()
        if value not in (None, [], {}) and name not in _ELSEWHERE
    ]
    report.table(title, ("", ""), lines, err=False, footer=footer)


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(one)}" for name, one in value.items())
    if isinstance(value, list):
        return " × ".join(_plain(one) for one in value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _of_file(source: Path) -> tuple[str, dict[str, Any], str]:
    from softmorph_cli.io.probing import probe
    from softmorph_cli.io.select import first_along
    from softmorph_cli.skeleton import image_kind

    found = probe(source)
    suggestion = found.suggestion
    if (
        suggestion
        and image_kind.made_as_skeleton(found.provenance)
        and set(found.axes or "?") <= set("TCZYX")
    ):
        # `inspect` takes one image.
        several = [
            letter
            for letter, size in zip(found.axes or "", found.shape, strict=True)
            if letter in "TC" and size > 1
        ]
        suggestion = f"{typed('softmorph', 'inspect', source)} {first_along(*several)}".rstrip()
    facts = {
        "path": str(found.path),
        "format": found.format,
        "shape": list(found.shape),
        "dtype": found.dtype,
        "axes": found.axes,
        "channels": list(found.channels),
        "spacing": {axis: found.spacing[axis] for axis in "ZYX" if axis in found.spacing},
        "unit": found.unit,
        "smallest": found.low,
        "largest": found.high,
        "NaN": found.nans or None,
        "infinite": found.infinities or None,
        "distinct_values": found.distinct,
        "kind": found.kind,
        "sure": found.sure,
        "found": found.found,
        "structure": found.structure,
        "needs": found.needs or None,
        "notes": list(found.notes),
        "provenance": dict(found.provenance) or None,
        "try_next": suggestion or None,
    }
    return f"{source}: {found.title}", facts, report.made_by(found.provenance)


# The field `input` of the JSON, and fields that other commands have under another name than the table.
_INPUT = ("path", "format", "shape", "axes", "spacing", "unit", "dtype", "channels")
_AS_IN_STATISTICS = {"smallest": "min", "largest": "max", "NaN": "nans", "infinite": "infinities"}


def _content(facts: dict[str, Any]) -> dict[str, Any]:
    """Return what the JSON says of a file, in the fields of all commands."""
    sizes = tuple(facts["spacing"].values())
    described = {name: facts[name] for name in _INPUT} | {"spacing": list(sizes) or None}
    rest = {_AS_IN_STATISTICS.get(name, name): value for name, value in facts.items() if name not in _INPUT}
    return {"input": described, **rest}


def _of_machine() -> tuple[str, dict[str, Any], str]:
    from softmorph_cli.system import cache, machine

    memory = machine.memory()
    facts = {
        "softmorph": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "threads": machine.threads(),
        "memory": f"{memory / 2**30:.1f} GiB" if memory else None,
        "cuda_devices": _cuda_devices(),
        "cache_folder": str(cache.root()),
        "libraries": {name: _version(name) or "missing" for name in _LIBRARIES},
        "extras": {
            library: _version(library) or f"missing (pip install 'softmorph-cli[{extra}]')"
            for extra, library in _EXTRAS.items()
        },
    }
    return "softmorph", facts, "softmorph info FILE looks at a file; --warm compiles every kernel"


def _version(library: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(library)
    except PackageNotFoundError:
        return None


def _cuda_devices() -> str:
    import torch

    names = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
    return ", ".join(f"cuda:{n} {name}" for n, name in enumerate(names)) or "none"


def _warm(*, quiet: bool) -> list[str]:
    """Compile every kernel, and return their names."""
    import numpy as np

    from softmorph_cli.kernels.warm import kernels
    from softmorph_cli.topology.persistence import bars
    from softmorph_cli.topology.prior import Prior
    from softmorph_cli.topology.repair import Repairer

    one_voxel = np.ones((1, 1, 1), np.float32)
    gap = np.array([[[[1, 0, 1]]]], np.float32)
    todo = [
        *kernels(),
        ("persistence bars", lambda: bars(one_voxel)),
        ("topological repair", lambda: Repairer().repair(gap, [Prior((0,), (1, 0, 0))])),
    ]
    for number, (name, compile_it) in enumerate(todo, start=1):
        if not quiet:
            typer.echo(f"{number} of {len(todo)}: {name}", err=True)
        compile_it()
    return [name for name, _ in todo]
