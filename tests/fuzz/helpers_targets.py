"""The checks of a case, and what counts as a fault.

A file may be read or refused. It is a fault if anything but a `SoftmorphError` comes up, also where the reader turned a
mistake of its own code into one; if a library prints or warns; if what is said holds what a terminal would obey; if
parts are not those of the whole; and if the shape is not the one that the header states, without a note on it.
"""

from __future__ import annotations

import contextlib
import io
import traceback
import warnings
from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from helpers_seeds import Files, Seed
from helpers_stated import agree, stated, within

import softmorph_cli
from softmorph_cli.errors import SoftmorphError, SoftmorphWarning
from softmorph_cli.io import blocks as files_in_blocks
from softmorph_cli.io import probing, reading, writing
from softmorph_cli.io.options import ReadOptions

_PACKAGE: Final = str(Path(softmorph_cli.__file__).parent)
# What code raises that did not look at what it was given.
_MISTAKES: Final = (
    TypeError, AttributeError, LookupError, ArithmeticError, AssertionError, NameError, RecursionError, StopIteration
)  # fmt: skip
_WRITTEN: Final = (".nii.gz", ".nii", ".tif", ".ome.tif", ".nrrd", ".mha", ".npy", ".zarr", ".png")
# Voxels that are read in one part for a comparison.
_MOST: Final = 1 << 22
# Notes that tell of another shape than the header's.
_TOLD: Final = ("plane", "image series", "resolutions", "alpha channel")


class Fault(NamedTuple):
    """Its kind: "traceback", "mistake", "signal", "hang", "memory", "shape", "differs", "warning", "printed" or
    "unprintable"; and what there is to tell."""

    kind: str
    text: str


class Outcome(NamedTuple):
    """Whether a map was read, what is wrong, and with what words the files were refused."""

    read: bool
    faults: list[Fault]
    refusals: list[str]


class _Faults(list[Fault]):
    """What is wrong, and what was said."""

    def __init__(self) -> None:
        super().__init__()
        self.refusals: list[str] = []


Reader = Callable[..., Any]


def check(seed: Seed, files: Files, folder: Path, number: int, read: Reader = reading.read) -> Outcome:
    """Write the files of a case into an empty folder, and do with them what can be done.

    Args:
        seed: What they were made of.
        files: The files.
        folder: Where.
        number: Of the case: which of several things is done.
        read: As `softmorph_cli.read`.
    """
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    faults = _Faults()
    if seed.kind == "image":
        got = _image(seed, files, folder, number, read, faults)
    else:
        got = _text(seed, folder / seed.main, faults)
    if number == 0 and not got:
        faults.append(Fault("refused", "an intact file is refused"))
    return Outcome(got, list(faults), faults.refusals)


def _image(seed: Seed, files: Files, folder: Path, number: int, read: Reader, faults: _Faults) -> bool:
    path = folder / seed.main
    probed = _called(faults, probing.probe, path)
    volume = _called(faults, read, path, **seed.options)
    allowed = stated(files, seed.main)
    if allowed:
        for found in (probed, volume and volume.source):
            # What is no map or empty is refused.
            if found is not None and all(found.shape) and found.shape:
                _compare(found.shape, allowed, (volume or probed).notes, faults)
    # The background of a network's classes is left out.
    classes = volume is not None and seed.family == "nnunet" and "C" in volume.axes
    if volume is not None and not within(volume.array.shape[classes:], volume.source.shape):
        faults.append(Fault("shape", f"{volume.array.shape} of {volume.source.shape}"))
    if seed.family != "nnunet":
        _in_parts(seed, path, volume, number, faults)
    if number % 4 == 0:
        _command(["info", str(path)], faults)
    elif number % 4 == 1:
        _called(faults, reading.read_labels, path)
    if volume is not None:
        _written(volume, folder, number, faults)
        for text in (*volume.notes, *(volume.channels or ())):
            if not isinstance(text, str):
                faults.append(Fault("mistake", f"{text!r} is no text"))
    return volume is not None


def _compare(shape: Sequence[int], allowed: Any, notes: Sequence[str], faults: _Faults) -> None:
    if not agree(allowed, shape) and not any(word in note for note in notes for word in _TOLD):
        listed = sorted({tuple(size for size in one if size != 1) for one in allowed})[:8]
        faults.append(Fault("shape", f"{tuple(shape)}, where the header has {listed}; told: {list(notes)}"))


def _in_parts(seed: Seed, path: Path, volume: Any, number: int, faults: _Faults) -> None:
    if number % 2:
        return
    options = {key: value for key, value in seed.options.items() if value is not None}
    given = _called(faults, ReadOptions, **options)
    blocks = None if given is None else _called(faults, files_in_blocks.open_blocks, path, given)
    if blocks is None or prod(blocks.shape) > _MOST:
        return
    whole = _called(faults, blocks.read, [slice(None)] * len(blocks.shape))
    if whole is None or volume is None:
        return
    if whole.size != volume.array.size or not np.array_equal(
        whole.ravel(), volume.array.ravel().astype(np.float32)
    ):
        faults.append(
            Fault(
                "differs",
                f"in parts {whole.shape} {whole.ravel()[:5]}, whole {volume.array.shape} {volume.array.ravel()[:5]}",
            )
        )


def _written(volume: Any, folder: Path, number: int, faults: _Faults) -> None:
    target = folder / f"out{_WRITTEN[number % len(_WRITTEN)]}"
    if _called(faults, writing.write, volume, target, provenance={"command": "softmorph"}) is None:
        return
    again = _called(faults, probing.probe, target)
    if again is None or sorted(s for s in again.shape if s != 1) != sorted(
        s for s in volume.array.shape if s != 1
    ):
        found = None if again is None else again.shape
        faults.append(
            Fault("differs", f"{target.name} is written as {volume.array.shape} and read as {found}")
        )


def _text(seed: Seed, path: Path, faults: _Faults) -> bool:
    if seed.kind == "rule":
        from softmorph_cli.compiler.compile import compile_rule
        from softmorph_cli.rules.rulefile import load

        rule = _called(faults, load, path)
        return rule is not None and _called(faults, compile_rule, rule, "multilinear") is not None
    if seed.kind == "pipeline":
        from softmorph_cli.filters.settings import Settings
        from softmorph_cli.pipeline.chain import pipeline

        return _called(faults, pipeline, path, Settings()) is not None
    if seed.kind == "priors":
        from softmorph_cli.topology.prior import Prior

        return _called(faults, Prior.read_all, path, ("wall", "lumen"), 2, 3) is not None
    from softmorph_cli.pipeline.batch.earlier_versions import comparable
    from softmorph_cli.pipeline.batch.manifest import batches, known

    read = _called(faults, known, path.parent)
    told = _called(faults, batches, path.parent)
    for one in told or ():
        _called(faults, comparable, one)
    if read is not None:
        _called(faults, _summarized, read[0])
    return read is not None


def _summarized(records: Any) -> str:
    from softmorph_cli.io import documents
    from softmorph_cli.pipeline.batch.summary import BatchSummary, FileEntry

    found = BatchSummary(
        {}, [FileEntry(one.name, one.target, one.state, one.row) for one in records.values()]
    )
    return found.table + documents.as_json(found.document)


def _called(faults: _Faults, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Call a function; None where it refuses or fails."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = None
        try:
            result = function(*arguments, **options)
        except SoftmorphError as error:
            faults.refusals.append(f"{function.__name__}: {error}")
            _look(error, function.__name__, faults)
        except MemoryError as error:
            faults.append(Fault("memory", f"{function.__name__}: {_where(error)}"))
        except Exception as error:
            faults.append(Fault("traceback", f"{function.__name__}: {_where(error)}"))
    for one in caught:
        if not issubclass(one.category, SoftmorphWarning):
            place = f"{Path(one.filename).name}:{one.lineno}"
            faults.append(
                Fault("warning", f"{function.__name__}: {place}: {one.category.__name__}: {one.message}")
            )
    return result


def _look(error: SoftmorphError, name: str, faults: _Faults) -> None:
    """A refusal whose cause is a mistake of softmorph's own code."""
    cause: BaseException | None = error.__cause__ or error.__context__
    while cause is not None:
        frames = traceback.extract_tb(cause.__traceback__)
        own = bool(frames) and frames[-1].filename.startswith(_PACKAGE)
        if isinstance(cause, MemoryError) and "nested too deeply" not in str(error):
            faults.append(Fault("memory", f"{name}: {_where(cause)}"))
        # Where the code that catches it stands beside what raised it, it was foreseen.
        if own and isinstance(cause, _MISTAKES) and "that softmorph cannot read" in str(error):
            faults.append(Fault("mistake", f"{name}: {_where(cause)}"))
        cause = cause.__cause__ or cause.__context__


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename.startswith(_PACKAGE)]
    places = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in (*own[-1:], *frames[-1:])]
    return f"{' > '.join(dict.fromkeys(places))}: {type(error).__name__}: {str(error)[:300]}"


def _command(words: list[str], faults: _Faults) -> None:
    """Run a command as a shell would, and look at what it says."""
    from softmorph_cli.cli.app import app

    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            app(words, prog_name="softmorph")
        except SystemExit as ended:
            if ended.code not in (None, 0, 1, 2, 3):
                faults.append(Fault("traceback", f"{words[0]} ends with {ended.code}"))
        except Exception as error:
            faults.append(Fault("traceback", f"{words[0]}: {_where(error)}"))
    text = said.getvalue()
    if "a bug in softmorph" in text:
        faults.append(Fault("traceback", f"{words[0]}: {text}"))
    if odd := sorted({letter for letter in text if not letter.isprintable() and letter != "\n"}):
        faults.append(Fault("unprintable", f"{words[0]} prints {odd}: {text!r}"))
