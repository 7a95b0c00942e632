"""What a message advises is typed, on the very file that provoked it, and has to work: rows of such tests.

A row is a command that is refused, warned of or noted on; what the message advises is taken from the message itself. To
add one to a `TABLE` of test_cli_advice*.py: a function that makes the files, the command, and what the message has to
advise, word for word.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tifffile
from helpers_cli import SimpleITK, nibabel, run, save
from helpers_tried import ROWS
from scipy import ndimage

SHAPE = (6, 12, 14)
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
# Advised lines stand for a name that only the person knows.
FILL = {
    "FILE": "image.nii.gz",
    "IMAGE": "image.nii.gz",
    "MASK": "mask.nii.gz",
    "MAP": "map.nii.gz",
    "N": "2",
    "LENGTH": "2vox",
    "LABELS": "labels.nii.gz",
    "IN": "pred.nii.gz",
    "OUT": "rectangular.nii.gz",
    "K": "1",
    "RULE": "isolated",
}


@dataclass(frozen=True)
class Row:
    """A command, and the advice of its message.

    Attributes:
        make: Makes the files that provoke the message.
        command: What is typed, as in a shell.
        advice: What the message advises, as it stands there: options, which are added to the command, a whole
            command line from "softmorph" on, which is typed as it is, or other words, such as "leave", after which
            `without` is left out.
        without: Options of the command that the advice takes the place of.
        mentions: Options that the message names without advising them.
        code: The exit status with the message; 0 for a note or warning.
        then: What is typed after a whole command line has been, or with the options that are advised, if that is not
            the command itself; or what is typed in the end, of each advice that says it in words.
        where: Makes the machine one that provokes the message, such as one of little memory.
        mended: Whether it is another machine by the time that the advice is followed, as with a package installed.
    """

    make: Callable[[], object]
    command: str
    advice: tuple[str, ...]
    without: str = ""
    mentions: tuple[str, ...] = ()
    code: int = 1
    then: str | Mapping[str, str] = ""
    where: Callable[[pytest.MonkeyPatch], object] = lambda patch: None
    mended: bool = False


def after(*steps: Callable[[], object]) -> Callable[[], None]:
    """Return a function that takes these steps, one after another."""

    def make() -> None:
        for step in steps:
            step()

    return make


def folder_of(name: str = "map.nii.gz", folder: str = "in") -> None:
    """Make a folder with one map."""
    Path(folder).mkdir()
    save(f"{folder}/{name}", soft())


def soft(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """A bar with soft sides."""
    image = np.random.default_rng(seed).random(shape).astype(np.float32) / 4
    image[..., 4:8, 2:-2] = 0.9
    return image


def softmax(count: int = 3) -> np.ndarray:
    raised = np.exp(2 * np.random.default_rng(1).standard_normal((count, *SHAPE)))
    return np.asarray(raised / raised.sum(axis=0), np.float32)


def labels() -> np.ndarray:
    image = np.zeros(SHAPE, np.int16)
    image[1:3, 1:5, 1:5], image[1:3, 6:11, 1:5], image[1:3, 6:11, 7:12] = 1, 2, 3
    return image


def sloped() -> None:
    """Labels behind a float slope: 3 is stored as 30 times 0.1, which is not exactly 3."""
    image = nibabel.Nifti1Image((10 * labels()).T, np.eye(4), dtype=np.int16)
    image.header.set_data_dtype(np.int16)
    image.header.set_xyzt_units("mm")
    image.header.set_slope_inter(0.1, 0)
    raw = image.header.copy()
    image.to_filename("sloped.nii")
    # nibabel scales what it writes: the numbers are put in as they are.
    content = bytearray(Path("sloped.nii").read_bytes())
    content[112:120] = np.array([0.1, 0], "<f4").tobytes()
    content[int(raw["vox_offset"]) or 352 :] = (10 * labels()).astype("<i2").tobytes()
    Path("sloped.nii").write_bytes(bytes(content))
    assert float(np.float32(0.1)) * 30 != 3
    save("plain.nii.gz", labels(), (1, 1, 1))


def network(*, beside: bool = True, wrong: bool = False, logits: bool = False, turned: bool = False) -> None:
    """What nnU-Net writes of a case."""
    p = softmax()
    painted = p.argmax(axis=0).astype(np.uint8)
    if wrong:
        painted[0] = 1
    stored = 4 * np.log(p) + 3 if logits else p
    np.savez_compressed("case.npz", probabilities=np.transpose(stored, (0, 3, 2, 1)) if turned else stored)
    if beside:
        save("case.nii.gz", painted)
    save("image.nii.gz", p[0])
    described = {"labels": {"background": 0, "artery": 1, "vein": 2}, "file_ending": ".nii.gz"}
    Path("dataset.json").write_text(json.dumps(described))


def study() -> None:
    network(wrong=True)
    Path("study").mkdir()
    for name in ("a", "b"):
        for suffix in (".npz", ".nii.gz"):
            Path(f"study/{name}{suffix}").write_bytes(Path(f"case{suffix}").read_bytes())
    Path("study/dataset.json").write_bytes(Path("dataset.json").read_bytes())


def pair(one: np.ndarray, other: np.ndarray, *spacings: tuple[float, ...], suffix: str = ".nii.gz") -> None:
    first, second = spacings or ((1, 1, 1), (1, 1, 1))
    save(f"pred{suffix}", one, first[-one.ndim :])
    save(f"ref{suffix}", other, second[-other.ndim :])


def moved() -> None:
    pair(soft(), (soft() > 0.5).astype(np.uint8))
    place = np.diag([1.0, 1, 1, 1])
    place[0, 3] = 5
    nibabel.Nifti1Image((soft() > 0.5).astype(np.uint8).T, place).to_filename("ref.nii.gz")


def stack(axes: str, shape: tuple[int, ...]) -> None:
    tifffile.imwrite("map.ome.tif", soft(shape=shape), metadata={"axes": axes})


def holes() -> None:
    image = soft()
    image[0, 0, 0] = np.nan
    save("map.nii.gz", image)
    save("mask.nii.gz", np.isfinite(image).astype(np.uint8))


def folders() -> None:
    Path("in/deeper").mkdir(parents=True)
    save("in/deeper/map.nii.gz", soft())


def foreign() -> None:
    one = labels()
    pair(one, np.where(one > 0, one + 5, 0).astype(np.int16))


def comb() -> None:
    """A line with a short spur, and the vessel that both lie in."""
    line, vessel = np.zeros((2, 41, 70), np.float32)
    line[20, 5:65] = line[16:20, 30] = 1
    vessel[12:29] = 0.9
    np.save("line.npy", line)
    np.save("map.npy", vessel)


def several_images() -> None:
    with tifffile.TiffWriter("map.tif") as file:
        for size in (12, 14, 16):
            file.write(soft(shape=(size, 20)), metadata=None, photometric="minisblack")


def sheared() -> None:
    place = np.eye(4)
    place[0, 2] = 0.3
    for name in ("pred", "ref"):
        nibabel.Nifti1Image((soft() > 0.5).astype(np.uint8).T, place).to_filename(f"{name}.nii.gz")


def ring() -> None:
    comb()
    line = np.load("line.npy")
    line[10:31, [20, 50]] = line[[10, 30], 20:51] = 1
    np.save("line.npy", line)


def skeleton() -> None:
    save("map.nii.gz", soft())
    run("skeletonize", "map.nii.gz", "skeleton.nii.gz")


def first_object() -> None:
    one = soft()
    save("ref.nii.gz", (one > 0.5).astype(np.uint8), (1, 1, 1))
    image = nibabel.Nifti1Image(np.stack([one, 1 - one]).T, np.eye(4))
    image.header.set_xyzt_units("mm")
    image.to_filename("pred.nii.gz")


def without_size() -> None:
    np.save("map.npy", soft())


def placed_in_no_unit() -> None:
    """A NIfTI with a position whose header leaves the unit open."""
    nibabel.Nifti1Image(soft().T, np.diag([0.5, 0.5, 2, 1])).to_filename("map.nii.gz")


def in_no_unit() -> None:
    save("map.nii.gz", soft())
    run("erode", "map.nii.gz", "map.zarr")
    place = Path("map.zarr/.zattrs")
    told = json.loads(place.read_text())
    for axis in told["multiscales"][0]["axes"]:
        del axis["unit"]
    place.write_text(json.dumps(told))


def case_beside(suffix: str, *, reader: str = "") -> None:
    """A case of nnU-Net whose labels are in another format than its dataset's."""
    network()
    painted = softmax().argmax(axis=0).astype(np.uint8)
    Path("case.nii.gz").unlink()
    if suffix == ".gipl":
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(painted), "case.gipl")
    else:
        tifffile.imwrite(f"case{suffix}", painted)
    told = json.loads(Path("dataset.json").read_text()) | {"file_ending": suffix}
    if reader:
        told["overwrite_image_reader_writer"] = reader
    Path("dataset.json").write_text(json.dumps(told))


def other_size() -> None:
    network()
    Path("image.nii.gz").rename("kept.nii.gz")
    save("case.nii.gz", np.zeros((6, 12, 13), np.uint8))


def two_of_a_name() -> None:
    network()
    Path("images").mkdir()
    for name in ("case.nii.gz", "case.nrrd"):
        save(f"images/{name}", softmax()[0])


def regions() -> None:
    """Classes that overlap, as nnU-Net's regions do."""
    whole, core = soft(), soft() * np.linspace(0, 1, SHAPE[-1], dtype=np.float32)
    np.savez_compressed("case.npz", probabilities=np.stack([whole, core]))
    save("case.nii.gz", np.where(core > 0.5, 2, whole > 0.5).astype(np.uint8))
    told = {"labels": {"background": 0, "whole": [1, 2], "core": 2}, "regions_class_order": [1, 2]}
    Path("dataset.json").write_text(json.dumps(told | {"file_ending": ".nii.gz"}))


def strange_axes() -> None:
    """An OME-Zarr whose axes of space have names of their own."""
    without_size()
    run("erode", "map.npy", "map.zarr")
    place = Path("map.zarr/.zattrs")
    told = json.loads(place.read_text())
    for axis, name in zip(told["multiscales"][0]["axes"], "abd", strict=True):
        axis["name"] = name
    place.write_text(json.dumps(told))


def folders_of_pairs() -> None:
    for number in range(2):
        for folder in ("pred", "ref"):
            Path(folder).mkdir(exist_ok=True)
            save(f"{folder}/{number}.nii.gz", (soft(number) > 0.5).astype(np.uint8))


def cut_short() -> None:
    pair((soft() > 0.5).astype(np.uint8), (soft() > 0.5).astype(np.uint8)[..., :12])


def turned() -> None:
    np.save("pred.npy", soft())
    np.save("ref.npy", (soft() > 0.5).astype(np.uint8).T)


def broken_ring() -> None:
    y, x = np.mgrid[:30, :30] - 14.5
    ring = np.exp(-((np.hypot(y, x) - 9) ** 2) / 4).astype(np.float32)
    ring[12:17, 18:] *= 0.4
    save("map.nii.gz", ring)


def blob() -> None:
    y, x = np.mgrid[:30, :30] - 14
    save("map.nii.gz", np.exp(-(y**2 + x**2) / 40).astype(np.float32))


def sponge() -> None:
    """Noise whose loops and cavities fill from one of 16 levels to the next; of 8, few do."""
    image = ndimage.gaussian_filter(np.random.default_rng(3).standard_normal((16, 24, 24)), 2)
    save("map.nii.gz", (1 / (1 + np.exp(-2 * image / image.std() - 1))).astype(np.float32), (1, 1, 1))
    run("skeletonize", "map.nii.gz", "skeleton.nii.gz")


def two_results() -> None:
    Path("in").mkdir()
    for name in ("map.nii.gz", "map.npy"):
        save(f"in/{name}", soft())


def typed(line: str, message: str) -> str:
    """Return what a person types for a line of a message: the line to its end, names in the place of placeholders."""
    if line.startswith("softmorph "):
        start = message.index(line)
        line = re.split(r"[.;]?(?: If | and then )|\.?$", message[start:].splitlines()[0], maxsplit=1)[0]
    elif not re.match(r"--|[a-z]+:", line):
        line = ""
    return " ".join(FILL.get(word, word) for word in line.split())


def words_of(line: str) -> list[str]:
    """Split as a shell does, patterns with it."""
    found = []
    for word in shlex.split(line):
        found += (sorted(map(str, Path().glob(word))) or [word]) if "*" in word else [word]
    return found


def follow(name: str, row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    """Provoke the message of a row, and type all that it advises."""
    row.make()
    for other in ("image", "labels"):
        if not Path(f"{other}.nii.gz").exists():
            save(f"{other}.nii.gz", labels())
    before = set(Path().iterdir())
    with monkeypatch.context() as patch:
        row.where(patch)
        ended = run(*words_of(row.command), code=row.code)
        if not row.mended:
            _type(name, row, ended.err + ended.out, before)
    if row.mended:
        _type(name, row, ended.err + ended.out, before)


def _type(name: str, row: Row, message: str, before: set[Path]) -> None:
    advised = set(OPTION.findall(" ".join(row.advice))) | set(row.mentions)
    marks = ("error: ", "note: ", "warning: ", "failed: ", "  notes: ")
    # What stands below a table says what else may be typed, too.
    told = sorted(message.splitlines(), key=lambda line: not line.startswith(marks))
    # The message of the source that this row stands for.
    assert [part for part, tried in ROWS.items() if tried == name and part not in message] == []
    for advice in row.advice:
        (line, *_) = [one for one in told if advice in one] or [""]
        assert line, f"{advice!r} is not in {message!r}"
        # Whatever else that message names is advised or mentioned: nothing stays untried.
        assert set(OPTION.findall(line)) <= advised, line
        if not row.then or not isinstance(row.then, str):
            clear(before)
        then = row.then if isinstance(row.then, str) else row.then.get(advice, "")
        if not isinstance(row.then, str) and then:
            for command in then.split(" && "):
                ended = run(*words_of(command))
        elif advice.startswith("softmorph "):
            ended = run(*words_of(typed(advice, line))[1:])
            if then:
                ended = run(*words_of(then))
        else:
            command = then or row.command
            again = command.replace(row.without, "") if row.without else command
            force = ["--force"] if "--force" in advice else []
            ended = run(*words_of(again), *words_of(typed(advice, line)), *force)
        # What was warned of is gone.
        assert row.code or line not in ended.err
        if not (advice.startswith("softmorph ") and isinstance(row.then, str)):
            clear(before)


def clear(kept: set[Path]) -> None:
    """Remove what a command has written, so that the next one finds what this one found."""
    for made in set(Path().iterdir()) - kept:
        shutil.rmtree(made) if made.is_dir() else made.unlink()
