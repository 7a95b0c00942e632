"""Description of this machine: hardware and library versions, which determine the speed of the filters."""

from __future__ import annotations

import os
import platform
import re
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from softmorph_cli import __version__
from softmorph_cli.bench.peers import installed
from softmorph_cli.bench.workloads import Hardware
from softmorph_cli.system import machine

LIBRARIES: Final = ("numpy", "numba", "torch", "triton", "scipy", "scikit-image", "SimpleITK")


def describe(hardware: Hardware) -> dict[str, Any]:
    """Return a description of this machine for JSON: processor, memory, device, load and library versions."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": hardware.threads,
        "memory_bytes": machine.memory(),
        "device": device_name(hardware.device),
        # Average of the last minute: above 0 before the start, other processes are running.
        "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "softmorph": __version__,
        "libraries": {name: found for name in LIBRARIES if (found := installed(name)) is not None},
    }


def processor() -> str:
    """Return the processor's name, or its architecture if the system does not name it."""
    with suppress(OSError):
        # "model name" on x86; ARM kernels give a board's name at best.
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        found = re.search(r"^(?:model name|Model)\s*:\s*(\S.*)$", text, re.MULTILINE)
        if found is not None:
            return " ".join(found[1].split())
    return platform.processor() or platform.machine()


def device_name(device: str) -> str:
    """Return "cpu", or the index and the name of the GPU, such as "cuda:0 NVIDIA H200"."""
    if not device.startswith("cuda"):
        return "cpu"
    import torch

    number = int(device.partition(":")[2] or 0)
    return f"cuda:{number} {torch.cuda.get_device_name(number)}"
