"""Chunks of Zarr arrays that are, or claim to be, far larger than their arrays are not decompressed."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import google_crc32c
import numcodecs
import numpy as np
import pytest
from helpers_peak import peak
from helpers_typing import zarr

from softmorph_cli.errors import FileError, InputError
from softmorph_cli.io import packing
from softmorph_cli.io.reading import read
from softmorph_cli.system import machine

SHAPE = (6, 8, 10)
MAP = np.random.default_rng(0).random(SHAPE).astype(np.float32)


def folder_of(path: Path, stated: dict[str, Any]) -> Path:
    path.mkdir()
    common = {
        "zarr_format": 2,
        "shape": SHAPE,
        "chunks": SHAPE,
        "dtype": "<f4",
        "fill_value": 0,
        "order": "C",
    }
    (path / ".zarray").write_text(json.dumps(common | {"compressor": None, "filters": None} | stated))
    return path


def zstd_of_zeros(count: int, *, size_said: bool) -> bytes:
    """A frame of Zstandard that unpacks to zeros, 128 KiB for each 4 bytes (RFC 8878)."""
    blocks = -(-count // (1 << 17))
    head = (0xFD2FB528).to_bytes(4, "little")
    head += bytes([0xC0, 0x60]) + (blocks << 17).to_bytes(8, "little") if size_said else bytes([0, 0x60])
    repeated = (1 << 17) << 3 | 1 << 1
    block = repeated.to_bytes(3, "little") + b"\0"
    return head + block * (blocks - 1) + (repeated | 1).to_bytes(3, "little") + b"\0"


def streams(compress: Callable[[bytes], bytes], megabytes: int) -> bytes:
    """Streams of 16 MiB of zeros one behind the other, which unpack as one."""
    return compress(bytes(16 << 20)) * (megabytes // 16)


BOMBS: dict[str, Callable[[], bytes]] = {
    "bz2": lambda: streams(bz2.compress, 20_000),
    "lzma": lambda: streams(lzma.compress, 4_000),
    "gzip": lambda: streams(gzip.compress, 1_000),
    "zstd": lambda: zstd_of_zeros(20 << 30, size_said=True),
    # Its header claims almost 2 GiB decompressed and 16 bytes compressed.
    "blosc": lambda: bytes([2, 1, 0, 1]) + struct.pack("<3I", 2**31 - 32, 1 << 20, 16),
    "lz4": lambda: numcodecs.LZ4().encode(bytes(256 << 20)),
}
# 1 MiB, so that a file is not refused because it is long.
LARGE = {"shape": (64, 64, 64), "chunks": (64, 64, 64)}


@pytest.mark.parametrize("codec", BOMBS)
def test_a_chunk_that_decompresses_to_too_many_bytes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str
) -> None:
    monkeypatch.setattr(machine, "memory", lambda: 1 << 26)
    path = folder_of(tmp_path / "a.zarr", LARGE | {"compressor": {"id": codec}})
    (path / "0.0.0").write_bytes(BOMBS[codec]())
    assert (path / "0.0.0").stat().st_size < 2 << 20
    with pytest.raises(
        FileError, match=r"0\.0\.0 holds more than the numbers of a chunk, and is not unpacked"
    ):
        read(path)


@pytest.mark.parametrize("kind", ["gzip", "zlib", "bz2", "lzma", "zstd"])
def test_one_byte_too_many_is_detected(tmp_path: Path, kind: str) -> None:
    whole = np.zeros(20_000, np.uint8)
    encoded = numcodecs.get_codec({"id": kind}).encode(whole)
    (tmp_path / "chunk").write_bytes(encoded)
    for size, exceeds in ((len(whole), False), (len(whole) - 1, True)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(machine, "memory", lambda: 8)
            packed = packing.Packing(kind, size)
            if exceeds:
                with pytest.raises(FileError):
                    packed.check(tmp_path / "chunk")
            else:
                packed.check(tmp_path / "chunk")


def test_frames_without_a_size_are_counted_by_their_blocks(tmp_path: Path) -> None:
    path = folder_of(tmp_path / "a.zarr", {"compressor": {"id": "zstd", "level": 1}})
    (path / "0.0.0").write_bytes(zstd_of_zeros(1 << 24, size_said=False))
    with pytest.raises(FileError, match="is not unpacked"):
        read(path)
    # A frame between them that is skipped, and one block that fits.
    skipped = (0x184D2A50).to_bytes(4, "little") + (3).to_bytes(4, "little") + b"abc"
    (tmp_path / "chunk").write_bytes(skipped + zstd_of_zeros(100, size_said=False))
    packing.Packing("zstd", 1 << 17).check(tmp_path / "chunk")
    with pytest.raises(FileError):
        packing.Packing("zstd", (1 << 17) - 1).check(tmp_path / "chunk")


@pytest.mark.parametrize("inner", ["gzip", "zstd", "blosc"])
@pytest.mark.parametrize("place", ["start", "end"])
def test_each_chunk_of_a_shard_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inner: str, place: str
) -> None:
    monkeypatch.setattr(machine, "memory", lambda: 1 << 20)
    from zarr.codecs import BloscCodec, BytesCodec, GzipCodec, ShardingCodec, ZstdCodec

    codec = {"gzip": GzipCodec(), "zstd": ZstdCodec(), "blosc": BloscCodec()}[inner]
    shards = ShardingCodec(chunk_shape=(3, 4, 5), codecs=[BytesCodec(), codec], index_location=place)
    array = zarr.create_array(
        tmp_path / "a.zarr",
        shape=SHAPE,
        dtype="f4",
        chunks=SHAPE,
        serializer=shards,
        compressors=None,
        zarr_format=3,
    )
    array[...] = MAP
    assert np.array_equal(read(tmp_path / "a.zarr").array, MAP)
    # One piece is another one: four megabytes of zeros where 240 bytes belong.
    (file,) = (one for one in (tmp_path / "a.zarr" / "c").rglob("*") if one.is_file())
    content = file.read_bytes()
    small = numcodecs.get_codec({"id": inner}).encode(np.zeros(4 << 20, np.uint8))
    count = 8
    at = 0 if place == "start" else len(content) - 16 * count - 4
    index = np.frombuffer(content[at : at + 16 * count], "<u8").reshape(-1, 2).copy()
    body = content[16 * count + 4 :] if place == "start" else content[:at]
    shift = 16 * count + 4 if place == "start" else 0
    index[3] = shift + len(body), len(small)
    stated = index.tobytes()
    stated += google_crc32c.value(stated).to_bytes(4, "little")
    file.write_bytes(stated + body + small if place == "start" else body + small + stated)
    with pytest.raises(FileError, match="is not unpacked"):
        read(tmp_path / "a.zarr")


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(
    "compressor",
    [None, numcodecs.Blosc("zstd"), numcodecs.Zstd(3), numcodecs.GZip(1), numcodecs.BZ2(), numcodecs.LZMA()],
    ids=str,
)
def test_valid_stores_are_read(tmp_path: Path, version: Any, compressor: Any, recwarn: Any) -> None:
    if version == 3 and compressor is not None:
        from numcodecs import zarr3

        compressor = getattr(zarr3, type(compressor).__name__)()
    array = zarr.create_array(
        tmp_path / "a.zarr",
        shape=SHAPE,
        dtype="f4",
        chunks=(4, 4, 4),
        compressors=compressor,
        zarr_format=version,
    )
    array[...] = MAP
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine, "memory", lambda: 1 << 20)  # so that every chunk is looked at
        assert np.array_equal(read(tmp_path / "a.zarr").array, MAP)


CHECKSUMS = {
    "crc32": lambda content: zlib.crc32(content).to_bytes(4, "little") + content,
    "adler32": lambda content: zlib.adler32(content).to_bytes(4, "little") + content,
    "crc32c": lambda content: content + google_crc32c.value(content).to_bytes(4, "little"),
    "fletcher32": lambda content: bytes(numcodecs.Fletcher32().encode(np.frombuffer(content, np.uint8))),
}


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("checksum", CHECKSUMS)
@pytest.mark.parametrize("codec", ["blosc", "gzip", "zstd", "lz4", "bz2"])
def test_checksums_before_or_after_compressed_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int, checksum: str, codec: str
) -> None:
    monkeypatch.setattr(machine, "memory", lambda: 1 << 20)  # so that every chunk is looked at
    pack = numcodecs.get_codec({"id": codec}).encode
    path = tmp_path / "a.zarr"
    sum_up: Callable[[bytes], bytes] = CHECKSUMS[checksum]
    if version == 2:
        # Filters first, then the compressor: here the checksum is the latter.
        folder_of(path, {"filters": [{"id": codec}], "compressor": {"id": checksum}})
        chunk = path / "0.0.0"
    else:
        numcodecs_of = [{"name": f"numcodecs.{one}", "configuration": {}} for one in (codec, checksum)]
        path.mkdir()
        stated = {
            "zarr_format": 3,
            "node_type": "array",
            "shape": SHAPE,
            "data_type": "float32",
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": SHAPE}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": 0.0,
            "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, *numcodecs_of],
            "attributes": {},
        }
        (path / "zarr.json").write_text(json.dumps(stated))
        chunk = path / "c" / "0" / "0" / "0"
        chunk.parent.mkdir(parents=True)
    chunk.write_bytes(sum_up(bytes(pack(MAP.tobytes()))))
    if checksum not in numcodecs.registry.codec_registry:
        # Older versions of numcodecs have crc32c with one more package only.
        with pytest.raises(FileError, match=f"is compressed with {checksum}, which is not known here"):
            read(path)
        return
    assert np.array_equal(read(path).array, MAP)
    chunk.write_bytes(sum_up(bytes(pack(bytes(16 << 20)))))
    with pytest.raises(FileError, match="is not unpacked"):
        read(path)


@pytest.mark.filterwarnings("ignore:Combining a:zarr.errors.ZarrUserWarning")
def test_a_checksum_around_a_shard(tmp_path: Path) -> None:
    from zarr.codecs import BytesCodec, Crc32cCodec, GzipCodec, ShardingCodec

    shards = ShardingCodec(chunk_shape=(3, 4, 5), codecs=[BytesCodec(), GzipCodec()])
    array = zarr.create_array(
        tmp_path / "a.zarr",
        shape=SHAPE,
        dtype="f4",
        chunks=SHAPE,
        serializer=shards,
        compressors=Crc32cCodec(),
        zarr_format=3,
    )
    array[...] = MAP
    assert np.array_equal(read(tmp_path / "a.zarr").array, MAP)
    (file,) = (one for one in (tmp_path / "a.zarr" / "c").rglob("*") if one.is_file())
    stated = json.loads((tmp_path / "a.zarr" / "zarr.json").read_text())
    found = packing.packing(stated, "a.zarr", SHAPE, 4)
    with file.open("rb") as stream:
        parts = list(found._parts(stream, file.stat().st_size))
    content = file.read_bytes()
    chunks = [gzip.decompress(content[start : start + length]) for start, length in parts]
    assert [len(chunk) for chunk in chunks] == [3 * 4 * 5 * 4] * 8


def test_the_limits_of_memory_are_read_once_for_all_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requested: list[int] = []

    def memory() -> int:
        requested.append(1)
        return 1 << 26

    array = zarr.create_array(
        tmp_path / "a.zarr",
        shape=SHAPE,
        dtype="f4",
        chunks=(1, 2, 2),
        compressors=numcodecs.GZip(1),
        zarr_format=2,
    )
    array[...] = MAP
    monkeypatch.setattr(machine, "memory", memory)
    assert np.array_equal(read(tmp_path / "a.zarr").array, MAP)
    assert len(requested) < 10  # of 120 chunks


def test_a_folder_in_the_place_of_a_chunk_leaves_no_file_open(tmp_path: Path) -> None:
    path = folder_of(tmp_path / "a.zarr", {"compressor": {"id": "gzip", "level": 1}})
    (path / "0.0.0").mkdir()
    before = set(Path("/proc/self/fd").iterdir())
    for _ in range(10):
        with pytest.raises(FileError, match=r"0\.0\.0 is no plain file"):
            packing.Packing("gzip", 100).check(path / "0.0.0")
    assert len(set(Path("/proc/self/fd").iterdir()) - before) <= 1  # the folder that is listed
    with pytest.raises(FileError, match=r"0\.0\.0 is no plain file"):
        read(path)


def test_filters_may_store_wider_numbers(tmp_path: Path) -> None:
    filters = [numcodecs.AsType(encode_dtype="f8", decode_dtype="f4").get_config()]
    path = folder_of(tmp_path / "a.zarr", {"filters": filters, "compressor": {"id": "gzip", "level": 1}})
    (path / "0.0.0").write_bytes(gzip.compress(MAP.astype("f8").tobytes()))
    assert np.array_equal(read(path).array, MAP)


@pytest.mark.parametrize(
    "stated",
    [
        '"filters": [{"id": "pickle"}]',
        '"filters": [{"id": "\\u0070ickle"}]',
        '"compressor": {"id": "pick\\u006ce"}',
    ],
)
def test_a_pickle_codec_is_found_in_every_spelling(tmp_path: Path, stated: str) -> None:
    path = folder_of(tmp_path / "a.zarr", {})
    text = (path / ".zarray").read_text()
    key = stated.partition(":")[0]
    (path / ".zarray").write_text(text.replace(f"{key}: null", stated))
    (path / "0.0.0").write_bytes(b"cos\nsystem\n(S'touch owned'\ntR.")
    with pytest.raises(FileError, match="holds Python objects, which are never unpickled"):
        read(path)


def test_a_pickle_codec_is_found_in_version_3_and_in_shards() -> None:
    codec = {"name": "numcodecs.pickle", "configuration": {}}
    shards = {"name": "sharding_indexed", "configuration": {"codecs": [{"name": "bytes"}, codec]}}
    for codecs in (
        [codec],
        ["bytes", codec],
        [shards],
        [{**shards, "configuration": {"index_codecs": [codec]}}],
    ):
        assert packing.pickles({"codecs": codecs})
    # A name is no codec.
    assert not packing.pickles({"codecs": ["bytes"], "attributes": {"id": "pickle", "title": "pickle"}})


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"filters": [{"id": "bz2"}], "compressor": {"id": "gzip"}}, r"packed more than once \(bz2, gzip\)"),
        ({"compressor": {"id": "lzma", "format": 3}}, "lzma without its header"),
        (
            {"filters": [{"id": "gzip"}], "compressor": {"id": "shuffle"}},
            r"changed again afterwards \(gzip, shuffle\)",
        ),
    ],
)
def test_codecs_that_cannot_be_checked_are_refused(
    tmp_path: Path, stated: dict[str, Any], message: str
) -> None:
    with pytest.raises(FileError, match=message):
        read(folder_of(tmp_path / "a.zarr", stated))


def test_chunks_larger_than_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "memory", lambda: 1 << 30)
    path = folder_of(tmp_path / "a.zarr", {"chunks": (3000, 3000, 3000)})
    with pytest.raises(InputError, match="in chunks of 3000 x 3000 x 3000 values, of which not one fits"):
        read(path)


def test_a_file_that_is_as_long_as_memory_is_not_read(tmp_path: Path) -> None:
    for name, codec in (("a.zarr", None), ("b.zarr", {"id": "blosc"})):
        path = folder_of(tmp_path / name, {"compressor": codec})
        with (path / "0.0.0").open("wb") as file:
            file.truncate(20 << 30)  # no block of it is on the disk
        with pytest.raises(FileError, match="is not unpacked"):
            read(path)


def test_infinities_in_metadata_are_ignored(tmp_path: Path) -> None:
    path = folder_of(tmp_path / "a.zarr", {})
    (path / ".zattrs").write_text(
        '{"softmorph": {"x": Infinity, "y": 1e999, "z": 2.5}, "_ARRAY_DIMENSIONS": NaN}'
    )
    from softmorph_cli.io.zarr_reading import node

    found = node(path)
    assert found is not None
    assert found.attributes == {"softmorph": {"x": None, "y": None, "z": 2.5}, "_ARRAY_DIMENSIONS": None}


@pytest.mark.linux
def test_a_few_kilobytes_do_not_allocate_gigabytes(tmp_path: Path) -> None:
    path = folder_of(tmp_path / "a.zarr", LARGE | {"compressor": {"id": "bz2"}})
    # 20 GB of zeros.
    (path / "0.0.0").write_bytes(BOMBS["bz2"]())
    assert (path / "0.0.0").stat().st_size < 70_000
    status, megabytes, messages = peak("stats", path)
    assert status == 1
    assert "is not unpacked" in messages
    assert megabytes < 500


@pytest.mark.parametrize("codec", [None, "gzip", "zlib", "bz2", "lzma", "zstd", "lz4", "blosc"])
def test_a_truncated_chunk_is_reported_as_such(tmp_path: Path, codec: str | None) -> None:
    path = folder_of(tmp_path / "a.zarr", {"compressor": codec and {"id": codec}})
    content = (
        MAP.tobytes() if codec is None else bytes(numcodecs.get_codec({"id": codec}).encode(MAP.tobytes()))
    )
    for length in (len(content) // 2, len(content) - 3):
        (path / "0.0.0").write_bytes(content[:length])
        with pytest.raises(FileError, match=r"has a chunk that is cut short or damaged, .*0\.0\.0 \("):
            read(path)


@pytest.mark.parametrize("version", [2, 3])
def test_a_chunk_of_another_codec_is_not_reported_as_truncated(tmp_path: Path, version: int) -> None:
    array: Any = zarr.create_array(
        tmp_path / "a.zarr",
        shape=SHAPE,
        dtype="f4",
        chunks=SHAPE,
        compressors=zarr_gzip(version),
        zarr_format=version,
    )
    array[...] = MAP
    (chunk,) = (
        one for one in (tmp_path / "a.zarr").rglob("*") if one.name in ("0.0.0", "0") and one.is_file()
    )
    chunk.write_bytes(zlib.compress(MAP.tobytes()))
    with pytest.raises(FileError, match=r"has a chunk that softmorph cannot read, .*0 \(Not a gzipped file"):
        read(tmp_path / "a.zarr")


def zarr_gzip(version: int) -> Any:
    from zarr.codecs import GzipCodec

    return GzipCodec() if version == 3 else numcodecs.GZip(1)
