"""One fresh cache folder for the whole session, so that every run compiles what a new machine would."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

import pytest
from hypothesis import HealthCheck, settings

# Set while conftest is imported: subprocesses and xdist workers inherit it.
if "PYTEST_XDIST_WORKER" not in os.environ:
    os.environ["SOFTMORPH_CACHE_DIR"] = tempfile.mkdtemp(prefix="softmorph-tests-")
    atexit.register(shutil.rmtree, os.environ["SOFTMORPH_CACHE_DIR"], ignore_errors=True)

# The first example of a property may compile a kernel: no deadlines.
settings.register_profile(
    "softmorph", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("softmorph")


@pytest.fixture
def torch_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `torch_eager` serve every request, also those without a gradient."""
    from softmorph_cli.filters import arrays
    from softmorph_cli.kernels.torch_eager import TorchBackend

    monkeypatch.setattr(arrays, "choose", lambda *_args, **_kwargs: TorchBackend("cpu"))
