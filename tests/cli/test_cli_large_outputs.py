"""Maps larger than memory: what is written beside the result, and bad input, full disks, interruptions."""

from __future__ import annotations

import errno
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from helpers_cli import complaint, everything, refused, run
from helpers_maps import vessels

import softmorph_cli

SHAPE = (70, 66, 80)


@pytest.fixture(autouse=True)
def _maps() -> None:
    image = softmorph_cli.Volume(
        vessels(SHAPE, 4, noise=0.05).astype(np.float32), "ZYX", (0.002, 0.001, 0.001), "mm"
    )
    softmorph_cli.write(image, "in.ome.zarr")


def contents(store: str) -> dict[str, bytes]:
    """Every file of a store, chunks and metadata alike."""
    return {str(p.relative_to(store)): p.read_bytes() for p in Path(store).rglob("*") if p.is_file()}


def stored(store: str) -> dict[str, Any]:
    """The metadata of an image, and the numbers of its resolutions."""
    group = zarr.open_group(store, mode="r")
    return {"attributes": dict(group.attrs), **{name: np.asarray(group[name][...]) for name in sorted(group)}}  # type: ignore[index]


def little(*words: object) -> tuple[str, str]:
    """Options for memory that is so little that there are many tiles."""
    ended = run(*words, "--memory", "1MB", code=1)
    found = re.search(r"at least (\d+) MB are needed", ended.err)
    assert found is not None, ended.err
    return "--memory", f"{int(found[1]) + 2}MB"


@pytest.mark.parametrize(
    "words",
    [
        ("skeletonize", "--method", "sampled", "--levels", 8, "--standard-error", "error.zarr"),
        ("skeletonize", "--hard"),
        ("erode", "--output-type", "uint8"),
    ],
)
def test_pyramid_standard_error_and_preview_are_those_of_the_whole_map(words: tuple[object, ...]) -> None:
    name, *more = words
    for folder in ("whole", "tiles"):
        Path(folder).mkdir()
        into = [f"{folder}/{one}" if str(one).endswith(".zarr") else one for one in more]
        command = (name, "in.ome.zarr", f"{folder}/out.zarr", *into, "--pyramid")
        memory = little(*command) if folder == "tiles" else ()
        run(*command, *memory, "--preview", f"{folder}/p.png")
    for store in ("out.zarr", "error.zarr") if "sampled" in more else ("out.zarr",):
        whole, tiles = stored(f"whole/{store}"), stored(f"tiles/{store}")
        assert list(tiles) == list(whole) == ["attributes", "0", *(["1"] if store == "out.zarr" else [])]
        for one, wanted in whole.items():
            np.testing.assert_array_equal(tiles[one], wanted)
            assert one == "attributes" or tiles[one].dtype == wanted.dtype
    # Of what is rounded when it is written, the picture shows what was written.
    if "uint8" not in more:
        assert Path("tiles/p.png").read_bytes() == Path("whole/p.png").read_bytes()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("-m", "sampled", "--standard-error", "e.nii"), "e.nii: tile by tile"),
        (("--standard-error", "e.zarr"), "--standard-error goes with --method sampled"),
        (("--preview", "p.jpg"), "a preview is a PNG, a PDF or an SVG"),
        (("--preview", "in.ome.zarr"), "a preview is a PNG, a PDF or an SVG"),
        (("-m", "sampled", "--standard-error", "out.zarr"), "out.zarr is named twice"),
    ],
)
def test_outputs_that_cannot_be_are_refused(words: tuple[str, ...], says: str) -> None:
    refused("skeletonize", "in.ome.zarr", "out.zarr", "--memory", "1GB", *words, code=2, says=says)


def damage(kind: str) -> Path:
    """Damage a chunk in the middle of the map."""
    chunk = Path("in.ome.zarr/0/1/1/0")
    if kind == "missing":
        chunk.unlink()
    else:
        content = chunk.read_bytes()
        chunk.write_bytes(content[: 0 if kind == "empty" else len(content) // 2])
    return chunk


@pytest.mark.parametrize("memory", [(), ("--memory", "300MB"), ("--memory", "300MB", "--scratch", "scratch")])
@pytest.mark.parametrize("kind", ["missing", "cut", "empty"])
def test_a_damaged_store_is_named_to_the_chunk_and_nothing_is_lost(
    kind: str, memory: tuple[str, ...]
) -> None:
    run("erode", "in.ome.zarr", "out.zarr")
    chunk = damage(kind)
    before = everything()
    ended = run("dilate", "in.ome.zarr", "out.zarr", "--force", *memory, code=1)
    words = "misses 1 of its 8 chunks, the first of them" if kind == "missing" else "is cut short or damaged,"
    assert f"{words} {chunk}" in complaint(ended.err)
    assert "again" in complaint(ended.err)
    left = everything()
    assert {name: left[name] for name in before} == before
    if "--scratch" not in memory or kind == "missing":
        assert left == before


@pytest.mark.parametrize("later", [False, True])
def test_a_full_disk_loses_nothing_and_the_run_goes_on(monkeypatch: pytest.MonkeyPatch, later: bool) -> None:
    from zarr.storage import LocalStore

    plain = LocalStore.set

    async def full(self: LocalStore, key: str, value: Any) -> None:
        place = f"{self.root}/{key}"
        if ".softmorph-" in place and ("/1/0/0/0" if later else "/0/1/0/0") in place:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        await plain(self, key, value)

    words = ("dilate", "in.ome.zarr", "out.zarr", "--force", "--pyramid")
    run(*words)
    wanted = contents("out.zarr")
    run("erode", "in.ome.zarr", "out.zarr", "--force")
    before = everything()
    monkeypatch.setattr(LocalStore, "set", full)
    says = (
        "out.zarr could not be written: the disk is full; nothing was left behind. Free some space or choose"
    )
    for memory in ((), ("--memory", "300MB")):
        refused(*words, *memory, code=1, says=says)
        assert everything() == before
    large = ("--memory", "300MB", "--scratch", "scratch")
    ended = run(*words, *large, code=1)
    assert "out.zarr could not be written: the disk is full; what was done is kept in" in complaint(ended.err)
    left = everything()
    assert {name: left[name] for name in before} == before
    monkeypatch.setattr(LocalStore, "set", plain)
    run(*words, *large, "--resume")
    assert contents("out.zarr") == wanted
    assert sorted(path.name for path in Path().iterdir()) == ["in.ome.zarr", "out.zarr"]


@pytest.mark.parametrize(
    ("name", "writer"),
    [("stats.json", "io.documents.write"), ("preview.png", "plots.preview.preview_blocks")],
)
def test_a_disk_that_is_full_for_what_is_written_beside_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, writer: str
) -> None:
    def full(*arguments: object, **more: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    words = ("dilate", "in.ome.zarr", "out.zarr", f"--{name.partition('.')[0]}", name, "--memory", "300MB")
    run(*words)
    wanted = contents("out.zarr"), Path(name).exists()
    shutil.rmtree("out.zarr")
    Path(name).unlink()
    before = everything()
    kept = ("--scratch", "scratch")
    with monkeypatch.context() as patched:
        patched.setattr(f"softmorph_cli.{writer}", full)
        refused(*words, says=f"{name} could not be written: the disk is full; nothing was left behind.")
        assert everything() == before
        said = complaint(run(*words, *kept, code=1).err)
    assert f"{name} could not be written: the disk is full; what was done is kept in" in said
    run(*words, *kept, "--resume")
    assert (contents("out.zarr"), Path(name).exists()) == wanted
    assert sorted(path.name for path in Path().iterdir()) == ["in.ome.zarr", "out.zarr", name]


def test_an_interrupted_run_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    words = ("skeletonize", "in.ome.zarr", "out.zarr", "--levels", 8, "--memory", "300MB", "--pyramid")
    with monkeypatch.context() as patch:
        patch.setattr("softmorph_cli.io.new_blocks.create_coarser", stop)
        ended = run(*words, "--scratch", "scratch", code=130)
        assert "note: what is done is kept in scratch: the same command with --resume goes on." in ended.err
        assert "--resume" not in run(*words, code=130).err
    run(*words, "--scratch", "scratch", "--resume")
    assert Path("out.zarr/1").is_dir()


def test_a_run_that_is_done_says_so_when_it_is_resumed() -> None:
    """As after a kill when all outputs were renamed and the scratch folder removed."""
    words = ("skeletonize", "in.ome.zarr", "out.zarr", "--hard", "--memory", "300MB", "--scratch", "scratch")
    more = ("--json-file", "s.json", "--pyramid")
    run(*words, *more)
    before = everything()
    ended = run(*words, *more, "--resume")
    assert "out.zarr is complete: this command made it, and its input has not changed since." in ended.err
    assert everything() == before
    # Another result, another file beside it, or another input is not that run.
    exists = "exists already; add --force"
    refused(*words, "--threshold", "0.4", "--resume", code=1, says=exists)
    refused(*words, "--preview", "p.png", "--resume", code=1, says=exists)
    refused(*words, "--resume", "--json", code=1, says=exists)
    refused(*words, code=1, says=exists)
    chunk = Path("out.zarr/0/0/0/0")
    made = chunk.stat().st_ino
    run(*words, *more, "--resume", "--force")
    assert chunk.stat().st_ino != made
    os.utime("in.ome.zarr/.zattrs")
    refused(*words, *more, "--resume", code=1, says=exists)
