"""Units of length in files and in options."""

from __future__ import annotations

import pytest

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.system import lengths
from softmorph_cli.system.parameters import named_as_options
from softmorph_cli.system.units import MILLIMETRES, length, millimetres


@pytest.mark.parametrize(
    ("spelling", "unit", "factor"),
    [
        ("m", "mm", 1e3),
        ("cm", "mm", 10.0),
        ("centimetres", "mm", 10.0),
        ("MM", "mm", 1.0),
        ("inches", "mm", 25.4),
        ("um", "um", 1.0),
        ("\u00b5m", "um", 1.0),
        ("\u03bcm", "um", 1.0),
        ("\\u00b5m", "um", 1.0),
        (" Micrometer ", "um", 1.0),
        ("micron", "um", 1.0),
        ("nm", "nm", 1.0),
        ("\u00c5", "nm", 0.1),
        ("\u212b", "nm", 0.1),
    ],
)
def test_every_spelling_becomes_one_of_three_units(spelling: str, unit: str, factor: float) -> None:
    assert length(2.0, spelling) == (2.0 * factor, unit)
    assert millimetres(spelling) == factor * MILLIMETRES[unit]


@pytest.mark.parametrize("spelling", [None, "", "furlong", "ms", "s", "vox", "pixel"])
def test_other_units_are_unknown(spelling: str | None) -> None:
    assert length(2.0, spelling) == (2.0, None)
    assert millimetres(spelling) is None


@pytest.mark.parametrize(
    ("text", "unit", "expected"),
    [
        ("300nm", "um", 0.3),
        ("0.3um", "um", 0.3),
        ("0.3µm", "um", 0.3),
        ("3.2mm", "um", 3200.0),
        ("2.5cm", "mm", 25.0),
        ("0.001m", "mm", 1.0),
    ],
)
def test_a_radius_in_the_unit_of_a_map(text: str, unit: str, expected: float) -> None:
    assert lengths.in_unit(lengths.parse(text), unit) == pytest.approx(expected, rel=1e-15)


def test_a_radius_in_voxels_and_one_without_a_unit() -> None:
    assert lengths.parse("4vox") == (4.0, "vox")
    for text in ("4", "4px", "4 inch"):
        with pytest.raises(UsageError, match="is no length"):
            lengths.parse(text)


@pytest.mark.parametrize("unit", [None, "furlong"])
def test_a_radius_on_a_map_of_unknown_size(unit: str | None) -> None:
    with pytest.raises(InputError) as caught:
        lengths.in_unit((2.5, "mm"), unit)
    unknown = "does not say how large its voxels are: give the length in voxels, such as 4vox."
    assert str(caught.value) == f"the image {unknown}"
    with named_as_options(), pytest.raises(InputError, match=f"the file {unknown}"):
        lengths.in_unit((2.5, "mm"), unit)
