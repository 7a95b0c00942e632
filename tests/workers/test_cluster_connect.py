"""Connecting to a cluster: what is wrong is reported in one sentence."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

import numpy as np
import pytest
from helpers_workers import folder_and_threads, process_and_threads
from typer.testing import CliRunner

from softmorph_cli.cli.app import app
from softmorph_cli.errors import ClusterError, FileError, UsageError
from softmorph_cli.workers import Lost
from softmorph_cli.workers.cluster import Cluster, ClusterOptions, connect, connected, members
from softmorph_cli.workers.cluster.members import wrong_version

OWN = version("softmorph-cli")


@contextmanager
def started(*command: str, folder: Path, path: str = "") -> Iterator[None]:
    """Run a process of Dask's in another working folder, and end it."""
    inherited = os.environ.get("PYTHONPATH", "")
    changes = {"PYTHONPATH": os.pathsep.join([path, str(Path(__file__).parent), inherited])}
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=os.environ | changes,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield the scheduler file of a running scheduler process."""
    folder = tmp_path_factory.mktemp("scheduler")
    path = folder / "scheduler.json"
    command = (*("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"), "--no-dashboard")
    with started(*command, "--scheduler-file", str(path), folder=folder):
        yield path


def a_worker(scheduler: Path, folder: Path, path: str = "") -> ExitStack:
    options = ("--nthreads", "3", "--memory-limit", "3GB", "--no-dashboard", "--no-nanny")
    stack = ExitStack()
    stack.enter_context(
        started(
            *("distributed.cli.dask_worker", "--scheduler-file", str(scheduler), *options),
            folder=folder,
            path=path,
        )
    )
    return stack


def test_advice_about_schedulers_and_workers(
    scheduler: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(connect, "_ANSWER", 0.1)
    Path("in").mkdir()
    np.save("in/map.npy", np.random.default_rng(0).random((5, 6, 7), dtype=np.float32))

    def typed(*words: object) -> Any:
        return CliRunner().invoke(app, ["batch", "in", "out", "erode", *map(str, words)])

    none = tmp_path / "none.json"
    for words, advice in (
        (("--scheduler", scheduler, "--workers", 2), "with --scheduler leave it out"),
        (("--scheduler", scheduler, "--local-cluster"), "choose one of them"),
        (("--scheduler", "nonsense"), "that dask scheduler --scheduler-file PATH.json writes"),
        (("--scheduler", none), f"write it with: dask scheduler --scheduler-file {none}"),
    ):
        ended = typed(*words)
        assert ended.exit_code
        assert advice in ended.stderr
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    # The commands that the last two messages advise were typed for this scheduler and worker.
    with a_worker(scheduler, tmp_path):
        assert typed("--scheduler", scheduler).exit_code == 0
    assert typed("--local-cluster", "--force").exit_code == 0


def test_a_running_cluster(scheduler: Path, tmp_path: Path) -> None:
    told: list[str] = []
    # The connection is opened before the scheduler file and the workers exist.
    with ExitStack() as stack:
        stack.enter_context(a_worker(scheduler, tmp_path))
        cluster = stack.enter_context(connected(ClusterOptions(str(scheduler)), tell=told.append))
        assert (cluster.workers, cluster.threads) == (1, 3)
        # The worker is ended at 95 %, and something is in its memory already.
        assert cluster.memory is not None
        assert 2e9 < cluster.memory < 0.95 * 3e9
        assert dict(cluster.map_unordered(folder_and_threads, iter([0]))) == {0: (str(tmp_path), "3")}
        assert all("waiting up to 10 minutes" in message for message in told)
        # The address of a worker is not that of a scheduler.
        worker = next(iter(cluster._members.facts))
        with pytest.raises(ClusterError, match="is no Dask scheduler"), connected(ClusterOptions(worker)):
            pass

        seen, own = tmp_path / "seen", tmp_path / "own"
        seen.mkdir()
        own.mkdir()
        cluster.check_folders([seen], [own])
        assert list(own.iterdir()) == []
        with pytest.raises(
            ClusterError, match=f"does not see {tmp_path / 'none'}; use a folder that all machi"
        ):
            cluster.check_folders([seen, tmp_path / "none"])
        with pytest.raises(FileError, match="cannot be written to"):
            cluster.check_folders([], [tmp_path / "none"])
        cluster.check_folders([seen], [own])

        # A worker of another version joins: it gets no items, and the others go on.
        other = tmp_path / "softmorph_cli-0.0.1.dist-info"
        other.mkdir()
        (other / "METADATA").write_text("Metadata-Version: 2.1\nName: softmorph-cli\nVersion: 0.0.1\n")
        told.clear()
        stack.enter_context(a_worker(scheduler, tmp_path, str(tmp_path)))
        end = time.monotonic() + 30
        while not told:
            assert time.monotonic() < end
            assert len(list(cluster.map_unordered(folder_and_threads, iter([0])))) == 1
            time.sleep(0.1)
        assert cluster.workers == 1
        assert f"gets no work: a worker has softmorph 0.0.1, and here it is {OWN}" in told[0]
        # A new connection is refused at once.
        with (
            pytest.raises(
                ClusterError, match=r"has softmorph 0\.0\.1.*pip install 'softmorph-cli\[cluster\]=="
            ),
            connected(ClusterOptions(str(scheduler))),
        ):
            pass


def test_a_folder_of_the_same_name_on_another_disk_is_refused(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def on_this_machine(folder: Path) -> Iterator[Path]:
        yield folder / "missing"

    monkeypatch.setattr(members, "_marked", on_this_machine)
    with pytest.raises(ClusterError, match=f"does not see {tmp_path}; use a folder that all machines share"):
        cluster.check_folders([], [tmp_path])
    monkeypatch.undo()
    cluster.check_folders([])


def test_a_cluster_without_workers(scheduler: Path) -> None:
    told: list[str] = []
    with (
        pytest.raises(
            ClusterError, match=f"no worker for 0 seconds; start some with: dask worker --sch.* {scheduler}"
        ),
        connected(ClusterOptions(str(scheduler)), tell=told.append, patience=0.2),
    ):
        pass
    assert len(told) == 1
    assert "has no worker yet; waiting up to 0 seconds" in told[0]


@pytest.mark.parametrize(
    ("scheduler", "error", "says"),
    [
        (
            "127.0.0.1:1",
            ClusterError,
            "no Dask scheduler answers at 127.0.0.1:1; start one with: dask scheduler",
        ),
        ("node 7", UsageError, "that is no address; use one such as tcp://node1:8786"),
        ("http://127.0.0.1:8786", UsageError, "that is no address"),
        ("", UsageError, "that is no address"),
        (
            "none.json",
            ClusterError,
            "there is no such file; write it with: dask scheduler --scheduler-file none.json",
        ),
        ("other.json", ClusterError, "that is no scheduler file"),
    ],
)
def test_no_scheduler_answers(
    scheduler: str, error: type[Exception], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(connect, "_ANSWER", 0.2)
    Path("other.json").write_text(json.dumps({"addresses": []}))
    with pytest.raises(error, match=f"--scheduler {scheduler}: {says}"), connected(ClusterOptions(scheduler)):
        pass


@pytest.mark.parametrize(
    ("first", "says"),
    [
        (
            b"SSH-2.0-OpenSSH_9.6\r\n",
            "what answers at .* is no Dask scheduler; give the address that dask sch",
        ),
        (bytes(64), "what answers at .* is no Dask scheduler"),
        (b"", "no Dask scheduler answers"),  # accepts, and does not answer
    ],
)
def test_another_program_answers(first: bytes, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "_ANSWER", 0.5 if not first else 10.0)
    with socket.create_server(("127.0.0.1", 0)) as listening, ExitStack() as accepted:

        def accept() -> None:
            with suppress(OSError):  # when the test is over
                while True:
                    accepted.enter_context(listening.accept()[0]).sendall(first)

        threading.Thread(target=accept, daemon=True).start()
        address = f"tcp://127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(ClusterError, match=says), connected(ClusterOptions(address)):
            pass


def test_dask_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(ClusterError, match=r"not installed; type: pip install 'softmorph-cli\[cluster\]'"),
        connected(ClusterOptions()),
    ):
        pass


def test_zero_workers_are_refused() -> None:
    with pytest.raises(UsageError, match="--workers 0: at least 1"), connected(ClusterOptions(workers=0)):
        pass


def test_versions() -> None:
    major, minor, _ = python_version().split(".")
    assert wrong_version(python_version(), OWN) is None
    assert wrong_version(f"{major}.{minor}.99", OWN) is None
    assert f"runs Python {major}.99.1" in (wrong_version(f"{major}.99.1", OWN) or "")
    assert "has softmorph 0.0.1" in (wrong_version(python_version(), "0.0.1") or "")
    assert "has no softmorph" in (wrong_version(python_version(), ModuleNotFoundError()) or "")


@pytest.mark.linux
def test_a_local_cluster_removes_its_files_and_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with connected(ClusterOptions(workers=1), memory=10**9, threads=2) as cluster:
        assert (cluster.workers, cluster.threads, cluster.memory) == (1, 2, 10**9)
        assert len(list(tmp_path.iterdir())) == 1
        ((_, found),) = cluster.map_unordered(process_and_threads, iter([0]))
        assert not isinstance(found, Lost)
        process, threads = found
        assert threads == "2"
    assert list(tmp_path.iterdir()) == []
    assert not Path(f"/proc/{process}").exists()
