"""Maps with time and channels: each message names options that work on the file that provoked it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from helpers_cli import run

from softmorph_cli.io.reading import read

# T, C, Z, Y, X: bars of another length for each time and channel.
LENGTHS = {(0, 0): 8, (0, 1): 20, (1, 0): 11, (1, 1): 17}
MAPS = np.zeros((2, 2, 6, 20, 24), np.float32)
for (t, c), n in LENGTHS.items():
    MAPS[t, c, 2:4, 9:12, 2 : 2 + n] = 0.9


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.ome.tif"
    told = {"axes": "TCZYX", "Channel": {"Name": ["artery", "left vein"]}}
    tifffile.imwrite(path, MAPS, metadata=told, photometric="minisblack")
    return path


def advised(err: str) -> dict[str, str]:
    """Return the options that an error advises."""
    found = dict(re.findall(r"(--[a-z-]+) (\w+)", err))
    found.pop("--priors", None)
    assert found, err
    return found


@pytest.mark.parametrize(
    "start", [{}, {"--channel": "left vein"}, {"--time": "1"}, {"--channel-axis": "T", "--channel": "0"}]
)
@pytest.mark.parametrize(
    "command",
    [
        ["inspect", "FILM", "--json"],
        ["evaluate", "FILM", "REF", "--metrics", "dice"],
        ["topology", "repair", "FILM", "OUT", "--betti", "1,0,0"],
        ["skeletonize", "FILM", "STORE", "--memory", "1GB"],
    ],
    ids=lambda command: command[0],
)
def test_advice_for_time_and_channels_ends(
    film: Path, tmp_path: Path, command: list[str], start: dict[str, str]
) -> None:
    reference = tmp_path / "ref.tif"
    tifffile.imwrite(reference, (MAPS[0, 0] > 0.5).astype(np.uint8), metadata={"axes": "ZYX"})
    names = {
        "FILM": str(film),
        "REF": str(reference),
        "OUT": str(tmp_path / "out.ome.tif"),
        "STORE": str(tmp_path / "s.zarr"),
    }
    words = [names.get(word, word) for word in command]
    options = dict(start)
    for _ in range(3):
        try:
            run(*words, *(word for pair in options.items() for word in pair))
            return
        except AssertionError as error:
            advice = advised(str(error))
        assert not set(advice.items()) <= set(options.items()), f"nothing new in {advice}"
        options = advice if "--channel-axis" in options else options | advice
    raise AssertionError(f"{options} are not enough")


@pytest.mark.parametrize(("time", "channel", "number"), [(0, "left vein", 1), (1, "artery", 0), (1, "1", 1)])
def test_one_time_of_one_channel(film: Path, time: int, channel: str, number: int) -> None:
    found = json.loads(run("inspect", film, "--time", time, "--channel", channel, "--json").out)
    # From the middle of the bar's ends; a skeleton ends up to a radius before them.
    assert found["graph"]["voxels"] == pytest.approx(LENGTHS[time, number], abs=2)


def test_one_time_keeps_the_channels_and_their_names(film: Path, tmp_path: Path) -> None:
    run("dilate", film, tmp_path / "out.ome.tif", "--time", "1")
    found = read(tmp_path / "out.ome.tif")
    assert (found.axes, found.channels) == ("CZYX", ("artery", "left vein"))
    assert found.array.shape == MAPS.shape[1:]
    with tifffile.TiffFile(tmp_path / "out.ome.tif") as file:
        assert file.series[0].axes == "CZYX"


def test_naming_another_axis_drops_the_names_and_types_both(film: Path, tmp_path: Path) -> None:
    found = read(film, channel_axis="T")
    assert (found.axes, found.channels) == ("CTZYX", None)
    assert np.array_equal(found.array, MAPS)
    run("dilate", film, tmp_path / "out.ome.tif", "--channel-axis", "T")
    with tifffile.TiffFile(tmp_path / "out.ome.tif") as file:
        assert file.series[0].axes == "CTZYX"


@pytest.mark.parametrize("time", [2, 7])
def test_a_time_that_is_not_there(film: Path, time: int) -> None:
    with pytest.raises(AssertionError, match=rf"has no time {time}; choose --time 0 to 1\."):
        run("dilate", film, "out.tif", "--time", time)


def test_a_time_of_a_map_without(tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", MAPS[0, 0])
    with pytest.raises(AssertionError, match="has no axis of time, its axes are ZYX; leave --time out"):
        run("dilate", tmp_path / "in.npy", tmp_path / "out.npy", "--time", 0)


def test_the_advised_axes_of_an_array_without_names(tmp_path: Path) -> None:
    stack = np.moveaxis(MAPS[0], 0, -1)
    tifffile.imwrite(tmp_path / "in.tif", stack, photometric="minisblack")
    with pytest.raises(AssertionError) as caught:
        run("dilate", tmp_path / "in.tif", tmp_path / "out.tif")
    (axes,) = re.findall(r"--axes (\w+)", str(caught.value))
    run(
        "dilate",
        tmp_path / "in.tif",
        tmp_path / "out.tif",
        "--axes",
        axes,
        "--iterations",
        "1",
        "--connectivity",
        "6",
    )
    found = read(tmp_path / "out.tif")
    # Two maps in 3D, and nothing of one in the other.
    assert (found.axes, found.array.shape) == ("CZYX", (2, 6, 20, 24))
    assert np.array_equal(
        found.array[1] > 0.5, np.isin(np.arange(24), range(1, 23))[None, None] & (found.array[1] > 0)
    )
    assert found.array[0, 2, 10, 12] == 0
    assert found.array[1, 2, 10, 12] > 0


def test_an_array_of_a_store_whose_last_axis_is_short(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "in.zarr", mode="w", zarr_format=2)
    stack = np.moveaxis(MAPS[0, :, 2], 0, -1)
    group.create_array("plain", shape=stack.shape, dtype="f4", chunks=stack.shape)[...] = stack
    run("dilate", tmp_path / "in.zarr" / "plain", tmp_path / "out.tif")
    assert read(tmp_path / "out.tif").axes == "CYX"


def test_another_series_than_the_one_that_is_read(tmp_path: Path) -> None:
    path, image = tmp_path / "in.tif", MAPS[0, 1, 2]
    with tifffile.TiffWriter(path) as file:
        file.write((image[::4, ::4] * 255).astype(np.uint8), metadata=None, subfiletype=1)
        file.write(image, metadata=None)
        file.write(image[:12, :12], metadata=None)
    assert (
        "it holds 3 image series; number 1, the first that is no reduced copy, is read"
        in run("info", path).out
    )
    for options, shape in (([], [20, 24]), (["--series", "0"], [5, 6]), (["--series", "2"], [12, 12])):
        found = json.loads(run("stats", path, *options, "--json").out)
        assert found["input"]["shape"] == shape
    store = tmp_path / "out.zarr"
    run("dilate", path, store, "--series", "2", "--memory", "1GB")
    assert read(store).array.shape == (12, 12)
