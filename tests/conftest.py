"""Shared by all tests: a fresh cache folder, so that every run compiles as on a new machine, and signals."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from softmorph_cli.workers.cluster import Cluster

# Set while conftest is imported: subprocesses and xdist workers inherit it.
if "PYTEST_XDIST_WORKER" not in os.environ:
    os.environ["SOFTMORPH_CACHE_DIR"] = tempfile.mkdtemp(prefix="softmorph-tests-")
    atexit.register(shutil.rmtree, os.environ["SOFTMORPH_CACHE_DIR"], ignore_errors=True)
    # Several processes share the cores: torch's threads must not spin while they wait for each other.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Started in the background of a script, or under nohup, this process ignores signals, and what it starts would too. A
# handler of Python's is not passed on.
for _name, _handler in (("SIGINT", signal.default_int_handler), ("SIGHUP", lambda *_: None)):
    _number = getattr(signal, _name, None)  # Windows has no SIGHUP.
    if _number is not None and signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)

# The first example of a property may compile a kernel: no deadlines.
settings.register_profile(
    "softmorph", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("softmorph")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what the system of this machine lacks."""
    for name, present in (("posix", sys.platform != "win32"), ("linux", sys.platform == "linux")):
        if not present and item.get_closest_marker(name) is not None:
            pytest.skip(f"{sys.platform} is not {name}")


@pytest.fixture
def torch_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use `torch_eager` for every request, also without a gradient."""
    from softmorph_cli.filters import arrays
    from softmorph_cli.kernels.torch_eager import TorchBackend

    monkeypatch.setattr(arrays, "choose", lambda *_args, **_kwargs: TorchBackend("cpu"))


@pytest.fixture(scope="session")
def _cluster() -> Iterator[Cluster]:
    from softmorph_cli.workers.cluster import ClusterOptions, connected

    with connected(ClusterOptions(workers=2), threads=1) as local:
        yield local


@pytest.fixture
def cluster(_cluster: Cluster) -> Cluster:
    """Yield a local cluster of two processes; one that a test kills is restarted by the cluster."""
    # Workers that come back are asked for the folders of the run before, which are gone.
    _cluster.check_folders([])
    return _cluster
