"""The workloads of benchmarks: each operation and method, on the kind of map that takes the most work."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import softmorph_cli
from softmorph_cli.bench.clock import TimedTask
from softmorph_cli.errors import UsageError
from softmorph_cli.filters.operations.skeletonize import Skeleton

SKELETON: Final = Skeleton.operation
GRADIENT_ITERATIONS: Final = 5
CLOSING_RADIUS: Final = 3  # voxels


@dataclass(frozen=True)
class Hardware:
    """The hardware that workloads run on.

    Attributes:
        device: The device, "cpu", "cuda" or "cuda:N".
        threads: The number of threads on the CPU.
    """

    device: str
    threads: int

    @property
    def on_cuda(self) -> bool:
        """Whether maps are torch tensors on a GPU, not NumPy arrays."""
        return self.device.startswith("cuda")

    def place(self, array: Any) -> Any:
        """Return a map on the device: the NumPy array itself, or a torch tensor on the GPU."""
        if not self.on_cuda:
            return array
        import torch

        return torch.from_numpy(array).to(self.device)


@dataclass(frozen=True)
class Work:
    """A workload: a filter with its settings, on one kind of map.

    Attributes:
        operation: Name of the operation, which the option --operation selects.
        method: Name of the method, which the option --method selects; "hard" for the exact binary skeleton.
        detail: Settings that distinguish the workload from others with this operation and method.
        drawn: Kind of the map: "noise" (every voxel has to be computed) or "vessels".
        task: Function that makes the timed task from an image and the hardware.
    """

    operation: str
    method: str
    detail: str
    drawn: str
    task: Callable[[Any, Hardware], TimedTask]

    @property
    def name(self) -> str:
        """The unique name of the workload for display."""
        return f"{self.operation} {self.detail}, {self.method}"


def _filter(operation: str, method: str, detail: str, drawn: str, **options: Any) -> Work:
    chosen: dict[str, Any] = {"hard": True} if method == "hard" else {"method": method}
    options |= chosen

    def task(image: Any, hardware: Hardware) -> TimedTask:
        function = getattr(softmorph_cli, operation)
        return TimedTask(
            lambda _: function(image, device=hardware.device, threads=hardware.threads, **options)
        )

    return Work(operation, method, detail, drawn, task)


def _gradient(method: str, part: str) -> Work:
    """Return a workload of training through `SoftSkeletonizer`; `part` is "forward" (with autograd) or "backward"."""

    def task(image: Any, hardware: Hardware) -> TimedTask:
        import torch

        module = softmorph_cli.SoftSkeletonizer(
            GRADIENT_ITERATIONS, method, device=hardware.device, threads=hardware.threads
        )
        image = image if torch.is_tensor(image) else torch.from_numpy(image)

        def leaf() -> Any:
            return image[None, None].detach().requires_grad_()

        if part == "forward":
            return TimedTask(module, leaf)
        # The gradient of the plain sum would be constant, unlike that of any loss.
        return TimedTask(torch.autograd.backward, lambda: module(leaf()).square().sum())

    return Work(f"training {part}", method, f"{GRADIENT_ITERATIONS} iterations", "vessels", task)


def line_passes(connectivity: int, dimensions: int, radius: int) -> int:
    """Return the number of 1-D minima and maxima of a closing.

    A box is separable into one line along each axis, whatever its radius; a cross takes a line along each axis for
    every iteration.
    """
    box = connectivity == 3**dimensions - 1
    return 2 * dimensions * (1 if box else radius)


def _closing(connectivity: int, dimensions: int) -> Work:
    passes = line_passes(connectivity, dimensions, CLOSING_RADIUS)
    detail = f"{connectivity}-connected, radius {CLOSING_RADIUS}, {passes} 1-D passes"
    size = {"radius": float(CLOSING_RADIUS), "spacing": (1.0,) * dimensions}
    return _filter("closing", "minmax", detail, "noise", connectivity=connectivity, **size)


def works(dimensions: int) -> tuple[Work, ...]:
    """Return all workloads for maps of 2 or 3 dimensions, in the order of the printed table."""
    elements = (6, 18, 26) if dimensions == 3 else (4, 8)
    steps = f"{GRADIENT_ITERATIONS} iterations"
    return (
        *(
            _filter(operation, "minmax", f"{c}-connected", "noise", connectivity=c)
            for operation in ("erosion", "dilation")
            for c in elements
        ),
        _filter("opening", "minmax", f"{elements[0]}-connected", "noise"),
        *(_closing(connectivity, dimensions) for connectivity in (elements[0], elements[-1])),
        *(
            _filter(SKELETON, method, "1 iteration", "noise", iterations=1)
            for method in ("multilinear", "product", "minmax")
        ),
        _filter(SKELETON, "nested", "to the end", "vessels"),
        _filter(SKELETON, "nested", "64 levels", "vessels", levels=64),
        _filter(SKELETON, "nested", "exact above 1/128", "vessels", levels="exact", lowest=1 / 128),
        _filter(SKELETON, "levels", "to the end", "vessels"),
        _filter(SKELETON, "hard", "to the end", "vessels"),
        _filter(SKELETON, "smooth-levels", steps, "vessels", iterations=GRADIENT_ITERATIONS),
        *(
            _gradient(method, part)
            for method in ("multilinear", "smooth-levels")
            for part in ("forward", "backward")
        ),
    )


def choose(dimensions: int, operations: Iterable[str] = (), methods: Iterable[str] = ()) -> tuple[Work, ...]:
    """Return the workloads with the named operations and methods; no names mean all operations or all methods.

    Raises:
        UsageError: If a name is unknown, or no workload has both a named operation and a named method.
    """
    every = chosen = works(dimensions)
    for option, names in (("operation", tuple(operations)), ("method", tuple(methods))):
        known = dict.fromkeys(getattr(work, option) for work in every)
        for name in names:
            if name not in known:
                raise UsageError(f"--{option} {name}: what is measured is {', '.join(known)}.")
        if names:
            chosen = tuple(work for work in chosen if getattr(work, option) in names)
    if not chosen:
        asked = tuple(operations)
        possible = dict.fromkeys(work.method for work in every if work.operation in asked)
        raise UsageError(
            f"no such --method is measured of {', '.join(asked)}; of it {', '.join(possible)} are: add "
            f"--method {next(iter(possible))}, or leave out --method."
        )
    return chosen
