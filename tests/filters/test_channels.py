from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from softmorph_cli.errors import InputError
from softmorph_cli.filters.channels import Kind, argmax, renormalize
from softmorph_cli.volume import Volume


def row(*channels: list[float], axes: str = "CYX") -> Volume:
    """One image row for each channel."""
    array = np.array(channels, np.float32)[:, np.newaxis]
    return Volume(array, axes, (1.0, 2.0), "mm", np.eye(4), tuple("abcdef"[: len(channels)]))


def rows(volume: Volume) -> NDArray[Any]:
    return volume.array[:, 0]


def test_complete_channels_sum_to_one_again() -> None:
    before = row([0.5, 0.2, 0.7, 0.0], [0.5, 0.8, 0.3, 0.0])
    after = row([0.2, 0.2, 0.0, 0.0], [0.6, 0.0, 0.0, 0.5])
    again = renormalize(after, before=before, kind="complete")
    # Divided; divided; nothing was left, so the input comes back; the input summed to 0, so it stays.
    assert np.allclose(rows(again), [[0.25, 1.0, 0.7, 0.0], [0.75, 0.0, 0.3, 0.5]])
    assert again.array.dtype == np.float32
    assert (again.channels, again.spacing) == (after.channels, after.spacing)
    assert np.array_equal(rows(after), np.array([[0.2, 0.2, 0, 0], [0.6, 0, 0, 0.5]], np.float32))


def test_the_rest_is_the_background() -> None:
    before = row([0.5, 0.2, 1.0], [0.1, 0.8, 0.0])
    after = row([0.9, 0.1, 0.5], [0.9, 0.7, 0.0])
    again = renormalize(after, before=before, kind="rest")
    # Two classes claim the first voxel; what an erosion took from the third is the background's.
    assert np.allclose(rows(again), [[0.5, 0.1, 0.5], [0.5, 0.7, 0.0]])


@pytest.mark.parametrize("kind", ["complete", "rest"])
def test_channels_that_sum_to_one_are_not_changed(kind: Kind) -> None:
    array = np.random.default_rng(0).dirichlet(np.ones(4), (3, 5, 2)).transpose(3, 0, 1, 2)
    volume = Volume(array.astype(np.float32), "CZYX")
    again = renormalize(volume, before=volume, kind=kind)
    assert np.allclose(again.array, volume.array, atol=1e-6)
    assert float(again.array.max()) <= 1


@pytest.mark.parametrize("kind", ["overlapping", "nested"])
def test_channels_that_overlap_are_not_rescaled(kind: Kind) -> None:
    volume = row([0.9], [0.9])
    with pytest.raises(InputError, match="leave renormalize out"):
        renormalize(volume, before=volume, kind=kind)


def test_shapes_must_agree() -> None:
    with pytest.raises(InputError, match="does not come from"):
        renormalize(row([0.1], [0.2]), before=row([0.1], [0.2], [0.3]), kind="rest")


def test_argmax_of_complete_channels() -> None:
    volume = row([0.6, 0.2, 0.0, 0.5], [0.3, 0.3, 0.0, 0.5], [0.1, 0.5, 0.0, 0.0])
    assert argmax(volume, kind="complete").tolist() == [[0, 2, 0, 0]]
    assert argmax(volume, kind="complete", labels=(0, 5, 9)).tolist() == [[0, 9, 0, 0]]
    assert argmax(volume, kind="complete", labels=(4, 5, 9)).tolist() == [[4, 9, 0, 4]]


def test_of_equal_channels_the_lowest_label_counts_wherever_it_is() -> None:
    # The second channel is the background, as an evaluation takes it too.
    volume = row([0.5, 0, 0.4, 0.3], [0.5, 0.5, 0.2, 0.3], [0, 0.5, 0.4, 0.4])
    assert argmax(volume, kind="complete", labels=(1, 0, 2)).tolist() == [[0, 0, 1, 2]]


def test_argmax_against_the_rest() -> None:
    volume = row([0.4, 0.3, 0.5, 0.0, 0.45], [0.1, 0.4, 0.0, 0.0, 0.45])
    # Beaten by a rest of 0.5; 0.4 above 0.3; a tie; nothing; the first of two above 0.1.
    assert argmax(volume, kind="rest").tolist() == [[0, 2, 0, 0, 1]]
    assert argmax(volume, kind="rest", threshold=0.35).tolist() == [[1, 2, 1, 0, 1]]
    assert argmax(volume, kind="rest", labels=(300, 7)).dtype == np.uint16


def test_argmax_of_channels_by_themselves() -> None:
    volume = row([0.9, 0.6, 0.4, 0.5], [0.6, 0.7, 0.45, 0.5])
    assert argmax(volume, kind="overlapping").tolist() == [[1, 2, 0, 0]]
    assert argmax(volume, kind="nested").tolist() == [[2, 2, 0, 0]]
    assert argmax(volume, kind="nested", labels=(3, 1)).tolist() == [[1, 1, 0, 0]]
    assert argmax(volume, kind="nested", threshold=0.65).tolist() == [[1, 2, 0, 0]]


def test_argmax_is_that_of_numpy_wherever_the_channels_are() -> None:
    array = np.random.default_rng(1).dirichlet(np.ones(5), (2, 3, 4, 6)).transpose(4, 0, 1, 2, 3)
    for axis, axes in enumerate(("CTZYX", "TCZYX")):
        volume = Volume(np.ascontiguousarray(np.moveaxis(array, 0, axis), np.float32), axes)
        chosen = argmax(volume, kind="complete")
        assert np.array_equal(chosen, array.argmax(axis=0))
        place = volume.channel(0)
        assert place.axes == "TZYX"
        assert place.array.shape == chosen.shape
        foreground = Volume(np.ascontiguousarray(np.moveaxis(array[1:], 0, axis), np.float32), axes)
        assert np.array_equal(argmax(foreground, kind="rest"), array.argmax(axis=0))


def test_which_axis_has_the_channels() -> None:
    array = np.full((2, 3, 4, 5), 0.25, np.float32)
    assert Volume(array, "TZYX").channel_axis() == 0
    assert Volume(array, "TCYX").channel_axis() == 1
    assert Volume(array[0], "ZYX").channel_axis() is None
    with pytest.raises(InputError, match="name it with channel_axis"):
        Volume(array, "TSYX").channel_axis()


def test_a_single_map_is_one_channel() -> None:
    volume = Volume(np.array([[0.2, 0.7, 0.5]], np.float32), "YX")
    assert argmax(volume, kind="rest", labels=(4,)).tolist() == [[0, 4, 0]]
    assert volume.channel(0) is volume
    assert renormalize(volume, before=volume, kind="rest") is volume


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": (1, 2, 3)}, "2 channels need as many labels, not 3"),
        ({"labels": (-1, 2)}, "not -1"),
        ({"threshold": 1.5}, "between 0 and 1, not 1.5"),
    ],
)
def test_refusals(options: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        argmax(row([0.5], [0.5]), kind="rest", **options)
