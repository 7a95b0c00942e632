"""Small intact files of every format and dialect that is read, as other programs and softmorph itself write them."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import re
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np

Files = dict[str, bytes]

SOFT: Final = np.random.default_rng(0).random((5, 6, 7), dtype=np.float32)
BYTES: Final = (SOFT * 255).astype(np.uint8)
MASK: Final = SOFT > 0.5
LABELS: Final = np.digitize(SOFT, (0.25, 0.5, 0.75)).astype(np.uint8)
# Oblique, and a rotation.
_ROWS: Final = np.array([[0, 0.28, -0.96], [1, 0, 0], [0, 0.96, 0.28]])


@dataclass(frozen=True)
class Seed:
    """An intact file, or several that belong together.

    Attributes:
        name: What a case made of it is called.
        files: Their bytes, by path.
        main: The path that is read.
        options: How it is read.
        kind: "image", or which text it is: "rule", "pipeline", "priors", "manifest", "tiles".
    """

    name: str
    files: Mapping[str, bytes]
    main: str
    options: Mapping[str, Any] = field(default_factory=dict)
    kind: str = "image"

    @property
    def family(self) -> str:
        return self.name.partition("-")[0]


def seeds() -> list[Seed]:
    """Make all of them, the same bytes each time."""
    # It takes the arrays from here.
    from helpers_seeds_microscopy import microscopy

    found = [
        *_nifti(), *_tiff(), *_png(), *_nrrd(), *_metaimage(), *_npy(), *_nnunet(), *_zarr(), *_own(), *_texts(),
        *microscopy(),
    ]  # fmt: skip
    assert len({seed.name for seed in found}) == len(found)
    return found


def one(name: str, suffix: str, content: bytes, **options: Any) -> Seed:
    return Seed(name, {f"in{suffix}": content}, f"in{suffix}", options)


def saved(suffix: str, save: Callable[[Path], Any]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder) / f"saved{suffix}")
        return _steady((Path(folder) / f"saved{suffix}").read_bytes())


def _steady(content: bytes) -> bytes:
    """The same bytes without the time and the number by which a library makes each file another."""
    if content.startswith(b"\x1f\x8b"):
        content = content[:4] + bytes(4) + content[8:]
    return re.sub(rb"urn:uuid:[0-9a-f-]{36}", b"urn:uuid:11111111-2222-3333-4444-555555555555", content)


def _tree(folder: Path) -> Files:
    return {
        str(path.relative_to(folder.parent)): _steady(path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _nifti() -> Iterator[Seed]:
    nibabel: Any = import_module("nibabel")  # most of it is not annotated
    affine = np.eye(4)
    affine[:3] = np.c_[_ROWS * (0.5, 0.6, 2), (10, -20, 30)]

    def image(array: Any, kind: Any = nibabel.Nifti1Image, header: Any = None, **told: Any) -> bytes:
        made = kind(array, affine, header)
        made.header.set_xyzt_units("mm", "sec")
        for key, value in told.items():
            made.header[key] = value
        return bytes(made.to_bytes())

    plain = image(SOFT.T)
    yield one("nifti-plain", ".nii", plain)
    yield one("nifti-gzip", ".nii.gz", gzip.compress(plain, 1, mtime=0))
    yield one("nifti-second", ".nii", image(SOFT.T, nibabel.Nifti2Image))
    yield one("nifti-bigendian", ".nii", image(SOFT.T, header=nibabel.Nifti1Header(endianness=">")))
    scaled = bytearray(image((SOFT.T * 1000).astype(np.int16)))
    scaled[112:120] = np.array([0.001, 0], "<f4").tobytes()
    yield one("nifti-slope", ".nii", bytes(scaled))
    yield one("nifti-labels", ".nii", image(LABELS.T, intent_code=1002), label=1)
    yield one("nifti-channels", ".nii", image(np.stack([SOFT, 1 - SOFT]).T[:, :, :, None]), channel=0)
    yield one("nifti-seven", ".nii.gz", gzip.compress(image(SOFT.T.reshape(7, 6, 5, 1, 1, 1, 1)), 1, mtime=0))
    colours = np.zeros((7, 6, 5), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    colours["G"] = BYTES.T
    yield one("nifti-colours", ".nii", image(colours), channel=1, divide_by=255)
    quaternion = nibabel.Nifti1Image(SOFT.T, affine)
    quaternion.header.set_sform(None, 0)
    quaternion.header.set_qform(affine, 1)
    quaternion.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"made by hand"))
    yield one("nifti-extended", ".nii", bytes(quaternion.to_bytes()))


def _tiff() -> Iterator[Seed]:
    import tifffile
    from PIL import Image

    def image(array: Any, **told: Any) -> bytes:
        stream = io.BytesIO()
        told = {"photometric": "minisblack", "metadata": None, **told}
        tifffile.imwrite(stream, array, **told)
        return _steady(stream.getvalue())

    told = {"axes": "ZYX", "unit": "micron", "spacing": 2.0, "Info": "bought in Ulm"}
    yield one("tiff-plain", ".tif", image(SOFT, software="by hand"))
    yield one("tiff-page", ".tif", image(SOFT[0], resolution=(100, 50), resolutionunit=3))
    yield one(
        "tiff-shaped", ".tif", image(BYTES, metadata={"axes": "ZYX", "spacing": {"Z": 2.0}, "unit": "um"})
    )
    yield one("tiff-imagej", ".tif", image(SOFT, imagej=True, resolution=(4.0, 2.0), metadata=told))
    hyper = np.stack([BYTES, BYTES], axis=1)[None].repeat(2, axis=0)
    yield one("tiff-hyper", ".tif", image(hyper, imagej=True, metadata={"axes": "TZCYX"}), channel=0)
    ome = {
        "axes": "ZCYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 2000.0,
        "PhysicalSizeZUnit": "nm", "Channel": {"Name": ["wall", "lumen"]},
    }  # fmt: skip
    yield one(
        "tiff-ome", ".ome.tif", image(np.stack([SOFT, 1 - SOFT], 1), ome=True, metadata=ome), channel="lumen"
    )
    for name, compression in (
        ("deflate", "zlib"), ("lzw", "lzw"), ("packbits", "packbits"), ("zstd", "zstd"), ("lzma", "lzma"),
        ("jpegxl", "jpegxl"), ("jpeg2000", "jpeg2000"), ("lerc", "lerc"), ("webp", "webp"), ("png", "png"),
    ):  # fmt: skip
        array, more = BYTES, {}
        if name == "webp":
            array, more = np.stack([BYTES] * 3, axis=-1), {"photometric": "rgb"}
        yield one(
            f"tiff-{name}", ".tif", image(array, compression=compression, **more), channel=0 if more else None
        )
    yield one("tiff-jpeg", ".tif", image(np.tile(BYTES, (1, 3, 3)), compression="jpeg"))
    yield one("tiff-predictor", ".tif", image(SOFT, compression="zlib", predictor=True))
    yield one("tiff-predicted", ".tif", image(BYTES, compression="lzw", predictor=True))
    wide = np.tile(BYTES[0], (6, 5))
    yield one("tiff-tiled", ".tif", image(wide, tile=(16, 16), compression="zlib"))
    yield one("tiff-volume", ".tif", image(np.tile(BYTES, (4, 4, 4)), tile=(16, 16, 16)))
    yield one("tiff-big", ".btf", image(SOFT, bigtiff=True))
    yield one("tiff-bigendian", ".tif", image(SOFT, byteorder=">"))
    yield one("tiff-colours", ".tif", image(np.stack([BYTES[0]] * 3, -1), photometric="rgb"), channel=2)
    yield one(
        "tiff-planar",
        ".tif",
        image(np.stack([BYTES[0]] * 3), photometric="rgb", planarconfig="separate"),
        channel=2,
    )
    table = (np.arange(256) * 257).astype(np.uint16)
    yield one("tiff-palette", ".tif", image(BYTES, photometric="palette", colormap=np.stack([table] * 3)))
    yield one("tiff-white", ".tif", image(MASK[0], photometric="miniswhite"))
    for name, compression in (("bits", ""), ("fax3", "group3"), ("fax4", "group4")):
        stream = io.BytesIO()
        Image.fromarray(np.tile(MASK[0], (4, 4))).save(stream, "TIFF", compression=compression or None)
        yield one(f"tiff-{name}", ".tif", stream.getvalue())
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as file:
        file.write(wide[::2, ::2], subfiletype=1, metadata=None)
        file.write(wide, subifds=1, metadata=None)
        file.write(wide[::2, ::2], subfiletype=1, metadata=None)
        file.write(wide.astype(np.uint16), metadata=None)
    yield one("tiff-series", ".tif", stream.getvalue())


def _png() -> Iterator[Seed]:
    from PIL import Image

    def image(array: Any, mode: str | None = None, **more: Any) -> bytes:
        stream = io.BytesIO()
        made = Image.fromarray(array) if mode is None else array
        made.save(stream, "PNG", **more)
        return stream.getvalue()

    yield one("png-grey", ".png", image(BYTES[0]))
    yield one("png-deep", ".png", image((SOFT[0] * 65535).astype(np.uint16)))
    yield one("png-bit", ".png", image(MASK[0]))
    palette = Image.fromarray(LABELS[0]).convert("P")
    palette.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200, 9, 9, 9])
    yield one("png-palette", ".png", image(palette, "P", bits=2), label=1)
    yield one("png-alpha", ".png", image(np.stack([BYTES[0], BYTES[1]], -1)), channel=0)
    yield one("png-colours", ".png", image(np.stack([BYTES[0]] * 3, -1)), channel=0)
    yield one("png-rgba", ".png", image(np.stack([BYTES[0]] * 4, -1)), channel=3)
    yield one("png-clear", ".png", image(BYTES[0], transparency=3))


def _nrrd() -> Iterator[Seed]:
    head = "\n".join(
        (
            "NRRD0005", "# by hand", "type: float", "dimension: 3", "space: left-posterior-superior", "sizes: 7 6 5",
            "space directions: (0.5,0,0) (0,0.6,0) (0,0,2)", "space origin: (10,-20,30)",
            'space units: "mm" "mm" "mm"', "kinds: domain domain domain", "endian: little", "made_by:=hand",
        )
    )  # fmt: skip
    raw = SOFT.tobytes()
    text = " ".join(map(str, BYTES.ravel())).encode()
    bare = "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 7 6 5\nspacings: 1 2 3\n"
    for name, content in (
        ("raw", f"{head}\nencoding: raw\n\n".encode() + raw),
        ("gzip", f"{head}\nencoding: gzip\n\n".encode() + gzip.compress(raw, 1, mtime=0)),
        ("bzip2", f"{head}\nencoding: bzip2\n\n".encode() + bz2.compress(raw, 1)),
        ("ascii", f"{bare}encoding: ascii\n\n".encode() + text),
        ("hex", f"{bare}encoding: hex\n\n".encode() + BYTES.tobytes().hex().encode()),
        (
            "big",
            f"{head.replace('little', 'big')}\nencoding: raw\n\n".encode() + SOFT.astype(">f4").tobytes(),
        ),
        (
            "skips",
            f"{bare}line skip: 1\nbyte skip: 3\nencoding: raw\n\n".encode() + b"line\n..." + BYTES.tobytes(),
        ),
    ):
        scale = {} if "float" in content[:60].decode("latin-1") else {"divide_by": 255}
        yield one(f"nrrd-{name}", ".nrrd", content, **scale)
    vector = bare.replace("3\nsizes: ", "4\nsizes: 2 ").replace("spacings:", "spacings: nan")
    content = f"{vector}kinds: vector domain domain domain\nencoding: raw\n\n".encode()
    yield one("nrrd-vector", ".nrrd", content + np.stack([BYTES] * 2, -1).tobytes(), channel=1, divide_by=255)
    whole = {"divide_by": 255}
    detached = f"{bare}encoding: raw\ndata file: below/in.raw\n".encode()
    yield Seed("nrrd-detached", {"in.nhdr": detached, "below/in.raw": BYTES.tobytes()}, "in.nhdr", whole)
    slices = {f"slice{number}.raw": BYTES[number].tobytes() for number in range(5)}
    series = f"{bare}encoding: raw\ndata file: slice%d.raw 0 4 1\n".encode()
    yield Seed("nrrd-slices", {"in.nhdr": series, **slices}, "in.nhdr", whole)
    listed = f"{bare}encoding: raw\ndata file: LIST\n{chr(10).join(slices)}\n".encode()
    yield Seed("nrrd-list", {"in.nhdr": listed, **slices}, "in.nhdr", whole)


def _metaimage() -> Iterator[Seed]:
    head = "\n".join(
        (
            "ObjectType = Image", "NDims = 3", "BinaryData = True", "BinaryDataByteOrderMSB = False",
            "TransformMatrix = 1 0 0 0 1 0 0 0 1", "Offset = 10 -20 30", "CenterOfRotation = 0 0 0",
            "AnatomicalOrientation = RAI", "ElementSpacing = 0.5 0.6 2", "DimSize = 7 6 5", "Author = by hand",
        )
    )  # fmt: skip
    raw, last = SOFT.tobytes(), "ElementType = MET_FLOAT\nElementDataFile = "
    packed = zlib.compress(raw, 1)
    size = f"CompressedData = True\nCompressedDataSize = {len(packed)}\n"
    big = head.replace("MSB = False", "MSB = True")
    text = head.replace("BinaryData = True", "BinaryData = False")
    for name, content in (
        ("raw", f"{head}\n{last}LOCAL\n".encode() + raw),
        ("zlib", f"{head}\n{size}{last}LOCAL\n".encode() + packed),
        ("big", f"{big}\n{last}LOCAL\n".encode() + SOFT.astype(">f4").tobytes()),
        ("text", f"{text}\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n".encode()
         + " ".join(map(str, BYTES.ravel())).encode()),
    ):  # fmt: skip
        yield one(f"metaimage-{name}", ".mha", content, **({"divide_by": 255} if name == "text" else {}))
    vector = f"{head}\nElementNumberOfChannels = 2\n{last}LOCAL\n".encode()
    yield one("metaimage-vector", ".mha", vector + np.stack([SOFT, 1 - SOFT], -1).tobytes(), channel=1)
    yield Seed("metaimage-detached", {"in.mhd": f"{head}\n{last}in.raw\n".encode(), "in.raw": raw}, "in.mhd")
    yield Seed(
        "metaimage-packed", {"in.mhd": f"{head}\n{size}{last}in.zraw\n".encode(), "in.zraw": packed}, "in.mhd"
    )
    slices = {f"slice{number}.raw": SOFT[number].tobytes() for number in range(5)}
    listed = f"{head}\n{last}LIST\n{chr(10).join(slices)}\n".encode()
    yield Seed("metaimage-list", {"in.mhd": listed, **slices}, "in.mhd")
    series = f"{head}\n{last}slice%d.raw 0 4 1\n".encode()
    yield Seed("metaimage-slices", {"in.mhd": series, **slices}, "in.mhd")


def npy(array: Any, version: tuple[int, int] | None = None) -> bytes:
    """The bytes of an .npy file."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version, allow_pickle=False)
    return stream.getvalue()


def _npy() -> Iterator[Seed]:
    yield one("npy-single", ".npy", npy(SOFT))
    yield one("npy-double", ".npy", npy(SOFT.astype(np.float64)[0]))
    yield one("npy-half", ".npy", npy(SOFT.astype(np.float16)))
    yield one("npy-fortran", ".npy", npy(np.asfortranarray(SOFT), (2, 0)))
    yield one("npy-big", ".npy", npy(SOFT.astype(">f4"), (3, 0)))
    yield one("npy-bytes", ".npy", npy(BYTES), divide_by=255)
    yield one("npy-mask", ".npy", npy(MASK))
    yield one("npy-axes", ".npy", npy(np.stack([SOFT, 1 - SOFT])), axes="CZYX")


def _nnunet() -> Iterator[Seed]:
    nibabel: Any = import_module("nibabel")

    soft = np.stack([1 - SOFT, SOFT * 0.75, SOFT * 0.25]).astype(np.float32)
    regions = np.stack([SOFT, SOFT * SOFT]).astype(np.float16)
    painted = np.where(regions[1] > 0.5, 2, np.where(regions[0] > 0.5, 1, 0)).astype(np.uint8)
    order = {
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [1, 0, 2],
        "transpose_backward": [1, 0, 2],
    }

    def described(labels: Any, **more: Any) -> bytes:
        return json.dumps(
            {"labels": labels, "file_ending": ".nii.gz", "channel_names": {"0": "CT"}, **more}
        ).encode()

    def beside(labels: Any) -> bytes:
        affine = np.diag([0.5, 0.6, 2, 1])
        return gzip.compress(nibabel.Nifti1Image(labels.astype(np.uint8).T, affine).to_bytes(), 1, mtime=0)

    def packed(key: str, array: Any, save: Any = np.savez_compressed) -> bytes:
        stream = io.BytesIO()
        save(stream, **{key: array})
        return stream.getvalue()

    classes = {"background": 0, "liver": 1, "tumour": 2}
    overlapping = described({"background": 0, "whole": [1, 2], "core": [2]}, regions_class_order=[1, 2])
    turned = {**order, "image_reader_writer": "NibabelIOWithReorient"}
    for name, archive, labels, dataset, plans in (
        ("classes", packed("probabilities", soft), soft.argmax(0), described(classes), order),
        (
            "stored",
            packed("softmax", soft, np.savez),
            soft.argmax(0),
            described({"0": "a", "1": "b", "2": "c"}),
            order,
        ),
        ("regions", packed("probabilities", regions), painted, overlapping, order),
        ("turned", packed("probabilities", soft), soft.argmax(0), described(classes), turned),
    ):
        files = {"in.npz": archive, "in.nii.gz": beside(labels), "dataset.json": dataset}
        yield Seed(f"nnunet-{name}", {**files, "plans.json": json.dumps(plans).encode()}, "in.npz")


def _zarr() -> Iterator[Seed]:
    import numcodecs
    import zarr
    from zarr import codecs

    def store(
        name: str, array: Any, axes: str, version: str, *, levels: int = 1, more: Any = None, **how: Any
    ) -> Seed:
        old = version == "0.4"
        letters = {"c": "channel", "t": "time"}
        options = dict(how.pop("options", {}))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "in.zarr"
            group = zarr.open_group(str(path), mode="w", zarr_format=2 if old else 3)
            data = []
            for number in range(levels):
                level = array[tuple(slice(None, None, 2**number if a in "zyx" else 1) for a in axes)]
                chunks = how.get("chunks") or tuple(max(1, -(-size // 2)) for size in level.shape)
                names: dict[str, Any] = {} if old else {"dimension_names": list(axes)}
                made = group.create_array(
                    str(number), shape=level.shape, dtype=level.dtype, chunks=chunks,
                    **names, **{key: value for key, value in how.items() if key != "chunks"},
                )  # fmt: skip
                made[...] = level
                steps = [
                    {"type": "scale", "scale": [2.0**number * 0.5 if a in "zyx" else 1.0 for a in axes]},
                    {"type": "translation", "translation": [float(number)] * len(axes)},
                ]
                data.append({"path": str(number), "coordinateTransformations": steps})
            space = {"type": "space", "unit": "micrometer"}
            image = {
                "axes": [{"name": a, **({"type": letters[a]} if a in letters else space)} for a in axes],
                "datasets": data, "name": "map", **({"version": "0.4"} if old else {}),
            }  # fmt: skip
            told = {"multiscales": [image], **(more or {})}
            group.attrs.update(told if old else {"ome": {"version": "0.5", **told}})
            return Seed(f"zarr-{name}", _tree(path), "in.zarr", options)

    for name, compressor in (
        ("blosc", numcodecs.Blosc("lz4")), ("zlib", numcodecs.Zlib(1)), ("gzip", numcodecs.GZip(1)),
        ("zstd", numcodecs.Zstd(1)), ("lz4", numcodecs.LZ4()), ("bz2", numcodecs.BZ2(1)), ("lzma", numcodecs.LZMA()),
        ("plain", None),
    ):  # fmt: skip
        yield store(name, SOFT, "zyx", "0.4", compressors=compressor)
    yield store(
        "filters",
        BYTES,
        "zyx",
        "0.4",
        filters=[numcodecs.Delta("u1")],
        compressors=numcodecs.Zlib(1),
        options={"divide_by": 255},
    )
    omero = {
        "omero": {"channels": [{"label": "wall", "color": "FF0000"}, {"label": "lumen", "color": "00FF00"}]}
    }
    pair = np.stack([SOFT, 1 - SOFT])
    yield store("channels", pair, "czyx", "0.4", more=omero, options={"channel": "lumen"})
    yield store(
        "labels", LABELS, "zyx", "0.4", more={"image-label": {"version": "0.4"}}, options={"label": 2}
    )
    yield store("levels", SOFT, "zyx", "0.4", levels=2)
    for name, compressor3 in (
        ("three", codecs.GzipCodec()), ("threeblosc", codecs.BloscCodec(cname="zstd")),
        ("threezstd", codecs.ZstdCodec()), ("threeplain", None),
    ):  # fmt: skip
        yield store(name, SOFT, "zyx", "0.5", compressors=compressor3)
    yield store("threelevels", SOFT, "zyx", "0.5", levels=2, more=omero)
    yield store("shards", np.tile(SOFT, (2, 2, 2)), "zyx", "0.5", chunks=(5, 3, 7), shards=(5, 6, 14))


def _own() -> Iterator[Seed]:
    """As softmorph writes them."""
    from softmorph_cli.io.options import WriteOptions
    from softmorph_cli.io.writing import write, write_labels
    from softmorph_cli.volume import Volume

    affine = np.eye(4)
    affine[:3] = np.c_[_ROWS * (2, 0.6, 0.5), (10, -20, 30)]
    volume = Volume(SOFT, "ZYX", (2.0, 0.6, 0.5), "mm", affine)
    told = {"command": "softmorph erode in out", "version": "1", "parameters": {"method": "levels"}}
    for family, suffix in (
        ("nifti", ".nii"), ("nrrd", ".nrrd"), ("metaimage", ".mha"), ("tiff", ".tif"), ("tiff", ".ome.tif")
    ):  # fmt: skip
        name = f"{family}-own{'ome' if 'ome' in suffix else ''}"

        def save(path: Path, kind: str | None = "uint8") -> Any:
            return write(volume, path, output_type=kind, provenance=told)

        yield one(name, suffix, saved(suffix, save))
        labels = saved(suffix, lambda path: write_labels(LABELS, volume, path, WriteOptions(provenance=told)))
        yield one(f"{name}labels", suffix, labels, label=1)
    flat = Volume(SOFT[0], "YX", (0.6, 0.5), "mm")
    yield one("png-own", ".png", saved(".png", lambda path: write(flat, path, provenance=told)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "in.zarr"
        write(volume, path, provenance=told, pyramid=True)
        yield Seed("zarr-own", _tree(path), "in.zarr")


def _texts() -> Iterator[Seed]:
    rule = """\
dimensions = 2
action = "delete"
title = "Thin"
schedule = ["N", "S", {turn = "W", when = "a & ~C"}]
iterations = "until stable"
outside = 0
when = "(a | b) & at_least(2, ring) & ~[0,1]"
order = ["N", "[1,0]"]
[templates]
b = "N & ~S"
[templates.a]
picture = \"\"\"
111
.*.
000
\"\"\"
turn = true
"""
    yield Seed("text-rule", {"in.toml": rule.encode()}, "in.toml", kind="rule")
    steps = """\
[[step]]
operation = "close"
iterations = 2
connectivity = 26
[[step]]
operation = "despeckle"
min-size = "5mm3"
[[step]]
operation = "skeletonize"
hard = true
threshold = 0.4
"""
    yield Seed("text-pipeline", {"in.toml": steps.encode()}, "in.toml", kind="pipeline")
    priors = (
        '[[prior]]\nchannels = ["wall", 1]\nbetti = [1, 0, 0]\n[[prior]]\nchannels = [0]\nbetti = [2, 0, 0]\n'
    )
    yield Seed("text-priors", {"in.toml": priors.encode()}, "in.toml", kind="priors")
    row = {
        "shape": [5, 6, 7], "output_shape": [5, 6, 7], "iterations": [2, None], "warnings": ["none"], "seconds": 0.5,
        "before": {"volume": 1.5}, "after": {"volume": 1.0, "note": "x"}, "error": None,
    }  # fmt: skip
    lines = [
        {"state": "batch", "version": "1", "parameters": {"steps": [{"name": "close", "keys": {"iterations": 2}}]}},
        {"state": "begun", "input": "a.nii", "output": "a.nii", "when": 1.5},
        {"state": "done", "input": "a.nii", "output": "a.nii", "when": 2.5, "identity": {"size": 9, "mtime_ns": 12},
         "fingerprint": "abc", "output_size": 12, "row": row},
        {"state": "failed", "input": "b.nii", "output": "b.nii", "when": 3, "row": {"error": "damaged"}},
    ]  # fmt: skip
    manifest = "".join(json.dumps(line) + "\n" for line in lines).encode()
    yield Seed(
        "text-manifest", {"softmorph-manifest.jsonl": manifest}, "softmorph-manifest.jsonl", kind="manifest"
    )
