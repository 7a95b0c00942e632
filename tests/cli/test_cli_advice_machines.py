"""What is advised where a machine has too little memory, disk or software: typed as in `test_cli_advice`."""

from __future__ import annotations

import errno
import importlib.util
import os
import re
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
from helpers_advice import Row, follow, pair, soft, softmax
from helpers_cli import run, save
from helpers_messages import messages

from softmorph_cli.errors import SoftmorphWarning
from softmorph_cli.kernels import backend
from softmorph_cli.pipeline.batch import lock, manifest
from softmorph_cli.pipeline.batch.engine import thread_engine
from softmorph_cli.pipeline.batch.run import carry_out
from softmorph_cli.system import cache, machine
from softmorph_cli.workers.cluster.members import wrong_version

SIDE = 48


def memory(size: int) -> Callable[[pytest.MonkeyPatch], None]:
    """Return what makes this a machine of so much memory."""

    def small(patch: pytest.MonkeyPatch) -> None:
        for place in ("system.machine.memory", "topology.persistence.memory"):
            patch.setattr(f"softmorph_cli.{place}", lambda: size)

    return small


def out_of_memory(patch: pytest.MonkeyPatch) -> None:
    """Let memory end while a map of more than 500 voxels is read."""
    from softmorph_cli.io import reading

    read: Any = getattr(reading, "held")  # noqa: B009  (a name that module imports)

    def held(array: Any, wanted: Any) -> Any:
        if np.prod(array.shape) > 500:
            raise MemoryError
        return read(array, wanted)

    patch.setattr(reading, "held", held)


def two_cores(patch: pytest.MonkeyPatch) -> None:
    memory(600 << 20)(patch)
    patch.setattr(machine, "threads", lambda: 2)


def small_room(patch: pytest.MonkeyPatch) -> None:
    """Let no more than 5,000 values be read."""
    patch.setattr("softmorph_cli.io.memory_check.fits", lambda shape, itemsize: np.prod(shape) <= 5000)


def in_threads(patch: pytest.MonkeyPatch) -> None:
    """Let batches be done in this process, where what is patched holds."""
    patch.setattr(carry_out, "__defaults__", (lambda jobs, recipe, workers: (thread_engine(1), None),))


def without_imagecodecs(patch: pytest.MonkeyPatch) -> None:
    from tifffile import _imagecodecs

    patch.setitem(sys.modules, "imagecodecs", None)
    patch.setattr(tifffile.tifffile, "imagecodecs", _imagecodecs)
    for table in (tifffile.TIFF.COMPRESSORS, tifffile.TIFF.DECOMPRESSORS):
        patch.setattr(table, "_codecs", {1: vars(table)["_codecs"][1]})


def without_dask(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("softmorph_cli.workers.cluster.connect.find_spec", lambda name: None)


def full_disk(patch: pytest.MonkeyPatch) -> None:
    """Let nothing be written into the folder "full"."""
    from softmorph_cli.tiled import plane_store

    flush: Any = getattr(plane_store, "flush")  # noqa: B009  (a name that module imports)

    def refuse(paths: list[Path]) -> None:
        if any("full" in str(path) for path in paths):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(paths)

    patch.setattr(plane_store, "flush", refuse)


def full_manifest(patch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, content: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    # Not that of the whole process: workers are started by it.
    patch.setattr(manifest, "os", SimpleNamespace(**vars(os) | {"write": refuse}))
    in_threads(patch)


def a_gpu(patch: pytest.MonkeyPatch) -> None:
    """Take for a GPU what prunes no more than one does."""
    from softmorph_cli.filters import arrays
    from softmorph_cli.kernels.autograd import CompiledBackend

    choose: Any = getattr(arrays, "choose")  # noqa: B009  (a name that module imports)
    patch.setattr(
        arrays,
        "choose",
        lambda device, **more: CompiledBackend(1) if device == "cuda" else choose(device, **more),
    )


def large() -> None:
    np.save("map.npy", soft(shape=(SIDE, SIDE, SIDE)))


def study(*names: str) -> Callable[[], None]:
    def make() -> None:
        Path("in").mkdir()
        for name in names:
            save(f"in/{name}.nii.gz", soft())

    return make


def folders() -> None:
    pair((soft() > 0.5).astype(np.uint8), (soft() > 0.5).astype(np.uint8))
    for folder in ("pred", "ref"):
        Path(folder).mkdir()
        Path(f"{folder}.nii.gz").rename(f"{folder}/a.nii.gz")


def packed() -> None:
    tifffile.imwrite("map.tif", soft(), compression="zstd", metadata={"axes": "ZYX"})


# Of every command a part is read where all of it is too much.
CUT = "--region 0:2,:,:"


def out_of_memory_in_threads(patch: pytest.MonkeyPatch) -> None:
    in_threads(patch)
    out_of_memory(patch)


TABLE = {
    "a map that no memory holds": Row(
        lambda: save("map.nii.gz", soft()),
        "erode map.nii.gz out.nii.gz",
        ("--region",),
        then={"--region": f"erode map.nii.gz out.nii.gz {CUT}"},
        where=out_of_memory,
    ),
    "one of many maps that no memory holds": Row(
        lambda: save("map.nii.gz", soft()),
        "stats map.nii.gz image.nii.gz --label 1",
        ("--region",),
        then={"--region": f"stats image.nii.gz image.nii.gz --label 1 {CUT}"},
        where=out_of_memory,
    ),
    "a pair that no memory holds": Row(
        folders,
        "evaluate pred ref --metrics dice",
        ("--region",),
        then={"--region": f"evaluate pred ref --metrics dice {CUT}"},
        where=out_of_memory,
    ),
    "a file of a batch that no memory holds": Row(
        study("map"),
        "batch in out erode --workers 1",
        ("--region",),
        mentions=("--workers",),
        then={"--region": f"batch in out erode --workers 1 {CUT}"},
        where=out_of_memory_in_threads,
    ),
    "fewer workers than cores": Row(
        study("map", "other"),
        "batch in out erode",
        ("--workers",),
        code=0,
        then={"--workers": "batch in out erode --workers 2"},
        where=two_cores,
    ),
    "drawn maps larger than memory": Row(
        lambda: None,
        "bench --dimensions 2 --size 2048 --operation erosion --repeats 1 --no-peak-memory",
        ("choose a smaller --size",),
        mentions=("--size",),
        then={
            "choose a smaller --size": "bench --dimensions 2 --size 64 --operation erosion --repeats 1 --no-peak-memory"
        },
        where=memory(4 << 20),
    ),
    "a map too large to inspect": Row(
        large,
        "inspect map.npy --levels 0",
        ("--region",),
        then={"--region": "inspect map.npy --levels 0 --region 0:3,0:16,0:16"},
        where=memory(1_500_000),
    ),
    "a map too large to filter": Row(
        large,
        "skeletonize map.npy out.npy -m levels --levels 64",
        ("--region", "--levels 32", "softmorph skeletonize"),
        mentions=("--memory",),
        then={
            "--region": f"skeletonize map.npy out.npy -m levels --levels 64 {CUT}",
            "--levels 32": "skeletonize map.npy out.npy -m levels --levels 32",
            "softmorph skeletonize": "skeletonize map.npy out.zarr -m levels --levels 64 --memory 250MB",
        },
        where=memory(4_000_000),
    ),
    "a map too large to read": Row(
        lambda: np.save("map.npy", softmax(9)),
        "erode map.npy out.npy --axes CZYX",
        ("--region", "--channel", "--memory"),
        then={
            "--region": f"erode map.npy out.npy --axes CZYX {CUT}",
            "--channel": "erode map.npy out.npy --axes CZYX --channel 0",
            # Tile by tile a channel is asked for, too.
            "--memory": f"erode map.npy out.zarr --axes CZYX --channel 0 --memory {machine.for_tiles()}",
        },
        where=small_room,
    ),
    "too little memory for tiles": Row(
        lambda: np.save("map.npy", soft()),
        "skeletonize map.npy out.zarr -m levels --levels 64 --memory 1MB",
        ("--memory 200MB",),
        without="--memory 1MB",
    ),
    "bars that no memory holds": Row(
        large,
        "topology numbers map.npy",
        ("--region", "softmorph topology numbers --no-bars"),
        then={
            "--region": "topology numbers map.npy --region 0:8,0:16,0:16",
            "softmorph topology numbers --no-bars": "topology numbers map.npy --no-bars",
        },
        where=memory(10 << 20),
    ),
    "a full disk between passes": Row(
        large,
        "skeletonize map.npy out.zarr --memory 250MB --scratch full",
        ("--scratch",),
        then={"--scratch": "skeletonize map.npy out.zarr --memory 250MB --scratch other"},
        where=full_disk,
    ),
    "a full disk for what is known to be done": Row(
        study("map"),
        "batch in out erode",
        ("--resume",),
        then={"--resume": "batch in out erode --resume"},
        where=full_manifest,
        mended=True,
    ),
    "a run without what it kept": Row(
        large,
        "erode map.npy out.zarr --memory 250MB --resume",
        ("--scratch DIR",),
        mentions=("--resume",),
        code=2,
        then={"--scratch DIR": "erode map.npy out.zarr --memory 250MB --resume --scratch kept"},
    ),
    "a GPU that is not there": Row(
        lambda: save("map.nii.gz", soft()),
        "erode map.nii.gz out.nii.gz --device cuda:99",
        ("--device cpu",),
        without="--device cuda:99",
    ),
    "a cluster of this machine on a GPU": Row(
        study("map"),
        "batch in out erode --local-cluster --device cuda",
        ("--device cpu",),
        without="--device cuda",
        mentions=("--local-cluster",),
        code=2,
    ),
    "pruning on a GPU": Row(
        lambda: save("map.nii.gz", soft()),
        "skeletonize map.nii.gz out.nii.gz --prune-contrast 0.125 --device cuda",
        ("--device cpu",),
        without="--device cuda",
        mentions=("--prune-contrast",),
        where=a_gpu,
    ),
    "a cluster without Dask": Row(
        study("map"),
        "batch in out erode --local-cluster",
        ("pip install 'softmorph-cli[cluster]'",),
        then={"pip install 'softmorph-cli[cluster]'": "batch in out erode --local-cluster"},
        where=without_dask,
        mended=True,
    ),
    "a TIFF packed as few are": Row(
        packed,
        "stats map.tif",
        ("pip install imagecodecs",),
        then={"pip install imagecodecs": "stats map.tif"},
        where=without_imagecodecs,
        mended=True,
    ),
    "extras that are not there": Row(
        lambda: None,
        "info",
        ("pip install 'softmorph-cli[terminal]'",),
        mentions=("--warm",),
        code=0,
        then={"pip install 'softmorph-cli[terminal]'": "info"},
        where=lambda patch: patch.setattr("softmorph_cli.cli.info._version", lambda library: None),
        mended=True,
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_what_a_message_advises_works(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    follow(name, TABLE[name], monkeypatch)


def test_what_is_to_be_installed_is_known_and_brings_what_is_missing() -> None:
    """The extra of tests installs all of it, so that what it is needed for can be imported here."""
    text = "\n".join("{}".join(parts) for parts in messages().values())
    brings = {
        "terminal": "textual_image",
        "cluster": "distributed",
        "codecs": "imagecodecs",
        "dicom": "highdicom",
    }
    asked = set(re.findall(r"\[([a-z]+)\](?:==|')", text)) & set(brings)
    assert asked >= {"terminal", "cluster"}
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    for extra, module in brings.items():
        (line,) = project["optional-dependencies"][extra]
        assert re.split(r"[^\w-]", line)[0].replace("-", "_") == module
        assert importlib.util.find_spec(module) is not None
    for name in set(re.findall(r"pip install ([a-z]+)", text)):
        assert importlib.util.find_spec(name) is not None, name
    wrong = wrong_version(".".join(map(str, sys.version_info[:3])), "0.0.1") or ""
    assert f"pip install 'softmorph-cli[cluster]=={version('softmorph-cli')}'" in wrong


@pytest.mark.parametrize(
    ("allowed", "told"), [(1 << 30, "805MB"), (2 << 30, "1GB"), (100 << 30, "4GB"), (None, "4GB")]
)
def test_the_memory_that_is_advised_is_there(
    allowed: int | None, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "memory", lambda: allowed)
    assert machine.for_tiles() == told


def test_no_note_on_triton_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    backend._note_missing_triton.cache_clear()
    with monkeypatch.context() as patch:
        for name in ("triton_backend",):
            patch.setitem(sys.modules, f"softmorph_cli.kernels.{name}", None)
        with pytest.warns(SoftmorphWarning, match="pip install triton"):
            backend.choose("cuda")
    backend._note_missing_triton.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        backend.choose("cuda")


def test_pixels_are_shown_once_their_library_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    from softmorph_cli.plots import graphics, terminal

    volume, graph = _inspected()
    monkeypatch.setenv("SOFTMORPH_PICTURES", "sixel")
    said: list[str] = []
    monkeypatch.setattr(terminal, "_warn", said.append)
    with monkeypatch.context() as patch:
        patch.setattr(graphics, "find_spec", lambda name: None)
        terminal.picture(volume, graph, width=40, height=40, colors=True)
    assert [one for one in said if "pip install 'softmorph-cli[terminal]'" in one] == said != []
    said.clear()
    terminal.picture(volume, graph, width=40, height=40, colors=True)
    assert not any("pip install" in one for one in said)


def _inspected() -> tuple[Any, Any]:
    from softmorph_cli import Volume
    from softmorph_cli.skeleton.analyse import inspect

    found = inspect(Volume(soft(), "ZYX"))
    return found.volume, found.graph


def test_parts_of_a_folder_that_another_batch_writes_to(monkeypatch: pytest.MonkeyPatch) -> None:
    in_threads(monkeypatch)
    study("map", "other")()
    Path("out").mkdir()
    with lock.held(Path("out"), ""):
        told = run("batch", "in", "out", "erode", code=1).err
        assert "choose another output folder, or share the files out with --num-parts and --part-id" in told
        run("batch", "in", "elsewhere", "erode")
        for part in range(2):
            run("batch", "in", "out", "erode", "--num-parts", 2, "--part-id", part)
    assert {path.name for path in Path("out").glob("*.nii.gz")} == {"map.nii.gz", "other.nii.gz"}


def test_a_bug_asks_for_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    in_threads(monkeypatch)
    study("map")()

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("none of ours")

    monkeypatch.setattr("softmorph_cli.io.reading.held", broken)
    for words in (("stats", "in/map.nii.gz"), ("batch", "in", "out", "erode", "--workers", 1)):
        assert "please report it with" in run(*words, code=1).err
        told = run(*words, "--verbose", code=1).err
        assert "Traceback" in told
        assert "in broken" in told


def test_a_cache_that_others_may_write_to_is_used_after_chmod(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    folder.chmod(0o777)
    monkeypatch.setenv(cache.VARIABLE, str(folder))
    cache._root.cache_clear()
    with pytest.warns(SoftmorphWarning, match="chmod 700 helps"):
        assert cache.root() != folder
    subprocess.run(["chmod", "700", folder], check=True)
    cache._root.cache_clear()
    assert cache.root() == folder
    cache._root.cache_clear()


def test_an_array_of_an_archive_is_saved_by_itself() -> None:
    np.savez_compressed("map.npz", scores=soft(), names=np.zeros(2))
    told = run("stats", "map.npz", code=1).err
    found = re.search(r"numpy\.save\('map\.npy', numpy\.load\('map\.npz'\)\['scores'\]\)", told)
    assert found is not None, told
    subprocess.run([sys.executable, "-c", f"import numpy; {found[0]}"], check=True)
    run("stats", "map.npy")
