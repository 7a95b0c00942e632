"""Kills a command at many instants of its run, resumes it after each, and compares the bytes.

An instant is one of the calls by which a run changes what is on the disk. One process of its own imports everything
and forks a child for each run, which would otherwise take seconds to start.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SCRIPT = r'''
import json, os, shutil, signal, sys
from pathlib import Path
import matplotlib, numpy, zarr
import softmorph_cli.pipeline.batch.run, softmorph_cli.pipeline.process, softmorph_cli.pipeline.process_tiled
from softmorph_cli.pipeline.batch import engine
from softmorph_cli.cli.app import app

# What a batch's workers write is among the instants, too.
engine.process_engine = lambda *_: engine.thread_engine(1)
told = json.loads(sys.argv[1])
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate", "os.chmod", "ctypes.dlsym"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT

def counted(event, arguments):
    if event == "open":
        path, mode, flags = arguments
        return bool(flags & WRITING) and not str(path).startswith(("/dev/", "/proc/"))
    return event in CHANGES and (event != "ctypes.dlsym" or arguments[1] == "renameat2")

def run(words, log, kill_at=None):
    """Run a command in a child; return its status, negative for a signal, and how many instants there were."""
    out, into = os.pipe()
    child = os.fork()
    if not child:
        count = 0
        def hook(event, arguments):
            nonlocal count
            if counted(event, arguments):
                count += 1
                if count == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        sys.addaudithook(hook)
        try:
            app(words, prog_name="softmorph")
        except SystemExit as ended:
            status = ended.code or 0
        os.write(into, str(count).encode())
        os._exit(status)
    os.close(into)
    _, status = os.waitpid(child, 0)
    count = int(os.read(out, 20) or b"0")
    os.close(out)
    return os.waitstatus_to_exitcode(status), count

def content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}

def cleared():
    for name in told["clear"]:
        path = Path(name)
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

def wanted():
    return {name: content(Path(name)) if Path(name).is_dir() else Path(name).read_bytes() for name in told["same"]}

log = told["log"]
status, _ = run(told["words"], log)  # compiles what is still to be compiled
assert status == 0, Path(log).read_text()
right = wanted()
before = {path.name for path in Path().iterdir()}
cleared()
status, instants = run(told["words"], log)
assert status == 0
rng = numpy.random.default_rng(0)
inner = rng.choice(instants - 2, min(instants, told["count"]) - 2, replace=False) + 2
chosen = sorted({1, instants, *inner.tolist()})
found = []
for instant in chosen:
    cleared()
    killed, _ = run(told["words"], log, instant)
    open(log, "a").write(f"--- {instant} of {instants}: {killed}\n")
    status, _ = run(told["again"], log)
    left = {path.name for path in Path().iterdir()} - before
    found.append([instant, killed, status, status == 0 and wanted() == right, sorted(left)])
print(json.dumps([instants, found]))
'''


@dataclass(frozen=True)
class Killed:
    """A run that was killed, and the one that went on.

    Attributes:
        instant: The number of the change of the disk at which it was killed, from 1.
        killed: The status of the first, -9.
        status: The status of the second.
        equal: Whether the bytes are those of a run that nobody killed.
        left: New names in the working folder.
    """

    instant: int
    killed: int
    status: int
    equal: bool
    left: list[str]


def kill_and_go_on(
    words: list[str],
    again: list[str],
    *,
    same: list[str],
    clear: list[str],
    count: int = 20,
) -> list[Killed]:
    """Kill a command at so many instants, in the working folder.

    Args:
        words: The command.
        again: The one that goes on.
        same: Files and folders whose bytes are compared.
        clear: What is removed before each.
        count: How many.
    """
    log = Path("log.txt").resolve()
    log.touch()
    told: dict[str, Any] = {
        "words": words,
        "again": again,
        "same": same,
        "clear": clear,
        "count": count,
        "log": str(log),
    }
    ended = subprocess.run(
        [sys.executable, "-c", _SCRIPT, json.dumps(told)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr + log.read_text()[-3000:]
    _, found = json.loads(ended.stdout)
    return [Killed(*one) for one in found]
