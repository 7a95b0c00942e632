"""The case that a file belongs to, by the name of the file: how the files of two folders are matched."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from softmorph_cli.errors import UsageError
from softmorph_cli.io.formats import stem_of
from softmorph_cli.system.parameters import named
from softmorph_cli.system.printable import typed

# What the pattern is that an error proposes: the first number in the name.
_NUMBER: Final = r"\d+"


@dataclass(frozen=True)
class CaseNames:
    r"""The rule that finds the name of a case in the name of a file.

    Without a rule the name of a file without its format is the name of the case: case.npz and case.nii.gz are one case.

    Attributes:
        suffix: Text after the name of the case, such as "_0000"; in a folder where some names end with it, only these
            files are compared.
        pattern: Regular expression that is searched in the name of a file without its format; what its first group
            matches, or without a group all that it matches, is the name of the case. None for no pattern.

    >>> names = CaseNames(suffix="_skeleton")
    >>> names.of("case_7_skeleton"), names.of("case_7")
    ('case_7', 'case_7')
    >>> CaseNames(pattern=r"sub-(\d+)").of("sub-07_pred")
    '07'
    """

    suffix: str | None = None
    pattern: str | None = None

    def __post_init__(self) -> None:
        """Check the suffix and the pattern.

        Raises:
            UsageError: If both are given, the suffix is empty, or the pattern is not a regular expression.
        """
        if self.suffix is not None and self.pattern is not None:
            raise UsageError(
                f"{named('suffix')} and {named('pattern')} both say how files are matched: leave one of them out."
            )
        if self.suffix == "":
            raise UsageError(f"{named('suffix')} '': give the text after the names of cases, such as _0000.")
        try:
            re.compile(self.pattern or "")
        except re.error as error:
            raise UsageError(
                f"{named('pattern')} {self.pattern!r} is no regular expression ({error}): give one such as "
                f"{typed(_NUMBER)}, which takes the first number of a name."
            ) from None

    def of(self, stem: str) -> str | None:
        """Return the name of the case of a file, given the file's name without its format; None if it is no case."""
        if self.pattern is not None:
            found = re.search(self.pattern, stem)
            return None if found is None else found[1 if found.re.groups else 0]
        return stem.removesuffix(self.suffix) if self.suffix else stem

    def sorted_out(
        self, folder: Path, names: Iterable[str]
    ) -> tuple[dict[str, list[Path]], tuple[Path, ...]]:
        """Return the files of a folder by the name of their case, and the files that belong to no case.

        Args:
            folder: The folder.
            names: Paths of the files relative to the folder.
        """
        stems = {name: stem_of(name) for name in names}
        if self.suffix and any(stem.endswith(self.suffix) for stem in stems.values()):
            cases = {
                name: self.of(stem) if stem.endswith(self.suffix) else None for name, stem in stems.items()
            }
        else:
            cases = {name: self.of(stem) for name, stem in stems.items()}
        found: dict[str, list[Path]] = defaultdict(list)
        for name, case in cases.items():
            if case is not None:
                found[case].append(folder / name)
        return dict(found), tuple(folder / name for name, case in cases.items() if case is None)


# Files are matched by their names without the format.
SAME_NAMES: Final = CaseNames()


def proposal(predictions: Sequence[str], references: Sequence[str]) -> CaseNames | None:
    """Return a rule by which names of two folders, without their formats, have cases in common; None if none is found.

    The suffix that most names of one folder have behind a name of the other is tried, and the first number in a name.
    """
    ends = [
        one.removeprefix(other)
        for some, others in ((predictions, references), (references, predictions))
        for one in some
        for other in others
        if other and one.startswith(other) and one != other
    ]
    rules = [CaseNames(suffix=max(sorted(set(ends)), key=ends.count))] if ends else []
    for rule in (*rules, CaseNames(pattern=_NUMBER)):
        mine, its = ([rule.of(name) for name in names] for names in (predictions, references))
        once = all(cases.count(case) == 1 for cases in (mine, its) for case in cases if case is not None)
        if once and ({*mine} & {*its}) - {None}:
            return rule
    return None
