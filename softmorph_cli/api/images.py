"""Conversion of the images that public functions accept: arrays, tensors, `Volume`s and paths of files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from softmorph_cli.errors import InputError, SoftmorphError, UsageError
from softmorph_cli.system.units import MILLIMETRES

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

    from softmorph_cli.volume import Volume

Array: TypeAlias = "npt.NDArray[Any] | list[Any]"
Placed: TypeAlias = "Volume | str | Path"
Image: TypeAlias = "Array | Tensor | Placed"


def is_placed(image: Any) -> bool:
    """Return whether an image is a volume or a path, which have a voxel size and a position, unlike an array."""
    from softmorph_cli.volume import Volume

    return isinstance(image, str | Path | Volume)


def placed(image: Any) -> Volume | None:
    """Return a volume as it is, or read the file of a path as a volume; None if the image is an array or a tensor."""
    from softmorph_cli.volume import Volume

    if isinstance(image, str | Path):
        from softmorph_cli.io.options import DEFAULT
        from softmorph_cli.io.reading import read_map

        with advising_read(image):
            return read_map(Path(image), DEFAULT)
    return image if isinstance(image, Volume) else None


@contextmanager
def advising_read(path: str | Path) -> Iterator[None]:
    """Context manager that extends error messages which advise options for reading a file.

    The message then says that the options are arguments of `read`, and that the volume it returns can be passed.
    """
    from softmorph_cli.system.parameters import collect_named

    with collect_named() as named:
        try:
            yield
        except SoftmorphError as error:
            message = str(error)
            if any(words in message for words in named):
                message += f" That is for read: pass the volume that read({str(path)!r}, ...) returns."
                error.args = (message,)
            raise


def refuse_grid(**given: object) -> None:
    """Raise UsageError if an argument that is for arrays alone, such as `spacing`, is given (not None).

    The function is called for images that are volumes or files, which have a voxel size of their own.
    """
    wrong = [name for name, value in given.items() if value is not None]
    if wrong:
        raise UsageError(
            f"{' and '.join(wrong)}: these are for arrays alone, a Volume or a file has its own; leave them out."
        )


def numbers(image: Any) -> npt.NDArray[Any]:
    """Return an array, or a tensor on any device, as a NumPy array of numbers; the result may be a view."""
    import numpy as np

    from softmorph_cli.filters.arrays import as_array, is_tensor

    array = as_array(image)
    if is_tensor(array):
        array = array.detach().cpu()
        # NumPy has no bfloat16.
        array = (array.float() if array.is_floating_point() and array.element_size() < 4 else array).numpy()
    if array.dtype.kind not in "biuf":
        raise InputError(
            f"an image is an array of numbers, not {type(image).__name__} of {array.dtype}: pass a NumPy array, a "
            "tensor, a Volume or the path of a file."
        )
    return np.asarray(array)


def as_volume(image: Image, spacing: Sequence[float] | None = None, unit: str | None = None) -> Volume:
    """Return an image as a volume.

    Args:
        image: An array or a tensor of shape (Y, X) or (Z, Y, X) with values in [0, 1]: floating-point numbers,
            booleans, or the integers 0 and 1; or a volume or a path.
        spacing: Voxel size of an array along each axis, in array order.
        unit: Unit of the spacing: "mm", "um" or "nm".

    Raises:
        FileError: If a file cannot be read.
        InputError: If the image is not a probability map, or the spacing does not fit the number of axes.
        UsageError: If a spacing is given for a volume or a file, or the unit is unknown.
    """
    import numpy as np

    from softmorph_cli.filters.arrays import check_kind
    from softmorph_cli.volume import Volume

    volume = placed(image)
    if volume is not None:
        refuse_grid(spacing=spacing, unit=unit)
        return volume
    if unit is not None and unit not in MILLIMETRES:
        raise UsageError(f"unit={unit!r}: a voxel size is in {', '.join(map(repr, MILLIMETRES))}.")
    array = numbers(image)
    if array.dtype.kind in "iu" and array.size and array.min() >= 0 and array.max() <= 1:
        array = array.astype(bool)
    check_kind(array)
    if array.ndim not in (2, 3):
        raise InputError(
            f"an image of shape {array.shape} has {array.ndim} axes: (Y, X) or (Z, Y, X) is expected; one with further "
            'axes is given as a Volume that names them, such as Volume(array, "CZYX").'
        )
    wide = np.float64 if array.dtype.kind == "f" and array.itemsize > 4 else np.float32
    sizes = None if spacing is None else tuple(float(size) for size in spacing)
    return Volume(array.astype(wide, copy=False), "ZYX"[-array.ndim :], spacing=sizes, unit=unit)


def at_level(threshold: float, volume: Volume) -> tuple[float, tuple[str, ...]]:
    """Return the threshold to use for a volume, and notes if the threshold was changed.

    For a nested skeleton the nearest of the levels at which it is exact is returned, for other volumes the threshold.
    """
    from softmorph_cli.kernels.level_sets import at_level
    from softmorph_cli.skeleton import image_kind

    return at_level(threshold, image_kind.exact_levels(volume))


@contextmanager
def named_after(volume: Volume) -> Iterator[None]:
    """Context manager that prefixes the messages of input errors with the path of the volume's file, if it has one."""
    try:
        yield
    except InputError as error:
        if volume.source is None:
            raise
        raise InputError(f"{volume.source.path}: {error}") from error


def as_given(array: npt.NDArray[Any], image: Any) -> Any:
    """Return an array as a tensor or an array, like `image`, with the floating-point dtype of `image`."""
    import numpy as np

    from softmorph_cli.filters.arrays import is_tensor

    if is_tensor(image):
        import torch

        kind = image.dtype if image.is_floating_point() else torch.float32
        return torch.as_tensor(array, dtype=kind, device=image.device)
    own = np.asarray(image).dtype
    return array.astype(own if own.kind == "f" else np.float32, copy=False)
