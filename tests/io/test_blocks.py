"""Maps that are read in blocks: together the blocks equal the map that `read` returns."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from helpers_blocks import RNG, SOFT, save, together
from helpers_typing import present

from softmorph_cli.errors import FileError, InputError, SoftmorphWarning, UsageError
from softmorph_cli.io.blocks import open_blocks
from softmorph_cli.io.lazy import Lazy
from softmorph_cli.io.options import ReadOptions
from softmorph_cli.io.reading import read, read_map
from softmorph_cli.io.writing import write
from softmorph_cli.volume import Volume

LOGITS = (RNG.standard_normal((2, 40, 50, 60)) * 4).astype(np.float32)
FILES = ["map.zarr", "map.nii", "map.nii.gz", "map.npy", "map.ome.tif", "tiled.tif", "map.nrrd"]


@pytest.mark.parametrize("name", FILES)
def test_blocks_equal_the_whole_map(tmp_path: Path, name: str) -> None:
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


def warned_of(options: dict[str, Any]) -> AbstractContextManager[object]:
    """Expect the warning on probabilities that are read as logits, if they are."""
    if "from_logits" in options:
        return pytest.warns(SoftmorphWarning, match="look like probabilities")
    return nullcontext()


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
def test_options_have_the_effect_that_they_have_in_read(
    tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    path = save(tmp_path / name)
    np.save(tmp_path / "mask.npy", (SOFT > 0.3).astype(np.uint8))
    if "mask" in options:
        options = {**options, "mask": tmp_path / "mask.npy"}
    with warned_of(options):
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
    with warned_of(options):
        blocks = open_blocks(path, ReadOptions(**options))
    packed, wanted = pickle.dumps(blocks), together(blocks)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    # The scale found in the whole file is not searched for again.
    monkeypatch.setattr("softmorph_cli.io.blocks._settle", None)
    again = pickle.loads(packed)
    assert np.array_equal(together(again), wanted)
    assert (again.shape, again.axes, again.spacing) == (blocks.shape, blocks.axes, blocks.spacing)


def test_a_replaced_file_is_detected(tmp_path: Path) -> None:
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


def test_the_range_of_integers_is_that_of_the_whole_file(tmp_path: Path) -> None:
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
    with pytest.raises(InputError, match="has no label 2; it holds 3: choose one of them, such as label=3"):
        open_blocks(tmp_path / "labels.npy", ReadOptions(label=2))
    with pytest.raises(UsageError, match="exclude each other"):
        open_blocks(tmp_path / "labels.npy", ReadOptions(label=3, divide_by=2))


@pytest.mark.parametrize("name", ["map.npy", "map.zarr"])
def test_invalid_values_are_reported_with_their_position(tmp_path: Path, name: str) -> None:
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


def test_damage_is_reported_when_it_is_read(tmp_path: Path) -> None:
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


def test_lazy_views_equal_those_of_numpy() -> None:
    requested = []

    def part(stored: Any, index: Any) -> Any:
        requested.append(index)
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
        assert not requested
        assert (made.shape, made.size, made.ndim) == (wanted.shape, wanted.size, wanted.ndim)
        assert np.array_equal(np.asarray(made), wanted)
        requested.clear()
    covered = np.zeros((6, 3), int)
    for box in lazy.transpose((3, 0, 2, 1))[:, :, 1, 1].boxes():
        covered[box] += 1
    assert (covered == 1).all()
