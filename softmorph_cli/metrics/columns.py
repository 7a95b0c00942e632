"""Tables: volumes as columns, in voxels and, where the voxel size is known, in mm³, µm³, ...; rows for pandas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from softmorph_cli.system.units import MILLIMETRES

if TYPE_CHECKING:
    from softmorph_cli.metrics.statistics import Statistics

_KINDS: Final = {"voxels": "voxels"} | {
    f"{unit}^{power}": f"{kind}_{unit}{power}"
    for unit in MILLIMETRES
    for kind, power in (("area", 2), ("volume", 3))
}
_SPREADS: Final = ("std_independent", "std_comonotone", "q05", "q50", "q95")

# What `volume_columns` fills beside expected_* and std_*, which is std_independent_* under its earlier name.
SPREAD: Final = tuple(
    f"{figure}_{kind}" for kind in ("voxels", "area_mm2", "volume_mm3") for figure in _SPREADS
)
# Columns that a table has only where a map is in one of these units; those of mm are always there.
OTHER_UNITS: Final = tuple(
    f"{figure}_{kind}"
    for kind in _KINDS.values()
    if not kind.endswith(("voxels", "mm2", "mm3"))
    for figure in ("expected", "std", *_SPREADS)
)

# What a table says of a map beside its volumes.
FIGURES: Final = (
    *("voxels_above_half", "components_above_half", "connectivity"),
    *("mean", "min", "max", "entropy_bits"),
)


def volume_columns(statistics: Statistics) -> dict[str, float]:
    """Return the expected volume, its standard deviations and quantiles by the name of their column.

    Args:
        statistics: Of a map or of one of its channels.

    Returns:
        Numbers by name, such as `expected_voxels` and `std_comonotone_volume_mm3`; those in mm², µm³, ... only where
        the volume has this unit.
    """
    figures = {
        "expected": statistics.expected_volume,
        "std": statistics.volume_std,
        "std_independent": statistics.volume_std_independent,
        "std_comonotone": statistics.volume_std_comonotone,
    }
    quantiles = {
        "q05": statistics.volume_quantiles.q05,
        "q50": statistics.volume_quantiles.q50,
        "q95": statistics.volume_quantiles.q95,
    }
    # An empty map has no spread either.
    per_volume = statistics.sum / statistics.expected_volume if statistics.expected_volume else 0.0
    columns = {f"{name}_voxels": value * per_volume for name, value in figures.items()}
    columns["expected_voxels"] = statistics.sum
    columns |= {f"{name}_voxels": round(value * per_volume) for name, value in quantiles.items()}
    kind = _KINDS[statistics.volume_unit]
    return columns | {
        f"{name}_{kind}": value for name, value in (figures | quantiles).items() if kind != "voxels"
    }
