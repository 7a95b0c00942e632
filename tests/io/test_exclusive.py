"""Which channels are classes that exclude each other, and which of them is the most probable where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from helpers_typing import nibabel

from softmorph_cli.io import exclusive
from softmorph_cli.io.blocks import open_blocks
from softmorph_cli.io.nnunet import classes
from softmorph_cli.io.options import ReadOptions
from softmorph_cli.io.reading import read

SHAPE = (9, 14, 16)


def softmax(count: int = 3, seed: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    raised = np.exp(2 * np.random.default_rng(seed).standard_normal((count, *shape)))
    return np.asarray(raised / raised.sum(axis=0), np.float32)


def nifti(channels: np.ndarray, name: str = "map.nii.gz", **more: Any) -> Path:
    nibabel.Nifti1Image(channels.T, np.eye(4), **more).to_filename(name)
    return Path(name)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def winner(path: Path, **reading: Any) -> np.ndarray | None:
    found = exclusive.exclusive_classes(read(path, **reading, exclusive=True))
    return None if found is None else found.winner


@pytest.mark.parametrize("count", [2, 3, 9])
def test_a_softmax_in_every_type_that_holds_one(count: int) -> None:
    p = softmax(count)
    np.save("half.npy", p.astype(np.float16))
    np.save("double.npy", p.astype(np.float64))
    paths: list[tuple[Path, dict[str, Any]]] = [
        (nifti(p), {}),
        (Path("half.npy"), {"axes": "CZYX"}),
        (Path("double.npy"), {"axes": "CZYX"}),
    ]
    for kind in (np.uint8, np.uint16):
        top = np.iinfo(kind).max
        tifffile.imwrite(f"{top}.tif", np.rint(p * top).astype(kind), metadata={"axes": "CZYX"}, ome=True)
        # More than eight channels without names are asked about.
        paths.append((Path(f"{top}.tif"), {"axes": "CZYX"}))
    np.save("hundred.npy", np.rint(100 * p).astype(np.uint8))
    paths.append((Path("hundred.npy"), {"axes": "CZYX", "divide_by": 100}))
    for path, reading in paths:
        most = winner(path, **reading)
        assert most is not None, path
        # What is stored decides; rounding makes ties, of which the lower class is taken.
        stored = read(path, **reading).array
        assert np.array_equal(most, stored.argmax(axis=0)), path
        assert (most == p.argmax(axis=0)).mean() > 0.98


def test_ties_go_to_the_lower_class() -> None:
    p = np.full((4, 3, 5, 6), 0.25, np.float32)
    p[:, 0] = np.array([0, 0.4, 0.2, 0.4], np.float32)[:, None, None]
    most = winner(nifti(p))
    assert most is not None
    assert (most[0] == 1).all()
    assert (most[1:] == 0).all()


def test_one_voxel_of_a_thousand_may_have_another_sum() -> None:
    p = softmax(3, shape=(10, 20, 20))
    flat = p.reshape(3, -1)
    for wrong, expected in ((0, True), (3, True), (4, True), (5, False), (400, False)):
        q = flat.copy()
        q[:, :wrong] *= 0.97
        assert (winner(nifti(q.reshape(p.shape))) is not None) == expected


def test_sums_are_compared_up_to_the_rounding_of_the_type() -> None:
    # Off by a thousandth: within the rounding of float16 and 8 bits, not of float32.
    p = softmax(3) * np.float32(0.999)
    np.save("half.npy", p.astype(np.float16))
    np.save("bytes.npy", np.rint(255 * p).astype(np.uint8))
    assert winner(nifti(p)) is None
    assert winner(Path("half.npy"), axes="CZYX") is not None
    assert winner(Path("bytes.npy"), axes="CZYX", divide_by=255) is not None


def test_classes_that_are_not_exclusive() -> None:
    rng = np.random.default_rng(1)
    assert winner(nifti(rng.random((3, *SHAPE)).astype(np.float32))) is None
    assert winner(nifti(softmax()[1:])) is None  # the rest of 1 may be anything
    assert winner(nifti(softmax()[0])) is None  # one map
    np.save("time.npy", softmax())
    assert winner(Path("time.npy"), axes="TZYX") is None


@pytest.mark.parametrize("count", [2, 3])
def test_masks_are_exclusive_only_if_one_of_them_is_the_background(count: int) -> None:
    held = softmax(count + 1).argmax(axis=0)
    masks = np.stack([held == k for k in range(count + 1)]).astype(np.uint8)
    assert winner(nifti(masks[1:])) is None
    found = winner(nifti(masks))
    assert found is not None
    np.testing.assert_array_equal(found, held)


def test_all_channels_decide_also_if_one_is_read() -> None:
    p = softmax(4)
    path = nifti(p)
    for channel in range(4):
        volume = read(path, channel=channel, exclusive=True)
        found = exclusive.exclusive_classes(volume)
        assert found is not None
        assert np.array_equal(volume.array, p[channel])
        assert found.labels == (channel,)
        assert np.array_equal(found.mask(channel), p.argmax(axis=0) == channel)
    part = read(path, region="2:7,:,3:9", channel=1, exclusive=True)
    cut = exclusive.exclusive_classes(part)
    assert cut is not None
    assert np.array_equal(cut.winner, p.argmax(axis=0)[2:7, :, 3:9])


def test_a_mask_leaves_the_rest_out() -> None:
    p = softmax()
    inside = np.random.default_rng(5).random(SHAPE) > 0.4
    image = nibabel.Nifti1Image(inside.astype(np.uint8).T, np.eye(4))
    image.to_filename("mask.nii.gz")
    q = np.where(inside, p, np.float32(0.7))
    most = winner(nifti(q), mask="mask.nii.gz")
    assert most is not None
    assert np.array_equal(most, np.where(inside, p.argmax(axis=0), 0))
    assert winner(nifti(q)) is None


def test_logits_are_decided_as_probabilities() -> None:
    logits = np.log(softmax(5))
    np.save("logits.npy", logits)
    most = winner(Path("logits.npy"), axes="CZYX", from_logits="softmax", channel=2)
    assert most is not None
    assert (most != logits.argmax(axis=0)).mean() < 0.01
    assert winner(Path("logits.npy"), axes="CZYX", from_logits="sigmoid") is None


def test_the_background_is_the_channel_of_that_name() -> None:
    p = softmax(3)
    tifffile.imwrite(
        "named.ome.tif", p, metadata={"axes": "CZYX", "Channel": {"Name": ["vein", "artery", "Background"]}}
    )
    volume = read("named.ome.tif", exclusive=True)
    found = exclusive.exclusive_classes(volume)
    assert found is not None
    assert found.labels == classes(volume).labels == (1, 2, 0)
    assert np.array_equal(found.winner, np.array([1, 2, 0])[p.argmax(axis=0)])


def test_voxels_that_differ_from_the_threshold_one_half_have_a_note() -> None:
    p = softmax(3)
    most = p.argmax(axis=0)
    volume = read(nifti(p), exclusive=True)
    (stated,) = exclusive.class_notes(volume)
    for label in range(3):
        above, won = np.count_nonzero(p[label] > 0.5), np.count_nonzero(most == label)
        assert (
            f"class {label} has {above:,} voxels above 0.5 and is the most probable class at {won:,}"
            in stated
        )
    (one,) = exclusive.class_notes(read(Path("map.nii.gz"), channel=1, exclusive=True))
    assert "channel 1 has" in one
    assert "class 2" not in one
    assert exclusive.class_notes(read(Path("map.nii.gz"))) == ()
    # 1 % of a class may differ.
    sure = np.where(np.arange(3)[:, None, None, None] == most, np.float32(0.9), np.float32(0.05))
    place = np.argwhere(most == 2)
    for many, expected in ((int(0.009 * len(place)), 0), (int(0.011 * len(place)) + 1, 1)):
        q = sure.copy()
        q[(slice(None), *place[:many].T)] = np.array([0.3, 0.3, 0.4], np.float32)[:, None]
        assert len(exclusive.class_notes(read(nifti(q), exclusive=True))) == expected


@pytest.mark.parametrize("count", [2, 4])
def test_which_of_a_files_channels_were_read(count: int) -> None:
    path = nifti(softmax(count))
    assert read(path).source.numbers == tuple(range(count))  # type: ignore[union-attr]
    one = read(path, channel=-1).source
    assert one is not None
    assert (one.numbers, one.channel) == ((count - 1,), f"channel {count - 1}")
    assert read(nifti(softmax()[0])).source.channel is None  # type: ignore[union-attr]


# ---------------------------------------------------------------- maps larger than memory


def both_told(path: Path, channel: int | str, **reading: Any) -> tuple[str, ...]:
    """What is told of a channel, which is the same of the whole map and of slabs of any size."""
    whole = exclusive.class_notes(read(path, channel=channel, **reading, exclusive=True))
    blocks = open_blocks(path, ReadOptions(channel=channel, **reading))
    for voxels in (1, 2000, 1 << 22):
        assert blocks.class_notes(voxels) == whole
    return whole


def counted(values: np.ndarray, channel: int, name: str, where: Any = ...) -> str:
    most = np.broadcast_to(values.argmax(axis=0) == channel, values.shape[1:])[where]
    above = (values[channel] > 0.5)[where]
    return (
        f"its classes exclude each other: {name} has {np.count_nonzero(above):,} voxels above 0.5 and is the most "
        f"probable class at {np.count_nonzero(most):,}. Here 0.5 decides; softmorph evaluate and --argmax take the "
        "most probable class."
    )


@pytest.mark.parametrize("shape", [SHAPE, (1, 40, 30), (40, 30)])
def test_blocks_have_the_same_notes(shape: tuple[int, ...]) -> None:
    p = softmax(3, shape=shape)
    axes = "CZYX"[: 1 + len(shape)] if len(shape) == 3 else "CYX"
    np.save("map.npy", p)
    tifffile.imwrite("map.tif", np.rint(255 * p).astype(np.uint8), metadata={"axes": axes}, ome=True)
    stored = np.rint(255 * p).astype(np.uint8)
    for channel in range(3):
        (messages,) = both_told(Path("map.npy"), channel, axes=axes)
        assert messages == counted(p, channel, f"channel {channel}")
        (messages,) = both_told(Path("map.tif"), channel)
        assert messages == counted(stored / np.float32(255), channel, f"channel {channel}")


def test_blocks_of_a_region_and_a_mask() -> None:
    p = softmax(4)
    path = nifti(p, "map.nii")
    inside = np.random.default_rng(5).random(SHAPE) > 0.4
    nibabel.Nifti1Image(inside.astype(np.uint8).T, np.eye(4)).to_filename("mask.nii")
    (messages,) = both_told(path, 1, region="2:7,:,3:9")
    assert messages == counted(p, 1, "channel 1", np.s_[2:7, :, 3:9])
    (messages,) = both_told(path, 2, mask="mask.nii")
    assert messages == counted(p, 2, "channel 2", inside)


def test_blocks_of_logits() -> None:
    raised = np.random.default_rng(3).standard_normal((3, *SHAPE)).astype(np.float32)
    np.save("map.npy", raised)
    p = np.exp(raised) / np.exp(raised).sum(axis=0)
    (messages,) = both_told(Path("map.npy"), 1, axes="CZYX", from_logits="softmax")
    assert messages == counted(p, 1, "channel 1")
    assert both_told(Path("map.npy"), 1, axes="CZYX", from_logits="sigmoid") == ()


def test_blocks_have_no_note_where_both_agree_or_classes_overlap() -> None:
    p = np.eye(3, dtype=np.float32)[np.random.default_rng(1).integers(0, 3, SHAPE)].transpose(3, 0, 1, 2)
    assert both_told(nifti(p, "sure.nii"), 1) == ()
    assert both_told(nifti(np.random.default_rng(1).random((3, *SHAPE), np.float32), "apart.nii"), 1) == ()
    assert open_blocks(nifti(p[0], "one.nii")).class_notes(1 << 22) == ()
