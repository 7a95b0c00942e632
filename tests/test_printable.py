"""Untrusted text in terminals, spreadsheets and JSON."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from softmorph_cli.io.reading import read
from softmorph_cli.io.writing import write
from softmorph_cli.system.files import parse_toml
from softmorph_cli.system.printable import cell, csv_text, message, printable, typed, unicode
from softmorph_cli.volume import Volume

TITLE = "\x1b]0;owned\x07"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("vessels µm × 3 → b", "vessels µm × 3 → b"),
        (TITLE, "?]0;owned?"),
        ("a\nerror: b\r", "a?error: b?"),
        (b"a\xff".decode(errors="surrogateescape"), "a?"),
        ("right\u202eleft", "right?left"),
    ],
)
def test_unprintable_characters_become_question_marks(text: str, shown: str) -> None:
    assert printable(text) == shown
    shown.encode()


@pytest.mark.posix
@pytest.mark.parametrize(
    "name", ["-rf.tif", "a\nb.tif", "\x1b[31m'\\.tif", os.fsdecode(b"\xff.tif"), "µ $(id).tif"]
)
def test_a_quoted_command_names_the_same_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"found")
    line = typed("cat", Path(name))
    assert message(line) == line
    run = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, check=True)
    assert run.stdout == b"found"


def test_a_message_is_one_line_and_its_drawing() -> None:
    assert message("rule a\nb fails:\n    010\n    0\x1b0") == "rule a?b fails:\n    010\n    0?0"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@a", "\t=1", "\r=1"])
def test_formulas_in_cells_are_escaped(text: str) -> None:
    assert cell(text) == f"'{text}"
    assert cell(Path(text)) == f"./{text}"


@pytest.mark.parametrize("value", ["a=1", "", -1.5, -3, None, True])
def test_other_cells_are_unchanged(value: object) -> None:
    assert cell(value) is value


def test_a_table_has_safe_cells_and_lines_that_end_in_a_newline_alone() -> None:
    rows: list[dict[str, object]] = [
        {"file": Path("-a.npy"), "class": "=1+1", "voxels": -3},
        {"class": 'a "b", c', "voxels": None},
    ]
    head, lines = "file,class,voxels\n", './-a.npy,\'=1+1,-3\n,"a ""b"", c",\n'
    assert csv_text(rows, ("file", "class", "voxels")) == head + lines
    assert csv_text(rows, ("file", "class", "voxels"), head=False) == lines


@pytest.mark.parametrize(
    "text", ["x = " + "[" * 5000 + "]" * 5000, "x = " + "9" * 5000, "x = ", "x = 1\nx = 2"]
)
def test_the_reason_of_malformed_toml_is_one_clause(text: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]{5,90}$"):
        parse_toml(text)
    assert parse_toml("x = 1") == {"x": 1}


def ended(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "softmorph_cli", *arguments]
    return subprocess.run(command, capture_output=True, env={**os.environ, **environment}, check=False)


def test_control_characters_in_names_reach_no_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("map.npy", np.eye(7, dtype=np.float32))
    for name in (TITLE + ".npy", os.fsdecode(b"a\xff.npy"), "a\nb.npy"):
        Path(name).write_bytes(Path("map.npy").read_bytes())
        for command in ("info", "stats", "inspect", "erode"):
            more = ["out.npy", "--force"] if command == "erode" else []
            run = ended(command, name, *more, PYTHONIOENCODING="utf-8:strict")
            assert run.returncode == 0, run.stderr
            said = (run.stdout + run.stderr).decode()
            assert "\x1b" not in said
            assert "a\nb" not in said
    name = os.fsdecode(b"a\xff.npy")
    for command, *more in (
        ("evaluate", "--metrics", "dice", name),
        ("topology", "numbers", "--plot", "p.png"),
    ):
        run = ended(command, *more, name, PYTHONIOENCODING="utf-8:surrogateescape")
        assert run.returncode == 0, run.stderr
        assert b"\xff" not in run.stdout + run.stderr
    # Where a locale has no such letters they are replaced.
    assert ended("stats", "map.npy", PYTHONIOENCODING="latin-1").returncode == 0


def test_control_characters_in_rule_titles_reach_no_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = 'title = "\\u001b]0;owned\\u0007"\ndimensions = 2\naction = "delete"\nwhen = "N"\n'
    Path("g.toml").write_text(text)
    run = ended("rules", "./g.toml")
    assert b"?]0;owned?" in run.stdout
    assert b"\x1b" not in run.stdout


def test_names_are_no_formulas_in_any_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    np.save("in/=1+1.npy", np.eye(7, dtype=np.float32))
    assert ended("batch", "in", "out", "erode", "-q").returncode == 0
    monkeypatch.chdir("in")
    assert ended("stats", "=1+1.npy", "--csv", "s.csv").returncode == 0
    assert ended("evaluate", "=1+1.npy", "=1+1.npy", "--csv", "e.csv").returncode == 0
    for table in ("s.csv", "e.csv", "../out/summary.csv"):
        with Path(table).open(newline="") as stream:
            cells = [one for row in csv.reader(stream) for one in row]
        assert any("=1+1.npy" in one for one in cells), table
        assert not any(one.startswith("=") for one in cells), table


def test_unpaired_surrogates_are_replaced_in_json() -> None:
    name = os.fsdecode(b"a\xff.npy")
    assert unicode({name: [name, 1.5, None, ("é", "\U0001f600")]}) == {
        "a\ufffd.npy": ["a\ufffd.npy", 1.5, None, ["é", "\U0001f600"]]
    }


def test_provenance_is_kept_whatever_the_file_name(tmp_path: Path) -> None:
    provenance = {
        "command": "softmorph erode",
        "parameters": {"mask": os.fsdecode(b"m\xff.npy"), "radius": 2.0},
    }
    volume = Volume(np.eye(7, dtype=np.float32), "YX")
    for suffix in (".nii.gz", ".tif", ".ome.tif", ".nrrd", ".mha", ".png", ".zarr"):
        path = tmp_path / f"a{suffix}"
        write(volume, path, provenance=provenance)
        found = read(path).source
        assert found is not None
        assert found.provenance["parameters"] == {"mask": "m\ufffd.npy", "radius": 2.0}, suffix


def test_channel_names_are_printable_in_every_format(tmp_path: Path) -> None:
    image = np.random.default_rng(0).random((2, 5, 7)).astype(np.float32)
    names = (TITLE, "a\x00b")
    write(Volume(image, "CYX", channels=names), tmp_path / "a.zarr")
    found = read(tmp_path / "a.zarr")
    assert found.channels == ("?]0;owned?", "a?b")
    # XML has no place for control characters: an OME-TIFF with them is no OME-TIFF.
    write(found, tmp_path / "a.ome.tif")
    again = read(tmp_path / "a.ome.tif")
    assert again.channels == found.channels
    assert np.array_equal(again.array, image)


@pytest.mark.filterwarnings("default")
def test_warnings_of_libraries_are_printable_where_they_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    from softmorph_cli.cli.command import command

    @command
    def warns(verbose: bool = True) -> None:
        warnings.warn(f"about {TITLE}", UserWarning, stacklevel=1)

    shown: list[str] = []
    monkeypatch.setattr(warnings, "showwarning", lambda message, *rest: shown.append(str(message)))
    warns(verbose=True)
    assert shown == ["about ?]0;owned?"]


def test_progress_messages_are_printable(capsys: pytest.CaptureFixture[str]) -> None:
    from softmorph_cli.cli.progress import MINUTE, Lines

    lines = Lines()
    lines.last -= MINUTE + 1
    lines.update(f"{TITLE}.nii (3 of 10)", 3, 10)
    assert capsys.readouterr().err == "?]0;owned?.nii (3 of 10)\n"
