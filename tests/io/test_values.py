from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from helpers_typing import nibabel

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.io import content
from softmorph_cli.io.blocks import open_blocks
from softmorph_cli.io.content import examine, nearest_integers
from softmorph_cli.io.options import ReadOptions
from softmorph_cli.io.reading import read, read_labels

RNG = np.random.default_rng(0)
SOFT = RNG.random((4, 5, 6), dtype=np.float32)
LABELS = np.repeat(np.arange(4, dtype=np.int16), 30).reshape(4, 5, 6)
TWELVE_BITS = RNG.integers(0, 4096, (40, 50), dtype=np.uint16)


def npy(folder: Path, array: Any) -> Path:
    np.save(folder / "map.npy", array)
    return folder / "map.npy"


def with_value(value: float, dtype: Any = np.float32) -> Any:
    array = SOFT.astype(dtype)
    array[1, 2, 3] = value
    return array


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (with_value(1.05), r"slightly outside \[0, 1\]; probabilities lie in \[0, 1\]: cut them .*clip=True"),
        (with_value(-0.05), r"values from -0\.05 to .* with clip=True"),
        (with_value(1.97), r"values from .* to 1\.97; .*: scale them with divide_by=2\."),
        (with_value(7), r"values from .* to 7; .*: scale them with divide_by=100"),
        (SOFT * 255, r"values from .* to 25\d.*: scale them with divide_by=255"),
        (SOFT * 12 - 6, r"which look like logits; .*from_logits='sigmoid' \(or softmax"),
        (with_value(np.nan), r"1 value that is not a number \(NaN\), the first at \(z=1, y=2, x=3\)"),
        (with_value(np.inf), r"1 infinite value, the first at \(z=1, y=2, x=3\)"),
        (with_value(-np.inf), "1 infinite value"),
        (with_value(1e300, np.float64), r"to 1e\+300; .*divide_by=1e\+300\."),
        ((SOFT * 255).astype(np.uint8), "integers from 0 to 25.*: scale them with divide_by=255"),
        (LABELS, r"integers that look like labels \(1, 2, 3\); .*label=1"),
        (LABELS.astype(np.float32), r"integers that look like labels \(1, 2, 3\); .*label=1"),
        (LABELS - 1, "integers from -1 to 2, which are no probabilities"),
        (SOFT.astype(np.complex64), r"complex numbers \(complex64\); probabilities are real"),
        (np.array([[1, "a"], [None, 2]], dtype=object), "Python objects .* never unpickled"),
        (np.array([["a", "b"], ["c", "d"]]), "which are no numbers; save floats or integers"),
        (np.zeros((3, 0, 4), np.float32), r"is empty: its shape is \(3, 0, 4\)"),
        (np.zeros(5, np.float32), r"has 1 axis, its shape is \(5,\); maps have 2 to 5"),
        (np.zeros((2,) * 6, np.float32), "has 6 axes"),
        (np.zeros((2, 3, 4, 5), np.float32), r"does not name them; .*axes='CZYX'\."),
        (np.zeros((1, 2, 3, 4, 5), np.float32), r"has 5 axes.* does not name them; .*axes='TCZYX'\."),
    ],
)
def test_bad_values_are_one_sentence(tmp_path: Path, array: Any, text: str) -> None:
    path = tmp_path / "map.npy"
    np.save(path, array, allow_pickle=array.dtype == object)
    with pytest.raises(InputError, match=text) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_twelve_bits_in_sixteen(tmp_path: Path) -> None:
    path = tmp_path / "map.tif"
    tifffile.imwrite(path, TWELVE_BITS)
    with pytest.raises(
        InputError, match=r"12 bits in a uint16 that ends at 65535; .*divide_by=4095, or divide_by"
    ):
        read(path)
    np.testing.assert_allclose(read(path, divide_by=4095).array, TWELVE_BITS / 4095, atol=1e-7)
    tifffile.imwrite(path, TWELVE_BITS * np.uint16(16))
    np.testing.assert_allclose(read(path).array, TWELVE_BITS * 16 / 65535, atol=1e-7)
    tifffile.imwrite(path, LABELS.astype(np.uint8), photometric="minisblack")
    with pytest.raises(InputError, match="look like labels"):
        read(path)


@pytest.mark.parametrize(("over", "noted"), [(5e-7, False), (5e-5, True)])
@pytest.mark.parametrize("side", [0, 1])
def test_small_overshoot_is_clipped(tmp_path: Path, over: float, noted: bool, side: int) -> None:
    volume = read(npy(tmp_path, with_value(1 + over if side else -over)))
    assert volume.array[1, 2, 3] == side
    assert bool(volume.notes) == noted
    if noted:
        assert volume.notes[0].startswith("values outside [0, 1] by up to 5")


def test_clip(tmp_path: Path) -> None:
    volume = read(npy(tmp_path, SOFT * 3 - 1), clip=True)
    assert np.array_equal(volume.array, np.clip(SOFT * 3 - 1, 0, 1))
    assert "were clipped" in volume.notes[0]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, bool])
def test_zero_and_one_are_a_mask_in_every_type(tmp_path: Path, dtype: Any) -> None:
    hard = (SOFT > 0.5).astype(dtype)
    volume = read(npy(tmp_path, hard))
    assert np.array_equal(volume.array, hard)
    assert volume.notes == ("it holds only 0 and 1 and is taken as a mask.",)


def test_label(tmp_path: Path) -> None:
    for labels in (LABELS, LABELS.astype(np.float64)):
        assert np.array_equal(read(npy(tmp_path, labels), label=2).array, LABELS == 2)
    with pytest.raises(InputError, match="has no label 9; it holds 1, 2, 3"):
        read(npy(tmp_path, LABELS), label=9)


def test_divide_by(tmp_path: Path) -> None:
    stored = np.array([[0, 51], [102, 255]], np.int32)
    assert np.array_equal(
        read(npy(tmp_path, stored), divide_by=255).array, stored.astype(np.float32) / np.float32(255)
    )
    with pytest.raises(
        InputError, match=r"from 0 to 2\.55 after dividing by 100; .*larger number or add clip=True"
    ):
        read(npy(tmp_path, stored), divide_by=100)
    with pytest.raises(UsageError, match="must be positive and finite"):
        read(npy(tmp_path, stored), divide_by=0)


def test_logits(tmp_path: Path) -> None:
    logits = (SOFT.astype(np.float64) - 0.5) * 400
    volume = read(npy(tmp_path, logits.astype(np.float32)), from_logits="sigmoid")
    np.testing.assert_allclose(volume.array, 1 / (1 + np.exp(-logits)), atol=1e-4)
    path = npy(tmp_path, logits.astype(np.float32))
    shares = np.exp(logits - logits.max(0)) / np.exp(logits - logits.max(0)).sum(0)
    soft = read(path, axes="CYX", from_logits="softmax")
    np.testing.assert_allclose(soft.array, shares, atol=1e-4)
    one = read(path, axes="CYX", from_logits="softmax", channel=2)
    np.testing.assert_allclose(one.array, shares[2], atol=1e-4)
    with pytest.raises(InputError, match="no channel axis for softmax, its axes are ZYX"):
        read(path, from_logits="softmax")
    with pytest.raises(UsageError, match="sigmoid or softmax, not 'tanh'"):
        read(path, from_logits="tanh")


def test_options_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="exclude each other"):
        read(npy(tmp_path, LABELS), label=1, divide_by=3)


@pytest.mark.parametrize("array", [SOFT, np.where(SOFT > 0.5, 1, SOFT)])
def test_a_probability_map_has_no_labels(tmp_path: Path, array: Any) -> None:
    message = r"numbers that are not whole, such as 0\.\d+, so it is no label map; leave label out"
    with pytest.raises(InputError, match=message):
        read(npy(tmp_path, array), label=1)


def test_a_mask_zeroes_any_value_outside(tmp_path: Path) -> None:
    inside = SOFT > 0.3
    np.save(tmp_path / "mask.npy", inside)
    dirty = np.where(inside, SOFT, np.nan).astype(np.float32)
    volume = read(npy(tmp_path, dirty), mask=tmp_path / "mask.npy")
    assert np.array_equal(volume.array, np.where(inside, SOFT, 0))
    cut = read(npy(tmp_path, dirty), mask=tmp_path / "mask.npy", region="1:3,:,2:")
    assert np.array_equal(cut.array, volume.array[1:3, :, 2:])
    logits = read(npy(tmp_path, SOFT - 0.5), mask=tmp_path / "mask.npy", from_logits="sigmoid")
    assert np.all(logits.array[~inside] == 0)
    whole = read(npy(tmp_path, np.where(inside, 1, 77).astype(np.uint8)), mask=tmp_path / "mask.npy")
    assert np.array_equal(whole.array, inside)
    np.save(tmp_path / "mask.npy", inside[1:])
    with pytest.raises(InputError, match=r"mask .* has shape \(3, 5, 6\); .* has \(4, 5, 6\)"):
        read(npy(tmp_path, SOFT), mask=tmp_path / "mask.npy")


@pytest.mark.parametrize("suffix", [".npy", ".nii", ".nii.gz", ".tif"])
def test_nan_in_a_mask_is_outside(tmp_path: Path, suffix: str) -> None:
    inside = SOFT > 0.3
    mask, path = tmp_path / f"mask{suffix}", npy(tmp_path, SOFT)
    values = np.where(inside, 1, np.nan).astype(np.float32)
    values[~inside & (SOFT > 0.2)] = 0
    if suffix == ".npy":
        np.save(mask, values)
    elif suffix == ".tif":
        tifffile.imwrite(mask, values, photometric="minisblack")
    else:
        nibabel.save(nibabel.Nifti1Image(values.T, np.eye(4)), mask)
    note = f"the mask {mask} has values that are not a number (NaN): they count as outside."
    volume = read(path, mask=mask)
    assert np.array_equal(volume.array, np.where(inside, SOFT, 0))
    assert volume.notes == (note,)
    blocks = open_blocks(path, ReadOptions(mask=mask))
    assert np.array_equal(blocks.read(tuple(slice(0, size) for size in SOFT.shape)), volume.array)
    assert blocks.notes == (note,)
    # None of them in the region that is read.
    first = tuple(int(index) for index in np.argwhere(inside)[0])
    cut = read(path, mask=mask, region=",".join(f"{index}:{index + 1}" for index in first))
    assert (cut.array.ravel()[0], cut.notes) == (SOFT[first], ())
    labels = read_labels(npy(tmp_path, (5 * inside + 7 * ~inside).astype(np.uint8)), ReadOptions(mask=mask))
    assert labels is not None
    assert np.array_equal(labels[0], 5 * inside)
    assert note in labels[1].notes


def test_float32_read_never_makes_float64(tmp_path: Path) -> None:
    import tracemalloc

    path = npy(tmp_path, RNG.random((60, 70, 80)))
    size = 60 * 70 * 80 * 4
    tracemalloc.start()
    read(path, dtype=np.float32)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.5 * size


@pytest.mark.parametrize(
    ("values", "tight", "requested"),
    [
        ([0.0, 1.0, 3.0], True, True),
        # What slopes of 24 bits leave of whole numbers.
        ([float(np.float32(0.1)) * 10, float(np.float32(0.1)) * 30], True, True),
        ([float(np.float32(0.01)) * 70000, -2.0000001], True, True),
        # Steps of probabilities that 16 bits hold.
        ([0.0, 1 / 65535, 1.0], False, True),
        ([1 - 1 / 65535], False, True),
        ([3.0005], False, True),
        ([3.01], False, False),
        # However large a number, half of one is no rounding.
        ([4e6 + 0.4], False, False),
        ([1000.4], False, False),
    ],
)
def test_whole_numbers(values: list[float], tight: bool, requested: bool) -> None:
    for given, expected in ((False, tight), (True, requested)):
        found = nearest_integers(np.array(values), asked=given)
        assert (found is not None) == expected
        if found is not None:
            assert np.array_equal(found, np.rint(values))
    assert examine(np.array(values)).integers == tight


def test_a_map_of_many_values_is_not_gathered_value_by_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """No set of all values is made to learn that a map holds no labels; what is told of few stays exact."""
    many = np.random.default_rng(0).random((64, 64)).astype(np.float32)
    held: list[int] = []

    class Counted(set):  # type: ignore[type-arg]
        def update(self, *values: object) -> None:
            super().update(*values)  # type: ignore[arg-type]
            held.append(len(self))

    monkeypatch.setattr(content, "set", Counted, raising=False)
    found = content.examine(many, cap=100)
    assert (found.distinct, found.integers) == (None, False)
    assert max(held) == 101
    few = np.arange(101, dtype=np.uint16).repeat(40)
    assert content.examine(few, cap=100).distinct is None
    assert content.examine(few[40:], cap=100).distinct == tuple(range(1, 101))


def test_the_slope_of_a_mask_file_says_which_number_is_0(tmp_path: Path) -> None:
    nibabel: Any = import_module("nibabel")
    inside = SOFT > 0.4
    # The stored number 3 means 0.5 * 3 - 1.5 = 0, and 0 means -1.5, which is inside.
    image = nibabel.Nifti1Image(np.where(inside, 0, 3).astype(np.uint8).T, np.eye(4))
    image.to_filename(tmp_path / "mask.nii")
    content = bytearray((tmp_path / "mask.nii").read_bytes())
    content[112:120] = np.array([0.5, -1.5], "<f4").tobytes()
    (tmp_path / "mask.nii").write_bytes(bytes(content))
    assert np.array_equal(nibabel.load(tmp_path / "mask.nii").get_fdata().T != 0, inside)
    found = read(npy(tmp_path, SOFT), mask=tmp_path / "mask.nii").array
    assert np.array_equal(found, np.where(inside, SOFT, 0))
