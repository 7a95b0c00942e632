"""What else does such work on the same map: the copy and the ruler, and other libraries where installed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from softmorph_cli.bench.clock import TimedTask
from softmorph_cli.bench.workloads import SKELETON, Hardware

# The two that every work is a ratio to; both read the map once and write one of the same size.
COPY: Final = "copy"
RULER: Final = "scipy grey_erosion"


@dataclass(frozen=True)
class Peer:
    """One function of another library.

    Attributes:
        name: For people.
        library: The package that has to be installed, as it is called on PyPI.
        drawn: Which map it is run on.
        task: Takes a map and the device and returns what is to be timed.
        like: Operation and method of the work it is compared with, the first of them; None for all works.
        dimensions: In how many dimensions it does that work.
        on_cuda: Whether it runs on the GPU, too.
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
        """Its library's version; None where it is missing."""
        return installed(self.library)


def installed(library: str) -> str | None:
    """Return a library's version without importing it; None where it is missing."""
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def _untyped(module: str) -> Any:
    """Import a library that may be missing, or says nothing of its types."""
    return import_module(module)


def _copy(image: Any, how: Hardware) -> TimedTask:
    return TimedTask(lambda _: image.clone() if how.on_cuda else image.copy())


def _scipy_erosion(image: Any, how: Hardware) -> TimedTask:
    from scipy import ndimage

    cross = ndimage.generate_binary_structure(image.ndim, 1)
    return TimedTask(lambda _: ndimage.grey_erosion(image, footprint=cross))


def _skimage_erosion(image: Any, how: Hardware) -> TimedTask:
    morphology = _untyped("skimage.morphology")
    return TimedTask(lambda _: morphology.erosion(image))  # its default is the cross


def _skimage_skeletonize(image: Any, how: Hardware) -> TimedTask:
    morphology = _untyped("skimage.morphology")
    mask = image > 0.5
    return TimedTask(lambda _: morphology.skeletonize(mask))


def _sitk_erosion(image: Any, how: Hardware) -> TimedTask:
    sitk = _untyped("SimpleITK")
    erode = sitk.GrayscaleErodeImageFilter()
    erode.SetKernelType(sitk.sitkCross)
    erode.SetKernelRadius(1)
    erode.SetNumberOfThreads(how.threads)
    itk_image = sitk.GetImageFromArray(image)
    return TimedTask(lambda _: erode.Execute(itk_image))


def _sitk_thinning(image: Any, how: Hardware) -> TimedTask:
    sitk = _untyped("SimpleITK")
    thin = sitk.BinaryThinningImageFilter()
    thin.SetNumberOfThreads(how.threads)
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
    # In 3D it thins each slice by itself, which is no skeleton of a volume.
    Peer(
        "SimpleITK BinaryThinning of one mask", "SimpleITK", "vessels", _sitk_thinning, _HARD, dimensions=(2,)
    ),
)
