"""Options that many commands have."""

from __future__ import annotations

from dataclasses import replace

from softmorph_cli.io.options import WriteOptions
from softmorph_cli.pipeline.outputs import OutputOptions
from softmorph_cli.system.parameters import Parameter, declared

THREADS = Parameter("CPU threads. (default: what affinity, cgroup and SLURM allow)", "N")
OUTPUT_TYPE, FORCE = (
    replace(declared(WriteOptions)[name].about, group=None) for name in ("output_type", "force")
)
JSON_FILE = replace(declared(OutputOptions)["json_file"].about, group=None)
JSON = Parameter("Print one JSON object on stdout: the result, or the error.", flags=("--json",))
QUIET = Parameter(
    "Print no tables, notes or progress: only warnings and errors, and what --json or --csv - prints.",
    flags=("--quiet", "-q"),
)
VERBOSE = Parameter("Print more; show the traceback of an error.", flags=("--verbose", "-v"))
