"""A check that two maps lie on the same voxel grid; its errors say how the maps differ and which command helps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import InputError
from softmorph_cli.skeleton.frame import Frame
from softmorph_cli.system.parameters import in_shell, named
from softmorph_cli.system.printable import typed
from softmorph_cli.system.units import MILLIMETRES
from softmorph_cli.volume import Volume

# In voxels: smaller differences are the rounding of file formats.
NEAR: Final = 0.1


def on_one_grid(
    prediction: Volume, reference: Volume, *, same_grid: bool = False
) -> tuple[Volume, tuple[str, ...]]:
    """Check that a prediction lies on the voxel grid of a reference, and return it with all known geometry.

    Args:
        prediction: The predicted map, without channel or time axes.
        reference: The reference map, without channel or time axes.
        same_grid: Whether equal shapes are enough, whatever voxel sizes and positions the headers state.

    Returns:
        The prediction, with the voxel size and the affine of the reference if the prediction has none; and notes on
        unknown voxel sizes.

    Raises:
        InputError: If the shapes, the voxel sizes or the positions of the two maps differ.
    """
    ours, theirs = _name(prediction, "the prediction"), _name(reference, "the reference")
    if prediction.spatial_dims != reference.spatial_dims:
        raise InputError(_dimensions(prediction, reference, ours, theirs))
    if prediction.array.shape != reference.array.shape:
        raise InputError(_shapes(prediction, reference, ours, theirs))
    sizes = _sides(prediction), _sides(reference)
    if sizes[0] is not None and sizes[1] is not None:
        if prediction.affine is not None and reference.affine is not None:
            if not same_grid:
                _check_affines(prediction, reference, ours, theirs)
            return prediction, ()
        if not same_grid:
            _check_sides(sizes[0], sizes[1], prediction, ours, theirs)
        if prediction.affine is not None or reference.affine is None:
            return prediction, ()
    elif sizes[1] is None and (prediction.spacing is not None or prediction.affine is not None):
        sizeless = theirs if sizes[0] is not None else ours
        return prediction, (
            f"{sizeless} does not say how large its voxels are: only the shapes were compared.",
        )
    if reference.spacing is None and reference.affine is None:
        return prediction, ()
    placed = replace(prediction, spacing=reference.spacing, unit=reference.unit, affine=reference.affine)
    if sizes[0] is not None:
        return placed, ()
    return placed, (f"{ours} does not say how large its voxels are: it is taken to lie where {theirs} does.",)


def _name(volume: Volume, otherwise: str) -> str:
    return str(volume.source.path) if volume.source else otherwise


def _times(sizes: Sequence[float]) -> str:
    return " × ".join(f"{size:g}" for size in sizes)


def _dimensions(prediction: Volume, reference: Volume, ours: str, theirs: str) -> str:
    flat, deep = (ours, theirs) if prediction.spatial_dims == 2 else (theirs, ours)
    image, stack = (prediction, reference) if prediction.spatial_dims == 2 else (reference, prediction)
    size, shape = image.array.shape, stack.array.shape
    message = f"{flat} is 2D ({_times(size)}) and {deep} 3D ({_times(shape)})"
    across = [axis for axis in range(3) if shape[:axis] + shape[axis + 1 :] == size]
    if not across:
        return f"{message}, and no slice of it has the size of the other: compare maps of one grid."
    box = [":"] * 3
    if not in_shell():
        box[across[0]] = str(shape[across[0]] // 2)
        return f"{message}: pass the slice that it goes with, such as [{', '.join(box)}] of its array."
    box[across[0]] = f"{shape[across[0]] // 2}:{shape[across[0]] // 2 + 1}"
    cut = typed(
        "softmorph", "threshold", Path(deep), f"slice{''.join(Path(deep).suffixes[-2:]) or '.nii.gz'}"
    )
    return f"{message}: cut out the slice it goes with, such as: {cut} --region {','.join(box)}"


def _shapes(prediction: Volume, reference: Volume, ours: str, theirs: str) -> str:
    one, other = prediction.array.shape, reference.array.shape
    letters = prediction.axes.lower()
    differences = [
        f"{abs(a - b)} {'more' if a > b else 'fewer'} along {letter}"
        for a, b, letter in zip(one, other, letters, strict=True)
        if a != b
    ]
    message = (
        f"{ours} has {_times(one)} voxels along {' × '.join(letters)} and {theirs} {_times(other)}, the first "
        f"{', '.join(differences)}"
    )
    sides = _sides(prediction), _sides(reference)
    if sides[0] is not None and sides[1] is not None and _same_box(prediction, reference):
        factor, unit = _own_unit(prediction)
        wanted = ",".join(f"{side / factor:.6g}{unit}" for side in sides[1])
        if not in_shell():
            return (
                f"{message}, in the same box: interpolate it to voxels of {wanted.replace(',', ', ')} first."
            )
        suffix = "".join(Path(ours).suffixes[-2:]) or ".nii.gz"
        target = f"on_the_grid{'.nii.gz' if suffix.endswith('.npz') else suffix}"
        command = typed("softmorph", "resample", Path(ours), target, "--spacing", wanted)
        return f"{message}, in the same box: interpolate it first: {command}"
    if sorted(one) == sorted(other) and not in_shell():
        return f"{message}: their axes are in another order. Transpose the second first."
    if sorted(one) == sorted(other):
        turned = typed("softmorph", "threshold", Path(theirs), "turned.nii.gz", "--axes", _order(one, other))
        return f"{message}: their axes are in another order. Turn the second first, such as: {turned}"
    shared = [f"0:{min(sizes)}" for sizes in zip(one, other, strict=True)]
    message = f"{message}: they show different parts. If both begin at the same voxel,"
    if in_shell():
        return f"{message} compare what they share: add --region {','.join(shared)}."
    return f"{message} compare what they share: [{', '.join(shared)}] of both arrays."


def _order(wanted: tuple[int, ...], stored: tuple[int, ...]) -> str:
    """Return the value of --axes, such as "XYZ", with which an array of shape `stored` is read with shape `wanted`.

    The reversed order is preferred if it gives that shape.
    """
    letters = "ZYX"[-len(wanted) :]
    sizes = dict(zip(letters, wanted, strict=True))
    orders = ("".join(one) for one in (letters[::-1], *permutations(letters)))
    return next(one for one in orders if tuple(sizes[letter] for letter in one) == stored)


def _same_box(prediction: Volume, reference: Volume) -> bool:
    """Return whether two grids cover the same box in space, that is, have the same outer corners."""
    if prediction.affine is None or reference.affine is None:
        ours, theirs = (
            np.array(volume.array.shape) * np.array(_sides(volume)) for volume in (prediction, reference)
        )
        return bool(np.allclose(ours, theirs, rtol=1e-3))
    corners, sides = [], []
    for volume in (prediction, reference):
        matrix, shape = _matrix(volume), volume.array.shape
        corners.append(_places(matrix, np.vstack([np.zeros(len(shape)), np.diag(shape)]) - 0.5))
        sides.append(np.linalg.norm(matrix[:, :-1], axis=0).min())
    return bool(np.allclose(corners[0], corners[1], rtol=0, atol=NEAR * min(sides)))


def _matrix(volume: Volume) -> npt.NDArray[np.float64]:
    """Return the columns of the affine that belong to the spatial axes of a map and its offset, shape (3, d + 1)."""
    assert volume.affine is not None
    return np.asarray(volume.affine[:3, 3 - volume.spatial_dims :])


def _places(matrix: npt.NDArray[np.float64], index: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(index @ matrix[:, :-1].T + matrix[:, -1])


def _sides(volume: Volume) -> tuple[float, ...] | None:
    """Return the side lengths of a voxel in mm; None if the lengths or their unit are unknown."""
    frame = Frame.of(volume)
    if frame.unit is None:
        return None
    return tuple((frame.sides * MILLIMETRES[frame.unit]).tolist())


def _own_unit(volume: Volume) -> tuple[float, str]:
    """Return the length in mm and the name of a volume's unit of length; those of mm if the unit is unknown."""
    unit = Frame.of(volume).unit or "mm"
    return MILLIMETRES[unit], unit


def _check_affines(prediction: Volume, reference: Volume, ours: str, theirs: str) -> None:
    one, other = _matrix(prediction), _matrix(reference)
    dims = prediction.spatial_dims
    last = np.array(prediction.array.shape) - 1.0
    # The difference of two affine maps is largest at a corner.
    corners = np.stack(np.meshgrid(*([0.0, n] for n in last), indexing="ij"), axis=-1).reshape(-1, dims)
    apart = float(np.linalg.norm(_places(one, corners) - _places(other, corners), axis=1).max())
    finest = float(np.linalg.norm(one[:, :dims], axis=0).min())
    if apart <= NEAR * finest:
        return
    # An entry is shown if it contributes to the displacement; in the order of files, x first.
    moved = np.abs(one - other) * np.array([*last, 1.0])
    shown = moved > min(NEAR * finest, moved.max()) * (1 - 1e-9)
    entries = [
        f"[{row}, {3 if column == dims else dims - 1 - column}] is {one[row, column]:.6g} and {other[row, column]:.6g}"
        for row in range(3)
        for column in [*range(dims - 1, -1, -1), dims]
        if shown[row, column]
    ]
    factor, unit = _own_unit(prediction)
    raise InputError(
        f"{ours} and {theirs} lie at different places, up to {apart / factor:.3g} {unit} ({apart / finest:.3g} voxels) "
        f"apart: of their affines in mm, in NIfTI's order, {'; '.join(entries)}. If the voxels belong together all the "
        f"same, add {named('same_grid', True)}, which takes the first one's header; else register the images and "
        "interpolate one of them on the other's grid first."
    )


def _check_sides(
    one: tuple[float, ...], other: tuple[float, ...], prediction: Volume, ours: str, theirs: str
) -> None:
    drift = np.abs(np.subtract(one, other)) * prediction.array.shape
    if drift.max() <= NEAR * min(one):
        return
    factor, unit = _own_unit(prediction)
    raise InputError(
        f"the voxels of {ours} measure {_times([side / factor for side in one])} {unit} and those of {theirs} "
        f"{_times([side / factor for side in other])} {unit} (array order): if "
        f"they belong together all the same, add {named('same_grid', True)}, which takes the first one's size; else "
        "they show different parts."
    )
