"""The plan of a batch: the files of a folder that are read, and the paths of the results."""

from __future__ import annotations

import fnmatch
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from softmorph_cli.errors import FileError, SoftmorphError, UsageError
from softmorph_cli.io.options import WriteOptions
from softmorph_cli.system.files import is_store
from softmorph_cli.system.printable import typed

_SHOWN: Final = 3
_NETWORK: Final = ".npz"
_STORE: Final = ".zarr"


@dataclass(frozen=True)
class FileJob:
    """An input file of a batch, and the path of the result.

    Attributes:
        name: Path of the input relative to the input folder, with /, which names the input in the manifest.
        source: The file to read.
        target: The file to write.
    """

    name: str
    source: Path
    target: Path


@dataclass(frozen=True)
class FileSelection:
    """A selection of the files of a folder, with the rule for naming the results.

    Attributes:
        source: The input folder.
        target: The output folder.
        glob: Pattern of file names, or of paths relative to the input folder if the pattern contains a /; None for all
            files that can be read.
        recursive: Whether subfolders are read too; results are written to subfolders of the same names.
        suffix: Text for the names of the results: `_skeleton` is added before the file extension, `.tif` replaces the
            file extension; both may be combined.
        apart: Files that are read together with every input, such as a mask, and so are not inputs themselves.
    """

    source: Path
    target: Path
    glob: str | None = None
    recursive: bool = False
    suffix: str = ""
    apart: tuple[Path, ...] = ()


def jobs(selection: FileSelection, stored: str | None) -> list[FileJob]:
    """Return a job for every selected file, sorted by name; `stored` is the type that results are stored as.

    Raises:
        FileError: If a folder does not exist or is a file, or holds no file that can be read.
        UsageError: If two inputs have the same result, a result is among the inputs, or a format cannot be written.
    """
    _check_folders(selection.source, selection.target)
    names = inputs(selection)
    added, ending = _split(selection.suffix)
    made = [
        FileJob(name, selection.source / name, selection.target / _result(Path(name), added, ending))
        for name in names
    ]
    _check_targets(made, selection)
    _check_formats(made, stored)
    return made


def inputs(selection: FileSelection) -> list[str]:
    """Return the paths of the selected files relative to the input folder, sorted.

    Raises:
        FileError: If no file is selected, or a folder cannot be read.
    """
    from softmorph_cli.io.formats import ACCEPTED, FORMATS, stem_of, suffix_of

    known = {suffix for family in FORMATS for suffix in family.suffixes}
    every = sorted(_walk(selection.source, "", selection.recursive))
    matching = [name for name in every if _matches(name, selection.glob)]
    readable = [name for name in matching if suffix_of(Path(name)) in known]
    # The labels beside a network's output are read for their geometry; they are no input.
    outputs = {stem_of(name) for name in readable if suffix_of(Path(name)) == _NETWORK}
    apart = {path.resolve() for path in selection.apart}
    found = [
        name
        for name in readable
        if (suffix_of(Path(name)) == _NETWORK or stem_of(name) not in outputs)
        and not (apart and (selection.source / name).resolve() in apart)
    ]
    if found:
        return found
    where = f"{selection.source}" + (f" ({selection.glob})" if selection.glob else "")
    if matching and selection.glob:
        raise FileError(f"{where}: nothing that matches can be read; read are {ACCEPTED}.")
    if selection.glob and every:
        raise FileError(
            f"{where}: none of {len(every)} files matches; quote the pattern, such as '*.nii.gz'."
        )
    deeper = any(one.is_dir() and not one.name.startswith(".") for one in selection.source.iterdir())
    more = ""
    if deeper and not selection.recursive:
        more = "; folders in it are left alone: name one of them, or give softmorph batch --recursive"
    raise FileError(f"{where} holds no file that can be read; read are {ACCEPTED}{more}.")


def part_of(made: Sequence[FileJob], parts: int, part: int) -> list[FileJob]:
    """Return the jobs of part `part` (from 0) of a batch in `parts` parts: every `parts`-th job from index `part` on.

    Raises:
        UsageError: If `parts` is less than 1, or `part` is not in range(parts).
    """
    if parts < 1:
        raise UsageError(f"--num-parts {parts}: at least 1 is needed.")
    if not 0 <= part < parts:
        raise UsageError(f"--part-id {part}: parts are counted from 0, so use 0 to {parts - 1}.")
    return list(made[part::parts])


def first_few(paths: Sequence[object]) -> str:
    """Return text with the first paths of a list and the number of further paths, for messages."""
    shown = ", ".join(map(str, paths[:_SHOWN]))
    more = len(paths) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _check_folders(source: Path, target: Path) -> None:
    if not source.exists():
        raise FileError(f"{source} does not exist; name the folder that holds the maps.")
    if not source.is_dir():
        raise FileError(f"{source} is a file; name its folder, or use softmorph chain for one file.")
    if is_store(source):
        raise FileError(f"{source} is a Zarr store, which is one map; use softmorph chain for it.")
    if target.exists() and not target.is_dir():
        raise FileError(f"{target} is a file; name a folder for the results.")
    inner, outer = target.resolve(), source.resolve()
    if inner == outer:
        raise UsageError(f"{target} is the folder that is read; name another folder for the results.")
    if outer in inner.parents:
        raise UsageError(
            f"{target} lies in {source}, so that results would become inputs; name a folder outside it."
        )
    if not target.exists() and not target.absolute().parent.is_dir():
        create = typed("mkdir", "-p", target)
        raise FileError(f"{target}: the folder {target.parent} does not exist; create it first: {create}")


def _walk(top: Path, below: str, recursive: bool) -> Iterator[str]:
    try:
        entries = list(os.scandir(top / below))
    except OSError as error:
        raise FileError(f"{top / below} cannot be read: {error.strerror or error}.") from error
    for entry in entries:
        name = f"{below}{entry.name}"
        if entry.name.startswith("."):
            continue
        if not entry.is_dir() or entry.name.lower().endswith(_STORE) or is_store(top / name):
            yield name
        elif recursive and not entry.is_symlink():
            yield from _walk(top, f"{name}/", recursive)


def _matches(name: str, glob: str | None) -> bool:
    if glob is None:
        return True
    return fnmatch.fnmatchcase(name if "/" in glob else name.rpartition("/")[2], glob)


def _split(suffix: str) -> tuple[str, str]:
    """Split the value of `--suffix` into text for the name and a file extension; each may be empty."""
    from softmorph_cli.io.formats import FORMATS, suffix_of

    if "/" in suffix:
        raise UsageError(f"--suffix {suffix}: it is a part of a name and holds no /.")
    known = {one for family in FORMATS for one in family.suffixes}
    ending = suffix_of(Path(suffix)) if suffix else ""
    if ending not in known:
        if suffix.startswith("."):
            raise UsageError(
                f"--suffix {suffix}: no such format; give one such as .nii.gz or .tif, or words such as _skeleton."
            )
        return suffix, ""
    return suffix[: len(suffix) - len(ending)], ending


def _result(path: Path, added: str, ending: str) -> Path:
    from softmorph_cli.io.formats import named_format, stem_of, target_suffix

    family = named_format(path)
    assert family is not None
    return path.with_name(f"{stem_of(path.name)}{added}{ending or target_suffix(path, family)}")


def _check_targets(made: Sequence[FileJob], selection: FileSelection) -> None:
    sources: dict[Path, list[FileJob]] = defaultdict(list)
    for job in made:
        sources[job.target].append(job)
    for target, several in sources.items():
        if len(several) > 1:
            names = " and ".join(str(job.source) for job in several[:2])
            raise UsageError(
                f"{names} would both become {target}; choose one of them with --glob, or give the results "
                "another name with --suffix."
            )
    read = {job.source.resolve() for job in made} | {path.resolve() for path in selection.apart}
    folder = selection.source.resolve()
    for job in made:
        target = job.target.resolve()
        if target in read or folder in target.parents:
            raise UsageError(
                f"{job.target}, the result of {job.source}, would lie among the inputs; name another folder "
                "for the results."
            )


def _check_formats(made: Sequence[FileJob], stored: str | None) -> None:
    from softmorph_cli.io.formats import suffix_of, target_format

    checked = set()
    for job in made:
        suffix = suffix_of(job.target)
        if suffix not in checked:
            checked.add(suffix)
            try:
                target_format(job.target, WriteOptions(output_type=stored))
            except FileError:
                continue  # concerns this path only: reported when the file is written
            except SoftmorphError as error:
                raise UsageError(f"{job.source}: {error}") from error
