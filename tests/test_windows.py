"""Systems without POSIX: what Windows lacks is hidden from the package, and from no other module."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import softmorph_cli

# What Python's documentation says is there on Unix alone.
MODULES = ["fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"]
OS = set(
    """
    O_CLOEXEC O_DIRECTORY O_DSYNC O_NOCTTY O_NOFOLLOW O_NONBLOCK O_SYNC O_TMPFILE WNOHANG chown chroot fchmod fchown
    fork forkpty getegid geteuid getgid getgroups getpgid getpgrp getresuid getsid getuid getxattr initgroups killpg
    lchown listxattr lockf mkfifo mknod nice openpty pathconf posix_fadvise posix_fallocate posix_spawn pread preadv
    pwrite pwritev readv register_at_fork removexattr sched_getaffinity sched_setaffinity sched_yield sendfile
    set_blocking setegid seteuid setgid setpgid setsid setuid setxattr splice statvfs fstatvfs sync sysconf
    sysconf_names tcgetpgrp tcsetpgrp ttyname uname wait wait3 wait4 waitid waitpid wait writev
    """.split()  # noqa: SIM905 (which would be a line for each)
)
SIGNAL = set(
    """
    SIGALRM SIGBUS SIGCHLD SIGCONT SIGHUP SIGIO SIGKILL SIGPIPE SIGPROF SIGQUIT SIGSTOP SIGTSTP SIGTTIN SIGTTOU SIGURG
    SIGUSR1 SIGUSR2 SIGWINCH SIGXCPU SIGXFSZ SIG_BLOCK SIG_SETMASK SIG_UNBLOCK alarm getitimer pause pthread_kill
    pthread_sigmask setitimer siginterrupt sigpending sigtimedwait sigwait sigwaitinfo
    """.split()  # noqa: SIM905 (which would be a line for each)
)

# Every process that starts with this in its path sees Windows from within the package, also a batch's worker.
SITE = f"""
import builtins, os, signal, sys, types

MODULES, NAMES = {MODULES!r}, {{"os": {OS!r}, "signal": {SIGNAL!r}}}
frame, plain = sys._getframe, builtins.__import__

def within(globals):
    return str((globals or {{}}).get("__name__", "")).split(".")[0] == "softmorph_cli"

def hiding(name, globals=None, locals=None, fromlist=(), level=0):
    if not level and name in MODULES and within(globals):
        raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
    return plain(name, globals, locals, fromlist, level)

class Seen(types.ModuleType):
    def __getattribute__(self, name):
        real, hidden = vars(types.ModuleType)["__dict__"].__get__(self)["real"]
        if within(frame(1).f_globals):
            if real is sys and name == "platform":
                return "win32"
            # Windows cannot open a folder, change the mode of an open file, or name the link itself.
            if real is os and name in ("supports_fd", "supports_follow_symlinks", "supports_dir_fd"):
                return set()
            if name in hidden:
                raise AttributeError(f"module {{real.__name__!r}} has no attribute {{name!r}}")
        return getattr(real, name)
    def __setattr__(self, name, value):
        setattr(vars(types.ModuleType)["__dict__"].__get__(self)["real"][0], name, value)

def seen(real, hidden):
    made = Seen(real.__name__)
    vars(types.ModuleType)["__dict__"].__get__(made)["real"] = real, hidden
    return made

builtins.__import__ = hiding
for name in ("os", "signal", "sys"):
    sys.modules[name] = seen(plain(name), NAMES.get(name, ()))
"""


@pytest.fixture
def windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a working folder whose Python processes see Windows from within the package."""
    site, work = tmp_path / "site", tmp_path / "work"
    site.mkdir()
    work.mkdir()
    (site / "sitecustomize.py").write_text(SITE)
    source = Path(softmorph_cli.__file__).parents[1]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), str(source)]))
    monkeypatch.setenv("NUMBA_NUM_THREADS", "1")
    monkeypatch.chdir(work)
    return work


def python(*words: str) -> str:
    ended = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def softmorph(*words: str) -> str:
    return python("-m", "softmorph_cli", *words)


def test_posix_is_hidden_from_the_package_only(windows: Path) -> None:
    code = """
import os, signal, sys, fcntl
assert os.getuid() >= 0 and signal.SIGHUP and sys.platform != "win32"
inside = {"__name__": "softmorph_cli.tried"}
exec("import os, signal, sys", inside)
assert eval("sys.platform == 'win32' and not hasattr(os, 'getuid') and hasattr(os, 'getpid')", inside)
assert eval("not hasattr(signal, 'SIGHUP') and hasattr(signal, 'SIGTERM')", inside)
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    try:
        exec(f"import {name}", inside)
    except ModuleNotFoundError:
        continue
    raise AssertionError(name)
"""
    python("-c", code)


def test_every_module_can_be_imported(windows: Path) -> None:
    code = """
import importlib, json, pkgutil, softmorph_cli
names = [one.name for one in pkgutil.walk_packages(softmorph_cli.__path__, "softmorph_cli.")]
names = [name for name in names if not name.endswith("__main__")]
for name in names:
    importlib.import_module(name)
print(json.dumps(names))
"""
    found = json.loads(python("-W", "ignore", "-c", code))
    package = Path(softmorph_cli.__file__).parent
    assert (
        len(found) == len(list(package.rglob("*.py"))) - 2
    )  # without softmorph_cli and softmorph_cli.__main__


@pytest.mark.parametrize("suffix", ["npy", "nii.gz", "ome.zarr"])
def test_a_skeleton_is_written_replaced_and_measured(suffix: str, windows: Path) -> None:
    image = np.random.default_rng(0).random((9, 10, 11), dtype=np.float32)
    np.save("in.npy", image)
    softmorph("skeletonize", "in.npy", f"out.{suffix}", "-q")
    softmorph("skeletonize", "in.npy", f"out.{suffix}", "-q", "--force")
    wanted = np.asarray(softmorph_cli.skeletonize(image))
    assert np.array_equal(softmorph_cli.read(f"out.{suffix}").array, wanted)
    told = json.loads(softmorph("stats", f"out.{suffix}", "--json"))
    assert told["statistics"]["max"] == pytest.approx(float(wanted.max()), abs=1e-6)
    assert sorted(path.name for path in windows.iterdir()) == ["in.npy", f"out.{suffix}"]


def test_a_resumed_batch_does_not_rewrite_results(windows: Path) -> None:
    images = {}
    Path("in").mkdir()
    for number in range(2):
        images[number] = np.random.default_rng(number).random((9, 10, 11), dtype=np.float32)
        np.save(f"in/{number}.npy", images[number])
    softmorph("batch", "in", "out", "erode", "--workers", "1", "-q")
    for number, image in images.items():
        assert np.array_equal(np.load(f"out/{number}.npy"), np.asarray(softmorph_cli.erosion(image)))
    done = json.loads(softmorph("batch", "in", "out", "erode", "--workers", "1", "--resume", "--json"))
    assert done["counts"]["skipped"] == 2
    kept = {path.name for path in Path("out").iterdir()}
    assert {"0.npy", "1.npy", "summary.csv", "summary.json"} < kept
    assert not [name for name in kept if name.endswith(".lock")]
