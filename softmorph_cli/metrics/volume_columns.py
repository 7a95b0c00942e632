"""Columns of statistics in tables: volumes in voxels and, if the voxel size is known, in mm³, µm³, ..."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from softmorph_cli.system.units import COUNTED, MILLIMETRES

if TYPE_CHECKING:
    from softmorph_cli.metrics.statistics import Statistics

_KINDS: Final = dict.fromkeys(COUNTED.values(), "voxels") | {
    f"{unit}^{power}": f"{kind}_{unit}{power}"
    for unit in MILLIMETRES
    for kind, power in (("area", 2), ("volume", 3))
}
_SPREADS: Final = ("std_independent", "std_comonotone", "q05", "q50", "q95")

# Columns beside expected_* and std_*; the latter is the earlier name of std_independent_*.
SPREAD: Final = tuple(
    f"{figure}_{kind}" for kind in ("voxels", "area_mm2", "volume_mm3") for figure in _SPREADS
)
# Columns of units other than mm, which a table has only if a map is in such a unit.
OTHER_UNITS: Final = tuple(
    f"{figure}_{kind}"
    for kind in _KINDS.values()
    if not kind.endswith(("voxels", "mm2", "mm3"))
    for figure in ("expected", "std", *_SPREADS)
)

# Columns that are no volumes.
FIGURES: Final = (
    *("voxels_above_half", "components_above_half", "connectivity"),
    *("mean", "min", "max", "entropy_bits"),
)


def of(statistics: Statistics) -> dict[str, float]:
    """Return the columns on volume in one row of a table: expected volume, standard deviations and quantiles.

    Returns:
        Values by column, such as `expected_voxels` and `std_comonotone_volume_mm3` (comonotone: all voxels depend on
        one random threshold). Columns of areas and volumes exist only if the voxel size is known.
    """
    figures = {
        "expected": statistics.expected_volume,
        "std": statistics.volume_std,
        "std_independent": statistics.volume_std_independent,
        "std_comonotone": statistics.volume_std_comonotone,
    }
    quantiles = asdict(statistics.volume_quantiles)
    # The volume of an empty map is 0, and so is its spread.
    per_volume = statistics.sum / statistics.expected_volume if statistics.expected_volume else 0.0
    columns = {f"{name}_voxels": value * per_volume for name, value in figures.items()}
    columns["expected_voxels"] = statistics.sum
    columns |= {f"{name}_voxels": round(value * per_volume) for name, value in quantiles.items()}
    kind = _KINDS[statistics.volume_unit]
    return columns | {
        f"{name}_{kind}": value for name, value in (figures | quantiles).items() if kind != "voxels"
    }
