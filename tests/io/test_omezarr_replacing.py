"""OME-Zarr stores are written completely or not at all."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from helpers_zarr import SOFT, make

from softmorph_cli.errors import FileError
from softmorph_cli.io.formats import check_target
from softmorph_cli.io.omezarr import OmeZarr
from softmorph_cli.io.options import WriteOptions
from softmorph_cli.io.reading import read
from softmorph_cli.io.writing import write
from softmorph_cli.system import naming
from softmorph_cli.volume import Volume


def test_only_stores_are_replaced_and_only_with_force(whole: Path) -> None:
    volume = Volume(SOFT, "ZYX")
    target = whole / "map.zarr"
    write(volume, target)
    with pytest.raises(FileError, match=r"map\.zarr exists already; add force=True to replace it"):
        write(volume, target)
    write(volume.with_array(SOFT * np.float32(0.5)), target, force=True)
    assert np.array_equal(read(target).array, SOFT * np.float32(0.5))
    with pytest.raises(FileError, match="would lie inside the Zarr store"):
        write(volume, target / "inner.zarr", force=True)
    precious = whole / "data.zarr"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work")
    for refused in (
        lambda: write(volume, precious, force=True),
        lambda: check_target(precious, WriteOptions(force=True)),
    ):
        with pytest.raises(FileError, match="is a folder and no Zarr store, so it is not replaced"):
            refused()
    assert (precious / "thesis.txt").read_text() == "years of work"
    with pytest.raises(FileError, match="is a folder; name a file in it"):
        check_target(target.rename(whole / "map.tif"), WriteOptions(force=True))


def test_a_store_is_written_over_its_own_source_and_through_a_link(whole: Path) -> None:
    source = make(whole / "in.zarr", version="0.5")
    (whole / "link.zarr").symlink_to(source)
    found = read(source)
    write(found.with_array(found.array * np.float32(0.5)), whole / "link.zarr", force=True)
    assert (whole / "link.zarr").is_symlink()
    assert np.array_equal(read(source).array, SOFT * np.float32(0.5))


@pytest.mark.parametrize("existing", [True, False])
@pytest.mark.parametrize("exchange", [True, False])
def test_the_swap_works_with_and_without_the_system_call(
    whole: Path, monkeypatch: pytest.MonkeyPatch, existing: bool, exchange: bool
) -> None:
    if not exchange:
        monkeypatch.setattr(naming, "exchange", lambda *paths: False)
    volume = Volume(SOFT, "ZYX")
    if existing:
        make(whole / "map.zarr")
    write(volume, whole / "map.zarr", force=True)
    assert sorted(p.name for p in whole.iterdir()) == ["map.zarr"]
    assert np.array_equal(read(whole / "map.zarr").array, SOFT)


@pytest.mark.parametrize("existing", [True, False])
def test_a_full_disk_leaves_the_folder_unchanged(
    whole: Path, monkeypatch: pytest.MonkeyPatch, existing: bool
) -> None:
    if existing:
        make(whole / "map.zarr")

    def fill(self: OmeZarr, volume: Volume, array: object, path: Path, *rest: object) -> list[str]:
        (path / ".zgroup").write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(OmeZarr, "write", fill)
    with pytest.raises(
        FileError, match=r"map\.zarr could not be written: the disk is full; nothing was left"
    ):
        write(Volume(SOFT, "ZYX"), whole / "map.zarr", force=True)
    assert [p.name for p in whole.iterdir()] == (["map.zarr"] if existing else [])
    if existing:
        assert np.array_equal(read(whole / "map.zarr").array, SOFT)


_LIMITED = """
import resource, signal, sys
import numpy as np
from softmorph_cli.errors import FileError
from softmorph_cli.io.writing import write
from softmorph_cli.volume import Volume
array = np.random.default_rng(0).random((70, 100, 100), dtype=np.float32)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
try:
    write(Volume(array, "ZYX"), sys.argv[1])
except FileError as error:
    assert "could not be written" in str(error), error
else:
    raise AssertionError("it was cut short and nobody noticed")
"""


@pytest.mark.posix
def test_an_incomplete_write_is_an_error(whole: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(whole / "map.zarr")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert list(whole.iterdir()) == []


_SLOW = """
import signal, sys
import numpy as np
from softmorph_cli.io.writing import write
from softmorph_cli.volume import Volume
def stop(number, frame):
    raise KeyboardInterrupt
signal.signal(signal.SIGTERM, stop)
array = np.random.default_rng(0).random((400, 400, 400), dtype=np.float32)
print("now", flush=True)
try:
    write(Volume(array, "ZYX"), sys.argv[1], force=True)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.posix
def test_an_interrupted_write_leaves_nothing(whole: Path) -> None:
    target = make(whole / "map.zarr")
    with subprocess.Popen([sys.executable, "-c", _SLOW, str(target)], stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        run.stdout.readline()
        until = time.monotonic() + 60
        while time.monotonic() < until and run.poll() is None:
            begun = [p for p in whole.iterdir() if p.name.startswith(".softmorph")]
            if begun and len(list(begun[0].rglob("*"))) > 20:
                break
            time.sleep(0.002)
        run.send_signal(signal.SIGTERM)
        assert run.wait(60) == 130
    assert [p.name for p in whole.iterdir()] == ["map.zarr"]
    assert np.array_equal(read(target).array, SOFT)
