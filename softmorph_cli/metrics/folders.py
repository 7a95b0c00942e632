"""Two folders of files: which prediction goes with which reference, by name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from softmorph_cli.errors import FileError
from softmorph_cli.io.formats import suffix_of

_SHOWN: Final = 3


@dataclass(frozen=True)
class Matched:
    """Files of two folders.

    Attributes:
        pairs: A name without its format, the prediction and the reference, sorted by name.
        predictions: Those without a reference.
        references: Those without a prediction.
        ambiguous: Names that several files of a folder have, and what to say of each.
    """

    pairs: tuple[tuple[str, Path, Path], ...]
    predictions: tuple[Path, ...]
    references: tuple[Path, ...]
    ambiguous: tuple[tuple[str, str], ...]

    @property
    def unmatched(self) -> tuple[str, ...]:
        """What to say of files without a partner, one sentence each."""
        told = []
        for which, lacks, alone in (
            ("prediction", "reference", self.predictions),
            ("reference", "prediction", self.references),
        ):
            if alone:
                has = f"1 {which} has" if len(alone) == 1 else f"{len(alone):,} {which}s have"
                told.append(f"{has} no {lacks} of that name: {some(alone)}.")
        return tuple(told)


def match(
    prediction: Path, reference: Path, predictions: Sequence[str], references: Sequence[str]
) -> Matched:
    """Match the files of two folders by their names without the format: case.npz goes with case.nii.gz.

    Args:
        prediction: One folder.
        reference: The other.
        predictions: Paths below it.
        references: Paths below the other.

    Raises:
        FileError: If no name is in both.
    """
    mine, its = _by_stem(prediction, predictions), _by_stem(reference, references)
    both = sorted(mine.keys() & its.keys())
    if not both:
        raise FileError(
            f"no name is in both folders: {prediction} holds {some([path.name for path in _all(mine)])}; {reference} "
            f"holds {some([path.name for path in _all(its)])}. Give a prediction the name of its reference, up to the "
            "format."
        )
    pairs, ambiguous = [], []
    for stem in both:
        several = next((paths for paths in (mine[stem], its[stem]) if len(paths) > 1), None)
        if several:
            names = " and ".join(path.name for path in several)
            told = (
                f"{several[0].parent} holds {names}, of which only one can be compared: move the rest away."
            )
            ambiguous.append((stem, told))
        else:
            pairs.append((stem, mine[stem][0], its[stem][0]))
    return Matched(
        tuple(pairs),
        tuple(path for stem in sorted(mine.keys() - its.keys()) for path in mine[stem]),
        tuple(path for stem in sorted(its.keys() - mine.keys()) for path in its[stem]),
        tuple(ambiguous),
    )


def some(things: Sequence[object]) -> str:
    """Return the first few of many, and how many more there are."""
    more = len(things) - _SHOWN
    return ", ".join(map(str, things[:_SHOWN])) + (f" and {more} more" if more > 0 else "")


def _by_stem(folder: Path, names: Sequence[str]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = defaultdict(list)
    for name in names:
        found[name[: len(name) - len(suffix_of(Path(name)))]].append(folder / name)
    return dict(found)


def _all(found: dict[str, list[Path]]) -> list[Path]:
    return [path for stem in sorted(found) for path in found[stem]]
