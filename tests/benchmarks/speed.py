"""The limits of time and memory that softmorph has to meet, measured on this machine: the README's table.

Run: python tests/benchmarks/speed.py [PART ...] [--threads 2] [--repeats 7]     (all parts: half an hour)

Whatever is compared takes turns in one run; the smallest of the warm runs counts. Memory is that of a fresh
process, as `softmorph bench` measures it. Lines appear as they are known.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import softmorph_cli
from softmorph_cli.bench import maps, peak
from softmorph_cli.bench.clock import TimedTask, take_turns
from softmorph_cli.bench.description import describe
from softmorph_cli.bench.peers import COPY, PEERS, RULER
from softmorph_cli.bench.workloads import CLOSING_RADIUS, Hardware, Work, line_passes, works
from softmorph_cli.plots.charts.curves import duration

SKIMAGE = "scikit-image skeletonize of one mask"
MB = 1e6
SUB_ITERATIONS = 6  # of thinning-3d


@dataclass(frozen=True)
class Bar:
    """One line of the table; `measured` is to be at most `limit`."""

    work: str
    limit: float
    measured: float
    unit: str
    how: str = ""

    def __str__(self) -> str:
        """The line, as Markdown."""
        over = self.measured / self.limit - 1
        met = "yes" if over <= 0 else f"no, {over:.0%} over"
        how = f" ({self.how})" if self.how else ""
        return (
            f"| {self.work} | <= {self.limit:g} {self.unit} | {self.measured:.3g} {self.unit}{how} | {met} |"
        )


@dataclass(frozen=True)
class Bench:
    """Where and how often."""

    how: Hardware
    repeats: int

    def turns(
        self, tasks: dict[str, TimedTask], settle: Callable[[], None] = lambda: None
    ) -> dict[str, float]:
        """Return the seconds of each; what refuses to run ends it all."""
        timings, refused = take_turns(tasks, repeats=self.repeats, least=0.5, patience=60, settle=settle)
        for error in refused.values():
            raise error
        return {name: timing.seconds for name, timing in timings.items()}

    def against(self, work: Work, peer: str, size: int) -> tuple[float, str]:
        """Return the time of a work over a peer's on one map, and both of them in words."""
        image = maps.DRAWN[work.drawn]((size,) * 3)
        other = next(one for one in PEERS if one.name == peer).task(image, self.how)
        seconds = self.turns({"ours": work.task(image, self.how), "theirs": other})
        ours, theirs = seconds["ours"], seconds["theirs"]
        return ours / theirs, f"{duration(ours)} / {duration(theirs)}"

    def held(self, work: Work, size: int) -> float:
        """Return the bytes a work holds beyond its input."""
        found = peak.of_fresh_process(work, (size,) * 3, threads=self.how.threads)
        if found is None:
            raise SystemExit("this system does not tell how much memory a process held")
        return found


def find(operation: str, method: str, detail: str = "") -> Work:
    """Return the work of this name."""
    return next(
        w for w in works(3) if (w.operation, w.method) == (operation, method) and w.detail.startswith(detail)
    )


def dense(bench: Bench) -> Iterator[Bar]:
    """One iteration where nothing can be skipped."""
    ratio, how = bench.against(find("skeletonize", "multilinear"), RULER, 128)
    yield Bar("`multilinear` skeletonize, one iteration, dense 128^3", 1.5, ratio, "x grey_erosion", how)


def levels(bench: Bench) -> Iterator[Bar]:
    """A skeleton of 64 level sets, each by itself."""
    for size in (192, 256):
        ratio, how = bench.against(find("skeletonize", "levels"), SKIMAGE, size)
        yield Bar(f"`levels` to the end, vessels {size}^3", 1.5, ratio, "x scikit-image, one mask", how)


def nested(bench: Bench) -> Iterator[Bar]:
    """The default skeleton: level sets that stay nested, finished to one voxel."""
    works = {
        "levels": find("skeletonize", "levels"),
        "planes": find("skeletonize", "nested", "64"),
        "exact": find("skeletonize", "nested", "exact"),
    }
    for size in (128, 256):
        image = maps.DRAWN["vessels"]((size,) * 3)
        mask = next(one for one in PEERS if one.name == SKIMAGE).task(image, bench.how)
        tasks = {name: work.task(image, bench.how) for name, work in works.items()}
        seconds = bench.turns({**tasks, "mask": mask})
        for ours, theirs, limit, what, than in (
            ("planes", "levels", 1.6, "64 levels, finished", "`levels`"),
            ("planes", "mask", 1.0, "64 levels, finished", "scikit-image, one mask"),
            ("exact", "planes", 4.0, "`--levels exact`, finished", "64 levels"),
        ):
            how = f"{duration(seconds[ours])} / {duration(seconds[theirs])}"
            yield Bar(
                f"`nested` {what}, vessels {size}^3", limit, seconds[ours] / seconds[theirs], f"x {than}", how
            )
    held = bench.held(works["planes"], 256) - 50 * MB
    yield Bar(
        "memory of `nested`, 64 levels, 256^3, less 50 MB", 6.5, held / (maps.ITEMSIZE * 256**3), "x input"
    )


def boxes(bench: Bench) -> Iterator[Bar]:
    """Erosion and dilation, the result's array included."""
    for operation in ("erosion", "dilation"):
        for connectivity, limit in ((6, 2.2), (26, 2.2), (18, 3.0)):
            work = find(operation, "minmax", f"{connectivity}-")
            ratio, how = bench.against(work, COPY, 256)
            yield Bar(f"{operation}, {connectivity}-connected, dense 256^3", limit, ratio, "x copy", how)


def closings(bench: Bench) -> Iterator[Bar]:
    """A closing by a radius, against the 1-D passes that make it up."""
    for connectivity in (6, 26):
        passes = line_passes(connectivity, 3, CLOSING_RADIUS)
        work = find("closing", "minmax", f"{connectivity}-")
        ratio, how = bench.against(work, COPY, 256)
        yield Bar(f"closing {work.detail}, dense 256^3", 2.5 * (passes + 2), ratio, "x copy", how)


def _steps(bench: Bench, methods: tuple[str, ...], drawn: str) -> dict[str, float]:
    image = maps.DRAWN[drawn]((128,) * 3)
    return bench.turns(
        {
            f"{method} {part}": find(f"training {part}", method).task(image, bench.how)
            for method in methods
            for part in ("forward", "backward")
        }
    )


def gradient(bench: Bench) -> Iterator[Bar]:
    """Training through five iterations of `multilinear`."""
    for drawn in maps.DRAWN:
        seconds = _steps(bench, ("multilinear",), drawn)
        back, forth = seconds["multilinear backward"], seconds["multilinear forward"]
        how = f"{duration(back)} / {duration(forth)}"
        yield Bar(f"backward of 5 iterations `multilinear`, {drawn} 128^3", 6, back / forth, "x forward", how)
        held = bench.held(replace(find("training backward", "multilinear"), drawn=drawn), 128)
        yield Bar(f"memory of forward and backward, {drawn} 128^3", 400, held / MB, "MB")


def smooth(bench: Bench) -> Iterator[Bar]:
    """Training through five iterations of `smooth-levels`, 16 of them."""
    seconds = _steps(bench, ("multilinear", "smooth-levels"), "vessels")
    ours, theirs = (
        sum(value for name, value in seconds.items() if name.startswith(method))
        for method in ("smooth-levels", "multilinear")
    )
    how = f"{duration(ours)} / {duration(theirs)}"
    yield Bar(
        "forward and backward of 5 iterations `smooth-levels`, vessels 128^3", 16, ours / theirs, "x", how
    )
    held = bench.held(find("training backward", "smooth-levels"), 128)
    yield Bar("memory of forward and backward, `smooth-levels`, vessels 128^3", 450, held / MB, "MB")


def command(bench: Bench) -> Iterator[Bar]:
    """A whole command from shell to shell."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in.nii.gz"), Path(folder, "out.nii.gz")
        softmorph_cli.write(softmorph_cli.Volume(maps.vessels((128,) * 3), "ZYX"), source)
        threads = ["--threads", str(bench.how.threads)]
        ours = ["-m", "softmorph_cli", "skeletonize", str(source), str(target), "--force", "-q", *threads]

        def process(words: list[str]) -> TimedTask:
            return TimedTask(lambda _: subprocess.run([sys.executable, *words], check=True))

        seconds = bench.turns({"ours": process(ours), "theirs": process(["-c", "import torch"])})
    how = f"{duration(seconds['ours'])} / {duration(seconds['theirs'])}"
    ratio = seconds["ours"] / seconds["theirs"]
    yield Bar("whole command, skeletonize 128^3 .nii.gz, warm cache", 2.0, ratio, "x `import torch`", how)


def memory(bench: Bench) -> Iterator[Bar]:
    """The most that is held beside the input, the result included."""
    for size in (128, 256):
        for method, limit in (("multilinear", 3), ("levels", 6)):
            held = bench.held(find("skeletonize", method), size) / (maps.ITEMSIZE * size**3)
            yield Bar(f"memory of `{method}` skeletonize, {size}^3", limit, held, "x input")


def large(bench: Bench) -> Iterator[Bar]:
    """A map of half a gibibyte, itself included."""
    for method in ("multilinear", "levels"):
        held = bench.held(find("skeletonize", method), 512) + maps.ITEMSIZE * 512**3
        yield Bar(f"memory of `{method}` skeletonize with its input, 512^3", 8, held / 1e9, "GB")


def growth(bench: Bench) -> Iterator[Bar]:
    """Time per voxel; the large map is the small one four times along each axis: the same work per voxel."""
    for method in ("multilinear", "levels"):
        work = find("skeletonize", method)
        small = maps.DRAWN[work.drawn]((96,) * 3)
        images = {"small": small, "large": np.tile(small, (4, 4, 4))}
        seconds = bench.turns({name: work.task(image, bench.how) for name, image in images.items()})
        how = f"{duration(seconds['large'])} / {duration(seconds['small'])} / 64"
        ratio = seconds["large"] / seconds["small"] / 64
        yield Bar(
            f"time per voxel, `{method}` skeletonize {work.detail}, 384^3 over 96^3", 1.3, ratio, "x", how
        )


def cuda(bench: Bench) -> Iterator[Bar]:
    """512^3 on a GPU; nothing where there is none."""
    import torch

    if not torch.cuda.is_available():
        sys.stderr.write("cuda: no device, left out\n")
        return
    yield from _sub_iterations(bench)
    tree = torch.from_numpy(maps.vessels((512,) * 3))
    whole = TimedTask(lambda _: softmorph_cli.skeletonize(tree.to("cuda")).cpu())
    seconds = bench.turns({"whole": whole}, torch.cuda.synchronize)["whole"]
    yield Bar("`nested` to the end, vessels 512^3, upload and download included", 3, seconds, "s")


def _sub_iterations(bench: Bench) -> Iterator[Bar]:
    import torch

    noise = torch.from_numpy(maps.noise((512,) * 3)).to("cuda")

    def run(method: str, iterations: int) -> TimedTask:
        return TimedTask(lambda _: softmorph_cli.skeletonize(noise, method=method, iterations=iterations))

    tasks = {f"{m} {n}": run(m, n) for m in ("multilinear", "levels") for n in (1, 2)}
    seconds = bench.turns({"clone": TimedTask(lambda _: noise.clone()), **tasks}, torch.cuda.synchronize)
    for method, limit in (("multilinear", 7), ("levels", 10)):
        # The second iteration alone: neither checking the input nor packing its levels is a sub-iteration.
        one = (seconds[f"{method} 2"] - seconds[f"{method} 1"]) / SUB_ITERATIONS
        how = f"{duration(one)} / {duration(seconds['clone'])}"
        yield Bar(f"one sub-iteration of `{method}`, 512^3", limit, one / seconds["clone"], "x clone", how)


PARTS = {
    part.__name__: part
    for part in (
        dense,
        nested,
        levels,
        boxes,
        closings,
        gradient,
        smooth,
        command,
        memory,
        large,
        growth,
        cuda,
    )
}


def main() -> None:
    """Print the table, line by line; end with 3 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    listed = "\n".join(f"{name:9} {part.__doc__}" for name, part in PARTS.items())
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"default: all of\n{listed}")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    asked = parser.parse_args()
    for name in asked.parts:
        if name not in PARTS:
            parser.error(f"there is no part {name!r}")
    warnings.simplefilter("ignore", softmorph_cli.SoftmorphWarning)
    bench = Bench(Hardware("cpu", asked.threads), asked.repeats)
    facts = describe(bench.how)
    tell("| work | bar | measured | met |")
    tell("|---|---|---|---|")
    missed = 0
    for name in asked.parts or PARTS:
        for bar in PARTS[name](bench):
            tell(str(bar))
            missed += bar.measured > bar.limit
    libraries = ", ".join(f"{name} {version}" for name, version in facts["libraries"].items())
    tell(
        f"\n{facts['processor']}, {asked.threads} threads, load before {facts['load_before']:.1f}; "
        f"softmorph {facts['softmorph']}, {libraries}"
    )
    sys.exit(3 if missed else 0)


def tell(line: str) -> None:
    """Print a line at once: the whole takes long."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
