"""Batches in real processes, which are watched, interrupted and killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_cli import complaint, environment, load, process, run, save
from helpers_folders import GOOD, SHAPE, batch, blob, counts, lines, results, written

# From here on in real processes, which are watched and killed.


@contextmanager
def watched(folder: str = "out") -> Iterator[list[str]]:
    """Look at every file in the folder, again and again; yields what was found half-written."""
    wrong: list[str] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            for path in written(folder):
                try:
                    if load(path).shape != SHAPE:
                        wrong.append(path.name)
                except FileNotFoundError:
                    pass
                except Exception as error:
                    wrong.append(f"{path.name}: {error!r}")
            time.sleep(0.002)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield wrong
    finally:
        ended.set()
        thread.join()


@contextmanager
def begun(*arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    """A batch in a process of its own; killed at the end, if need be."""
    command = [sys.executable, "-m", "softmorph_cli", "batch", *map(str, arguments)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def until(condition: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def workers(pid: int) -> list[int]:
    """Return the processes of a batch that do its work, whichever of its threads started them."""
    listed = [
        child for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()
    ]
    return [
        int(child)
        for child in listed
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]  # fmt: skip


@pytest.fixture
def many(source: Path) -> list[str]:
    """So many files that they take a second or two."""
    names = [f"more_{number:02d}.nii.gz" for number in range(24)]
    for number, name in enumerate(names):
        save(source / name, blob(100 + number))
    return [*GOOD, *names]


# Long for so small a map.
SLOW = "dilate:iterations=4000"


@pytest.mark.linux
def test_killed_half_way_and_resumed(source: Path, many: list[str]) -> None:
    run("batch", "in", "undisturbed", SLOW)
    with watched() as wrong:
        with begun("in", "out", SLOW) as running:
            until(lambda: len(written()) >= 4)
            children = workers(running.pid)
            running.send_signal(signal.SIGKILL)
            running.wait(10)
        assert children
        until(lambda: not any(map(alive, children)), 10)
        assert 4 <= len(results()) < len(many)
        ended = process("batch", "in", "out", SLOW, "--resume", "--json")
        assert ended.code == 0, ended.err
        assert ended.json["counts"]["skipped"] >= 2
        assert ended.json["counts"]["done"] + ended.json["counts"]["skipped"] == len(many)
    assert wrong == []
    assert results() == results("undisturbed")
    assert not [path.name for path in Path("out").iterdir() if path.name.startswith(".")]


@pytest.mark.linux
@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_interrupted(source: Path, many: list[str], number: int, code: int, word: str) -> None:
    with watched() as wrong:
        with begun("in", "out", SLOW) as running:
            until(lambda: len(written()) >= 2)
            children = workers(running.pid)
            running.send_signal(number)
            out, err = running.communicate(timeout=10)
        assert running.returncode == code
        assert out == b""
        assert word in complaint(err.decode())
        assert not any(map(alive, children))
        assert not [path.name for path in Path("out").iterdir() if path.name.startswith(".")]
        assert all(line["state"] in ("batch", "begun", "done") for line in lines())
        finished = {line["output"] for line in lines() if line["state"] == "done"}
        assert finished <= set(results())
        ended = process("batch", "in", "out", SLOW, "--resume", "--json")
        assert ended.json["counts"]["skipped"] == len(finished)
    assert wrong == []
    assert set(results()) == set(many)


@pytest.mark.linux
@pytest.mark.parametrize("options", [[], ["--local-cluster", "--workers", "2"]])
def test_ctrl_c_reaches_a_whole_terminal(source: Path, many: list[str], options: list[str]) -> None:
    """The terminal sends the signal to the workers too: one error is printed, and the bar removed."""
    import pty

    terminal, other_end = pty.openpty()
    command = [sys.executable, "-m", "softmorph_cli", "batch", "in", "out", SLOW, *options]
    Path("tmp").mkdir()
    running = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=other_end,
        start_new_session=True,
        env=environment({"TMPDIR": str(Path("tmp").absolute())}),
    )
    os.close(other_end)
    shown = bytearray()

    def read() -> None:
        while True:
            try:
                part = os.read(terminal, 4096)
            except OSError:
                return
            shown.extend(part)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        until(lambda: b" of 30 files" in shown and written())
        children = workers(running.pid)
        os.killpg(running.pid, signal.SIGINT)
        running.wait(10)
    finally:
        running.kill()
        running.wait()
        reader.join(10)
        os.close(terminal)
        assert running.stdout is not None
        running.stdout.close()
    assert running.returncode == 130
    words = shown.decode()
    assert "Traceback" not in words
    assert words.count("error:") == 1
    assert words.rfind("\x1b[?25h") >= words.rfind("\x1b[?25l")
    assert children
    assert not any(map(alive, children))
    assert not list(Path("tmp").iterdir())
    assert not [path.name for path in Path("out").iterdir() if path.name.startswith(".")]


@pytest.mark.linux
def test_a_worker_is_killed(source: Path, many: list[str]) -> None:
    with begun("in", "out", SLOW, "--workers", "2", "--json") as running:
        until(lambda: len(written()) >= 2)
        os.kill(workers(running.pid)[0], signal.SIGKILL)
        out, err = running.communicate(timeout=60)
    assert running.returncode == 1
    found = json.loads(out)
    failed = [one for one in found["files"] if one["status"] == "failed"]
    assert len(failed) == 1
    assert "was killed (SIGKILL)" in failed[0]["error"]["message"]
    assert "use fewer --workers, or cut out a part with --region." in failed[0]["error"]["message"]
    assert failed[0]["input"]["path"] in complaint(err.decode())
    assert found["counts"]["done"] == len(many) - 1
    run("chain", failed[0]["input"]["path"], "part.nii.gz", "erode", "--region", "0:4,:,:")
    ended = process("batch", "in", "out", SLOW, "--workers", "1", "--resume", "--json")
    assert counts(ended) == {"done": 1, "skipped": len(many) - 1}


@pytest.mark.linux
def test_a_worker_of_a_cluster_is_killed(source: Path) -> None:
    """No result is lost, and no warning printed."""
    with (
        watched() as wrong,
        begun("in", "out", SLOW, "--local-cluster", "--workers", "2", "--json", "--quiet") as running,
    ):
        until(written)
        os.kill(workers(running.pid)[0], signal.SIGKILL)
        out, err = running.communicate(timeout=60)
    assert running.returncode == 0
    # What was compiled by the way is all there may be.
    assert [line for line in err.decode().splitlines() if not line.startswith("compiling ")] == []
    assert json.loads(out)["counts"]["done"] == len(GOOD)
    assert wrong == []
    assert set(results()) == set(GOOD)
    assert not [path.name for path in Path("out").iterdir() if path.name.startswith(".")]


def test_two_at_once(source: Path, many: list[str]) -> None:
    with begun("in", "out", SLOW) as running:
        until(lambda: written())
        sentence = complaint(batch(SLOW, "--resume", code=1).err)
        assert sentence.startswith(f"another batch (process {running.pid} on ")
        assert "writing to out" in sentence
        running.communicate(timeout=60)
    assert running.returncode == 0
    assert set(results()) == set(many)


@pytest.mark.linux
def test_the_output_folder_is_full(source: Path, many: list[str]) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    Path("out").mkdir()
    small = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", "out"]
    if subprocess.run(small, capture_output=True, check=False).returncode:
        pytest.skip("no file system may be mounted here")
    try:
        for name in many:
            noise = np.random.default_rng(len(name)).random(SHAPE, dtype=np.float32)
            save(source / name, noise)
        ended = process("batch", "in", "out", "dilate")
        assert ended.code == 1
        assert "Traceback" not in ended.err
        last = ended.err.splitlines()[-1]
        assert "No space left" in last or "disk is full" in last
        assert "--resume" in ended.err
        whole = written()
        assert whole
        assert all(load(path).shape == SHAPE for path in whole)
        assert not [path.name for path in Path("out").iterdir() if path.name.startswith(".")]
        subprocess.run(["mount", "-o", "remount,size=8m", "out"], check=True)
        ended = process("batch", "in", "out", "dilate", "--resume", "--json")
        assert ended.code == 0, ended.err
        assert sum(counts(ended).values()) == len(many)
    finally:
        subprocess.run(["umount", "out"], check=False)


def test_bars_of_workers_that_come_later() -> None:
    from softmorph_cli.cli.batch_progress import _Bars
    from softmorph_cli.pipeline.batch.engine import WorkerStatus

    bars = _Bars(files=9, workers=1)
    try:
        for number in (0, 2, 1):
            bars.sign(WorkerStatus(number, f"case_{number}.npy"))
        shown = [task.description for task in bars.bar.tasks if task.visible]
    finally:
        bars.close()
    assert shown == ["0 of 9 files", "case_0.npy", "case_1.npy", "case_2.npy"]
