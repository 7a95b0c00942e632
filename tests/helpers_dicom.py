"""Segmentations in DICOM of a drawn CT, as highdicom writes them."""

from __future__ import annotations

import io
import warnings
from importlib import import_module
from typing import Any

import numpy as np

# An oblique series: directions of the columns and rows of an image, and the step from slice to slice, in LPS.
ROW, COLUMN, STEP = (0.0, 0.6, 0.8), (1.0, 0.0, 0.0), 2.5
SPACING = (0.5, 0.75)
ORIGIN = (-12.0, 30.0, 4.5)


def segmentation(array: Any, kind: str = "FRACTIONAL", **more: Any) -> bytes:
    """Return the bytes of a segmentation of `array`, (slice, row, column) or with segments as a last axis."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        highdicom: Any = import_module("highdicom")
        codes: Any = import_module("pydicom.sr.codedict").codes
        images = [_image(number, array.shape[1:3]) for number in range(len(array))]
        count = array.shape[3] if array.ndim == 4 else int(array.max()) if kind == "LABELMAP" else 1
        segments = [
            highdicom.seg.SegmentDescription(
                segment_number=number + 1,
                segment_label=f"vessel {number + 1}",
                segmented_property_category=codes.SCT.AnatomicalStructure,
                segmented_property_type=codes.SCT.BloodVessel,
                algorithm_type="MANUAL",
            )
            for number in range(count)
        ]
        made = highdicom.seg.Segmentation(
            source_images=images,
            pixel_array=array,
            segmentation_type=kind,
            segment_descriptions=segments,
            series_instance_uid="1.2.3.4",
            series_number=2,
            sop_instance_uid="1.2.3.4.5",
            instance_number=1,
            manufacturer="nobody",
            manufacturer_model_name="drawn",
            software_versions="1",
            device_serial_number="1",
            omit_empty_frames=False,
            **more,
        )
        for name in ("ContentDate", "InstanceCreationDate"):
            setattr(made, name, "20260101")
        for name in ("ContentTime", "InstanceCreationTime"):
            setattr(made, name, "120000")
        # The same bytes each time.
        for one in (*made.DimensionOrganizationSequence, *made.DimensionIndexSequence):
            one.DimensionOrganizationUID = "1.2.3.4.6"
        for one in made.ContributingEquipmentSequence:
            one.ContributionDateTime = "20260101120000"
        stream = io.BytesIO()
        made.save_as(stream)
        return stream.getvalue()


def image() -> bytes:
    """Return the bytes of one slice of the CT."""
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _image(0, (6, 7)).save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _image(number: int, shape: tuple[int, ...]) -> Any:
    pydicom: Any = import_module("pydicom")
    one = pydicom.Dataset()
    one.file_meta = pydicom.dataset.FileMetaDataset()
    one.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID = pydicom.uid.CTImageStorage
    one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID = f"1.2.3.{number + 1}"
    one.StudyInstanceUID, one.SeriesInstanceUID, one.FrameOfReferenceUID = "1.2", "1.2.3", "1.2.9"
    one.PatientID, one.PatientName, one.PatientBirthDate, one.PatientSex = "1", "nobody", "20000101", "O"
    one.StudyID, one.StudyDate, one.StudyTime, one.AccessionNumber = "1", "20260101", "120000", "1"
    one.ReferringPhysicianName, one.Modality, one.Manufacturer = "", "CT", "nobody"
    one.SeriesNumber, one.InstanceNumber = 1, number + 1
    one.Rows, one.Columns = shape
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 16, 15, 0
    one.PixelSpacing, one.SliceThickness = [*SPACING], STEP
    one.ImageOrientationPatient = [*ROW, *COLUMN]
    one.ImagePositionPatient = [*(np.array(ORIGIN) + number * STEP * np.cross(ROW, COLUMN))]
    one.PixelData = np.zeros(shape, np.uint16).tobytes()
    return one
