"""The contract of packages' faces, on a small package drawn up for it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

pytest.importorskip("importlinter", reason="import-linter is in the extra 'lint'")

import grimp
from helpers_faces import FacesContract, face_of

FILES = {
    "__init__.py": "",
    "low/__init__.py": '__all__ = ["shown"]\n',
    "low/shown.py": "from drawn_up.low import inner\n",
    "low/inner.py": "",
    "low/deep/__init__.py": '__all__ = ["leaf"]\n',
    "low/deep/leaf.py": "",
    "high/__init__.py": "",
    "high/user.py": "from drawn_up.low import shown\n",
}


def _violations(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    changed: Mapping[str, str] = MappingProxyType({}),
    most: int = 10,
) -> tuple[dict[str, int], list[tuple[str, str]]]:
    # Earlier tests imported a package of this name.
    for loaded in [name for name in sys.modules if name.split(".")[0] == "drawn_up"]:
        monkeypatch.delitem(sys.modules, loaded)
    for name, text in {**FILES, **changed}.items():
        path = folder / "drawn_up" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(folder)
    contract = FacesContract("faces", {}, {"root": "drawn_up", "most": str(most)})
    found = contract.check(grimp.build_graph("drawn_up", cache_dir=None), verbose=False).metadata
    return found["large"], found["behind"]


def test_the_face_and_the_packages_own_modules_can_be_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _violations(tmp_path, monkeypatch) == ({}, [])


@pytest.mark.parametrize(
    ("line", "module"),
    [
        ("from drawn_up.low import inner\n", "drawn_up.low.inner"),
        ("from drawn_up.low.inner import something\n", "drawn_up.low.inner"),
        ("import drawn_up.low.inner\n", "drawn_up.low.inner"),
        # Not in the face of `low`, though in that of `low.deep`.
        ("from drawn_up.low.deep import leaf\n", "drawn_up.low.deep.leaf"),
    ],
)
def test_an_import_behind_a_face_is_found(
    line: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind = _violations(tmp_path, monkeypatch, {"high/user.py": line})[1]
    assert behind == [("drawn_up.high.user", module)]


def test_a_large_face_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = {"low/__init__.py": '__all__ = ["shown", "deep"]\n'}
    large = _violations(tmp_path, monkeypatch, changed, most=1)[0]
    assert large == {"drawn_up.low": 2}


def test_a_face_is_read_from_the_source() -> None:
    assert face_of("softmorph_cli.workers.cluster") == {"Cluster", "ClusterOptions", "connected"}
