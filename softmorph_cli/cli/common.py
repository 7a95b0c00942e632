"""Options that many commands have."""

from __future__ import annotations

from dataclasses import replace

from softmorph_cli.io.options import WriteOptions
from softmorph_cli.system.parameters import Parameter, declared

THREADS = Parameter("CPU threads. (default: what affinity, cgroup and SLURM allow)", "N")
OUTPUT_TYPE, FORCE = (
    replace(declared(WriteOptions)[name].about, group=None) for name in ("output_type", "force")
)
JSON = Parameter("Print one JSON object instead of a table.", first=True)
STATS = Parameter("Write the JSON to a file too.", "PATH.json")
# Of a command whose results are files, and of one that prints them.
SILENT = Parameter("Print nothing but warnings and errors.", flags=("--quiet", "-q"))
QUIET = Parameter("Print nothing but results, warnings and errors.", flags=("--quiet", "-q"))
VERBOSE = Parameter("Show the traceback of an error.", flags=("--verbose", "-v"))
