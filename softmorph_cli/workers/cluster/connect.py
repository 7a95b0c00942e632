"""Finding a cluster, or starting one here, and leaving nothing of it behind."""

from __future__ import annotations

import json
import logging
import struct
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from softmorph_cli.errors import ClusterError, UsageError
from softmorph_cli.system import machine
from softmorph_cli.system.interruption import block_sigint
from softmorph_cli.workers.cluster.cluster import Cluster
from softmorph_cli.workers.cluster.members import Members

# Seconds: for the scheduler to answer, for processes here to start, and for the first worker elsewhere to come.
_ANSWER: Final = 10.0
_START: Final = 60.0
PATIENCE: Final = 600.0
_LOOK: Final = 0.1
_FILE: Final = ".json"


@dataclass(frozen=True)
class Where:
    """Which cluster.

    Attributes:
        scheduler: Address of a Dask scheduler, or path of its scheduler file (.json); None to start a cluster here.
        workers: How many processes are started here; None for one per core.
    """

    scheduler: str | None = None
    workers: int | None = None


@contextmanager
def connected(
    where: Where,
    *,
    memory: int | None = None,
    threads: int | None = None,
    tell: Callable[[str], None] = lambda message: None,
    patience: float = PATIENCE,
) -> Iterator[Cluster]:
    """Give a cluster; one that was started here ends with the block.

    Args:
        where: Which one.
        memory: Of a cluster that is started here: bytes that each process may take; None for its share.
        threads: Of a cluster that is started here: CPU threads of each process; None for its share.
        tell: Called with what a person may want to know while it takes long.
        patience: Seconds to wait for a worker, at the beginning and whenever all are gone.

    Raises:
        ClusterError: If Dask is not installed, nobody answers, no worker comes, or one that is there cannot do
            the work.
        UsageError: If the address is none, or less than one worker is wanted.
    """
    if where.workers is not None and where.workers < 1:
        raise UsageError(f"--workers {where.workers}: at least 1 is needed.")
    if find_spec("distributed") is None:
        raise ClusterError(
            "work on several machines needs Dask, which is not installed; "
            "type: pip install 'softmorph-cli[cluster]'"
        )
    with _quiet():
        opened = _local(where, memory, threads) if where.scheduler is None else _remote(where.scheduler)
        with opened as (client, limit):
            # Work that nobody waits for any more may still fail; that is no news.
            client.loop.asyncio_loop.set_exception_handler(lambda loop, context: None)
            members = Members(client, *_names(where, client), tell=tell, patience=patience)
            members.wait()
            yield Cluster(client, members, limit)


@contextmanager
def _local(where: Where, memory: int | None, threads: int | None) -> Iterator[tuple[Any, int | None]]:
    import dask
    from distributed import Client, LocalCluster

    cores, allowed = machine.threads(), machine.memory()
    count = where.workers or max(1, cores // (threads or 1))
    share = memory or (allowed // count if allowed is not None else None)
    with TemporaryDirectory(prefix="softmorph-") as scratch, ExitStack() as stack:
        # Dask would tell this process what is meant for its workers: to use a single thread.
        inherited, own = "distributed.nanny.pre-spawn-environ", "distributed.nanny.environ"
        environment = {**dask.config.get(inherited), **dask.config.get(own)}
        chosen = {"temporary-directory": scratch, inherited: {}, own: environment}
        stack.enter_context(dask.config.set(chosen))
        with block_sigint():
            local = stack.enter_context(
                LocalCluster(
                    # They come below, where an interruption finds everything in place.
                    n_workers=0,
                    threads_per_worker=threads or max(1, cores // count),
                    processes=True,
                    # Nothing to look at, and nothing that others could look at.
                    dashboard_address="127.0.0.1:0",
                    scheduler_kwargs={"dashboard": False},
                    # What an item takes is estimated, and refused if it cannot fit; Dask would kill it for less.
                    memory_limit=None,
                    silence_logs=logging.CRITICAL,
                    # The results of a command are on stdout; what a library prints is none.
                    preload=["import os; os.dup2(2, 1)"],
                )
            )
        client = stack.enter_context(Client(local, set_as_default=False))
        local.scale(count)
        # Those that take longer are given work when they come.
        with suppress(TimeoutError):
            client.wait_for_workers(count, timeout=_START)
        yield client, share


@contextmanager
def _remote(scheduler: str) -> Iterator[tuple[Any, int | None]]:
    import asyncio

    from distributed import Client

    address = _address(scheduler)
    try:
        # A client that finds nobody takes its time to end.
        found = asyncio.run(_is_scheduler(address))
    except OSError as error:
        raise ClusterError(
            f"--scheduler {scheduler}: no Dask scheduler answers at {address}; start one with: dask scheduler"
        ) from error
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"--scheduler {scheduler}: that is no address; use one such as tcp://node1:8786, or the path of the "
            "file that dask scheduler --scheduler-file PATH.json writes."
        ) from error
    if not found:
        raise ClusterError(
            f"--scheduler {scheduler}: what answers at {address} is no Dask scheduler; give the address that dask "
            "scheduler prints as its own (not that of a worker, not that of the dashboard)."
        )
    with warnings.catch_warnings():
        # Of other versions somewhere: those that matter are refused.
        warnings.simplefilter("ignore")
        client = Client(address, timeout=_ANSWER, set_as_default=False)
    with client:
        yield client, None


async def _is_scheduler(address: str) -> bool:
    """See whether anybody answers, and whether it is a scheduler."""
    import asyncio

    from distributed import Security, rpc

    given = Security().get_connection_args("client")
    try:
        async with rpc(address, timeout=_ANSWER, connection_args=given) as there:
            # The time limit of Dask ends when somebody takes the call; that one may say nothing.
            said = await asyncio.wait_for(there.identity(), _ANSWER)
    except (struct.error, MemoryError):  # others' first bytes, read as the length of a message
        return False
    # Workers tell who they are, too.
    return "workers" in said


def _names(where: Where, client: Any) -> tuple[str, str]:
    """Return what messages call a cluster, and what to do when it has no worker."""
    if where.scheduler is None:
        return "the local cluster", "try fewer --workers"
    address = client.scheduler.address
    joining = f"--scheduler-file {where.scheduler}" if where.scheduler.endswith(_FILE) else address
    return f"the cluster at {address}", f"start some with: dask worker {joining}"


def _address(scheduler: str) -> str:
    """Return an address; a scheduler file's, where one is named, may come a little late."""
    if not scheduler.endswith(_FILE):
        return scheduler
    path, end = Path(scheduler), time.monotonic() + _ANSWER
    while True:
        try:
            return str(json.loads(path.read_text(encoding="utf-8"))["address"])
        except FileNotFoundError:
            said = "there is no such file"
        except (OSError, ValueError, KeyError, TypeError):  # or half of one
            said = "that is no scheduler file"
        if time.monotonic() > end:
            raise ClusterError(
                f"--scheduler {scheduler}: {said}; write it with: dask scheduler --scheduler-file {scheduler}"
            )
        time.sleep(_LOOK)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask's log from the terminal: what a person has to know comes as our own sentences."""
    import distributed  # noqa: F401  (which sets its loggers up)

    names = ("distributed", "tornado", "tornado.application")
    handlers = {handler for name in names for handler in logging.getLogger(name).handlers}
    before = {handler: handler.level for handler in handlers}
    for handler in handlers:
        handler.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for handler, level in before.items():
            handler.setLevel(level)
