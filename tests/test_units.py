"""Units of length in files and in options."""

from __future__ import annotations

import pytest

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.system import lengths
from softmorph_cli.system.parameters import named_as_options
from softmorph_cli.system.units import MILLIMETRES, length, lengths_in, millimetres


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
        ("1 micron", "mm", 1e-3),
        ("2 Microns", "um", 2.0),
        ("1 \u00b5m", "nm", 1e3),
        ("1 \u03bcm", "nm", 1e3),
        ("1.5e1 micrometres", "um", 15.0),
        ("1 mm", "um", 1e3),
        ("7 \u00c5", "nm", 0.7),
        ("7 angstrom", "nm", 0.7),
    ],
)
def test_a_radius_in_the_unit_of_a_map(text: str, unit: str, expected: float) -> None:
    assert lengths.in_unit(lengths.parse(text), unit) == pytest.approx(expected, rel=1e-15)


def test_a_radius_in_voxels_and_one_without_a_unit() -> None:
    for text in ("4vox", "4 voxels", "4voxel", "4px", "4 pixels", " 4 pixel "):
        assert lengths.parse(text) == (4.0, "vox")
    for text in ("4", "4 inch", "4 Mm", "4 \u00b5", "4um2", "px", "4 pxs", "-4px", "4,5mm"):
        with pytest.raises(UsageError) as caught:
            lengths.parse(text)
        assert "is no length: give a number and a unit, such as 2.5mm, 300um or 4vox" in str(caught.value)
        assert "nm, um (µm, micron), mm, cm, m or vox (voxels, px)" in str(caught.value)


@pytest.mark.parametrize(
    "spelled", ["um{}", "um^{}", " \u00b5m{}", " \u03bcm{}", " micron{}", " micrometers ^{}"]
)
def test_sizes_in_all_spellings(spelled: str) -> None:
    # Voxels of 2 x 0.5 x 0.5 um: half a cubic micrometre each; pixels of a quarter of a square one.
    for sign in ("3", "³") if "^" not in spelled else ("3",):
        size = lengths.parse_size("5" + spelled.format(sign), "size")
        assert size == (5.0, "um", 3)
        assert lengths.in_voxels(size, (2.0, 0.5, 0.5), "um", 3) == 10
        # In nm the same voxels are as many.
        assert lengths.in_voxels(size, (2000.0, 500.0, 500.0), "nm", 3) == 10
    assert lengths.in_voxels(lengths.parse_size(f"5{spelled.format(2)}", "size"), (0.5, 0.5), "um", 2) == 20
    with pytest.raises(InputError, match="the map is 2D: give the size in um2 or in vox"):
        lengths.in_voxels(lengths.parse_size(f"5{spelled.format(3)}", "size"), (0.5, 0.5), "um", 2)


def test_what_the_lengths_of_a_page_are_in() -> None:
    assert [lengths_in(one) for one in ("mm", "um", "voxels")] == [
        "mm",
        "\u00b5m",
        "voxels, as the unit is not known",
    ]
    assert lengths_in("voxels", "voxels along x") == "voxels along x, as the unit is not known"
    assert lengths_in("nm", "nm") == "nm"


def test_sizes_in_voxels_and_wrong_ones() -> None:
    for text in ("30vox", "30 voxels", "30px", "30 pixels"):
        assert lengths.parse_size(text, "size") == (30.0, "vox", None)
    for text in ("30", "30um", "30vox3", "30px2", "30 um4", "30um^", "30 in3"):
        with pytest.raises(UsageError) as caught:
            lengths.parse_size(text, "size")
        assert "is no size: give a volume such as 50um3, in 2D an area such as 20um2, or 30vox" in str(
            caught.value
        )


@pytest.mark.parametrize("unit", [None, "furlong"])
def test_a_radius_on_a_map_of_unknown_size(unit: str | None) -> None:
    with pytest.raises(InputError) as caught:
        lengths.in_unit((2.5, "mm"), unit)
    unknown = "does not say how large its voxels are: give the length in voxels, such as 4vox."
    assert str(caught.value) == f"the image {unknown}"
    told = "how large its voxels are: state it, such as --voxel-size 1mm, or give the length in voxels, such as 4vox"
    with named_as_options(), pytest.raises(InputError, match=told):
        lengths.in_unit((2.5, "mm"), unit)
