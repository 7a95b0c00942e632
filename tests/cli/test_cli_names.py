"""Files of every type may have any name; one module makes names printable."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from helpers_cli import ESCAPE, run

NAMES = (os.fsdecode(b"a\xff"), f"{ESCAPE}]0;owned\x07", "a$\\frac$b", "a\nb", "[red]a[bold]")


@pytest.mark.parametrize("stem", NAMES, ids=ascii)
def test_files_of_every_type_may_have_any_name(stem: str) -> None:
    image = np.zeros((9, 12), np.float32)
    image[4, 2:10] = 0.9
    np.save("map.npy", image)
    for suffix in (".nii.gz", ".tif", ".ome.tif", ".nrrd", ".mha", ".npy", ".png", ".zarr"):
        run("erode", "map.npy", stem + suffix, "-q", "--json-file", "s.json", "--force")
        # What any reader of JSON takes: it has no halves of surrogate pairs.
        json.loads(Path("s.json").read_text())["output"]["path"].encode()
        run("info", stem + suffix, "--json").json["input"]["path"].encode()
    name = stem + ".nii.gz"
    pages = ("--report", "r.html", "--graphml", "g.xml", "--swc", "s.swc")
    run("inspect", name, *pages, "--preview", "p.png", "--levels", 0)
    for written in pages[1::2]:
        assert ESCAPE not in Path(written).read_bytes().decode()
    ended = run("topology", "numbers", name, "--plot", "t.png")
    assert ESCAPE not in ended.out + ended.err
