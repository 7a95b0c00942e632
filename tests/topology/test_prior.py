"""Reading priors from text and from files."""

from __future__ import annotations

from pathlib import Path

import pytest

from softmorph_cli.errors import FileError, InputError, UsageError
from softmorph_cli.topology.prior import Prior


def test_betti_numbers_are_parsed() -> None:
    assert Prior.parse_betti("1,0, 2") == (1, 0, 2)
    assert Prior.parse_betti("1,any") == (1, None)
    for text in ("", "1;0", "1,0.5", "a", "any", "any,-1"):
        with pytest.raises(UsageError, match=r"^betti"):
            Prior.parse_betti(text)


def test_a_file_names_channels_and_unions(tmp_path: Path) -> None:
    path = tmp_path / "priors.toml"
    path.write_text(
        '[[prior]]\nchannels = ["vein"]\nbetti = [1, 0]\n\n[[prior]]\nchannels = ["vein", 0]\nbetti = [2, 1]\n'
    )
    found = Prior.read_all(path, ("artery", "vein"), 2, 2)
    assert found == (Prior((1,), (1, 0)), Prior((0, 1), (2, 1)))


def test_any_number_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "priors.toml"
    path.write_text('[[prior]]\nchannels = [0]\nbetti = [1, "any"]\n')
    (found,) = Prior.read_all(path, None, 1, 2)
    assert found == Prior((0,), (1, None))
    assert found.text == "1,any"
    assert [found.off(numbers) for numbers in ((1, 7), (0, 1), (3, 0))] == [0, 1, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "tables"),
        ("prior = 3", "tables"),
        ("a = 1\n[[prior]]\nchannels = [0]\nbetti = [1, 0]", "nothing else"),
        ("[[prior]]\nchannels = [0]", "channels and betti"),
        ("[[prior]]\nchannels = 0\nbetti = [1, 0]", "no list of names"),
        ('[[prior]]\nchannels = ["bone"]\nbetti = [1, 0]', "no channel 'bone'.*artery, vein"),
        ("[[prior]]\nchannels = [2]\nbetti = [1, 0]", "no channel 2"),
        ("[[prior]]\nchannels = [true]\nbetti = [1, 0]", "no channel True"),
        ("[[prior]]\nchannels = [0]\nbetti = [1, 0, 0]", "2 axes has 2"),
        ('[[prior]]\nchannels = [0]\nbetti = [1, "any", 0]', "the prior 1,any,0 has 3 Betti numbers"),
        ("[[prior]]\nchannels = [0]\nbetti = [1, 0.5]", "no list of integers"),
        ('[[prior]]\nchannels = [0]\nbetti = [1, "all"]', "no list of integers"),
        ("[[prior]]\nchannels = [0]\nbetti = [1, true]", "no list of integers"),
        ("[[prior]]\nchannels = [0]\nbetti = [1, 0]\n" * 2, "two priors"),
        ("[[prior", "no TOML"),
    ],
)
def test_invalid_priors_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "priors.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        Prior.read_all(path, ("artery", "vein"), 2, 2)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot be read"):
        Prior.read_all(tmp_path / "no.toml", None, 2, 2)
