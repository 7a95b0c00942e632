"""Time and memory of persistence bars, beside gudhi's cubical complex, and their growth with the size of a map.

Run: `python tests/benchmarks/persistence.py` (two minutes, most of them gudhi's).

Each map is computed in a process of its own, after a small map for which kernels are compiled or loaded. gudhi has one
thread. Bytes are those that the process takes in addition to the map, at its peak (Linux alone counts them).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from helpers_topology import vessels, vessels_and_shells
from scipy.ndimage import gaussian_filter

from softmorph_cli.bench.maps import vessels as walks

# Its arguments: the file of a map, the number of threads, or 0 for gudhi.
ONE = """
import json, sys, time
from pathlib import Path
import numpy as np

def most():
    # Unlike the figure of getrusage, it does not begin with what the parent process holds.
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) * 1024

def ours(p):
    from softmorph_cli.topology.persistence import bars
    return sum(map(len, bars(p, threads=threads).diagrams))

def gudhi(p):
    import gudhi
    cube = gudhi.CubicalComplex(top_dimensional_cells=np.pad(-p.astype(float), 1))
    return len(cube.persistence(homology_coeff_field=2, min_persistence=0)) - 1 + bool(p.any())

threads = int(sys.argv[2])
compute = ours if threads else gudhi
p = np.load(sys.argv[1])
compute(np.random.default_rng(0).random((5,) * p.ndim).astype(np.float32))
before, began = most(), time.perf_counter()
found = compute(p)
seconds = time.perf_counter() - began
print(json.dumps({"bars": found, "seconds": seconds, "bytes": most() - before}))
"""


def maps() -> dict[str, tuple[np.ndarray, bool]]:
    """Return maps by name, and whether gudhi computes them too."""
    rng = np.random.default_rng(0)
    smooth = gaussian_filter(rng.normal(size=(64, 64, 64)), 2)
    return {
        "vessels and shells 128^3": (vessels_and_shells(128), True),
        "vessels 96^3, noise": (vessels(96, radius=3.0, noise=1.5), True),
        "smooth noise 64^3": ((1 / (1 + np.exp(-smooth / smooth.std()))).astype(np.float32), True),
        "noise 64^3": (rng.random((64, 64, 64)).astype(np.float32), True),
        "noise 1024^2": (rng.random((1024, 1024)).astype(np.float32), True),
        **{f"vessels {size}^3": (walks((size,) * 3), False) for size in (96, 128, 192, 256)},
    }


def main() -> None:
    """Print the table."""
    print("| map | bars | 2 threads | 1 thread | gudhi | gudhi / 2 threads | ns a voxel | bytes a voxel |")  # noqa: T201
    print("|---" * 8 + "|")  # noqa: T201
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "map.npy")
        for name, (p, judged) in maps().items():
            np.save(file, p)
            two, one, *judge = (
                json.loads(
                    subprocess.run(
                        [sys.executable, "-c", ONE, str(file), str(threads)],
                        capture_output=True,
                        check=True,
                        text=True,
                    ).stdout
                )
                for threads in ((2, 1, 0) if judged else (2, 1))
            )
            beside = (
                [f"{judge[0]['seconds']:.2f} s", f"{judge[0]['seconds'] / two['seconds']:.1f}"]
                if judge
                else []
            )
            if judge and judge[0]["bars"] != two["bars"]:
                raise SystemExit(f"{name}: {two['bars']} bars, gudhi has {judge[0]['bars']}")
            took = [f"{found['seconds']:.3f} s" for found in (two, one)]
            per = [f"{two['seconds'] / p.size * 1e9:.0f}", f"{two['bytes'] / p.size:.0f}"]
            cells = [name, f"{two['bars']:,}", *took, *(beside or ["", ""]), *per]
            print(f"| {' | '.join(cells)} |", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
