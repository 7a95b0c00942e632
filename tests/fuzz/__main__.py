"""Mutated files of every format, read by softmorph, each case the same at each run.

python tests/fuzz --cases 1000 runs so many, shared out over the seeds; python tests/fuzz NAME NUMBER runs one and
leaves its files.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

# The package beside these tests, wherever another is installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
# What all tests share.
sys.path.insert(1, str(Path(__file__).resolve().parents[1]))
# Before any library counts its threads.
os.environ |= {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}

from helpers_faults import PLANTED, planted
from helpers_mutations import case
from helpers_seeds import Seed, seeds
from helpers_targets import check
from helpers_watch import Case, Limits, Report, made, watch


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python tests/fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", nargs="?", help="a seed, such as nrrd-gzip")
    parser.add_argument("number", nargs="?", type=int, help="the number of one of its cases; 0 is intact")
    parser.add_argument("--cases", type=int, default=500, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the number of the first case of each seed")
    parser.add_argument("--only", default="", help="only seeds whose name begins so, such as tiff")
    parser.add_argument("--seconds", type=float, default=Limits.seconds, help="after which a case hangs")
    parser.add_argument("--plant", action="store_true", help="plant a fault of each kind in cases of a seed")
    parser.add_argument("--json", action="store_true")
    told = parser.parse_args()
    found = {seed.name: seed for seed in made(seeds)}
    if told.name is not None and told.number is not None:
        cases = [(found[told.name], told.number)]
        _leave(*cases[0])
    else:
        chosen = [seed for seed in found.values() if seed.name.startswith(told.only)]
        count = len(PLANTED) + 2 if told.plant else told.cases
        cases = [(chosen[at % len(chosen)], told.first + at // len(chosen)) for at in range(count)]
    _warm()
    report = watch(cases, Limits(seconds=told.seconds), planted if told.plant else check)
    sys.stdout.write(json.dumps(vars(report)) if told.json else _text(report, cases))
    sys.exit(bool(report.faults))


def _leave(seed: Seed, number: int) -> None:
    folder = Path(tempfile.mkdtemp(prefix="softmorph-fuzz-"))
    for name, content in case(seed, number).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    sys.stdout.write(f"{folder / seed.main} {dict(seed.options) or ''}\n")


def _warm() -> None:
    """Import once what each process would."""
    import h5py
    import highdicom
    import nibabel
    import SimpleITK
    import tifffile
    import zarr

    import softmorph_cli.cli.app

    _ = (h5py, highdicom, nibabel, SimpleITK, tifffile.TIFF.DECOMPRESSORS, zarr, softmorph_cli.cli.app)


def _text(report: Report, cases: list[Case]) -> str:
    lines = report.refusals if len(cases) == 1 else []
    lines += [
        f"{fault.kind}: {fault.text}\n    python tests/fuzz {name} {number}"
        for name, number, fault in report.faults
    ]
    return "\n".join([*lines, f"{report.cases} cases, {report.read} read, {len(report.faults)} faults", ""])


main()
