"""A training that is interrupted goes on as if nothing had happened."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from softmorph_cli.completion import hearts
from softmorph_cli.completion.checkpoint import Checkpoint
from softmorph_cli.completion.prior import Prior
from softmorph_cli.completion.training import Subject, TrainingOptions, TrainingProgress, train
from softmorph_cli.errors import FileError
from softmorph_cli.volume import Volume


def subjects(count: int = 8, images: bool = True) -> list[Subject]:
    found, labels = hearts.cohort(count, 3, (4, 8, 8))
    maps = np.stack([labels == one for one in (1, 2, 3)], axis=1).astype(np.float32)
    return [
        Subject.of(
            f"heart {k}", Volume(one, "CZYX", channels=hearts.CLASSES), found[k] if images else None, True
        )
        for k, one in enumerate(maps)
    ]


OPTIONS = TrainingOptions(steps=60, width=8, layers=2, points=32)


class InterruptedTrainingError(Exception):
    pass


def run(target: Path, *, until: int | None = None, options: TrainingOptions = OPTIONS) -> Prior:
    def stop(progress: TrainingProgress) -> None:
        if until is not None and progress.step >= until:
            raise InterruptedTrainingError

    return train(subjects(), options, stop, checkpoint=Checkpoint(target, every=0))


def same(one: Prior, other: Prior) -> bool:
    return one.network_hash() == other.network_hash() and torch.equal(one.latents, other.latents)


def test_a_training_goes_on_with_the_same_result(tmp_path: Path) -> None:
    whole = train(subjects(), OPTIONS)
    for until in (20, 40):
        with pytest.raises(InterruptedTrainingError):
            run(tmp_path / "p.safetensors", until=until)
    steps: list[int] = []
    resumed = train(
        subjects(),
        OPTIONS,
        lambda one: steps.append(one.step),
        checkpoint=Checkpoint(tmp_path / "p.safetensors"),
    )
    # The step that reported 40 was kept only up to the one before.
    assert steps == [40, 60]
    assert same(resumed, whole)
    assert [one.name for one in tmp_path.iterdir()] == [".softmorph-partial-p.safetensors"]


def test_a_checkpoint_is_not_read_unless_asked_for(tmp_path: Path) -> None:
    with pytest.raises(InterruptedTrainingError):
        run(tmp_path / "p.safetensors", until=40)
    steps: list[int] = []
    anew = Checkpoint(tmp_path / "p.safetensors", resume=False)
    train(subjects(), OPTIONS, lambda one: steps.append(one.step), checkpoint=anew)
    assert steps == [20, 40, 60]
    anew.remove()
    anew.remove()
    assert not list(tmp_path.iterdir())


def test_other_settings_and_damage_are_refused(tmp_path: Path) -> None:
    target = tmp_path / "p.safetensors"
    with pytest.raises(InterruptedTrainingError):
        run(target, until=40)
    with pytest.raises(FileError, match=r"is of a training of other maps or settings; .* rm "):
        run(target, options=TrainingOptions(steps=60, width=8, layers=2, points=32, seed=1))
    kept = Checkpoint(target).path
    content = kept.read_bytes()
    for damaged in (content[:-1], b"", b"\x80\x04", content[:50]):
        kept.write_bytes(damaged)
        with pytest.raises(
            FileError, match=re.escape(f"{kept}, from which the training would go on, is damaged")
        ):
            run(target)
