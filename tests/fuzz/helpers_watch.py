"""Runs cases in child processes and detects signals, hangs and excessive memory."""

from __future__ import annotations

import json
import os
import resource
import select
import shutil
import signal
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from helpers_mutations import case
from helpers_seeds import Seed
from helpers_targets import Fault, Outcome, check

# Cases of one process; what they leave in memory does not add up for ever.
_BATCH: Final = 250
# What the system sets aside for the threads of libraries is no memory that a file takes.
_SPARE: Final = 1 << 28

Case = tuple[Seed, int]
Checked = Callable[[Seed, dict[str, bytes], Path, int], Outcome]


@dataclass(frozen=True)
class Limits:
    """How long a case may take, in seconds, and how much memory beyond what a process had before, in bytes."""

    seconds: float = 10
    memory: int = 1 << 30


@dataclass
class Report:
    """The results of many cases.

    Attributes:
        cases: How many there were.
        read: How many were read.
        faults: By seed and number of the case.
        refusals: With what words the others were refused.
    """

    cases: int = 0
    read: int = 0
    refusals: list[str] = field(default_factory=list)
    faults: list[tuple[str, int, Fault]] = field(default_factory=list)


class _Hang(BaseException):
    """No library catches it."""


def made(make: Callable[[], Any]) -> Any:
    """Return what a function returns in a child process: libraries that start threads do so there."""
    import pickle

    out, into = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            os.close(out)
            with os.fdopen(into, "wb") as stream:
                pickle.dump(make(), stream)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(into)
    with os.fdopen(out, "rb") as stream:
        content = stream.read()
    _, status = os.waitpid(child, 0)
    if status:
        raise RuntimeError("the seeds could not be made")
    return pickle.loads(content)


def watch(cases: Sequence[Case], limits: Limits, checked: Checked = check) -> Report:
    """Run cases, as many as possible in one process, and go on after one that ends its process."""
    report, done = Report(), 0
    while done < len(cases):
        done += _batch(cases[done : done + _BATCH], limits, checked, report)
    return report


def _batch(cases: Sequence[Case], limits: Limits, checked: Checked, report: Report) -> int:
    """Run the first of some cases in a child; return how many that were."""
    out, into = os.pipe()
    folder = tempfile.mkdtemp(prefix="softmorph-fuzz-")
    child = os.fork()
    if not child:
        os.close(out)
        _child(cases, limits, checked, into, Path(folder))
    os.close(into)
    done, killed = 0, False
    try:
        for line in _lines_of(out, 2 * limits.seconds):
            if line is None:
                # Not even Python's own alarm came through.
                os.kill(child, signal.SIGKILL)
                killed = True
                break
            told = json.loads(line)
            report.read += told["read"]
            report.refusals += told["refusals"]
            report.faults += [(*_named(cases[done]), Fault(*one)) for one in told["faults"]]
            done += 1
    finally:
        os.close(out)
        _, status = os.waitpid(child, 0)
        shutil.rmtree(folder, ignore_errors=True)
    code = os.waitstatus_to_exitcode(status)
    if code or killed:
        if killed:
            fault = Fault("hang", "no answer")
        else:
            fault = Fault(
                "signal", signal.Signals(-code).name if code < 0 else f"the process ended with {code}"
            )
        report.faults.append((*_named(cases[done]), fault))
        done += 1
    report.cases += done
    return done


def _named(one: Case) -> tuple[str, int]:
    return one[0].name, one[1]


def _lines_of(out: int, seconds: float) -> Iterator[str | None]:
    """The lines that come through a pipe until it is closed; None where none comes for too long."""
    rest = b""
    while True:
        ready, _, _ = select.select([out], [], [], seconds)
        piece = os.read(out, 1 << 16) if ready else None
        if piece is None:
            yield None
            return
        *lines, rest = (rest + piece).split(b"\n")
        yield from (line.decode() for line in lines)
        if not piece:
            return


def _child(cases: Sequence[Case], limits: Limits, checked: Checked, into: int, folder: Path) -> None:
    """Never returns."""
    status = 1
    try:
        said = _said_aside(folder)
        _limit_memory(limits)
        signal.signal(signal.SIGALRM, _hang)
        for number, one in enumerate(cases):
            place = folder / str(number)
            place.mkdir()
            outcome = _alone(one, limits, checked, place)
            shutil.rmtree(place, ignore_errors=True)
            printed = os.pread(said, 1000, 0)
            os.ftruncate(said, 0)
            os.lseek(said, 0, os.SEEK_SET)
            if printed:
                outcome.faults.append(Fault("printed", repr(printed)))
            answer = outcome._asdict()
            os.write(into, json.dumps(answer).encode() + b"\n")
            # What was broken off may go on in the threads of a library, and come up in the next case.
            if any(fault.kind in ("hang", "memory", "traceback") for fault in outcome.faults):
                break
        status = 0
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(status)


def _alone(one: Case, limits: Limits, checked: Checked, place: Path) -> Outcome:
    seed, number = one
    try:
        signal.setitimer(signal.ITIMER_REAL, limits.seconds)
        return checked(seed, case(seed, number), place, number)
    except _Hang as error:
        frames = traceback.extract_tb(error.__traceback__)[-4:]
        where = " > ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
        return Outcome(False, [Fault("hang", f"more than {limits.seconds:g} s in {where}")], [])
    except MemoryError as error:
        return Outcome(False, [Fault("memory", repr(error))], [])
    except Exception:
        return Outcome(False, [Fault("traceback", traceback.format_exc())], [])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _hang(number: int, frame: object) -> None:
    raise _Hang


def _said_aside(folder: Path) -> int:
    """Let what is printed go into a file, also by code in C."""
    said = os.open(folder / "said", os.O_RDWR | os.O_CREAT | os.O_APPEND)
    os.dup2(said, 1)
    os.dup2(said, 2)
    return said


def _limit_memory(limits: Limits) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * os.sysconf("SC_PAGE_SIZE") + limits.memory + _SPARE
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    # What the memory of a machine is to a reader.
    os.environ["SLURM_MEM_PER_NODE"] = str(max(1, (limits.memory >> 20) // 2))
