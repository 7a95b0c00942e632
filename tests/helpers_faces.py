"""A contract of import-linter: other packages import what is in a package's `__all__`, and no other module of it."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class FacesContract(Contract):
    """Each package below `root` states its face in `__all__` of its `__init__.py`.

    A face holds at most `most` names: classes, functions, or whole modules. From outside a package, only the package
    itself and the modules among those names can be imported.
    """

    type_name = "faces"
    root = fields.StringField()
    most = fields.IntegerField()

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Find packages whose face is too large, and imports that reach behind a face."""
        root = str(self.root)
        faces = {
            package: face_of(package)
            for package in sorted(graph.modules)
            if package.startswith(f"{root}.") and graph.find_children(package)
        }
        large = {package: len(face) for package, face in faces.items() if len(face) > self.most}  # type: ignore[operator]
        behind = sorted(
            (importer, module)
            for module in graph.modules
            for importer in graph.find_modules_that_directly_import(module)
            if (package := hidden_by(module, importer, faces)) is not None and importer != package
        )
        return ContractCheck(kept=not (large or behind), metadata={"large": large, "behind": behind})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print each package and each import that break the contract."""
        for package, count in check.metadata["large"].items():
            output.print_error(f"{package} has a face of {count} names")
        for importer, module in check.metadata["behind"]:
            output.print_error(f"{importer} imports {module}, which is not in the face of its package")


def face_of(package: str) -> set[str]:
    """Return the names in `__all__` of a package, which is not imported."""
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    for node in ast.walk(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


def hidden_by(module: str, importer: str, faces: dict[str, set[str]]) -> str | None:
    """Return the package that hides a module from an importer, or None."""
    parts = module.split(".")
    for depth in range(2, len(parts)):
        package = ".".join(parts[:depth])
        inside = importer == package or importer.startswith(f"{package}.")
        if not inside and parts[depth] not in faces.get(package, set()):
            return package
    return None
