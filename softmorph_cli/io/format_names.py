"""File formats: their titles and the suffixes of their names."""

from __future__ import annotations

from typing import Final, NamedTuple


class Family(NamedTuple):
    """A file format: its title and the suffixes of its file names.

    Attributes:
        title: The name of the format in messages.
        suffixes: The suffixes of file names of this format, in lower case; the first is the default.
        read: The suffixes that --help lists for input.
        written: The suffixes that --help lists for output.
        gzipped: The suffixes of gzipped files of this format, out of `suffixes`; empty if these are not read.
    """

    title: str
    suffixes: tuple[str, ...]
    read: tuple[str, ...]
    written: tuple[str, ...]
    gzipped: tuple[str, ...] = ()


FAMILIES: Final = {
    "nifti": Family("NIfTI", (".nii.gz", ".nii"), (".nii.gz", ".nii"), (".nii.gz", ".nii"), (".nii.gz",)),
    "tiff": Family("TIFF", (".tif", ".tiff", ".btf", ".tf8"), (".tif",), (".tif",)),
    "ome-zarr": Family("OME-Zarr", (".ome.zarr", ".zarr"), (".zarr",), (".zarr",)),
    "png": Family("PNG", (".png",), (".png",), (".png",)),
    "nrrd": Family("NRRD", (".nrrd", ".nhdr"), (".nrrd",), (".nrrd",)),
    "metaimage": Family("MetaImage", (".mha", ".mhd"), (".mha", ".mhd"), (".mha",)),
    "npy": Family("NumPy", (".npy",), (".npy",), (".npy",)),
    "nnunet": Family("nnU-Net .npz", (".npz",), ("nnU-Net's .npz",), ()),
    "mgh": Family("MGH", (".mgz", ".mgh", ".mgh.gz"), (".mgz",), (".mgz",), (".mgz", ".mgh.gz")),
    "mrc": Family(
        "MRC",
        (".mrc", ".map", ".rec", ".mrc.gz", ".map.gz", ".rec.gz"),
        (".mrc",),
        (".mrc",),
        (".mrc.gz", ".map.gz", ".rec.gz"),
    ),
    "dicom": Family("DICOM", (".dcm",), ("DICOM segmentations",), ()),
    "hdf5": Family("HDF5", (".h5", ".hdf5"), (".h5",), ()),
}


def _listed(suffixes: list[str]) -> str:
    return f"{', '.join(suffixes[:-1])} or {suffixes[-1]}"


# As --help lists them.
READ: Final = _listed([suffix for one in FAMILIES.values() for suffix in one.read])
WRITTEN: Final = _listed([suffix for one in FAMILIES.values() for suffix in one.written])
