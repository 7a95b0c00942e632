"""Print pip constraints: the lowest version of each dependency that pyproject.toml allows, except torch's."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
# Its old builds for Linux bring gigabytes of CUDA with them.
NEWEST = {"torch"}

for requirement in map(Requirement, PROJECT["dependencies"]):
    lowest = [one.version for one in requirement.specifier if one.operator == ">="]
    if requirement.name not in NEWEST and lowest:
        print(f"{requirement.name}=={lowest[0]}")  # noqa: T201
