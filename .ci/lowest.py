"""Print pip constraints: the lowest version of each dependency that pyproject.toml allows, except torch's."""

import re
import tomllib
from pathlib import Path

# Its old builds for Linux bring gigabytes of CUDA with them.
NEWEST = {"torch"}

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
for dependency in project["dependencies"]:
    name, lowest = re.fullmatch(r"([\w-]+)>=([\w.]+).*", dependency).groups()
    if name not in NEWEST:
        print(f"{name}=={lowest}")  # noqa: T201
