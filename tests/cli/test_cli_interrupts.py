"""Ctrl-C and SIGTERM, in real processes: the right exit status, one sentence, no half file, no traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from helpers_cli import complaint, everything, random_map, run, save, script

# Windows has neither its terminals nor its signals.
pty = pytest.importorskip("pty")

# Long before it would end by itself.
PROMPTLY = 10.0

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "terminated"}


def until(descriptor: int, words: bytes, seconds: float = 90) -> bytes:
    """Read a terminal until it shows some words."""
    seen, end = b"", time.monotonic() + seconds
    while words not in seen:
        assert time.monotonic() < end, seen
        seen += os.read(descriptor, 4096)
    return seen


def rest(descriptor: int) -> bytes:
    seen = b""
    while True:
        try:
            part = os.read(descriptor, 4096)
        except OSError:  # the other end is closed
            return seen
        if not part:
            return seen
        seen += part


@pytest.mark.parametrize(
    ("number", "threads", "command"),
    [
        (signal.SIGINT, 1, ["skeletonize", "--method", "multilinear", "--iterations", "100000"]),
        (signal.SIGINT, 2, ["skeletonize", "--method", "multilinear", "--iterations", "100000"]),
        (signal.SIGTERM, 2, ["erode", "--method", "levels", "--levels", "6400"]),
    ],
)
def test_in_the_middle_of_a_long_run(number: signal.Signals, threads: int, command: list[str]) -> None:
    np.save("in.npy", random_map((192, 192, 192)))
    Path("old.json").write_bytes(b"old")
    before = everything()
    name, *options = command
    terminal, other_end = pty.openpty()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "softmorph_cli", name, "in.npy", "out.nii.gz", "--threads", str(threads)),
            *("--json-file", "old.json", "--preview", "p.png", "--force", *options),
        ],
        stdout=subprocess.PIPE,
        stderr=other_end,
    )
    os.close(other_end)
    try:
        until(terminal, b"iteration")
        process.send_signal(number)
        process.wait(PROMPTLY)
        shown = rest(terminal).decode()
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
        assert process.stdout is not None
        printed = process.stdout.read()
        process.stdout.close()
    assert process.returncode == CODES[number]
    assert printed == b""
    assert "Traceback" not in shown
    assert shown.count("error:") == 1
    assert WORDS[number] in shown
    # A bar hides the cursor; whoever is interrupted wants it back.
    assert shown.rfind("\x1b[?25h") >= shown.rfind("\x1b[?25l")
    assert everything() == before


# A signal to oneself, at a place that is chosen by what is replaced: no waiting, no chance.
HALF = """
import os, signal, sys, time
from pathlib import Path
from softmorph_cli.__main__ import main
import {module} as module

def half(*arguments, **more):
    names = [str(getattr(getattr(a, "fileobj", a), "name", a)) for a in arguments]
    path = Path(next(name for name in names if ".softmorph-" in name))
    path.write_bytes(b"half")
    os.kill(os.getpid(), signal.{signal})
    time.sleep(60)

{place} = half
sys.argv = ["softmorph", "erode", "in.npy", *sys.argv[1:]]
main()
"""
WRITERS = {
    "out.nii.gz": ("nibabel", "module.Nifti1Image.to_stream"),
    "out.tif": ("tifffile", "module.imwrite"),
    "out.mha": ("softmorph_cli.io.metaimage", "module._pack"),
}


@pytest.mark.parametrize(
    ("number", "old"),
    [
        (signal.SIGINT, None),
        (signal.SIGINT, b"the old result"),
        (signal.SIGTERM, b"old"),
        (signal.SIGHUP, b"old"),
    ],
)
@pytest.mark.parametrize("target", WRITERS)
def test_while_writing(target: str, number: signal.Signals, old: bytes | None) -> None:
    save("in.npy", random_map())
    if old is not None:
        Path(target).write_bytes(old)
    before = everything()
    module, place = WRITERS[target]
    code = HALF.format(module=module, place=place, signal=number.name)
    if target == "out.nii.gz":
        code = code.replace("def half(*arguments", "def half(image, *arguments")
    ended = script(code, target, "--force")
    assert ended.code == CODES[number], ended.err
    assert WORDS[number] in complaint(ended.err)
    assert everything() == before


AT_IMPORT = """
import os, signal, sys
from softmorph_cli.__main__ import main

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            os.kill(os.getpid(), signal.{signal})
        return None

sys.meta_path.insert(0, Interrupt())
sys.argv = ["softmorph", "erode", "in.npy", "out.npy", "--preview", "p.png"]
main()
"""


@pytest.mark.parametrize(
    "name",
    ["typer", "softmorph_cli.cli.app", "softmorph_cli.filters.settings", "numpy", "numba", "scipy.ndimage",
     "softmorph_cli.filters.morphology", "matplotlib", "softmorph_cli.plots.preview"],
)  # fmt: skip
def test_while_something_is_imported(name: str) -> None:
    save("in.npy", random_map())
    ended = script(AT_IMPORT.format(name=name, signal="SIGINT"))
    assert ended.code == 130, ended.err
    assert "Traceback" not in ended.err
    assert ended.out == ""
    assert not Path("p.png").exists()
    assert not list(Path.cwd().glob(".*"))


def test_terminated_while_something_is_imported() -> None:
    save("in.npy", random_map())
    ended = script(AT_IMPORT.format(name="numba", signal="SIGTERM"))
    assert ended.code == 143
    assert "terminated" in complaint(ended.err)
    assert list(everything()) == ["in.npy"]


def test_interrupted_by_two_signals_at_once() -> None:
    """An impatient person presses Ctrl-C again while the first is being dealt with."""
    save("in.npy", random_map())
    code = HALF.format(module="tifffile", place="module.imwrite", signal="SIGINT").replace(
        "main()",
        "from softmorph_cli.cli import command\n"
        "real = command.complain\n"
        "def again(message):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    real(message)\n"
        "command.complain = again\n"
        "main()",
    )
    ended = script(code, "out.tif")
    assert ended.code == 130, ended.err
    assert "Traceback" not in ended.err
    assert list(everything()) == ["in.npy"]


def test_a_run_in_this_process_gives_the_handler_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    save("in.npy", random_map())
    run("erode", "in.npy", "out.npy")
    run("erode", "in.npy", "out.npy", code=1)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_signal_that_was_ignored_stays_ignored() -> None:
    """Under nohup, or in the background of a script, SIGINT is ignored from the start."""
    save("in.npy", random_map())
    code = HALF.format(module="tifffile", place="module.imwrite", signal="SIGINT")
    code = code.replace("time.sleep(60)", "raise OSError(28, 'full')")
    ended = script(code, "out.tif", preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    assert ended.code == 1
    assert "disk is full" in complaint(ended.err)


IN_A_CALLBACK = """
import ctypes, os, signal, sys, time
from softmorph_cli.__main__ import main
from softmorph_cli.cli import filtering

def called():
    os.kill(os.getpid(), signal.{signal})

def busy(*arguments, **options):
    # What is raised within is printed and forgotten.
    ctypes.CFUNCTYPE(None)(called)()
    time.sleep(20)

filtering.check_side_outputs = busy
sys.argv = ["softmorph", "evaluate", "in.npy", "in.npy"]
main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_where_python_can_only_ignore_it(number: signal.Signals) -> None:
    save("in.npy", random_map())
    ended = script(IN_A_CALLBACK.format(signal=number.name))
    assert ended.code == CODES[number], ended.err
    assert WORDS[number] in complaint(ended.err)
