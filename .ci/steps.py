"""The steps of the checks; `.ci/run` and `.github/workflows/ci.yml` both call them.

    python .ci/steps.py STEP...

`readme`, `tests`, `coverage` and `lint` follow each other in one fresh environment, `lowest` has one of its own. What
README.md says to type is read from it. Every command runs in a copy of the working tree.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# What earlier runs left in the working tree.
LEFT_BEHIND = shutil.ignore_patterns(
    ".git", ".venv", "build", "dist", "*.egg-info", "__pycache__", ".*_cache"
)
# Their lowest versions are not tried: old builds of torch for Linux bring gigabytes of CUDA with them.
NEWEST = {"torch"}
PARALLEL = ("-n", "auto", "--dist", "loadfile")
# Seven minutes of two cores that reach most of the package.
QUICK = [
    *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "tests").glob("test_*.py"))),
    *(
        f"tests/{room}"
        for room in (
            "rules",
            "skeleton",
            "io",
            "pipeline",
            "plots",
            "topology",
            "bench",
            "metrics",
            "losses",
            "completion",
        )
    ),
    *(
        f"tests/cli/test_cli_{name}.py"
        for name in (
            "batch",
            "commands",
            "chain",
            "classes",
            "evaluate_folders",
            "inspect",
            "inspect_many",
            "inspect_report",
            "interpolate",
            "prior",
            "steps",
        )
    ),
]
# They read, measure and run commands, which is what depends on the versions of other packages.
OLD = [f"tests/{room}" for room in ("io", "skeleton", "metrics", "topology")] + [
    f"tests/cli/test_cli_{name}.py"
    for name in ("bad_input", "classes", "commands", "evaluate", "inspect", "statistics", "topology", "units")
]


class Environment:
    """A virtual environment, with a copy of the working tree beside it in which commands run."""

    def __init__(self, folder: Path) -> None:
        self.tree = folder / "softmorph"
        shutil.copytree(ROOT, self.tree, ignore=LEFT_BEHIND)
        subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
        programs = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
        self.variables = {
            **os.environ,
            "PATH": os.pathsep.join([str(programs), os.environ["PATH"]]),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_QUIET": "1",
            # Kernels are compiled anew, as on a first run.
            "SOFTMORPH_CACHE_DIR": str(folder / "cache"),
        }

    def run(self, *command: str) -> None:
        """Run a command, and exit if it fails."""
        print("$", shlex.join(command), flush=True)
        # Windows would look it up on this process's own PATH.
        program = shutil.which(command[0], path=self.variables["PATH"])
        if program is None:
            sys.exit(f"{command[0]}: command not found")
        code = subprocess.run(
            [program, *command[1:]], cwd=self.tree, env=self.variables, check=False
        ).returncode
        if code:
            sys.exit(f"{shlex.join(command)}: exit status {code}")

    def run_line(self, line: str) -> None:
        """Run a line of a shell: commands with && between them, perhaps followed by a comment."""
        for part in line.split("&&"):
            if command := shlex.split(part, comments=True):
                self.run(*command)


def documented(heading: str) -> list[str]:
    """Return the lines of the first code block under a heading of README.md."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(rf"^## {heading}\n.*?^```\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    if found is None:
        sys.exit(f"README.md has no code block under {heading!r}")
    return found[1].splitlines()


def lowest_versions() -> str:
    """Return pip constraints: the lowest version of each dependency that pyproject.toml allows."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = [re.match(r"([\w-]+)>=([\w.]+)", dependency) for dependency in project["dependencies"]]
    if not all(found):
        sys.exit("pyproject.toml has a dependency without a lowest version")
    return "".join(f"{one[1]}=={one[2]}\n" for one in found if one and one[1] not in NEWEST)


class Steps:
    """The steps by name; an environment is made by the first step that needs it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def _newest(self) -> Environment:
        return Environment(self._folder / "newest")

    def readme(self) -> None:
        """Install it and make the first skeleton, as README.md says under Start."""
        for line in documented("Start"):
            self._newest.run_line(line)

    def tests(self) -> None:
        """Run all tests with the newest versions, as README.md says under Develop."""
        self._newest.run_line(self._developing("pytest"))

    def coverage(self) -> None:
        """Run a quick part of the tests, and compare its coverage with the floor in pyproject.toml."""
        here = self._newest
        here.run("python", "-m", "pip", "install", ".[test]")
        # Without "=" the first test would be taken for what is measured.
        here.run("python", "-m", "pytest", *PARALLEL, "--cov=softmorph_cli", *QUICK)

    def lint(self) -> None:
        """Run the linters, as README.md says under Develop."""
        self._newest.run_line(self._developing("ruff"))

    def lowest(self) -> None:
        """Run the tests of reading, measuring and commands with the lowest versions."""
        here = Environment(self._folder / "lowest")
        (here.tree / "lowest.txt").write_text(lowest_versions(), encoding="utf-8")
        here.run("python", "-m", "pip", "install", "--constraint", "lowest.txt", ".[test]")
        # Newer versions of other packages deprecate what these call; and SimpleITK before 2.5.6 judges one space of
        # NRRD wrongly.
        wrong = "tests/io/test_stored.py::test_spaces_of_nrrd[left-anterior-superior-wanted4-]"
        here.run(
            "python", "-m", "pytest", *PARALLEL, "-W", "ignore::DeprecationWarning", "--deselect", wrong, *OLD
        )  # fmt: skip

    @staticmethod
    def _developing(program: str) -> str:
        (line,) = (one for one in documented("Develop") if program in one)
        return line


def main() -> None:
    """Run the steps named on the command line."""
    names = [name for name in vars(Steps) if not name.startswith("_")]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("steps", nargs="+", choices=names, metavar="STEP", help=", ".join(names))
    began = time.monotonic()
    # Windows may still hold a library open that a process before has loaded.
    with tempfile.TemporaryDirectory(prefix="softmorph-ci-", ignore_cleanup_errors=True) as folder:
        steps = Steps(Path(folder))
        for name in parser.parse_args().steps:
            minutes, seconds = divmod(int(time.monotonic() - began), 60)
            step = getattr(steps, name)
            print(f"== {name}, after {minutes} min {seconds} s: {step.__doc__}", flush=True)
            step()
    minutes, seconds = divmod(int(time.monotonic() - began), 60)
    print(f"== the end, after {minutes} min {seconds} s")


if __name__ == "__main__":
    main()
