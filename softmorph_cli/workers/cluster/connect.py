"""Connections to a running Dask cluster, or to a new cluster on this machine, which ends with the connection."""

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

# Seconds for the scheduler to answer, for processes of this machine to start, and for workers to join.
_ANSWER: Final = 10.0
_START: Final = 60.0
PATIENCE: Final = 600.0
_POLL: Final = 0.1
_FILE: Final = ".json"


@dataclass(frozen=True)
class ClusterOptions:
    """Options that choose the Dask cluster: a running scheduler, or processes that are started on this machine.

    Attributes:
        scheduler: Address of a Dask scheduler, or path of the scheduler file (.json) that contains this address; None
            to start a cluster on this machine.
        workers: Number of processes that are started on this machine; None for one per core.
    """

    scheduler: str | None = None
    workers: int | None = None


@contextmanager
def connected(
    options: ClusterOptions,
    *,
    memory: int | None = None,
    threads: int | None = None,
    tell: Callable[[str], None] = lambda message: None,
    patience: float = PATIENCE,
) -> Iterator[Cluster]:
    """Yield an executor for a cluster, and disconnect afterwards; a cluster started on this machine is then shut down.

    Args:
        options: The choice of the cluster.
        memory: For a cluster on this machine: bytes of memory of each process; None for an equal share.
        threads: For a cluster on this machine: number of CPU threads of each process; None for an equal share.
        tell: A callback that is called with notes for the user, such as that no worker has joined yet.
        patience: Seconds to wait for a worker, at the beginning and whenever all workers have left.

    Raises:
        ClusterError: If Dask is not installed, no scheduler answers, no worker joins in time, or a worker has another
            version of softmorph or Python.
        UsageError: If the address is malformed, or fewer than one worker is requested.
    """
    if options.workers is not None and options.workers < 1:
        raise UsageError(f"--workers {options.workers}: at least 1 is needed.")
    if find_spec("distributed") is None:
        raise ClusterError(
            "work on several machines needs Dask, which is not installed; "
            "type: pip install 'softmorph-cli[cluster]'"
        )
    with _quiet():
        opened = _local(options, memory, threads) if options.scheduler is None else _remote(options.scheduler)
        with opened as (client, limit):
            # Cancelled items may still fail; their errors are not printed.
            client.loop.asyncio_loop.set_exception_handler(lambda loop, context: None)
            members = Members(client, *_names(options, client), tell=tell, patience=patience)
            members.wait()
            yield Cluster(client, members, limit)


@contextmanager
def _local(
    options: ClusterOptions, memory: int | None, threads: int | None
) -> Iterator[tuple[Any, int | None]]:
    import dask
    from distributed import Client, LocalCluster

    cores, allowed = machine.threads(), machine.memory()
    count = options.workers or max(1, cores // (threads or 1))
    share = memory or (allowed // count if allowed is not None else None)
    with TemporaryDirectory(prefix="softmorph-") as scratch, ExitStack() as stack:
        # Dask would set variables in this process that are meant for its workers: to use a single thread.
        inherited, own = "distributed.nanny.pre-spawn-environ", "distributed.nanny.environ"
        environment = {**dask.config.get(inherited), **dask.config.get(own)}
        chosen = {"temporary-directory": scratch, inherited: {}, own: environment}
        stack.enter_context(dask.config.set(chosen))
        with block_sigint():
            local = stack.enter_context(
                LocalCluster(
                    # Workers are started below, where an interruption ends them with the cluster.
                    n_workers=0,
                    threads_per_worker=threads or max(1, cores // count),
                    processes=True,
                    # No page in a browser, which other users of this machine could open.
                    dashboard_address="127.0.0.1:0",
                    scheduler_kwargs={"dashboard": False},
                    # Memory is estimated for each item before it runs; Dask would kill workers below that limit.
                    memory_limit=None,
                    silence_logs=logging.CRITICAL,
                    # stdout is for the results of the command: what a library prints goes to stderr.
                    preload=["import os; os.dup2(2, 1)"],
                )
            )
        client = stack.enter_context(Client(local, set_as_default=False))
        local.scale(count)
        # Workers that take longer get items when they join.
        with suppress(TimeoutError):
            client.wait_for_workers(count, timeout=_START)
        yield client, share


@contextmanager
def _remote(scheduler: str) -> Iterator[tuple[Any, int | None]]:
    import asyncio

    from distributed import Client

    address = _address(scheduler)
    try:
        # Asked first, as a client without a scheduler takes long to end.
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
        # Dask warns of different versions of packages; those that matter are refused elsewhere.
        warnings.simplefilter("ignore")
        client = Client(address, timeout=_ANSWER, set_as_default=False)
    with client:
        yield client, None


async def _is_scheduler(address: str) -> bool:
    """Return whether the program that answers at `address` is a Dask scheduler, not a worker or another program."""
    import asyncio

    from distributed import Security, rpc

    given = Security().get_connection_args("client")
    try:
        async with rpc(address, timeout=_ANSWER, connection_args=given) as there:
            # Dask's own timeout covers the connection only, not the answer.
            answer = await asyncio.wait_for(there.identity(), _ANSWER)
    except (
        struct.error,
        MemoryError,
    ):  # the first bytes of another protocol, read as the length of a message
        return False
    # The identity of a worker has no such key.
    return "workers" in answer


def _names(options: ClusterOptions, client: Any) -> tuple[str, str]:
    """Return the name of a cluster for messages, and the advice for the user if the cluster has no worker."""
    if options.scheduler is None:
        return "the local cluster", "try fewer --workers"
    address = client.scheduler.address
    joining = f"--scheduler-file {options.scheduler}" if options.scheduler.endswith(_FILE) else address
    return f"the cluster at {address}", f"start some with: dask worker {joining}"


def _address(scheduler: str) -> str:
    """Return the address of a scheduler; if `scheduler` is the path of a file, wait some seconds until it exists."""
    if not scheduler.endswith(_FILE):
        return scheduler
    path, end = Path(scheduler), time.monotonic() + _ANSWER
    while True:
        try:
            return str(json.loads(path.read_text(encoding="utf-8"))["address"])
        except FileNotFoundError:
            problem = "there is no such file"
        except (OSError, ValueError, KeyError, TypeError):  # or a file that is being written
            problem = "that is no scheduler file"
        if time.monotonic() > end:
            raise ClusterError(
                f"--scheduler {scheduler}: {problem}; write it with: dask scheduler --scheduler-file {scheduler}"
            )
        time.sleep(_POLL)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the log of Dask within the block, so that users see only the messages of this package."""
    import distributed  # noqa: F401  (sets its loggers up)

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
