"""The state of a training that is not finished, in a file from which the same training can go on."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from softmorph_cli import __version__
from softmorph_cli.errors import FileError
from softmorph_cli.system.files import replacing
from softmorph_cli.system.parameters import named
from softmorph_cli.system.printable import typed
from softmorph_cli.system.temporaries import partial, private_folder, remove

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from softmorph_cli.completion.network import ImplicitFunction
    from softmorph_cli.completion.training import Subject, TrainingOptions

_METADATA: Final = "softmorph training"


class Checkpoint:
    """The state of a training, in a folder beside the file that the training will make.

    A process that is killed leaves the state of at most `every` seconds before. The file is a safetensors: tensors, and
    as metadata the fingerprint of data and settings, so that no other training goes on from it. Within a `with` block
    the folder is locked, where the system can, so that two trainings do not write one state in turn.

    Attributes:
        path: The file of the state.
        in_use: Whether this process has written the state, or has read it and goes on from it.
    """

    def __init__(
        self, target: Path, *, resume: bool = True, force: bool = False, every: float = 20.0
    ) -> None:
        """Name the checkpoint of a target.

        Args:
            target: The file of the prior.
            resume: Whether a state that is there is read.
            force: Without `resume`: whether a state that is there is removed, and not kept by an error.
            every: Seconds between two states.
        """
        self.path = partial(target) / f"state{target.suffix}"
        self.in_use = False
        self._target, self._resume, self._force, self._every = target, resume, force, every
        self._made_from = ""
        self._last = time.monotonic()
        self._lock: int | None = None

    def __enter__(self) -> Checkpoint:
        """Lock the folder of the state.

        Raises:
            FileError: If another process writes to it, or it holds a state that is neither to be read nor removed.
        """
        _, self._lock = private_folder(self._target.resolve(), self._target, kept=True)
        if not self._resume and self.path.exists():
            if not self._force:
                self.__exit__()
                raise FileError(
                    f"{self._target}: a training was interrupted, and its state is kept in {self.path}: add "
                    f"{named('resume', True)} to go on with it, or {named('force', True)} to begin anew."
                )
            self.path.unlink()
        return self

    def __exit__(self, *_: object) -> None:
        """Unlock the folder, and remove it if it holds no state."""
        if not self.path.exists():
            self.remove()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def read(self, made_from: str) -> dict[str, Tensor] | None:
        """Return the tensors of the last state, or None if there is none.

        Args:
            made_from: The fingerprint of the training.

        Raises:
            FileError: If the state is damaged, or that of another training.
        """
        self._made_from = made_from
        if not self._resume or not self.path.exists():
            return None
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.path, "pt") as file:
                found = (file.metadata() or {}).get(_METADATA)
                state = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (is no dict)
        except (OSError, SafetensorError) as error:
            raise FileError(
                f"{self.path}, from which the training would go on, is damaged; remove it and begin anew: "
                f"{typed('rm', self.path)}"
            ) from error
        if found != made_from:
            raise FileError(
                f"{self.path} is of a training of other maps or settings; give those again, or remove it and begin "
                f"anew: {typed('rm', self.path)}"
            )
        self.in_use = True
        return state

    @property
    def due(self) -> bool:
        """Whether it is time to write the state."""
        return time.monotonic() - self._last >= self._every

    def write(self, state: Mapping[str, Tensor]) -> None:
        """Write a state in one step, in place of the one before."""
        from safetensors.torch import save

        self.path.parent.mkdir(mode=0o700, exist_ok=True)
        with replacing(self.path, force=True, follow=False) as temporary:
            tensors = {name: one.detach().cpu().contiguous() for name, one in state.items()}
            temporary.write_bytes(save(tensors, {_METADATA: self._made_from}))
        self._last, self.in_use = time.monotonic(), True

    def remove(self) -> None:
        """Remove the state, when the training is done."""
        remove(self.path.parent)


@dataclass(frozen=True)
class TrainingState:
    """Everything that changes in a training, to be kept and restored bit for bit."""

    network: ImplicitFunction
    latents: torch.nn.Parameter
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.CosineAnnealingLR
    generator: torch.Generator

    def tensors(self, step: int) -> dict[str, Tensor]:
        """Return the state after a step."""
        import torch

        moments = self.optimizer.state_dict()["state"]
        rates = [group["lr"] for group in self.optimizer.param_groups]
        return {
            **{f"network.{name}": one for name, one in self.network.state_dict().items()},
            **{f"adam.{k}.{name}": one for k, held in moments.items() for name, one in held.items()},
            "latents": self.latents,
            "rates": torch.tensor(rates, dtype=torch.float64),
            "random": self.generator.get_state(),
            "step": torch.tensor([step]),
        }

    def restore(self, state: Mapping[str, Tensor]) -> int:
        """Restore a state, and return the number of its steps."""
        import torch

        moments: dict[int, dict[str, Tensor]] = {}
        for name, one in state.items():
            if name.startswith("adam."):
                _, k, which = name.split(".")
                moments.setdefault(int(k), {})[which] = one
        weights = {name: state[f"network.{name}"] for name in self.network.state_dict()}
        self.network.load_state_dict(weights)
        with torch.no_grad():
            self.latents.copy_(state["latents"])
        groups = self.optimizer.state_dict()["param_groups"]
        for group, rate in zip(groups, state["rates"].tolist(), strict=True):
            group["lr"] = rate
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        self.generator.set_state(state["random"])
        self.schedule.last_epoch = int(state["step"])
        return self.schedule.last_epoch


def fingerprint(subjects: Sequence[Subject], options: TrainingOptions) -> str:
    """Return the SHA-256 of all that the result of a training depends on: maps, images, places, settings, version.

    Args:
        subjects: The subjects, in order.
        options: The settings; the device is left out.
    """
    settings: dict[str, Any] = {name: one for name, one in asdict(options).items() if name != "device"}
    digest = hashlib.sha256(json.dumps([__version__, settings], sort_keys=True, default=str).encode())
    for one in subjects:
        digest.update(f"\n{one.name}\n{one.classes} {one.grid.shape} {one.grid.unit}".encode())
        for array in (one.grid.affine, one.probabilities, one.image):
            if array is not None:
                digest.update(f"\n{array.dtype} {array.shape}\n".encode())
                digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
