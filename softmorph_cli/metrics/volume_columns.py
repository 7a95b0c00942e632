"""Columns of statistics in tables: volumes in voxels and, if the voxel size is known, in mm³, µm³, ..."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

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


def statistics(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of a map in the names of the JSON of statistics, the reverse of `of`.

    >>> statistics({"expected_voxels": 4.0, "std_voxels": 1.0, "max": 0.5})["volume_unit"]
    'voxels'
    """
    units = {kind: unit for unit, kind in reversed(_KINDS.items())}
    kind = next((k for k in units if k != "voxels" and f"expected_{k}" in row), "voxels")
    volumes = {
        f"volume_{name}": row[f"{name}_{kind}"]
        for name in ("std", "std_independent", "std_comonotone")
        if f"{name}_{kind}" in row
    }
    quantiles = {name: row[f"{name}_{kind}"] for name in ("q05", "q50", "q95") if f"{name}_{kind}" in row}
    return {
        "sum": row.get("expected_voxels"),
        "expected_volume": row.get(f"expected_{kind}"),
        **volumes,
        **({"volume_quantiles": quantiles} if quantiles else {}),
        "volume_unit": units[kind] if kind != "voxels" else "voxels",
        **{name: row[name] for name in FIGURES if name in row},
    }


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
