"""Stores that are written block by block: complete or absent, and resumed after an interruption."""

from __future__ import annotations

import asyncio
import errno
import os
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_blocks import RNG, SOFT, boxes, save
from helpers_zarr import make

from softmorph_cli.errors import FileError, InputError, UsageError
from softmorph_cli.io.blocks import open_blocks
from softmorph_cli.io.new_blocks import create_blocks
from softmorph_cli.io.options import ReadOptions
from softmorph_cli.io.reading import read
from softmorph_cli.io.writing import write
from softmorph_cli.io.zarr_writing import chunks_of_tiles
from softmorph_cli.volume import Volume


@pytest.mark.parametrize("dtype", ["float32", "uint8", "uint16", "mask"])
def test_a_new_store_block_by_block(tmp_path: Path, dtype: str) -> None:
    source = open_blocks(save(tmp_path / "map.npy"))
    hard = dtype == "mask"
    with create_blocks(
        tmp_path / "out.zarr", source, dtype=dtype, chunks=(16, 16, 16), provenance={"command": "x"}
    ) as out:
        assert not (tmp_path / "out.zarr").exists()

        def copy(cut: tuple[slice, ...]) -> None:
            block = source.read(cut)
            out.write(cut, (block > 0.5).astype(np.float32) if hard else block)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(copy, boxes(source.shape)))
        assert out.missing() == 0
    found = read(tmp_path / "out.zarr")
    write(
        Volume((SOFT > 0.5).astype(np.float32) if hard else SOFT, "ZYX"),
        tmp_path / "whole.zarr",
        output_type=dtype,
    )
    assert np.array_equal(found.array, read(tmp_path / "whole.zarr").array)
    assert found.source is not None
    assert found.source.provenance == {"command": "x"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["map.npy", "out.zarr", "whole.zarr"]


def test_geometry_and_version_go_along(tmp_path: Path) -> None:
    import zarr

    for version in ("0.4", "0.5"):
        source = open_blocks(
            make(
                tmp_path / "in.zarr",
                SOFT[None, None],
                "TCZYX",
                version=version,
                scale=[1, 1, 3.0, 0.5, 0.25],
                translation=[0, 0, 5.0, 6.0, 7.0],
            ),
            ReadOptions(region="8:,:,:"),
        )
        with create_blocks(tmp_path / "out.zarr", source, force=True) as out:
            whole = tuple(slice(0, n) for n in source.shape)
            out.write(whole, source.read(whole))
        found = read(tmp_path / "out.zarr")
        # Axes of one image each come back too.
        assert (found.axes, found.spacing, found.unit) == ("TCZYX", (3.0, 0.5, 0.25), "um")
        assert found.affine is not None
        np.testing.assert_allclose(found.affine[:3, 3] * 1e3, [7.0, 6.0, 29.0])
        assert zarr.open_group(str(tmp_path / "out.zarr"), mode="r").metadata.zarr_format == (
            2 if version == "0.4" else 3
        )


def test_blocks_that_share_a_chunk_are_merged(tmp_path: Path) -> None:
    source = open_blocks(save(tmp_path / "map.npy"))
    with (
        create_blocks(tmp_path / "out.zarr", source, chunks=(16, 16, 16)) as out,
        ThreadPoolExecutor(4) as pool,
    ):
        list(pool.map(lambda cut: out.write(cut, source.read(cut)), boxes(source.shape, 11)))
    assert np.array_equal(read(tmp_path / "out.zarr").array, SOFT)


def test_another_process_writes_whole_chunks_only(tmp_path: Path) -> None:
    source = open_blocks(save(tmp_path / "map.npy"))
    with create_blocks(tmp_path / "out.zarr", source, chunks=(16, 16, 16), dtype="uint16") as out:
        other = pickle.loads(pickle.dumps(out))
        with pytest.raises(InputError, match="not made of whole chunks is written by one process only"):
            other.write((slice(8), slice(16), slice(16)), SOFT[:8, :16, :16])
        for cut in boxes(source.shape):
            other.write(cut, source.read(cut))
        # What a process that was killed leaves.
        left = next((tmp_path / ".").glob(".softmorph-*")) / "0" / "0" / "c.partial"
        left.write_bytes(b"half")
    found = read(tmp_path / "out.zarr").array
    assert np.array_equal(np.rint(found * 65535), np.ceil(SOFT * np.float32(65535) - np.float32(0.5)))
    assert not list((tmp_path / "out.zarr").rglob("*.partial"))


@pytest.mark.parametrize(
    ("shape", "tile", "wanted"),
    [
        ((300, 300, 300), (128, 96, 300), (64, 48, 64)),
        ((300, 300, 300), (200, 211, 264), (50, 211, 44)),
        ((600, 600, 600), (262, 1000, 16), (131, 64, 16)),
        ((40000, 30000), (3000, 2048), (1000, 1024)),
        ((30, 20, 50), (17, 20, 40), (17, 20, 40)),
        ((17, 90, 50), (8, 88, 40), (8, 44, 40)),
    ],
)
def test_no_two_tiles_share_a_chunk(
    shape: tuple[int, ...], tile: tuple[int, ...], wanted: tuple[int, ...]
) -> None:
    found = chunks_of_tiles(shape, "ZYX"[-len(shape) :], tile)
    assert found == wanted
    assert all(t >= n or t % one == 0 for n, t, one in zip(shape, tile, found, strict=True))


def test_an_incomplete_store_is_removed(tmp_path: Path) -> None:
    source = open_blocks(save(tmp_path / "map.npy"))
    first = (slice(0, 16), slice(0, 16), slice(0, 16))
    with (
        pytest.raises(FileError, match=r"out\.zarr is not complete: 47 of its chunks were not written"),
        create_blocks(tmp_path / "out.zarr", source, chunks=(16, 16, 16)) as out,
    ):
        out.write(first, source.read(first))
    with (
        pytest.raises(InputError, match="does not fill one of"),
        create_blocks(tmp_path / "out.zarr", source) as out,
    ):
        out.write(first, source.read((slice(2), slice(2), slice(2))))
    with pytest.raises(KeyboardInterrupt), create_blocks(tmp_path / "out.zarr", source) as out:
        raise KeyboardInterrupt
    assert [p.name for p in tmp_path.iterdir()] == ["map.npy"]
    with (
        pytest.raises(UsageError, match=r"is written as OME-Zarr; end its name with \.zarr"),
        create_blocks(tmp_path / "out.nii", source),
    ):
        pass


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_an_interrupted_store_is_resumed(tmp_path: Path, version: str) -> None:
    source = open_blocks(make(tmp_path / "in.zarr", SOFT, version=version))
    target, cuts = tmp_path / "out.zarr", list(boxes(source.shape))
    settings: dict[str, Any] = {"chunks": (16, 16, 16), "provenance": {"parameters": {"n": 1}}}
    with pytest.raises(KeyboardInterrupt), create_blocks(target, source, keep=True, **settings) as out:  # noqa: PT012
        for cut in cuts[:20]:
            out.write(cut, source.read(cut))
        with (
            pytest.raises(FileError, match="is being written by another run"),
            create_blocks(target, source, resume=True, **settings),
        ):
            pass
        raise KeyboardInterrupt
    assert not target.exists()
    kept = {p.name for p in tmp_path.iterdir()} - {"in.zarr"}
    assert kept == {".softmorph-partial-out.zarr"}
    with (
        pytest.raises(FileError, match="was kept by a run with other settings"),
        create_blocks(target, source, resume=True, chunks=(16, 16, 16)),
    ):
        pass
    with create_blocks(target, source, resume=True, **settings) as out:
        assert out.resumed
        assert [out.has(cut) for cut in cuts] == [True] * 20 + [False] * 28
        assert out.missing() == 28
        for cut in cuts[20:]:
            out.write(cut, source.read(cut))
    assert np.array_equal(read(target).array, SOFT)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.zarr", "out.zarr"]
    # Without a word about resuming, what is left is begun anew.
    with (  # noqa: PT012
        pytest.raises(KeyboardInterrupt),
        create_blocks(target, source, force=True, keep=True, **settings) as out,
    ):
        out.write(cuts[0], source.read(cuts[0]))
        raise KeyboardInterrupt
    with create_blocks(target, source, force=True, keep=True, **settings) as out:
        assert not out.resumed
        assert out.missing() == 48
        for cut in cuts:
            out.write(cut, source.read(cut))
    assert np.array_equal(read(target).array, SOFT)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_empty_chunks_of_a_resumed_store_are_not_missing(tmp_path: Path, version: str) -> None:
    empty = np.where(SOFT > 2, SOFT, 0)
    source, target = open_blocks(make(tmp_path / "in.zarr", empty, version=version)), tmp_path / "out.zarr"
    cuts = list(boxes(source.shape))
    settings: dict[str, Any] = {"chunks": (16, 16, 16), "keep": True}
    with pytest.raises(KeyboardInterrupt), create_blocks(target, source, **settings) as out:  # noqa: PT012
        out.write(cuts[0], source.read(cuts[0]))
        raise KeyboardInterrupt
    with create_blocks(target, source, resume=True, **settings) as out:
        other = pickle.loads(pickle.dumps(out))
        for cut in cuts[1:20]:
            out.write(cut, source.read(cut))
        for cut in cuts[20:]:
            other.write(cut, source.read(cut))
    assert not read(target).array.any()


def contents(store: Path) -> dict[str, bytes]:
    return {str(p.relative_to(store)): p.read_bytes() for p in store.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    ("version", "dtype"), [("0.4", "float32"), ("0.5", "float32"), ("0.4", "mask"), ("0.5", "uint8")]
)
@pytest.mark.parametrize(
    "shape", [(67, 130, 71), (530, 199), (1, 70, 513), (131, 1, 70), (1, 1, 5, 67, 6), (2, 20, 1, 66)]
)
def test_coarser_resolutions_equal_those_of_the_whole_map(
    tmp_path: Path, version: str, dtype: str, shape: tuple[int, ...]
) -> None:
    array = RNG.random(shape, dtype=np.float32)
    array = np.round(array) if dtype == "mask" else array
    axes, places = "TCZYX"[-len(shape) :], [0.0, 0.0, 5.0, -2.0, 7.0][-len(shape) :]
    numbers: dict[str, Any] = {"scale": [1.5, 1.0, 3.0, 0.5, 0.25][-len(shape) :], "translation": places}
    names = {"omero": {"channels": [{"label": "soma", "color": "00FF00"}]}}
    made = make(tmp_path / "in.zarr", array, axes, version=version, extra=names, **numbers)
    # One of several channels is chosen; its axis is removed.
    channel = 1 if len(shape) == 4 else None
    source, volume = open_blocks(made, ReadOptions(channel=channel)), read(made, channel=channel)
    for name in ("whole", "blocks"):
        (tmp_path / name).mkdir()
    stated = {"command": "x"}
    write(volume, tmp_path / "whole/map.zarr", output_type=dtype, pyramid=True, provenance=stated)
    with create_blocks(
        tmp_path / "blocks/map.zarr", source, dtype=dtype, pyramid="mean", provenance=stated
    ) as out:
        for cut in boxes(source.shape, 64):
            out.write(cut, source.read(cut))
    assert contents(tmp_path / "blocks/map.zarr") == contents(tmp_path / "whole/map.zarr")


def test_an_interrupted_pyramid_is_resumed(tmp_path: Path) -> None:
    array = RNG.random((67, 300, 151), dtype=np.float32)
    other = make(tmp_path / "other.zarr", array[::-1])
    source, target = open_blocks(make(tmp_path / "in.zarr", array)), tmp_path / "map.zarr"
    write(read(tmp_path / "in.zarr"), tmp_path / "whole.zarr", pyramid=True)
    wanted = contents(tmp_path / "whole.zarr")
    kept = tmp_path / ".softmorph-partial-map.zarr"
    whole = tuple(slice(0, size) for size in source.shape)

    def stop(after: int) -> Any:
        def progress(done: int, total: int) -> None:
            assert total == 6 + 2 + 1
            if done == after:
                raise KeyboardInterrupt

        return progress

    def made() -> dict[Path, int]:
        return {p: p.stat().st_ino for n in "123" for p in (kept / n).glob("*/*/*") if p.is_file()}

    # Before the pyramid, in the middle of it, and when all of it is there.
    with pytest.raises(KeyboardInterrupt), create_blocks(target, source, keep=True, pyramid="mean") as out:  # noqa: PT012
        out.write(whole, source.read(whole))
        raise KeyboardInterrupt
    for after in (2, 6, 9):
        before = made()
        with (
            pytest.raises(KeyboardInterrupt),
            create_blocks(target, source, resume=True, pyramid="mean") as out,
        ):
            out.complete(stop(after))
        assert len(before) < after <= len(made())
        assert before.items() <= made().items()
    before = made()
    assert len(before) == 9
    # What is written again makes what was made of it void.
    with pytest.raises(KeyboardInterrupt), create_blocks(target, source, resume=True, pyramid="mean") as out:  # noqa: PT012
        out.write(whole, open_blocks(other).read(whole))
        assert made() == {}
        out.complete(stop(7))
    with create_blocks(target, source, resume=True, pyramid="mean") as out:
        out.write(whole, source.read(whole))
    assert {n: c for n, c in contents(target).items() if n != ".zattrs"} == {
        n: c for n, c in wanted.items() if n != ".zattrs"
    }
    assert {p.name for p in tmp_path.iterdir()} == {"in.zarr", "other.zarr", "map.zarr", "whole.zarr"}


def test_damage_of_an_interrupted_store_is_reported(tmp_path: Path) -> None:
    source, target = open_blocks(make(tmp_path / "in.zarr", SOFT.repeat(2, axis=0))), tmp_path / "map.zarr"
    whole = tuple(slice(0, size) for size in source.shape)
    with pytest.raises(KeyboardInterrupt), create_blocks(target, source, keep=True, pyramid="mean") as out:  # noqa: PT012
        out.write(whole, source.read(whole))
        raise KeyboardInterrupt
    chunk = tmp_path / ".softmorph-partial-map.zarr/0/0/0/0"
    chunk.write_bytes(chunk.read_bytes()[:100])
    with (
        pytest.raises(
            FileError, match=r"a chunk that was written of it is damaged; run again without resume"
        ),
        create_blocks(target, source, resume=True, pyramid="mean"),
    ):
        pass
    assert not target.exists()
    with create_blocks(target, source, pyramid="mean") as out:
        out.write(whole, source.read(whole))
    assert (target / "1").is_dir()


@pytest.mark.parametrize("keep", [False, True])
def test_a_full_disk_is_reported_for_its_file_and_writing_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: bool
) -> None:
    from zarr.storage import LocalStore

    plain = LocalStore.set

    async def full(self: LocalStore, key: str, value: Any) -> None:
        if key == "0/0/0":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        # Others are still at work when the first has failed.
        await asyncio.sleep(0.1 if key[0].isdigit() else 0)
        await plain(self, key, value)

    source = open_blocks(make(tmp_path / "in.zarr", SOFT))
    whole = tuple(slice(0, size) for size in source.shape)
    settings: dict[str, Any] = {"chunks": (16, 16, 16), "keep": keep}
    monkeypatch.setattr(LocalStore, "set", full)
    words = r"out\.zarr could not be written: the disk is full; "
    words += (
        r"what was done is kept in .*partial-out\.zarr.* resume=True" if keep else "nothing was left behind"
    )
    with (
        pytest.raises(FileError, match=words),
        create_blocks(tmp_path / "other.zarr", source, **settings),
        create_blocks(tmp_path / "out.zarr", source, **settings) as out,
    ):
        out.write(whole, source.read(whole))
    time.sleep(0.3)
    left = {p.name for p in tmp_path.iterdir()} - {"in.zarr"}
    assert left == ({".softmorph-partial-other.zarr", ".softmorph-partial-out.zarr"} if keep else set())
    monkeypatch.undo()
    with create_blocks(tmp_path / "out.zarr", source, resume=keep, chunks=(16, 16, 16)) as out:
        assert out.resumed == keep
        out.write(whole, source.read(whole))
    assert np.array_equal(read(tmp_path / "out.zarr").array, SOFT)
