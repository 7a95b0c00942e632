"""Maps in blocks: together they are what `read` returns, and a new store is there whole or not at all."""

from __future__ import annotations

import asyncio
import errno
import os
import pickle
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from helpers_typing import present
from helpers_zarr import make

from softmorph_cli.errors import FileError, InputError, UsageError
from softmorph_cli.io import Blocks, ReadOptions, create_blocks, open_blocks, read, read_map, write
from softmorph_cli.io.lazy import Lazy
from softmorph_cli.io.storing import chunks_of_tiles
from softmorph_cli.volume import Volume

RNG = np.random.default_rng(0)
SOFT = RNG.random((40, 50, 60), dtype=np.float32)
LOGITS = (RNG.standard_normal((2, 40, 50, 60)) * 4).astype(np.float32)
FILES = ["map.zarr", "map.nii", "map.nii.gz", "map.npy", "map.ome.tif", "tiled.tif", "map.nrrd"]


def boxes(shape: tuple[int, ...], side: int = 16) -> Any:
    return product(*([slice(a, min(a + side, n)) for a in range(0, n, side)] for n in shape))


def together(blocks: Blocks, side: int = 17) -> Any:
    found = np.full(blocks.shape, np.nan, np.float32)
    cuts = list(boxes(blocks.shape, side))

    def fill(cut: tuple[slice, ...]) -> None:
        block = blocks.read(cut)
        assert block.dtype == np.float32
        assert block.flags.writeable
        found[cut] = block
        block[...] = -1  # which is nobody else's

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(fill, cuts))
    return found


def save(path: Path, array: Any = SOFT, axes: str = "ZYX") -> Path:
    if path.name == "tiled.tif":
        tifffile.imwrite(
            path, array, tile=(16, 16), compression="zlib", photometric="minisblack", bigtiff=True
        )
    elif array.dtype == np.float32:
        write(Volume(array, axes, (3.0, 0.5, 0.25), "mm"), path)
    else:
        np.save(path, array)
    return path


@pytest.mark.parametrize("name", FILES)
def test_blocks_are_what_read_returns(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / name)
    blocks, volume = open_blocks(path), read_map(path)
    assert np.array_equal(together(blocks), volume.array)
    assert (blocks.shape, blocks.axes, blocks.unit) == (SOFT.shape, "ZYX", volume.unit)
    assert blocks.spacing == volume.spacing
    assert (blocks.affine is None) == (volume.affine is None)
    if volume.affine is not None:
        np.testing.assert_array_equal(blocks.affine, volume.affine)
    assert blocks.in_memory == (name in ("map.nii.gz", "map.nrrd"))
    assert blocks.notes == volume.notes
    assert blocks.chunks == {"map.zarr": SOFT.shape, "tiled.tif": (1, 16, 16)}.get(name, (1, 50, 60))
    # Twice the same: nothing was used up.
    assert np.array_equal(together(blocks), volume.array)


@pytest.mark.parametrize("name", ["map.zarr", "map.npy", "tiled.tif"])
@pytest.mark.parametrize(
    "options",
    [
        {"region": "3:30,:20,7:"},
        {"mask": "mask.npy"},
        {"mask": "mask.npy", "region": "5:9,10:11,:"},
        {"from_logits": "sigmoid"},
        {"clip": True, "divide_by": 0.5},
        {"region": "5:6,:,:"},
        {"region": ":,7:8,:", "mask": "mask.npy"},
    ],
)
def test_options_are_those_of_read(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    path = save(tmp_path / name)
    np.save(tmp_path / "mask.npy", (SOFT > 0.3).astype(np.uint8))
    if "mask" in options:
        options = {**options, "mask": tmp_path / "mask.npy"}
    blocks, volume = open_blocks(path, ReadOptions(**options)), read(path, **options)
    assert (blocks.axes, blocks.spacing) == (volume.axes, volume.spacing)
    assert np.array_equal(together(blocks), volume.array)
    if volume.affine is not None:
        np.testing.assert_allclose(present(blocks.affine), present(volume.affine))


@pytest.mark.parametrize("channel", [0, 1])
def test_softmax_sees_all_channels(tmp_path: Path, channel: int) -> None:
    np.save(tmp_path / "logits.npy", LOGITS)
    options: dict[str, Any] = {"axes": "CZYX", "from_logits": "softmax", "channel": channel}
    assert np.array_equal(
        together(open_blocks(tmp_path / "logits.npy", ReadOptions(**options))),
        read(tmp_path / "logits.npy", **options).array,
    )


BYTES = (SOFT * 255).astype(np.uint8)
BYTES[:16] = BYTES[:16] > 200  # which look like a mask


@pytest.mark.parametrize(
    ("name", "array", "options"),
    [
        ("map.zarr", SOFT, {"mask": "mask.npy", "region": "3:30,:20,7:"}),
        ("map.nii.gz", SOFT, {"from_logits": "sigmoid"}),
        ("map.npy", SOFT, {"clip": True, "divide_by": 0.5}),
        ("tiled.tif", BYTES, {}),
        ("labels.npy", BYTES, {"label": 3}),
    ],
)
def test_pickled_blocks_are_the_same_in_another_folder(
    tmp_path: Path, name: str, array: Any, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("mask.npy", (SOFT > 0.3).astype(np.uint8))
    path = save(Path(name), array)
    blocks = open_blocks(path, ReadOptions(**options))
    packed, wanted = pickle.dumps(blocks), together(blocks)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    # What all of a file says, nobody finds out again.
    monkeypatch.setattr("softmorph_cli.io.blocks._settle", None)
    again = pickle.loads(packed)
    assert np.array_equal(together(again), wanted)
    assert (again.shape, again.axes, again.spacing) == (blocks.shape, blocks.axes, blocks.spacing)


def test_a_file_that_was_replaced_is_not_taken_for_the_same(tmp_path: Path) -> None:
    packed = pickle.dumps(open_blocks(save(tmp_path / "map.npy", SOFT)))
    np.save(tmp_path / "map.npy", SOFT[1:])
    with pytest.raises(FileError, match=r"is another map now, of shape \(39, 50, 60\) instead of \(40, "):
        pickle.loads(packed)


@pytest.mark.parametrize("name", ["map.ome.zarr", "map.ome.tif"])
def test_one_channel_is_chosen(tmp_path: Path, name: str) -> None:
    both = Volume(np.stack([SOFT, SOFT[::-1]]), "CZYX", (3.0, 0.5, 0.25), "um", channels=("soma", "axon"))
    write(both, tmp_path / name)
    with pytest.raises(InputError, match=r"holds 2 images along axis C, .*choose one with channel=0"):
        open_blocks(tmp_path / name)
    assert np.array_equal(together(open_blocks(tmp_path / name, ReadOptions(channel="axon"))), SOFT[::-1])
    assert np.array_equal(together(open_blocks(tmp_path / name, ReadOptions(channel=0))), SOFT)


def test_integers_mean_what_all_of_them_say(tmp_path: Path) -> None:
    # One block of 0 and 1 alone is no mask, and one that is faint no 12 bits in 16.
    stored = (SOFT * 255).astype(np.uint8)
    stored[:16] = stored[:16] > 200
    tifffile.imwrite(tmp_path / "map.tif", stored, tile=(16, 16), photometric="minisblack")
    assert np.array_equal(together(open_blocks(tmp_path / "map.tif")), read(tmp_path / "map.tif").array)
    tifffile.imwrite(tmp_path / "mask.tif", stored // 255 + (stored > 9), photometric="minisblack")
    np.save(tmp_path / "mask.npy", (stored > 100).astype(np.uint8))
    mask = open_blocks(tmp_path / "mask.npy")
    assert mask.notes == ("it holds only 0 and 1 and is taken as a mask.",)
    assert np.array_equal(together(mask), stored > 100)
    np.save(tmp_path / "bytes.npy", stored)
    with pytest.raises(InputError, match=r"bytes\.npy holds integers from 0 to 25\d; .*divide_by=255"):
        open_blocks(tmp_path / "bytes.npy")
    assert np.array_equal(
        together(open_blocks(tmp_path / "bytes.npy", ReadOptions(divide_by=255))),
        read(tmp_path / "bytes.npy", divide_by=255).array,
    )


def test_a_label_need_not_be_in_every_block(tmp_path: Path) -> None:
    labels = np.zeros(SOFT.shape, np.int16)
    labels[30:, 40:, 50:] = 3
    np.save(tmp_path / "labels.npy", labels)
    assert np.array_equal(together(open_blocks(tmp_path / "labels.npy", ReadOptions(label=3))), labels == 3)
    with pytest.raises(
        InputError, match="has no label 2; it holds 0, 3: choose one of them, such as label=3"
    ):
        open_blocks(tmp_path / "labels.npy", ReadOptions(label=2))
    with pytest.raises(UsageError, match="exclude each other"):
        open_blocks(tmp_path / "labels.npy", ReadOptions(label=3, divide_by=2))


@pytest.mark.parametrize("name", ["map.npy", "map.zarr"])
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, name: str) -> None:
    import zarr

    for value, words in (
        (
            np.nan,
            r"x 48:60) holds 1 value that is not a number (NaN), the first at (z=20, y=40, x=50)",
        ),
        (7.0, r"(block z 16:32, y 32:48, x 48:60) holds values from"),
    ):
        wrong = SOFT.copy()
        wrong[20, 40, 50] = value
        path = tmp_path / f"{value}{name}"
        if name == "map.npy":
            np.save(path, wrong)
        else:
            zarr.create_array(str(path), data=wrong, zarr_format=2, chunks=(16, 16, 16))
        blocks = open_blocks(path)
        assert np.array_equal(blocks.read((slice(16), slice(50), slice(60))), SOFT[:16])
        with pytest.raises(InputError, match=re.escape(words)):
            together(blocks, 16)


def test_damage_is_told_when_it_is_met(tmp_path: Path) -> None:
    path = save(tmp_path / "tiled.tif")
    content = path.read_bytes()
    with tifffile.TiffFile(path) as file:
        at = file.pages[20].dataoffsets[0]
    path.write_bytes(content[: at + 2] + b"\xff" * 200 + content[at + 202 :])
    blocks = open_blocks(path)
    assert np.array_equal(blocks.read((slice(16), slice(16), slice(16))), SOFT[:16, :16, :16])
    with pytest.raises(FileError, match=r"tiled\.tif starts as a TIFF file but is cut short or damaged \("):
        together(blocks)


def test_resolution(tmp_path: Path) -> None:
    array = RNG.random((70, 70, 70), dtype=np.float32)
    write(Volume(array, "ZYX", (1.0, 1.0, 1.0), "um"), tmp_path / "map.zarr", pyramid=True)
    coarse = open_blocks(tmp_path / "map.zarr", ReadOptions(resolution=1))
    assert (coarse.shape, coarse.spacing) == ((35, 35, 35), (2.0, 2.0, 2.0))
    assert np.array_equal(together(coarse), read(tmp_path / "map.zarr/1").array)
    with pytest.raises(InputError, match="has one resolution only"):
        open_blocks(save(tmp_path / "map.npy"), ReadOptions(resolution=1))


def test_lazy_views_are_numpys() -> None:
    asked = []

    def part(stored: Any, index: Any) -> Any:
        asked.append(index)
        return stored[index]

    stored = RNG.random((3, 4, 5, 6))
    lazy = Lazy(stored, (1, 2, 2, 2), part)
    views: list[Callable[[Any], Any]] = [
        lambda a: a[1],
        lambda a: a[..., 2:4],
        lambda a: a[:, 1:3, 0, -1],
        lambda a: a.transpose((3, 0, 2, 1)),
        lambda a: a.transpose((3, 0, 2, 1))[2:5, 1].take(1, axis=1),
        lambda a: a[1:3][1:].squeeze(axis=0)[:, 2:2],
    ]
    for view in views:
        wanted = view(stored)
        made = view(lazy)
        assert not asked
        assert (made.shape, made.size, made.ndim) == (wanted.shape, wanted.size, wanted.ndim)
        assert np.array_equal(np.asarray(made), wanted)
        asked.clear()
    covered = np.zeros((6, 3), int)
    for box in lazy.transpose((3, 0, 2, 1))[:, :, 1, 1].boxes():
        covered[box] += 1
    assert (covered == 1).all()


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


def test_blocks_that_share_a_chunk_are_put_together(tmp_path: Path) -> None:
    source = open_blocks(save(tmp_path / "map.npy"))
    with (
        create_blocks(tmp_path / "out.zarr", source, chunks=(16, 16, 16)) as out,
        ThreadPoolExecutor(4) as pool,
    ):
        list(pool.map(lambda cut: out.write(cut, source.read(cut)), boxes(source.shape, 11)))
    assert np.array_equal(read(tmp_path / "out.zarr").array, SOFT)


def test_another_process_writes_whole_chunks_alone(tmp_path: Path) -> None:
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
def test_chunks_of_tiles_are_shared_by_none(
    shape: tuple[int, ...], tile: tuple[int, ...], wanted: tuple[int, ...]
) -> None:
    found = chunks_of_tiles(shape, "ZYX"[-len(shape) :], tile)
    assert found == wanted
    assert all(t >= n or t % one == 0 for n, t, one in zip(shape, tile, found, strict=True))


def test_what_is_not_complete_is_not_kept(tmp_path: Path) -> None:
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
def test_coarser_resolutions_are_those_of_the_whole_map(
    tmp_path: Path, version: str, dtype: str, shape: tuple[int, ...]
) -> None:
    array = RNG.random(shape, dtype=np.float32)
    array = np.round(array) if dtype == "mask" else array
    axes, places = "TCZYX"[-len(shape) :], [0.0, 0.0, 5.0, -2.0, 7.0][-len(shape) :]
    numbers: dict[str, Any] = {"scale": [1.5, 1.0, 3.0, 0.5, 0.25][-len(shape) :], "translation": places}
    names = {"omero": {"channels": [{"label": "soma", "color": "00FF00"}]}}
    made = make(tmp_path / "in.zarr", array, axes, version=version, extra=names, **numbers)
    # Of several channels one is chosen, and its axis is gone.
    channel = 1 if len(shape) == 4 else None
    source, volume = open_blocks(made, ReadOptions(channel=channel)), read(made, channel=channel)
    for name in ("whole", "blocks"):
        (tmp_path / name).mkdir()
    told = {"command": "x"}
    write(volume, tmp_path / "whole/map.zarr", output_type=dtype, pyramid=True, provenance=told)
    with create_blocks(
        tmp_path / "blocks/map.zarr", source, dtype=dtype, pyramid=True, provenance=told
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
    with pytest.raises(KeyboardInterrupt), create_blocks(target, source, keep=True, pyramid=True) as out:  # noqa: PT012
        out.write(whole, source.read(whole))
        raise KeyboardInterrupt
    for after in (2, 6, 9):
        before = made()
        with (
            pytest.raises(KeyboardInterrupt),
            create_blocks(target, source, resume=True, pyramid=True) as out,
        ):
            out.complete(stop(after))
        assert len(before) < after <= len(made())
        assert before.items() <= made().items()
    before = made()
    assert len(before) == 9
    # What is written again makes what was made of it void.
    with pytest.raises(KeyboardInterrupt), create_blocks(target, source, resume=True, pyramid=True) as out:  # noqa: PT012
        out.write(whole, open_blocks(other).read(whole))
        assert made() == {}
        out.complete(stop(7))
    with create_blocks(target, source, resume=True, pyramid=True) as out:
        out.write(whole, source.read(whole))
    assert {n: c for n, c in contents(target).items() if n != ".zattrs"} == {
        n: c for n, c in wanted.items() if n != ".zattrs"
    }
    assert {p.name for p in tmp_path.iterdir()} == {"in.zarr", "other.zarr", "map.zarr", "whole.zarr"}


def test_damage_of_what_was_kept_is_told(tmp_path: Path) -> None:
    source, target = open_blocks(make(tmp_path / "in.zarr", SOFT.repeat(2, axis=0))), tmp_path / "map.zarr"
    whole = tuple(slice(0, size) for size in source.shape)
    with pytest.raises(KeyboardInterrupt), create_blocks(target, source, keep=True, pyramid=True) as out:  # noqa: PT012
        out.write(whole, source.read(whole))
        raise KeyboardInterrupt
    chunk = tmp_path / ".softmorph-partial-map.zarr/0/0/0/0"
    chunk.write_bytes(chunk.read_bytes()[:100])
    with (
        pytest.raises(
            FileError, match=r"a chunk that was written of it is damaged; run again without resume"
        ),
        create_blocks(target, source, resume=True, pyramid=True),
    ):
        pass
    assert not target.exists()
    with create_blocks(target, source, pyramid=True) as out:
        out.write(whole, source.read(whole))
    assert (target / "1").is_dir()


@pytest.mark.parametrize("keep", [False, True])
def test_a_full_disk_is_said_of_its_own_file_and_nothing_writes_on(
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
