"""stdout has results, stderr the rest; tables, colours and bars are drawn on terminals only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers_cli import BOXES, ESCAPE, environment, process, random_map, run, save

from softmorph_cli.cli.progress import reporting
from softmorph_cli.filters.settings import Progress


def on_terminal(
    *arguments: object, changes: dict[str, str | None] | None = None, columns: int = 100
) -> tuple[int, str]:
    """Run with a pseudo-terminal as stdout and stderr; return the exit status and what was shown."""
    import fcntl
    import pty
    import struct
    import termios

    terminal, other_end = pty.openpty()
    fcntl.ioctl(other_end, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "softmorph_cli", *map(str, arguments)],
        stdin=other_end,
        stdout=other_end,
        stderr=other_end,
        env=environment({"TERM": "xterm-256color", "COLUMNS": None, **(changes or {})}),
    )
    os.close(other_end)
    shown = b""
    try:
        while True:
            try:
                part = os.read(terminal, 4096)
            except OSError:  # nobody holds the other end any more
                break
            if not part:
                break
            shown += part
        process.wait(60)
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
    return process.returncode, shown.decode().replace("\r\n", "\n")


@pytest.fixture
def volume() -> Path:
    return save("in.nii.gz", random_map())


@pytest.mark.posix
def test_a_table_on_a_terminal(volume: Path) -> None:
    code, shown = on_terminal("erode", volume, "out.nii.gz")
    assert code == 0
    assert "─" in shown
    for words in (
        "erode → out.nii.gz",
        "before",
        "after",
        "expected volume (mm³)",
        "26-connected",
        "1 iteration",
    ):
        assert words in shown


@pytest.mark.posix
def test_colour_of_an_error(volume: Path) -> None:
    code, shown = on_terminal("stats", "missing.nii.gz")
    assert code == 1
    assert f"{ESCAPE}[" in shown
    code, shown = on_terminal("stats", "missing.nii.gz", changes={"NO_COLOR": "1"})
    assert shown == "error: missing.nii.gz does not exist.\n"


@pytest.mark.posix
def test_no_colour_in_a_table_when_it_is_not_wanted(volume: Path) -> None:
    import re

    _, shown = on_terminal("stats", volume, changes={"NO_COLOR": "1"})
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", shown)


def test_colour_where_it_is_forced() -> None:
    ended = process("stats", "missing.nii.gz", changes={"FORCE_COLOR": "1"})
    assert f"{ESCAPE}[" in ended.err


@pytest.mark.posix
def test_markup_in_a_name_is_a_name() -> None:
    name = "[red]map[bold][.nii.gz"
    save("x.nii.gz", random_map()).rename(name)
    code, shown = on_terminal("erode", name, f"out{name}")
    assert code == 0
    assert f"erode → out{name}" in shown
    code, shown = on_terminal("stats", name)
    assert name in shown
    code, shown = on_terminal("info", name)
    assert name in shown


@pytest.mark.posix
def test_a_narrow_terminal_still_shows_every_number(volume: Path) -> None:
    found = run("stats", volume, "--json").json["statistics"]
    _, shown = on_terminal("stats", volume, columns=50)
    assert f"{found['voxels_above_half']}" in shown
    for volume in (
        found["expected_volume"],
        found["volume_std_independent"],
        found["volume_std_comonotone"],
        *found["volume_quantiles"].values(),
    ):
        assert f"{volume:,.5g}" in shown


@pytest.mark.parametrize("command", ["erode", "stats", "info"])
def test_plain_lines_where_there_is_none(volume: Path, command: str) -> None:
    ended = process(command, volume, *(["out.nii.gz"] if command == "erode" else []))
    for text in (ended.out, ended.err):
        assert ESCAPE not in text
        assert "\r" not in text
        assert not BOXES.search(text)
    assert (ended.out == "") == (command == "erode")
    assert (ended.err == "") == (command != "erode")
    assert all(line == line.rstrip() for line in (ended.out + ended.err).splitlines())


@pytest.mark.posix
def test_quiet_is_quiet(volume: Path) -> None:
    ended = process("erode", volume, "out.nii.gz", "-q", "--json-file", "s.json", "--preview", "p.png")
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    code, shown = on_terminal("erode", volume, "out2.nii.gz", "--quiet")
    assert (code, shown) == (0, "")


def test_quiet_keeps_warnings_and_errors(volume: Path) -> None:
    assert run("erode", volume, "out.npy", "-q").err.startswith("warning: ")
    assert run("erode", volume, "out.npy", "-q", code=1).err.startswith("error: ")
    save("mask.npy", (random_map() > 0.5).astype(np.uint8))
    assert run("erode", "mask.npy", "out2.npy", "-q").err == ""


def test_json_is_alone_on_stdout_with_notes_and_warnings_beside_it() -> None:
    save("mask.npy", (random_map() > 0.5).astype(np.uint8))
    ended = process("erode", "mask.npy", "out.tif", "--json", "--output-type", "uint8")
    document, end = json.JSONDecoder().raw_decode(ended.out)
    assert ended.out[end:] == "\n"
    assert document["schema"] == 2
    assert "note: " in ended.err
    assert "warning: " in ended.err


def test_verbose_prints_more(volume: Path) -> None:
    plain = run("erode", volume, "a.nii.gz").err
    assert len(run("erode", volume, "b.nii.gz", "--verbose").err.splitlines()) > len(plain.splitlines())


@pytest.mark.posix
@pytest.mark.parametrize(
    "line",
    ["rules | head -1", "rules thinning | head -1", "stats in.nii.gz | true", "info | head -1",
     "stats in.nii.gz --json | head -c 1"],
)  # fmt: skip
def test_a_reader_who_leaves_early(volume: Path, line: str) -> None:
    ended = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m softmorph_cli {line}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stderr == ""


@pytest.mark.posix
@pytest.mark.parametrize("closed", ["<&-", "2>&-", ">&-", "<&- >&- 2>&-"])
def test_closed_streams(volume: Path, closed: str) -> None:
    line = f"{sys.executable} -m softmorph_cli erode in.nii.gz out.nii.gz {closed}"
    ended = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert Path("out.nii.gz").is_file()
    assert sorted(os.listdir()) == ["in.nii.gz", "out.nii.gz"]  # noqa: PTH208


@pytest.mark.parametrize(
    "changes",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ],
)
def test_terminals_that_know_no_unicode(volume: Path, changes: dict[str, str | None]) -> None:
    for arguments in (["erode", volume, "out.nii.gz", "--force", "--json"], ["stats", volume]):
        ended = subprocess.run(
            [sys.executable, "-m", "softmorph_cli", *map(str, arguments)],
            env=environment(changes),
            capture_output=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        assert b"Traceback" not in ended.stderr


def told(iteration: int, iterations: int | None = 9, part: int = 1) -> Progress:
    return Progress("erode", iteration, iterations, changed=1234567, part=part, parts=2)


def test_without_a_terminal_progress_is_a_line_a_minute(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [1000.0]
    monkeypatch.setattr("softmorph_cli.cli.progress.time.monotonic", lambda: now[0])
    with reporting(quiet=False) as report:
        assert report is not None
        for second in range(1, 190):
            now[0] = 1000.0 + second
            report(told(second, 500))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        f"erode: iteration {n} of 500, part 1 of 2, 1,234,567 voxels changing" for n in (60, 120, 180)
    ]


def test_quick_runs_and_quiet_ones_have_no_progress(capsys: pytest.CaptureFixture[str]) -> None:
    with reporting(quiet=True) as report:
        assert report is None
    with reporting(quiet=False) as report:
        assert report is not None
        report(told(1))
    assert capsys.readouterr() == ("", "")


def test_a_csv_on_a_terminal_shows_no_control_characters() -> None:
    name = save(f"a{ESCAPE}]0;owned\x07b.npy", random_map())
    for command in ("stats", "inspect"):
        code, shown = on_terminal(command, name, "--csv", "-")
        assert code == 0
        assert f"{ESCAPE}]0;" not in shown
        assert "\x07" not in shown
    # Elsewhere it is the file's name.
    assert f"{ESCAPE}]0;owned\x07b.npy" in run("stats", name, "--csv", "-").out
