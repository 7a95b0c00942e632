"""The workers of a cluster: which workers have joined, which have left, and the resources of each worker."""

from __future__ import annotations

import platform
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from softmorph_cli.errors import ClusterError, FileError
from softmorph_cli.workers.cluster.worker import WorkerFacts, facts_of, unseen

_PACKAGE: Final = "softmorph-cli"
_TICK: Final = 1.0


class Members:
    """The usable workers of a cluster: those with the right versions, which can access the folders of the command.

    Args:
        client: A `distributed.Client` that is connected to the cluster.
        name: The name of the cluster in messages.
        remedy: Advice for the user if the cluster has no worker, such as a command to type.
        tell: A callback that is called with notes for the user.
        patience: Seconds to wait for a worker while the cluster has no usable worker.

    Attributes:
        facts: Maps the address of each usable worker to the resources of this worker.
    """

    def __init__(
        self, client: Any, name: str, remedy: str, *, tell: Callable[[str], None], patience: float
    ) -> None:
        self.facts: dict[str, WorkerFacts] = {}
        self._client, self._name, self._remedy = client, name, remedy
        self._tell, self._patience = tell, patience
        self._refused: set[str] = set()
        self._read: list[Path] = []
        self._written: list[Path] = []
        self._updated = 0.0
        self._empty_since: float | None = None

    def wait(self) -> None:
        """Wait until a worker has joined.

        Raises:
            ClusterError: If no worker joins in time, or a worker has another version or cannot access a folder.
        """
        while not (present := self._present()):
            self._keep_waiting("yet")
            time.sleep(min(_TICK, self._patience))
        self._admit(present, strict=True)

    def update(self, *, now: bool = False) -> None:
        """Add workers that have joined and remove workers that have left; at most once a second, unless `now`.

        Raises:
            ClusterError: If the scheduler does not answer, or the cluster has had no worker for `patience` seconds.
        """
        moment = time.monotonic()
        if self.facts and not now and moment - self._updated < _TICK:
            return
        self._updated = moment
        present = self._present()
        for address in [address for address in self.facts if address not in present]:
            del self.facts[address]
        new = [address for address in present if address not in self.facts and address not in self._refused]
        if new:
            self._admit(new, strict=False)
        if not self.facts:
            self._keep_waiting("left")
        else:
            self._empty_since = None

    def check_folders(self, read: Sequence[Path], written: Sequence[Path]) -> None:
        """Check that every worker can access these folders, now and whenever a worker joins.

        Args:
            read: Existing folders or files that the workers read.
            written: Existing folders that the workers write to.

        Raises:
            ClusterError: If a worker cannot access one of the folders or files.
            FileError: If no file can be created in one of the folders `written`.
        """
        self._read, self._written = [path.resolve() for path in read], [path.resolve() for path in written]
        for address, wrong in self._wrong_folders(list(self.facts)).items():
            raise ClusterError(f"{wrong} ({address}).")

    def ask(self, function: Callable[..., Any], *given: Any, of: Sequence[str]) -> dict[str, Any]:
        """Call a function on workers, even on busy ones, and return the values by the address of the worker.

        An exception other than OSError is returned as the value. Workers that have left are missing from the result.

        Args:
            function: The function.
            *given: The arguments of the function.
            of: The addresses of the workers.

        Raises:
            ClusterError: If the scheduler does not answer.
        """
        if not of:
            return {}
        try:
            answers = self._client.run(function, *given, workers=list(of), on_error="return")
        except (OSError, RuntimeError, ValueError) as error:
            raise self._no_scheduler() from error
        return {address: answer for address, answer in answers.items() if not isinstance(answer, OSError)}

    def _present(self) -> list[str]:
        try:
            return list(self._client.nthreads())
        except (OSError, RuntimeError, ValueError) as error:
            raise self._no_scheduler() from error

    def _no_scheduler(self) -> ClusterError:
        return ClusterError(f"{self._name} is gone: its scheduler no longer answers.")

    def _keep_waiting(self, since: str) -> None:
        """Tell the user once that the cluster has no worker; raise an error if this lasts `patience` seconds."""
        moment = time.monotonic()
        if self._empty_since is None:
            self._empty_since = moment
            self._tell(
                f"{self._name} has no worker {since}; waiting up to {_duration(self._patience)} for one."
            )
        if moment - self._empty_since >= self._patience:
            raise ClusterError(
                f"{self._name} has had no worker for {_duration(self._patience)}; {self._remedy}"
            )

    def _admit(self, new: Sequence[str], *, strict: bool) -> None:
        """Add new workers that are usable; raise an error (if `strict`) or tell the user about unusable workers."""
        wrong = self._wrong_versions(new)
        wrong |= self._wrong_folders([address for address in new if address not in wrong])
        found = self.ask(facts_of, of=[address for address in new if address not in wrong])
        for address, one in found.items():
            if isinstance(one, Exception):
                wrong[address] = f"a worker cannot run softmorph: {one}"
            else:
                self.facts[address] = one
        for address, problem in wrong.items():
            if strict:
                raise ClusterError(f"{problem} ({address}).")
            self._refused.add(address)
            self._tell(f"a worker that came later gets no work: {problem} ({address}).")

    def _wrong_versions(self, addresses: Sequence[str]) -> dict[str, str]:
        # By functions of the standard library: those of this package may not be importable there.
        pythons = self.ask(platform.python_version, of=addresses)
        packages = self.ask(version, _PACKAGE, of=addresses)
        found = {
            address: wrong_version(python, packages[address])
            for address, python in pythons.items()
            if address in packages
        }
        return {address: wrong for address, wrong in found.items() if wrong is not None}

    def _wrong_folders(self, addresses: Sequence[str]) -> dict[str, str]:
        with ExitStack() as marks:
            # Another machine may have a different folder of the same name.
            paths = self._read + [marks.enter_context(_marked(folder)) for folder in self._written]
            found = self.ask(unseen, paths, of=addresses if paths else ())
        folders = dict(zip(paths, self._read + self._written, strict=True))
        return {
            address: f"a worker does not see {folders[missing[0]]}; use a folder that all machines share"
            for address, missing in found.items()
            if missing
        }


def wrong_version(python: str, package: str | Exception) -> str | None:
    """Return a message if the versions of Python or softmorph on a worker differ from those here, else None.

    Args:
        python: The version of Python on the worker.
        package: The version of softmorph on the worker, or the exception that asking for this version raised.
    """
    here, own = platform.python_version(), version(_PACKAGE)
    install = f"type there: pip install '{_PACKAGE}[cluster]=={own}'"
    # Pickled functions differ between minor versions of Python.
    if python.rpartition(".")[0] != here.rpartition(".")[0]:
        return f"a worker runs Python {python}, and here it is {here}; use the same on all machines"
    if isinstance(package, Exception):
        return f"a worker has no softmorph; {install}"
    if package != own:
        return f"a worker has softmorph {package}, and here it is {own}; {install}"
    return None


@contextmanager
def _marked(folder: Path) -> Iterator[Path]:
    """Create a file in a folder and yield its path; the file is removed after the block."""
    mark = folder / f".softmorph-{secrets.token_hex(6)}-seen"
    try:
        mark.touch()
    except OSError as error:
        raise FileError(
            f"{folder} cannot be written to ({error.strerror or error}); choose another output folder."
        ) from error
    try:
        yield mark
    finally:
        with suppress(OSError):
            mark.unlink()


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds"
