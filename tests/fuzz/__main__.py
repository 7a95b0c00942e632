"""Mutated files of every format, read by softmorph: python tests/fuzz --cases 1000, or one case: NAME NUMBER."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

# The package beside these tests, wherever another is installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
# Before any library counts its threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MALLOC_ARENA_MAX", "2")

from helpers_faults import PLANTED
from helpers_mutations import case
from helpers_seeds import Seed, seeds
from helpers_targets import check
from helpers_watch import Limits, Report, made, watch


def main() -> None:
    parser = argparse.ArgumentParser(prog="python tests/fuzz", description=__doc__)
    parser.add_argument("name", nargs="?", help="one seed, such as nrrd-gzip")
    parser.add_argument("number", nargs="?", type=int, help="one case of it; 0 is intact")
    parser.add_argument("--cases", type=int, default=500, help="how many, shared out over the seeds")
    parser.add_argument("--first", type=int, default=0, help="the number of each seed's first case")
    parser.add_argument("--only", default="", help="names of seeds begin so")
    parser.add_argument("--keep", type=Path, help="a folder for the files of the one case")
    parser.add_argument("--seconds", type=float, default=Limits.seconds)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--plant", choices=sorted(PLANTED), help="a fault in case 2 of a seed, to be found")
    told = parser.parse_args()
    limits = Limits(seconds=told.seconds)
    all_seeds: list[Seed] = [one for one in made(seeds) if one.name.startswith(told.name or told.only)]
    if told.name and told.number is not None:
        (seed,) = [one for one in all_seeds if one.name == told.name]
        folder = told.keep or Path(tempfile.mkdtemp(prefix="softmorph-fuzz-"))
        for name, content in case(seed, told.number).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        sys.stdout.write(f"{folder / seed.main} {dict(seed.options) or ''}\n")
        cases = [(seed, told.number)]
    else:
        cases = [(all_seeds[at % len(all_seeds)], told.first + at // len(all_seeds)) for at in range(told.cases)]
    _warm()
    report = watch(cases, limits, PLANTED[told.plant] if told.plant else check)
    sys.stdout.write(json.dumps(vars(report)) + "\n" if told.json else _text(report))
    sys.exit(bool(report.faults))


def _warm() -> None:
    """Import what is needed anyway once, and not in each process."""
    import nibabel
    import SimpleITK
    import tifffile
    import zarr

    import softmorph_cli.cli.app

    with_imagecodecs = tifffile.TIFF.COMPRESSORS
    assert nibabel and SimpleITK and zarr and softmorph_cli.cli.app and with_imagecodecs


def _text(report: Report) -> str:
    lines = [f"python tests/fuzz {name} {number}    {fault.kind}: {fault.text}" for name, number, fault in report.faults]
    return "\n".join([*lines, f"{report.cases} cases, {report.read} read, {len(report.faults)} faults", ""])


main()
