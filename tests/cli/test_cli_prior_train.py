"""softmorph prior train: a training that is finished, one that was interrupted, and two at a time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_cli import load, refused, run, save
from helpers_learned import TINY, softened, write_hearts

from softmorph_cli import read_prior
from softmorph_cli.completion.checkpoint import Checkpoint
from softmorph_cli.errors import FileError

COMMAND = ("prior", "train", "maps", "p.safetensors", *TINY)


def test_maps_that_no_memory_holds_are_refused_after_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    write_hearts(10, 3)
    # 10 maps of 8 x 16 x 16 voxels: background, three classes and image, 4 bytes each, twice.
    needed = 10 * 8 * 16 * 16 * (4 + 1) * 4 * 2
    command = (*COMMAND, "--images", "images")
    monkeypatch.setattr("softmorph_cli.system.machine.memory", lambda: needed - 1)
    monkeypatch.setattr("softmorph_cli.io.memory_check.fits", lambda *_: True)
    whole = Path("maps/case_1.nii.gz").read_bytes()
    Path("maps/case_1.nii.gz").write_bytes(b"this would be refused if it were read")
    refused(*command, says=("a training with these maps needs about 0.00076 GiB", "fewer maps"))
    Path("maps/case_1.nii.gz").write_bytes(whole)
    Path("maps/case_9.nii.gz").unlink()
    run(*command)
    softened_needed = 8 * 4 * 6 * 6 * (1 + 2) * 4 * 2
    Path("maps").rename("hearts")
    softened(classes=2)
    monkeypatch.setattr("softmorph_cli.system.machine.memory", lambda: softened_needed - 1)
    refused(*COMMAND, "--force", says="a training with these maps needs about")
    monkeypatch.setattr("softmorph_cli.system.machine.memory", lambda: softened_needed)
    run(*COMMAND, "--force")


def interrupt(monkeypatch: pytest.MonkeyPatch, after: int, *more: object) -> str:
    """Run the training until its state was written a number of times; return what was printed on stderr."""
    keep = Checkpoint.write
    written: list[int] = []

    def write(self: Checkpoint, state: Any) -> None:
        if len(written) == after:
            raise KeyboardInterrupt
        written.append(int(state["step"]))
        keep(self, state)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "due", True)
        patch.setattr(Checkpoint, "write", write)
        return run(*COMMAND, *more, code=130).err


@pytest.mark.parametrize("changed", ["box", "voxel", "image", "more", "label"])
def test_a_prior_of_other_maps_or_settings_is_not_taken_for_complete(changed: str) -> None:
    write_hearts(8, 3)
    more: tuple[object, ...] = ("--images", "images")
    run(*COMMAND, *more)
    before = Path("p.safetensors").read_bytes()
    run(*COMMAND, *more, "--resume")
    if changed == "box":
        more += ("--box", "200,100,100")
    elif changed == "label":
        more += ("--label", 1, "--label", 2)
    elif changed == "more":
        Path("maps/case_9.nii.gz").write_bytes(Path("maps/case_0.nii.gz").read_bytes())
        Path("images/case_9_0000.nii.gz").write_bytes(Path("images/case_0_0000.nii.gz").read_bytes())
    else:
        name = "maps/case_3.nii.gz" if changed == "voxel" else "images/case_3_0000.nii.gz"
        array = np.asarray(load(name)).astype(np.int16)
        array[4, 8, 8] = 3 - array[4, 8, 8] % 3
        save(name, array, (16.0, 3.0, 3.0))
    refused(*COMMAND, *more, "--resume", says=("exists already", "other maps or settings", "--force"))
    assert Path("p.safetensors").read_bytes() == before
    run(*COMMAND, *more, "--force")
    assert Path("p.safetensors").read_bytes() != before


def test_a_finished_training_still_writes_what_is_asked_for() -> None:
    softened()
    run(*COMMAND)
    content = Path("p.safetensors").read_bytes()
    ended = run(*COMMAND, "--resume", "--json", "--json-file", "p.json", "--preview", "p.png")
    assert "p.safetensors is complete: " in ended.err
    assert ended.json["prior"]["network_sha256"] == read_prior("p.safetensors").network_hash()
    assert json.loads(Path("p.json").read_text())["prior"] == ended.json["prior"]
    assert Path("p.png").read_bytes()[:4] == b"\x89PNG"
    assert Path("p.safetensors").read_bytes() == content


def test_a_kept_state_is_not_lost_without_force(monkeypatch: pytest.MonkeyPatch) -> None:
    softened()
    assert "the same command with --resume goes on" in interrupt(monkeypatch, 5)
    state = Path(".softmorph-partial-p.safetensors/state.safetensors")
    kept = state.read_bytes()
    for more in ((), ("--seed", 3)):
        said = refused(
            *COMMAND, *more, says=("add --resume to go on with it, or --force to begin anew", str(state))
        )
        assert "the same command" not in said
        assert state.read_bytes() == kept
    run(*COMMAND, "--resume")
    resumed = Path("p.safetensors").read_bytes()
    assert not state.parent.exists()
    # Anew, and of other settings; the prior that is there stays till then.
    interrupt(monkeypatch, 5, "--force", "--seed", 3)
    assert Path("p.safetensors").read_bytes() == resumed
    run(*COMMAND, "--force", "--seed", 4)
    assert read_prior("p.safetensors").seed == 4
    assert not state.parent.exists()


def test_what_is_trained_is_named_only_where_it_was_written_or_read(monkeypatch: pytest.MonkeyPatch) -> None:
    softened()
    assert "--resume" not in interrupt(monkeypatch, 0)
    assert not list(Path().glob(".*"))
    interrupt(monkeypatch, 3)
    state = Path(".softmorph-partial-p.safetensors/state.safetensors")
    for more in (("--seed", 3), ("--box", "1,2,3")):
        assert "goes on" not in refused(*COMMAND, "--resume", *more)
    whole = state.read_bytes()
    state.write_bytes(whole[:-9])
    assert "goes on" not in refused(*COMMAND, "--resume", says=("is damaged", "rm "))
    # Read, and not written again.
    state.write_bytes(whole)
    assert "the same command with --resume goes on" in interrupt(monkeypatch, 0, "--resume")
    assert state.read_bytes() == whole


@pytest.mark.posix
def test_two_trainings_do_not_write_one_state() -> None:
    softened()
    target = Path("p.safetensors")
    with Checkpoint(target):
        for more in ((), ("--resume",), ("--force",)):
            refused(*COMMAND, *more, says="p.safetensors is being written by another run; wait for it")
        with pytest.raises(FileError, match="another run"), Checkpoint(target):
            pass
    run(*COMMAND)


@pytest.mark.parametrize(("share", "least"), [(0.15, 9), (0.05, 11)])
def test_the_number_of_maps_from_which_on_some_are_held_out(share: float, least: int) -> None:
    softened(least - 1)
    short = (*COMMAND[:-1], share)
    says = f"with {least - 1} maps none can be held out: give {least} or more to measure it"
    assert says in run(*short).out
    Path("maps/more.nii.gz").write_bytes(Path("maps/0.nii.gz").read_bytes())
    assert f"learned from {least - 1} maps, 1 held out" in run(*short, "--force", code=3).out


def test_a_prior_that_learned_too_little_exits_3() -> None:
    Path("maps").mkdir()
    y, x = np.indices((16, 16)) - 7.5
    for k in range(10):
        np.save(f"maps/{k}.npy", (np.hypot(y, x) < 3 + k / 3).astype(np.uint8))
    small = ("--voxels", "--width", 16, "--layers", 2, "--validate", 0.2, "--steps")
    for more in ((), ("--resume",)):
        ended = run(*COMMAND[:4], *small, 30, *more, "--json", code=3)
        assert "p.safetensors finds hidden slices of held-out maps worse than interpolation does" in ended.err
        assert "it has learned too little; give more --steps, or more maps." in ended.err
        table = {
            (row["hidden"], row["method"]): row["dice"]
            for row in ended.json["prior"]["validation"]
            if row["class"] == "all"
        }
        assert all(table[hidden, "prior"] < table[hidden, "logit"] for hidden, _ in table)
    assert read_prior("p.safetensors").training["steps"] == 30
    assert "worse" not in run(*COMMAND[:4], *small, 200, "--force").err
