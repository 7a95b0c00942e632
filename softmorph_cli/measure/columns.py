"""Volumes as the columns of a CSV: in voxels, and in mm² or mm³ where the voxel size is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from softmorph_cli.measure.statistics import Statistics

_KINDS: Final = {"voxels": "voxels", "mm^2": "area_mm2", "mm^3": "volume_mm3"}

# What `volume_columns` fills beside expected_* and std_*, which is std_independent_* under its earlier name.
SPREAD: Final = tuple(
    f"{figure}_{kind}"
    for kind in _KINDS.values()
    for figure in ("std_independent", "std_comonotone", "q05", "q50", "q95")
)


def volume_columns(statistics: Statistics) -> dict[str, float]:
    """Return the expected volume, its standard deviations and quantiles by the name of their column.

    Args:
        statistics: Of a map or of one of its channels.

    Returns:
        Numbers by name, such as `expected_voxels` and `std_comonotone_volume_mm3`; those in mm² or mm³ only where
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
