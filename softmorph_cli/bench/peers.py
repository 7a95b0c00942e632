"""Functions that workloads are compared with: a plain copy, and functions of other libraries if installed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from softmorph_cli.bench.clock import TimedTask
from softmorph_cli.bench.workloads import SKELETON, Hardware

# References of all workloads; both read the map once and write one of the same size.
COPY: Final = "copy"
RULER: Final = "scipy grey_erosion"


@dataclass(frozen=True)
class Peer:
    """A function of another library.

    Attributes:
        name: Name of the function for display.
        library: Name of the library on PyPI.
        drawn: Kind of the map that the function runs on, "noise" or "vessels".
        task: Function that makes the timed task from an image and the hardware.
        like: Operation and method of the workload that the function is compared with; None for all workloads.
        dimensions: Supported numbers of spatial dimensions.
        on_cuda: Whether the function also runs on the GPU.
    """

    name: str
    library: str
    drawn: str
    task: Callable[[Any, Hardware], TimedTask]
    like: tuple[str, str] | None = None
    dimensions: tuple[int, ...] = (2, 3)
    on_cuda: bool = False

    @property
    def version(self) -> str | None:
        """The version of the function's library; None if the library is not installed."""
        return installed(self.library)


def installed(library: str) -> str | None:
    """Return the version of a library without importing the library; None if it is not installed."""
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def _copy(image: Any, hardware: Hardware) -> TimedTask:
    return TimedTask(lambda _: image.clone() if hardware.on_cuda else image.copy())


def _scipy_erosion(image: Any, hardware: Hardware) -> TimedTask:
    from scipy import ndimage

    cross = ndimage.generate_binary_structure(image.ndim, 1)
    return TimedTask(lambda _: ndimage.grey_erosion(image, footprint=cross))


def _skimage_erosion(image: Any, hardware: Hardware) -> TimedTask:
    morphology = import_module("skimage.morphology")
    return TimedTask(lambda _: morphology.erosion(image))  # its default is the cross


def _skimage_skeletonize(image: Any, hardware: Hardware) -> TimedTask:
    morphology = import_module("skimage.morphology")
    mask = image > 0.5
    return TimedTask(lambda _: morphology.skeletonize(mask))


def _sitk_erosion(image: Any, hardware: Hardware) -> TimedTask:
    sitk = import_module("SimpleITK")
    erode = sitk.GrayscaleErodeImageFilter()
    erode.SetKernelType(sitk.sitkCross)
    erode.SetKernelRadius(1)
    erode.SetNumberOfThreads(hardware.threads)
    itk_image = sitk.GetImageFromArray(image)
    return TimedTask(lambda _: erode.Execute(itk_image))


def _sitk_thinning(image: Any, hardware: Hardware) -> TimedTask:
    sitk = import_module("SimpleITK")
    thin = sitk.BinaryThinningImageFilter()
    thin.SetNumberOfThreads(hardware.threads)
    mask = sitk.GetImageFromArray((image > 0.5).astype("uint8"))
    return TimedTask(lambda _: thin.Execute(mask))


_EROSION: Final = ("erosion", "minmax")
_LEVELS: Final = (SKELETON, "levels")
_HARD: Final = (SKELETON, "hard")

PEERS: Final = (
    Peer(COPY, "numpy", "noise", _copy, on_cuda=True),
    Peer(RULER, "scipy", "noise", _scipy_erosion),
    Peer("scikit-image erosion", "scikit-image", "noise", _skimage_erosion, _EROSION),
    Peer("SimpleITK GrayscaleErode", "SimpleITK", "noise", _sitk_erosion, _EROSION),
    Peer("scikit-image skeletonize of one mask", "scikit-image", "vessels", _skimage_skeletonize, _LEVELS),
    # In 3D it thins each slice separately, which is no skeleton of a volume.
    Peer(
        "SimpleITK BinaryThinning of one mask", "SimpleITK", "vessels", _sitk_thinning, _HARD, dimensions=(2,)
    ),
)
