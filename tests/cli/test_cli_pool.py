"""--pool and --pyramid-pool from the command line: what is written, stated, resumed and refused."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_cli import load, provenance, refused, run, save

zarr: Any = import_module("zarr")


def attributes(store: str) -> Any:
    return json.loads((Path(store) / ".zattrs").read_text())


def thin(*shape: int) -> np.ndarray:
    """A vessel of one voxel along x."""
    map_ = np.zeros(shape, np.float32)
    map_[tuple(size // 2 for size in shape[:-1])] = 0.8
    return map_


def maxima(array: np.ndarray, by: int) -> np.ndarray:
    cut = np.pad(array, [(0, -size % by) for size in array.shape])
    blocks = cut.reshape([part for size in cut.shape for part in (size // by, by)])
    return np.asarray(blocks.max(axis=tuple(range(1, 2 * array.ndim, 2))))


def test_whole_and_tiled_runs_write_and_state_the_same() -> None:
    save("in.nii.gz", thin(5, 70, 131))
    run("dilate", "in.nii.gz", "in.zarr", "--iterations", 1)
    words = ("--iterations", 1, "--pyramid", "--pyramid-pool", "max")
    run("dilate", "in.zarr", "whole.zarr", *words)
    run("dilate", "in.zarr", "tiled.zarr", *words, "--memory", "1GB")
    for store in ("whole.zarr", "tiled.zarr"):
        finest, second = (np.asarray(zarr.open_array(f"{store}/{n}", mode="r")[...]) for n in (0, 1))
        np.testing.assert_array_equal(second, maxima(finest, 2))
        assert provenance(store)["parameters"]["pyramid_pool"] == "max"
        assert attributes(store)["multiscales"][0]["type"] == "max"
    run("dilate", "in.zarr", "mean.zarr", *words[:-1], "mean")
    assert "pyramid_pool" not in provenance("mean.zarr")["parameters"]
    assert attributes("mean.zarr")["multiscales"][0]["type"] == "mean"


def test_a_tiled_run_with_another_pool_is_not_complete() -> None:
    np.save("in.npy", thin(5, 70, 131))
    words = ("dilate", "in.npy", "out.zarr", "--pyramid", "--memory", "1GB", "--scratch", "kept")
    run(*words, "--pyramid-pool", "max")
    ended = run(*words, "--pyramid-pool", "max", "--resume")
    assert "out.zarr is complete" in ended.err
    assert "is complete" not in run(*words, "--pyramid-pool", "mean", "--resume", code=1).err


def test_a_chain_has_both() -> None:
    step, more = "resample:spacing=2mm,pool=max", ("--pyramid", "--pyramid-pool", "max")
    array = thin(10, 300, 264)
    save("in.nii.gz", array, spacing=(1.0, 1.0, 1.0))
    run("chain", "in.nii.gz", "chain.zarr", step, "threshold", *more)
    made = provenance("chain.zarr")["parameters"]
    assert made["steps"][0] == {"operation": "resample", "spacing": "2mm", "pool": "max"}
    assert made["pyramid_pool"] == "max"
    finest, second = (np.asarray(zarr.open_array(f"chain.zarr/{n}", mode="r")[...]) for n in (0, 1))
    np.testing.assert_array_equal(finest, maxima(array, 2) > 0.5)
    np.testing.assert_array_equal(second, maxima(finest, 2))


def test_a_batch_knows_with_which_pool_its_results_were_made() -> None:
    Path("maps").mkdir()
    np.save("in.npy", thin(5, 70, 131))
    run("dilate", "in.npy", "maps/a.zarr", "--iterations", 1)
    words = ("batch", "maps", "out", "dilate:iterations=1", "--pyramid")
    run(*words, "--pyramid-pool", "max")
    assert attributes("out/a.zarr")["multiscales"][0]["type"] == "max"
    assert run(*words, "--pyramid-pool", "max", "--resume", "--json").json["counts"]["skipped"] == 1
    assert "made with other parameters" in run(*words, "--resume", code=1).err
    run(*words, "--resume", "--force")
    # The mean is the default.
    assert run(*words, "--pyramid-pool", "mean", "--resume", "--json").json["counts"]["skipped"] == 1


@pytest.mark.parametrize("pool", ["max", "mean"])
def test_resample_of_the_command_line(pool: str) -> None:
    array = thin(6, 9, 11)
    save("in.nii.gz", array, spacing=(1.0, 1.0, 1.0))
    run("resample", "in.nii.gz", "out.nii.gz", "--spacing", "1mm,3mm,1mm", "--pool", pool)
    blocks = array.reshape(6, 3, 3, 11)
    wanted = blocks.max(axis=2) if pool == "max" else blocks.mean(axis=2)
    np.testing.assert_allclose(load("out.nii.gz"), wanted, atol=1e-6)
    assert provenance("out.nii.gz")["parameters"]["pool"] == pool


def test_what_has_no_effect_is_refused() -> None:
    save("in.nii.gz", thin(6, 9, 11), spacing=(1.0, 1.0, 1.0))
    words = ("dilate", "in.nii.gz", "out.zarr", "--pyramid-pool", "max")
    refused(*words, code=2, says="add --pyramid, or leave out --pyramid-pool")
    refused(*words[:-1], "min", "--pyramid", code=2, says="--pyramid-pool is max or mean, not 'min'")
    labels = ("threshold", "in.nii.gz", "out.zarr", "--labels", "--pyramid", "--pyramid-pool", "max")
    refused(*labels, code=2, says="leave out --pyramid-pool")
    words = ("resample", "in.nii.gz", "out.nii.gz", "--pool", "max")
    refused(*words, code=2, says="give a larger length, such as --spacing 1mm, or leave out --pool")
    refused(*words[:-1], "first", "--spacing", "2mm", code=2, says="--pool is max or mean, not 'first'")


def test_a_result_of_maxima_is_not_said_to_be_interpolated() -> None:
    save("in.nii.gz", thin(8, 9, 10), (1, 1, 1))
    (warning,) = run(
        "resample", "in.nii.gz", "out.nii.gz", "--spacing", "2mm", "--pool", "max", "--json"
    ).json["warnings"]
    assert "is the maximum of those it covers" in warning
    assert "interpolated" not in warning
