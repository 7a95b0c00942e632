"""What is written where: refused before any work, old or new and never half, odd paths, full disks."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_cli import complaint, everything, load, process, random_map, refused, run, save, script
from typer.testing import CliRunner

import softmorph_cli
from softmorph_cli.cli.app import app
from softmorph_cli.system.printable import printable

OTHERS = ["--json-file", "s.json", "--preview", "p.png", "--standard-error", "e.npy"]
SAMPLED = ["--method", "sampled"]


@pytest.mark.parametrize("existing", ["out.npy", "s.json", "p.png", "e.npy"])
def test_what_exists_is_refused_before_the_input_is_read(existing: str) -> None:
    Path(existing).write_bytes(b"precious")
    says = (existing, "exists already", "--force")
    refused("erode", "missing.npy", "out.npy", *SAMPLED, *OTHERS, says=says)


@pytest.mark.parametrize("existing", ["s.json", "p.png"])
def test_stats_refuses_before_the_input_is_read(existing: str) -> None:
    Path(existing).write_bytes(b"precious")
    refused("stats", "missing.npy", *OTHERS[:4], says=(existing, "exists already", "--force"))


def test_force_replaces_them_all() -> None:
    save("in.npy", random_map())
    for name in ("out.npy", "s.json", "p.png", "e.npy"):
        Path(name).write_bytes(b"old")
    run("erode", "in.npy", "out.npy", *SAMPLED, *OTHERS, "--force")
    assert not [name for name, content in everything().items() if content == b"old"]
    assert set(everything()) == {"in.npy", "out.npy", "s.json", "p.png", "e.npy"}


def test_outputs_are_left_alone_when_the_input_is_bad_even_with_force() -> None:
    save("in.npy", random_map() * 2)
    for name in ("out.npy", "s.json", "p.png", "e.npy"):
        Path(name).write_bytes(b"old")
    refused("erode", "in.npy", "out.npy", *SAMPLED, *OTHERS, "--force")


@pytest.mark.parametrize("name", ["out.npy", "s.json", "p.png", "e.npy"])
def test_a_missing_folder_is_named_with_what_to_type(name: str) -> None:
    arguments = [f"no folder/{one}" if one == name else one for one in ("out.npy", *SAMPLED, *OTHERS)]
    sentence = refused(
        "erode", "missing.npy", *arguments, says=(f"no folder/{name}", "does not exist", "mkdir -p")
    )
    assert os.system(sentence.split("type: ")[-1].split("first: ")[-1]) == 0
    assert Path("no folder").is_dir()


@pytest.mark.parametrize("name", ["out.npy", "s.json", "p.png", "e.npy"])
def test_a_read_only_folder_is_refused_before_the_input_is_read(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("locked").mkdir()
    real = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode, **more: "locked" not in str(path) and real(path, mode, **more)
    )
    arguments = [f"locked/{one}" if one == name else one for one in ("out.npy", *SAMPLED, *OTHERS)]
    refused("erode", "missing.npy", *arguments, says=(f"locked/{name}", "read-only", "another"))


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_a_folder_that_turns_out_to_be_read_only(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    save("in.npy", random_map())

    def fail(path: Path) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr("softmorph_cli.system.files._flush_to_disk", fail)
    refused("erode", "in.npy", "out.npy", says=("out.npy", "read-only", "another"))


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".tif", ".ome.tif", ".nrrd", ".mha", ".npy", ".png"])
@pytest.mark.parametrize("old", [None, b"the old result"])
def test_a_full_disk_leaves_the_old_file_or_none(
    suffix: str, old: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    save("in.npy", random_map((9, 11)))
    if old is not None:
        Path(f"out{suffix}").write_bytes(old)

    def fail(path: Path) -> None:
        # Everything that was written so far is there: the clean-up has something to do.
        assert path.stat().st_size > 0
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("softmorph_cli.system.files._flush_to_disk", fail)
    refused(
        "erode", "in.npy", f"out{suffix}", "--force", says=(f"out{suffix}", "disk is full", "left behind")
    )


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_a_disk_that_fills_up_between_the_outputs(kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file is whole or absent; which are there is said by none of them being half."""
    save("in.npy", random_map())
    real, calls = os.fsync, []

    def fail(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            return
        calls.append(descriptor)
        if len(calls) > kept:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
    ended = run("erode", "in.npy", "out.npy", *SAMPLED, *OTHERS, code=1)
    assert "disk is full" in complaint(ended.err)
    assert len(everything()) == 1 + kept
    assert not list(Path.cwd().glob(".softmorph*"))


@pytest.mark.posix
@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".tif", ".nrrd", ".mha", ".npy"])
def test_a_write_that_the_system_cuts_short(suffix: str) -> None:
    """A real one: the kernel refuses to let a file grow past a limit."""
    save("in.npy", random_map((40, 50, 60)))
    run("erode", "in.npy", "warm.npy")
    before = everything()

    import resource

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    ended = process("erode", "in.npy", f"out{suffix}", preexec_fn=limit)
    assert ended.code == 1
    assert f"out{suffix} could not be written" in complaint(ended.err)
    assert everything() == before


@pytest.mark.linux
def test_a_disk_that_is_really_full(here: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk takes root")
    disk = here / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("this system lets nobody mount a small disk")
    try:
        save("in.npy", random_map((40, 50, 60)))
        for suffix in (".nii.gz", ".tif", ".mha", ".npy"):
            ended = run("erode", "in.npy", f"disk/out{suffix}", code=1)
            assert "the disk is full" in complaint(ended.err)
            assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.linux
@pytest.mark.parametrize(
    "arguments",
    [
        *(["rules"], ["stats", "in.npy"], ["stats", "in.npy", "--json"], ["info", "in.npy"]),
        *(["--help"], ["--version"], ["stats", "--help"]),
    ],
)
def test_a_full_standard_output_is_one_sentence(arguments: list[str]) -> None:
    save("in.npy", random_map())
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "softmorph_cli", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert ended.returncode == 1
    complaint(ended.stderr.decode())


def test_output_on_input() -> None:
    save("map.npy", random_map())
    refused("erode", "map.npy", "map.npy", says=("map.npy exists already", "--force"))
    ended = run("erode", "map.npy", "map.npy", "--force")
    assert "note: map.npy is IN as well: the map that is read is replaced by its result." in ended.err
    # .npy holds no provenance; NIfTI says that the file is a result already.
    assert "already" not in ended.err
    save("map.nii.gz", random_map())
    again = "It is a result already, of softmorph erode, and is filtered once more."
    first, second = (run("erode", "map.nii.gz", "map.nii.gz", "--force").err for _ in range(2))
    assert "is replaced by its result." in first
    assert again not in first
    assert (
        f"note: map.nii.gz is IN as well: the map that is read is replaced by its result. {again}" in second
    )
    np.testing.assert_array_equal(load("map.npy"), softmorph_cli.erosion(random_map()))
    # Of a file with two names one is replaced, and the other stays.
    Path("other.npy").hardlink_to("map.npy")
    assert "is IN as well" not in run("erode", "map.npy", "other.npy", "--force").err
    np.testing.assert_array_equal(load("map.npy"), softmorph_cli.erosion(random_map()))


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".tif", ".mha"])
def test_output_on_input_in_formats_that_map_the_file(suffix: str) -> None:
    save(f"map{suffix}", random_map())
    run("erode", f"map{suffix}", f"map{suffix}", "--force")
    np.testing.assert_array_equal(load(f"map{suffix}"), softmorph_cli.erosion(random_map()))


@pytest.mark.parametrize("option", ["--json-file", "--preview"])
def test_nothing_is_written_over_the_input_the_mask_or_the_rule(option: str) -> None:
    save("in.npy", random_map())
    for name in ("mask.png.npy", "mask.png"):
        save("x.npy", np.ones((6, 7, 8), np.uint8)).rename(name)
    refused("erode", "in.npy", "out.npy", option, "./in.npy", "--force", code=2)
    refused(
        "erode",
        "in.npy",
        "out.npy",
        "--mask",
        "mask.png.npy",
        "--json-file",
        "mask.png.npy",
        "--force",
        code=2,
    )
    refused(
        "erode", "in.npy", "out.npy", "--json-file", "a.png", "--preview", "./a.png", code=2, says="a.png"
    )


def test_a_symbolic_link_is_followed_and_stays_one() -> None:
    save("in.npy", random_map())
    Path("elsewhere").mkdir()
    Path("elsewhere/real.npy").write_bytes(b"old")
    Path("link.npy").symlink_to("elsewhere/real.npy")
    refused("erode", "in.npy", "link.npy", says="link.npy exists already")
    run("erode", "in.npy", "link.npy", "--force")
    assert Path("link.npy").is_symlink()
    np.testing.assert_array_equal(load("elsewhere/real.npy"), softmorph_cli.erosion(random_map()))
    assert list(Path("elsewhere").iterdir()) == [Path("elsewhere/real.npy")]


def test_links_that_lead_nowhere() -> None:
    save("in.npy", random_map())
    Path("a.npy").symlink_to("b.npy")
    Path("b.npy").symlink_to("a.npy")
    refused("erode", "in.npy", "a.npy", "--force", says="a.npy")
    refused("erode", "a.npy", "out.npy", says="a.npy")
    refused("erode", "in.npy", "out.npy", "--json-file", "a.npy", "--force", says="a.npy")
    Path("dangling.npy").symlink_to("not there/real.npy")
    refused("erode", "in.npy", "dangling.npy", says=("dangling.npy", "not there"))
    refused("erode", "dangling.npy", "out.npy", says=("dangling.npy", "not exist"))
    Path("new.npy").symlink_to("made.npy")
    run("erode", "in.npy", "new.npy")
    assert Path("made.npy").is_file()


@pytest.mark.parametrize("name", ["folder.npy", "folder", "folder/"])
def test_a_folder_as_output(name: str) -> None:
    save("in.npy", random_map())
    Path(name).mkdir()
    for arguments in (["out.npy", "--json-file", name], [name]):
        ended = run("erode", "in.npy", *arguments, code=1)
        assert f"{name.rstrip('/')} is a folder" in complaint(ended.err)
    assert list(Path(name).iterdir()) == []


def test_a_file_where_a_folder_should_be() -> None:
    save("in.npy", random_map())
    sentence = refused("erode", "in.npy", "in.npy/out.npy", says="in.npy/out.npy")
    assert "mkdir" not in sentence


@pytest.mark.parametrize(
    "name",
    [
        "two  words and a [bracket].nii.gz",
        "größe-Ω-血管.nii.gz",
        "-dash.nii.gz",
        "--force.nii.gz",
        'quote\'s "map".nii.gz',
        "$HOME;ls.nii.gz",
        "[bold red]markup[bold].nii.gz",
        "cost $5_{$ or $10.nii.gz",
        "per%cent %s.nii.gz",
        "new\nline.nii.gz",
        ".hidden.nii.gz",
        ".nii.gz",
        "a.b.c.nii.gz",
        "UPPER.NII.GZ",
        "e" * 248 + ".nii.gz",
    ],
)
def test_odd_names(name: str) -> None:
    Path("in").mkdir()
    Path("out").mkdir()
    save("x.nii.gz", random_map()).rename(Path("in") / name)
    os.chdir("in")
    ended = run("erode", "--preview", "../p.png", "--json-file", "../s.json", "--", name, f"../out/{name}")
    assert ended.err.startswith(f"erode → ../out/{printable(name)}\n")
    shutil.move(f"../out/{name}", "../x.nii.gz")
    np.testing.assert_array_equal(load("../x.nii.gz"), softmorph_cli.erosion(random_map()))
    run("stats", "--", name)
    run("info", "--", name)
    assert list(Path("../out").iterdir()) == []


def test_a_name_that_is_no_text() -> None:
    save("in.npy", random_map())
    odd = os.fsdecode(b"caf\xe9.npy")
    Path("in.npy").rename(odd)
    ended = script(
        "import os, sys; from softmorph_cli.__main__ import main\n"
        "name = os.fsdecode(b'caf\\xe9.npy'); out = os.fsdecode(b'r\\xe9sultat.npy')\n"
        "sys.argv = ['softmorph', 'erode', name, out, '--json-file', 's.json', '--preview', 'p.png', '--json']\n"
        "main()"
    )
    assert ended.code == 0, ended.err
    assert ended.json["input"]["dtype"] == "float32"
    assert Path(os.fsdecode(b"r\xe9sultat.npy")).exists()


@pytest.mark.parametrize("length", [256, 300, 5000])
def test_names_that_are_too_long(length: int) -> None:
    save("in.npy", random_map())
    name = "n" * (length - 4) + ".npy"
    refused("erode", "in.npy", name, says="too long")
    refused("erode", name, "out.npy", says="too long")
    refused("erode", "in.npy", "out.npy", "--json-file", name, says="too long")
    refused("erode", "in.npy", "out.npy", "--mask", name, says="too long")


@pytest.mark.parametrize("name", ["", " "])
def test_names_of_nothing(name: str) -> None:
    save("in.npy", random_map())
    """An empty one is a shell variable that was never set; the folder "." is not what was meant."""
    for arguments in (["in.npy", name], [name, "out.npy"]):
        result = CliRunner().invoke(app, ["erode", *arguments])
        assert result.exit_code in (1, 2)
        assert not re.search(r"(^| )\.( |$)", complaint(result.stderr).replace(name or "?", "?"))


@pytest.mark.parametrize("suffix", [".png"])
def test_a_volume_does_not_fit_a_png(suffix: str) -> None:
    save("in.npy", random_map())
    refused("erode", "in.npy", f"out{suffix}", says=("PNG holds one 2-D image", ".tif"))
    refused("erode", "in.npy", "out.npy", *SAMPLED, "--standard-error", f"e{suffix}", says="PNG")


@pytest.mark.posix
def test_permissions_are_those_of_any_new_file() -> None:
    save("in.npy", random_map())
    previous = os.umask(0o027)
    try:
        run("erode", "in.npy", "out.npy", "--json-file", "s.json", "--preview", "p.png")
    finally:
        os.umask(previous)
    for name in ("out.npy", "s.json", "p.png"):
        assert Path(name).stat().st_mode & 0o777 == 0o640


def test_warnings_name_what_is_lost() -> None:
    save("in.nii.gz", random_map())
    ended = run("erode", "in.nii.gz", "out.npy", "--output-type", "uint8", "--json", "-q")
    assert len(ended.json["warnings"]) == 4
    for text in ("256 steps", "voxel size", "affine", "--divide-by 255"):
        assert text in ended.err
        assert any(text in warning for warning in ended.json["warnings"])
    assert all(line.startswith("warning: ") for line in ended.err.splitlines())


def read_png(path: str) -> Any:
    import matplotlib.image

    return matplotlib.image.imread(path)


@pytest.mark.parametrize("shape", [(9, 11), (6, 7, 8), (2, 6, 7, 8)])
def test_a_preview_is_a_picture_and_not_blank(shape: tuple[int, ...]) -> None:
    save("in.npy", random_map(shape))
    axes = ["--axes", "CZYX"[-len(shape) :]]
    run("erode", "in.npy", "out.npy", "--preview", "p.png", *axes)
    run("stats", "in.npy", "--preview", "q.png", *axes)
    for name in ("p.png", "q.png"):
        picture = read_png(name)
        assert min(picture.shape[:2]) > 100
        assert len(np.unique(picture.reshape(-1, picture.shape[-1]), axis=0)) > 50
