"""Who is there: the workers of a cluster, those that come later, and what each of them may use."""

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
from softmorph_cli.workers.cluster.worker import Facts, facts, unseen

_PACKAGE: Final = "softmorph-cli"
_TICK: Final = 1.0


class Members:
    """The workers that can do the work.

    Args:
        client: Dask's client.
        name: What messages call the cluster.
        remedy: What to do when it has no worker.
        tell: Called with what a person may want to know.
        patience: Seconds to wait for a worker when there is none.
    """

    def __init__(
        self, client: Any, name: str, remedy: str, *, tell: Callable[[str], None], patience: float
    ) -> None:
        """Keep them; nobody is asked yet."""
        self.facts: dict[str, Facts] = {}
        self._client, self._name, self._remedy = client, name, remedy
        self._tell, self._patience = tell, patience
        self._refused: set[str] = set()
        self._read: list[Path] = []
        self._written: list[Path] = []
        self._looked = 0.0
        self._alone_since: float | None = None

    def wait(self) -> None:
        """Wait for the first worker.

        Raises:
            ClusterError: If none comes in time, or one that is there cannot do the work.
        """
        while not (there := self._there()):
            self._be_patient("yet")
            time.sleep(min(_TICK, self._patience))
        self._admit(there, strict=True)

    def look(self, *, now: bool = False) -> None:
        """See who came and who is gone; once a second is enough, unless it is asked for now.

        Raises:
            ClusterError: If the scheduler is gone, or no worker is there for longer than it is waited for.
        """
        moment = time.monotonic()
        if self.facts and not now and moment - self._looked < _TICK:
            return
        self._looked = moment
        there = self._there()
        for address in [address for address in self.facts if address not in there]:
            del self.facts[address]
        new = [address for address in there if address not in self.facts and address not in self._refused]
        if new:
            self._admit(new, strict=False)
        if not self.facts:
            self._be_patient("left")
        else:
            self._alone_since = None

    def check_folders(self, read: Sequence[Path], written: Sequence[Path]) -> None:
        """See whether every worker finds these folders, those of later workers too.

        Raises:
            ClusterError: If one does not.
            FileError: If nothing can be written into one of `written`.
        """
        self._read, self._written = [path.resolve() for path in read], [path.resolve() for path in written]
        for address, wrong in self._wrong_folders(list(self.facts)).items():
            raise ClusterError(f"{wrong} ({address}).")

    def ask(self, function: Callable[..., Any], *given: Any, of: Sequence[str]) -> dict[str, Any]:
        """Return what workers answer, at once and whatever they are doing; one that is gone does not.

        Raises:
            ClusterError: If the scheduler is gone.
        """
        if not of:
            return {}
        try:
            answers = self._client.run(function, *given, workers=list(of), on_error="return")
        except (OSError, RuntimeError, ValueError) as error:
            raise self._gone() from error
        return {address: answer for address, answer in answers.items() if not isinstance(answer, OSError)}

    def _there(self) -> list[str]:
        try:
            return list(self._client.nthreads())
        except (OSError, RuntimeError, ValueError) as error:
            raise self._gone() from error

    def _gone(self) -> ClusterError:
        return ClusterError(f"{self._name} is gone: its scheduler no longer answers.")

    def _be_patient(self, since: str) -> None:
        """Note that nobody is there, and give up at some time."""
        moment = time.monotonic()
        if self._alone_since is None:
            self._alone_since = moment
            self._tell(
                f"{self._name} has no worker {since}; waiting up to {_duration(self._patience)} for one."
            )
        if moment - self._alone_since >= self._patience:
            raise ClusterError(
                f"{self._name} has had no worker for {_duration(self._patience)}; {self._remedy}"
            )

    def _admit(self, new: Sequence[str], *, strict: bool) -> None:
        """Ask workers what they are, and take those that can do the work."""
        wrong = self._wrong_versions(new)
        wrong |= self._wrong_folders([address for address in new if address not in wrong])
        found = self.ask(facts, of=[address for address in new if address not in wrong])
        for address, one in found.items():
            if isinstance(one, Exception):
                wrong[address] = f"a worker cannot run softmorph: {one}"
            else:
                self.facts[address] = one
        for address, said in wrong.items():
            if strict:
                raise ClusterError(f"{said} ({address}).")
            self._refused.add(address)
            self._tell(f"a worker that came later gets no work: {said} ({address}).")

    def _wrong_versions(self, addresses: Sequence[str]) -> dict[str, str]:
        # Nothing of ours is sent before: it might not be understood there.
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
            # Another machine may have a folder of that name that is not this one.
            paths = self._read + [marks.enter_context(_marked(folder)) for folder in self._written]
            found = self.ask(unseen, paths, of=addresses if paths else ())
        folders = dict(zip(paths, self._read + self._written, strict=True))
        return {
            address: f"a worker does not see {folders[missing[0]]}; use a folder that all machines share"
            for address, missing in found.items()
            if missing
        }


def wrong_version(python: str, package: str | Exception) -> str | None:
    """Return what is wrong with a worker of this version of Python and of softmorph, if anything is.

    Args:
        python: Such as "3.12.1".
        package: Such as "0.1.0"; what was raised where there is none.
    """
    here, own = platform.python_version(), version(_PACKAGE)
    install = f"type there: pip install '{_PACKAGE}[cluster]=={own}'"
    # What is sent between minor versions of Python is not understood.
    if python.rpartition(".")[0] != here.rpartition(".")[0]:
        return f"a worker runs Python {python}, and here it is {here}; use the same on all machines"
    if isinstance(package, Exception):
        return f"a worker has no softmorph; {install}"
    if package != own:
        return f"a worker has softmorph {package}, and here it is {own}; {install}"
    return None


@contextmanager
def _marked(folder: Path) -> Iterator[Path]:
    """Put a file into a folder for a moment."""
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
