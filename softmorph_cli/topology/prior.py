"""Topological priors: the Betti numbers that a channel, or a union of channels, should have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.system.files import read_toml
from softmorph_cli.system.parameters import named
from softmorph_cli.topology.components import CONNECTIVITIES

NAMES: Final = ("b0", "b1", "b2")
# In texts and in TOML, which has no None, for a Betti number that may be any.
ANY: Final = "any"
# The Betti numbers that are asked for, None for any number.
BettiPrior = Sequence[int | None]
# More voxels than a map in memory has.
_MOST: Final = 2**40
_EXAMPLE: Final = 'channels = ["artery", "vein"] and betti = [1, 0, 0]'


@dataclass(frozen=True)
class Prior:
    """The Betti numbers that a channel, or a union of channels, should have.

    Attributes:
        channels: Indices of the channels of the union, ascending.
        betti: The Betti numbers b0, b1 and, in 3D, b2; None for any number.
    """

    channels: tuple[int, ...]
    betti: tuple[int | None, ...]

    @property
    def text(self) -> str:
        """The Betti numbers as a text, such as "1,any,0"."""
        return _text(self.betti)

    def off(self, numbers: Sequence[int]) -> int:
        """Return the sum of the absolute differences between Betti numbers and the prior's, without those of any."""
        pairs = zip(numbers, self.betti, strict=True)
        return sum(abs(number - asked) for number, asked in pairs if asked is not None)

    @staticmethod
    def parse_betti(text: str) -> tuple[int | None, ...]:
        """Parse Betti numbers from a text such as "1,0,0" or, for any number of loops, "1,any,0".

        Raises:
            UsageError: If the text is not two or three integers of at least 0, or "any".
        """
        try:
            numbers = tuple(None if part.strip() == ANY else int(part) for part in text.split(","))
        except ValueError:
            raise UsageError(
                f"{named('betti')} {text!r}: give integers with commas between, such as 1,0 or 1,0,0, or {ANY}."
            ) from None
        if len(numbers) not in CONNECTIVITIES:
            raise UsageError(
                f"{named('betti')} {text}: give two numbers for a map in 2D, such as 1,0, or three in 3D, such as "
                "1,0,0."
            )
        if min(number or 0 for number in numbers) < 0:
            raise UsageError(
                f"{named('betti')} {text}: Betti numbers count things, and none is negative; such as 1,0 or 1,0,0."
            )
        return numbers

    @classmethod
    def of(cls, channels: tuple[int, ...], betti: BettiPrior, dims: int) -> Prior:
        """Return the prior of a union of channels of a map with `dims` (2 or 3) spatial axes.

        Raises:
            InputError: If the Betti numbers do not fit the map.
        """
        return cls(channels, check_betti(betti, dims))

    @classmethod
    def from_table(cls, table: Any, names: Sequence[str] | None, count: int, dims: int) -> Prior:
        """Return the prior that a TOML table describes.

        Args:
            table: A dict with the keys `channels`, a list of names or of indices from 0, and `betti`, a list of
                integers, or "any" for any number.
            names: Names of the map's channels; None if the channels have no names.
            count: Number of channels of the map.
            dims: Number of spatial axes of the map: 2 or 3.

        Raises:
            InputError: If the table has other content, or does not fit the map.
        """
        if not isinstance(table, dict) or set(table) != {"channels", "betti"}:
            keys = ", ".join(table) if isinstance(table, dict) else repr(table)
            raise InputError(
                f"a prior holds channels and betti, not {keys or 'nothing'}; write for example {_EXAMPLE}."
            )
        channels, betti = table["channels"], table["betti"]
        if not isinstance(channels, list) or not channels:
            raise InputError(f"channels = {channels!r} is no list of names or numbers.")
        numbers = [None if number == ANY else number for number in betti] if isinstance(betti, list) else None
        if numbers is None or any(type(number) not in (int, type(None)) for number in numbers):
            raise InputError(f'betti = {betti!r} is no list of integers, or "{ANY}" for any number.')
        members = {_channel_index(channel, names, count) for channel in channels}
        return cls.of(tuple(sorted(members)), numbers, dims)

    @classmethod
    def read_all(cls, path: Path, names: Sequence[str] | None, count: int, dims: int) -> tuple[Prior, ...]:
        """Read priors from a TOML file, in which each table `[[prior]]` describes one prior.

        The arguments beside the path are those of `from_table`.

        Raises:
            FileError: If the file cannot be read.
            InputError: If the file has other content, or does not fit the map.
        """
        held = read_toml(path, InputError)
        tables = held.get("prior")
        if not isinstance(tables, list) or not tables or set(held) != {"prior"}:
            raise InputError(
                f"{path} has to hold tables [[prior]] and nothing else, each with two lines, such as {_EXAMPLE}."
            )
        try:
            priors = tuple(cls.from_table(table, names, count, dims) for table in tables)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        given = [prior.channels for prior in priors]
        twice = next((channels for channels in given if given.count(channels) > 1), None)
        if twice is not None:
            raise InputError(f"{path} has two priors for channels {', '.join(map(str, twice))}; give one.")
        return priors


def check_betti(betti: BettiPrior, dims: int) -> tuple[int | None, ...]:
    """Check the Betti numbers that a prior asks for and return them as a tuple.

    Args:
        betti: The Betti numbers b0, b1 and, in 3D, b2; None for any number.
        dims: Number of spatial axes of the map: 2 or 3.

    Raises:
        InputError: If there are more or fewer numbers than axes, or a number is negative or larger than any map has.
    """
    asked = _text(betti)
    if len(betti) != dims:
        names = ",".join(NAMES[:dims])
        example = ",".join(["1", "0", "0"][:dims])
        raise InputError(
            f"the prior {asked} has {len(betti)} Betti numbers, and a map of {dims} axes has {dims} ({names}): "
            f"write for example {example}."
        )
    if min(number or 0 for number in betti) < 0:
        raise InputError(f"the prior {asked} has a negative number; Betti numbers count things: 0, 1, 2, ...")
    if max(number or 0 for number in betti) > _MOST:
        raise InputError(f"the prior {asked} has a number above {_MOST}, and no map has so many things.")
    return tuple(betti)


def _text(betti: BettiPrior) -> str:
    return ",".join(ANY if number is None else str(number) for number in betti)


def _channel_index(channel: Any, names: Sequence[str] | None, count: int) -> int:
    if type(channel) is int and 0 <= channel < count:
        return channel
    if isinstance(channel, str) and names and channel in names:
        return list(names).index(channel)
    known = f"the names {', '.join(names)} or " if names else ""
    raise InputError(f"there is no channel {channel!r}: use {known}the numbers 0 to {count - 1}.")
