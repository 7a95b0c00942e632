"""DICOM segmentations, binary, fractional and label maps, with highdicom, which the extra [dicom] installs."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from softmorph_cli.errors import FileError, InputError
from softmorph_cli.io.itk_headers import LPS
from softmorph_cli.io.logs import captured_log
from softmorph_cli.io.memory_check import check_room
from softmorph_cli.io.raw import Raw, ReadOnly
from softmorph_cli.system.printable import printable

_MARK: Final = slice(128, 132)
_SEGMENTATION: Final = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")


@dataclass(frozen=True)
class Dicom(ReadOnly):
    """Segmentations in DICOM (.dcm), which are read only."""

    name = "dicom"
    # A segmentation in DICOM names the images and the patient it belongs to, which maps do not.
    instead = ".nii.gz"

    def recognises(self, head: bytes) -> bool:
        """Return whether DICOM's mark stands behind the preamble of 128 bytes."""
        return head[_MARK] == b"DICM"

    def read(self, path: Path) -> Raw:
        """Read the segments as channels with their labels as names, or a label map; fractions as they are meant.

        Raises:
            FileError: If highdicom is not installed.
            InputError: If the file is another kind of DICOM, or its frames form no volume.
        """
        with warnings.catch_warnings(), captured_log("pydicom"), captured_log("highdicom"):
            warnings.simplefilter("ignore")  # about headers that other programs wrote
            return self._read(path)

    def _read(self, path: Path) -> Raw:
        try:
            import highdicom
            import pydicom
        except ImportError as error:
            raise FileError(
                f"{path} is DICOM, which is read with highdicom, and that is not installed; "
                "type: pip install 'softmorph-cli[dicom]'"
            ) from error
        check_room((path.stat().st_size,), 1, path)
        # From memory, where pydicom cannot ask for more bytes than there are.
        content = path.read_bytes()
        header = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True)
        kind = header.get("SOPClassUID")
        if kind not in _SEGMENTATION:
            raise InputError(
                f"{path} is DICOM of {f'the class {_name(kind)}' if kind else 'no class'}, and segmentations are "
                "read; convert an image to .nii.gz first, with dcm2niix."
            )
        found = highdicom.seg.segread(io.BytesIO(content))
        geometry = found.get_volume_geometry()
        if geometry is None:
            raise InputError(
                f"{path} has frames that form no volume with equal spacing; choose another series."
            )
        shape, labels = tuple(map(int, geometry.spatial_shape)), kind == _SEGMENTATION[1]
        names = [str(found.get_segment_description(number).segment_label) for number in found.segment_numbers]
        # While frames are put in place, they are there twice.
        check_room((*shape, 1 if labels else len(names)), 8, path)
        fractional = str(found.segmentation_type.value) == "FRACTIONAL"
        volume = found.get_volume(combine_segments=labels, dtype=np.float32 if fractional else None)
        array = np.asarray(volume.array)
        if not labels and array.ndim == 4 and len(names) == 1:
            array = array[..., 0]
        return Raw(
            array=array,
            axes="ZYX" if array.ndim == 3 else "ZYXC",
            format=self.name,
            shape=array.shape,
            dtype=str(array.dtype),
            spacing=dict(zip("ZYX", map(float, volume.spacing), strict=True)),
            unit="mm",
            affine=LPS @ volume.affine,
            # Without an axis of segments the only one keeps its label.
            channels=None if labels else tuple(names),
            labels=labels,
            label_names=dict(zip(map(int, found.segment_numbers), names, strict=True)) if labels else {},
            notes=(_occupancy(found),) if fractional and _occupancy(found) else (),
        )


def _name(kind: Any) -> str:
    return printable(str(getattr(kind, "name", kind)))


def _occupancy(found: Any) -> str:
    kind = str(found.SegmentationFractionalType).upper()
    return (
        ""
        if kind == "PROBABILITY"
        else "its fractions are of volume (occupancy), and are taken as probabilities."
    )
