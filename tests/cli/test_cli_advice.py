"""What a message advises is typed, on the very file that provoked it, and has to work.

A row of the table is a command that is refused, warned of or noted on; what the message advises is taken from the
message itself. To add one: a function that makes the files, the command, and what the message has to advise, word for
word.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from helpers_cli import run, save
from helpers_tried import ROWS

import softmorph_cli.io

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
    """A command, and what its message says to type next.

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
    import nibabel

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
    import nibabel

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
    import nibabel

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
    import nibabel

    image = nibabel.Nifti1Image(np.stack([one, 1 - one]).T, np.eye(4))
    image.header.set_xyzt_units("mm")
    image.to_filename("pred.nii.gz")


TABLE = {
    "labels": Row(
        lambda: save("map.nii.gz", labels()), "erode map.nii.gz out.nii.gz", ("--label 1", "--divide-by 3")
    ),
    "labels behind a slope, filtered": Row(
        sloped, "erode sloped.nii out.nii.gz", ("--label 1", "--divide-by 3")
    ),
    "labels behind a slope, compared with one map": Row(
        lambda: (sloped(), save("map.nii.gz", soft(), (1, 1, 1))),
        "evaluate map.nii.gz sloped.nii --metrics dice --same-grid",
        ("--label 1",),
    ),
    "grey values": Row(
        lambda: save("map.nii.gz", (4000 * soft()).astype(np.int16)),
        "erode map.nii.gz out.nii.gz",
        ("--divide-by 4095",),
    ),
    "percent": Row(lambda: save("map.nii.gz", 100 * soft()), "stats map.nii.gz", ("--divide-by 100",)),
    "overshoot": Row(lambda: save("map.nii.gz", 1.1 * soft() + 0.05), "stats map.nii.gz", ("--clip",)),
    "logits": Row(
        lambda: save("map.nii.gz", 20 * soft() - 8),
        "stats map.nii.gz",
        ("--from-logits sigmoid", "--clip"),
    ),
    "not a number": Row(holes, "stats map.nii.gz", ("--mask FILE",), mentions=()),
    "axes without names": Row(lambda: np.save("map.npy", softmax()), "stats map.npy", ("--axes CZYX",)),
    "a colour image": Row(
        lambda: tifffile.imwrite("map.tif", np.full((9, 9, 3), 200, np.uint8), photometric="rgb"),
        "stats map.tif",
        ("--channel 0",),
        mentions=("--axes",),
    ),
    "several classes, one is inspected": Row(network, "inspect case.npz", ("--channel artery",)),
    "several times, one is inspected": Row(
        lambda: stack("TZYX", (3, *SHAPE)), "inspect map.ome.tif", ("--time 0",)
    ),
    "several times and channels, part by part": Row(
        lambda: stack("TCZYX", (3, 2, *SHAPE)),
        "close map.ome.tif out.ome.zarr -n 1 --memory 1GB",
        ("--time 0 --channel 0",),
    ),
    "a network's logits": Row(lambda: network(logits=True), "stats case.npz", ("--from-logits softmax",)),
    "a network without labels beside it": Row(
        lambda: network(beside=False), "stats case.npz", ("--reference FILE",)
    ),
    "a network and other labels": Row(
        lambda: network(wrong=True), "stats case.npz", ("--reference case.nii.gz", "--reference .")
    ),
    "a batch of networks and other labels": Row(
        study, "batch study out erode", ("--reference study",), mentions=("--reference",)
    ),
    "a network with its axes turned": Row(lambda: network(turned=True), "stats case.npz", ("--axes CXYZ",)),
    "one map against several labels": Row(
        lambda: pair(soft(), labels()), "evaluate pred.nii.gz ref.nii.gz --metrics dice", ("--label 1",)
    ),
    "an error map of several classes": Row(
        lambda: pair(labels(), labels()),
        "evaluate pred.nii.gz ref.nii.gz --metrics dice --error-map wrong.nii.gz",
        ("--label 1",),
    ),
    "an error map of several classes that were asked for": Row(
        lambda: pair(labels(), labels()),
        "evaluate pred.nii.gz ref.nii.gz --metrics dice --error-map wrong.nii.gz --label 1 --label 2",
        ("--label 1",),
        without="--label 1 --label 2",
    ),
    "two places": Row(moved, "evaluate pred.nii.gz ref.nii.gz --metrics dice", ("--same-grid",)),
    "two voxel sizes": Row(
        lambda: pair(soft(), labels()[..., ::2].clip(0, 1), (1, 1, 1), (1, 1, 2), suffix=".tif"),
        "evaluate pred.tif ref.tif --metrics dice",
        ("softmorph resample",),
        mentions=("--spacing",),
        then="evaluate on_the_grid.tif ref.tif --metrics dice",
    ),
    "two sizes of voxels": Row(
        lambda: pair(soft(), labels().clip(0, 1).astype(np.uint8), (1, 1, 1), (1, 1, 2), suffix=".tif"),
        "evaluate pred.tif ref.tif --metrics dice",
        ("--same-grid",),
    ),
    "an image against a stack": Row(
        lambda: pair(soft(), (soft(shape=SHAPE[1:]) > 0.5).astype(np.uint8), suffix=".tif"),
        "evaluate pred.tif ref.tif --metrics dice",
        ("softmorph threshold",),
        mentions=("--region",),
        then="evaluate slice.tif ref.tif --metrics dice",
    ),
    "a reference of grey values": Row(
        lambda: pair(soft(), (4000 * soft()).astype(np.int16)),
        "evaluate pred.nii.gz ref.nii.gz --metrics dice",
        ("softmorph threshold",),
        mentions=("--divide-by",),
        then="evaluate pred.nii.gz mask.nii.gz --metrics dice",
    ),
    "no label in common": Row(
        foreign,
        "evaluate pred.nii.gz ref.nii.gz --metrics dice",
        ("softmorph threshold LABELS MASK --label K",),
        code=0,
    ),
    "the background comes last": Row(
        first_object, "evaluate pred.nii.gz ref.nii.gz --metrics dice", ("--channel 0",), code=0
    ),
    "one half and the most probable class": Row(
        network,
        "skeletonize case.npz out.nii.gz",
        ("--argmax",),
        code=0,
    ),
    "nothing above the threshold": Row(
        lambda: save("map.nii.gz", soft() / 4, (1, 1, 1)), "inspect map.nii.gz", ("--threshold 0.1",), code=0
    ),
    "spurs inside": Row(comb, "inspect line.npy --as skeleton --map map.npy", ("--prune radius",), code=0),
    "a skeleton is taken as one": Row(skeleton, "inspect skeleton.nii.gz", ("--as map",), code=0),
    "a file is there": Row(
        lambda: (save("map.nii.gz", soft()), save("out.nii.gz", soft())),
        "erode map.nii.gz out.nii.gz",
        ("--force",),
    ),
    "folders in a folder": Row(folders, "batch in out erode", ("--recursive",)),
    "a folder is measured": Row(
        lambda: (Path("maps").mkdir(), save("maps/map.nii.gz", soft())), "stats maps", ("softmorph stats",)
    ),
    "a dry run without a size": Row(
        lambda: np.save("map.npy", soft()),
        "skeletonize map.npy out.zarr --dry-run",
        ("--memory 4GB",),
        mentions=("--dry-run",),
        code=2,
    ),
    "a standard error of what has none": Row(
        lambda: save("map.nii.gz", soft()),
        "erode map.nii.gz out.nii.gz --standard-error se.nii.gz",
        ("--method sampled",),
        mentions=("--standard-error",),
        code=2,
    ),
    "a map beside a map": Row(
        comb, "inspect line.npy --map map.npy", ("--as skeleton",), mentions=("--map",), code=2
    ),
    "spurs inside, and no map": Row(
        comb,
        "inspect line.npy --as skeleton --prune radius",
        ("--prune 5vox",),
        without="--prune radius",
        mentions=("--map",),
        code=2,
    ),
    "an order by what is not known": Row(
        lambda: (
            comb(),
            save("map.nii.gz", np.load("map.npy") * np.linspace(0.5, 1, 70, dtype=np.float32), None),
        ),
        "inspect line.npy --as skeleton --sort certainty",
        ("--map MAP",),
        mentions=("--sort",),
    ),
    "an order by what is known": Row(
        comb,
        "inspect line.npy --as skeleton --sort radius",
        ("--sort length",),
        without="--sort radius",
        mentions=("--map",),
    ),
    "bars of one of several channels": Row(
        network, "topology numbers case.npz --plot p.png", ("--channel artery",), mentions=("--plot",)
    ),
    "bars of one of several times": Row(
        lambda: stack("TZYX", (3, *SHAPE)),
        "topology numbers map.ome.tif --plot p.png",
        ("--time 0",),
        mentions=("--plot",),
    ),
    "bars of one of several times and channels": Row(
        lambda: stack("TCZYX", (3, 2, *SHAPE)),
        "topology numbers map.ome.tif --plot p.png",
        ("--time 0 --channel 0",),
        mentions=("--plot",),
    ),
    "bars of one of several slices": Row(
        lambda: save("map.nii.gz", soft()),
        "topology numbers map.nii.gz --per-slice --plot p.png",
        ("leave out --per-slice", "--region 3:4,:,:"),
        "--per-slice",
        mentions=("--plot",),
    ),
    "a repair of one of several channels": Row(
        network,
        "topology repair case.npz out.nii.gz --betti 1,0,0",
        ("--channel artery",),
        mentions=("--priors",),
    ),
    "a repair of nothing in particular": Row(
        lambda: save("map.nii.gz", soft()),
        "topology repair map.nii.gz out.nii.gz",
        ("--betti 1,0,0",),
        mentions=("--priors",),
        code=2,
    ),
    "every value is a level, of another method": Row(
        lambda: save("map.nii.gz", soft()),
        "skeletonize map.nii.gz out.nii.gz -m levels --levels exact",
        ("--method nested",),
        without="-m levels",
        mentions=("--levels",),
        code=2,
    ),
    "a threshold of a soft skeleton": Row(
        lambda: save("map.nii.gz", soft()),
        "skeletonize map.nii.gz out.nii.gz --threshold 0.4",
        ("--hard",),
        mentions=("--threshold",),
        code=2,
    ),
    "a contrast of less than a level": Row(
        lambda: save("map.nii.gz", soft()),
        "skeletonize map.nii.gz out.nii.gz --prune-contrast 0.01",
        ("--prune-contrast 0.0625", "--levels exact"),
        code=2,
    ),
    "a background that is never 0": Row(
        lambda: save(
            "map.npy", (0.005 * np.random.default_rng(0).random((40, 40)) + 0.9 * np.eye(40)).astype("f4")
        ),
        "skeletonize map.npy out.npy --levels exact",
        ("--lowest 0.01",),
        code=0,
    ),
    "levels that a type does not hold": Row(
        lambda: save("map.nii.gz", soft()),
        "skeletonize map.nii.gz out.nii.gz --output-type uint8 --levels 128",
        ("--output-type uint16", "--levels 64"),
        code=2,
    ),
    "a time that is not there": Row(
        lambda: stack("TZYX", (3, *SHAPE)), "stats map.ome.tif --time 9", ("--time 0",)
    ),
    "a time of a map without": Row(
        lambda: save("map.nii.gz", soft()), "stats map.nii.gz --time 0", ("leave --time out",), "--time 0"
    ),
    "a channel of a map without": Row(
        lambda: save("map.nii.gz", soft()),
        "stats map.nii.gz --channel 1",
        ("leave --channel out",),
        "--channel 1",
        mentions=("--channel-axis",),
    ),
    "a channel that is not there": Row(network, "stats case.npz --channel 9", ("--channel 0",)),
    "a series of what has none": Row(
        lambda: save("map.nii.gz", soft()),
        "stats map.nii.gz --series 1",
        ("leave --series out",),
        "--series 1",
    ),
    "a resolution of what has one": Row(
        lambda: save("map.nii.gz", soft()),
        "stats map.nii.gz --resolution 1",
        ("leave --resolution out",),
        "--resolution 1",
    ),
    "a resolution of one array": Row(
        lambda: (
            np.save("map.npy", soft(shape=(8, 300, 300))),
            run("erode", "map.npy", "map.zarr", "--pyramid"),
        ),
        "stats map.zarr/0 --resolution 1",
        ("leave --resolution out",),
        "--resolution 1",
        code=2,
    ),
    "coarser resolutions are there": Row(
        lambda: (
            np.save("map.npy", soft(shape=(8, 300, 300))),
            run("erode", "map.npy", "map.zarr", "--pyramid"),
        ),
        "info map.zarr",
        ("--resolution 1",),
        code=0,
        then="stats map.zarr",
    ),
    "a label that is not there": Row(
        lambda: save("map.nii.gz", labels()), "stats map.nii.gz --label 9", ("--label 1",)
    ),
    "a label of what has none": Row(
        lambda: save("map.nii.gz", soft()), "stats map.nii.gz --label 1", ("leave --label out",), "--label 1"
    ),
    "divided by too little": Row(
        lambda: save("map.nii.gz", 100 * soft()), "stats map.nii.gz --divide-by 89", ("--clip",)
    ),
    "softmax of one channel": Row(
        lambda: save("map.nii.gz", 20 * soft() - 8),
        "stats map.nii.gz --from-logits softmax",
        ("--from-logits sigmoid",),
        without="--from-logits softmax",
        mentions=("--channel-axis",),
    ),
    "two readings of numbers": Row(
        lambda: save("map.nii.gz", labels()),
        "stats map.nii.gz --label 1 --divide-by 3",
        ("give one of them",),
        "--divide-by 3",
        mentions=("--divide-by", "--label", "--from-logits"),
        code=2,
    ),
    "pages without a name": Row(
        lambda: tifffile.imwrite("map.tif", soft(), metadata=None, photometric="minisblack"),
        "erode map.tif out.tif",
        ("--axes TYX", "--per-slice"),
        code=0,
    ),
    "series of a TIFF": Row(several_images, "stats map.tif", ("--series N",), code=0),
    "a series that is not there": Row(several_images, "stats map.tif --series 7", ("--series 0",)),
    "a last axis of three": Row(
        lambda: np.save("map.npy", soft(shape=(9, 10, 3))), "erode map.npy out.npy", ("--axes ZYX",), code=0
    ),
    "a batch that was done": Row(
        lambda: (Path("in").mkdir(), save("in/map.nii.gz", soft()), run("batch", "in", "out", "erode")),
        "batch in out erode",
        ("--resume", "--force"),
    ),
    "files that no batch made": Row(
        lambda: [(Path(one).mkdir(), save(f"{one}/map.nii.gz", soft())) for one in ("in", "out")],
        "batch in out erode",
        ("--force",),
        mentions=("--suffix",),
    ),
    "parts without a number": Row(
        lambda: (Path("in").mkdir(), save("in/map.nii.gz", soft())),
        "batch in out erode --num-parts 4",
        ("--num-parts 10 --part-id 0",),
        without="--num-parts 4",
        mentions=("--part-id",),
        code=2,
    ),
    "logits that are probabilities": Row(
        network, "stats case.npz --from-logits softmax", ("leave --from-logits out",), "--from-logits softmax"
    ),
    "an image beside what needs none": Row(
        lambda: save("map.nii.gz", soft()),
        "stats map.nii.gz --reference image.nii.gz",
        ("leave --reference out",),
        "--reference image.nii.gz",
    ),
    "a background is left out": Row(network, "stats case.npz", ("--channel 0",), code=0),
    "labels as .npy": Row(
        lambda: save("map.nii.gz", soft()),
        "threshold map.nii.gz out.npy --labels",
        ("--label K",),
        code=0,
        then="stats out.npy",
    ),
    "integers as .npy": Row(
        lambda: save("map.nii.gz", soft()),
        "erode map.nii.gz out.npy --output-type uint16",
        ("--divide-by 65535",),
        code=0,
        then="stats out.npy",
    ),
    "voxels that are not cubic": Row(
        lambda: save("map.nii.gz", soft(), (3, 1, 1)),
        "skeletonize map.nii.gz out.nii.gz",
        ("--resample iso",),
        code=0,
    ),
    "a chain on voxels that are not cubic": Row(
        lambda: save("map.nii.gz", soft(), (3, 1, 1)),
        "chain map.nii.gz out.nii.gz erode skeletonize",
        ("skeletonize:resample=iso",),
        code=0,
        then={"skeletonize:resample=iso": "chain map.nii.gz out.nii.gz erode skeletonize:resample=iso"},
    ),
    "tiles of voxels that are not cubic": Row(
        lambda: save("map.nii.gz", soft(), (3, 1, 1)),
        "skeletonize map.nii.gz out.ome.zarr --memory 1GB",
        ("softmorph resample",),
        code=0,
        then={
            "softmorph resample": "resample map.nii.gz cubic.ome.zarr"
            " && skeletonize cubic.ome.zarr out.ome.zarr --memory 1GB"
        },
    ),
    "lengths of sheared voxels": Row(
        sheared,
        "evaluate pred.nii.gz ref.nii.gz --metrics hd95_mm",
        ("softmorph resample IN OUT",),
        code=0,
        then="evaluate rectangular.nii.gz rectangular.nii.gz --metrics hd95_mm",
    ),
    "classes of more labels than one": Row(
        lambda: save("map.nii.gz", soft()),
        "threshold map.nii.gz out.nii.gz --labels --output-type uint8",
        ("leave out --output-type",),
        "--output-type uint8",
        code=2,
    ),
    "a plot that draws what is not counted": Row(
        lambda: save("map.nii.gz", soft()),
        "topology numbers map.nii.gz --no-bars --plot p.png",
        ("leave out --no-bars",),
        "--no-bars",
        mentions=("--plot",),
        code=2,
    ),
    "a solid object called a skeleton": Row(
        lambda: save("map.nii.gz", (soft() > 0.5).astype(np.uint8)),
        "inspect map.nii.gz --as skeleton",
        ("leave out --as skeleton", "--as map"),
        "--as skeleton",
        code=0,
    ),
    "the exact skeleton, and how a soft one is made": Row(
        lambda: save("map.nii.gz", soft()),
        "skeletonize map.nii.gz out.nii.gz --hard --iterations 3",
        ("it goes without --method, --preset and --iterations",),
        "--iterations 3",
        mentions=("--hard",),
        code=2,
    ),
    "a summary of one part": Row(
        lambda: (Path("in").mkdir(), save("in/map.nii.gz", soft()), run("batch", "in", "out", "erode")),
        "batch in out --summarize --num-parts 2 --part-id 0",
        ("leave out --num-parts and --part-id",),
        "--num-parts 2 --part-id 0",
        mentions=("--summarize",),
        code=2,
    ),
    "one picture of many files": Row(
        lambda: [save(f"{one}.nii.gz", soft()) for one in ("map", "other")],
        "stats map.nii.gz other.nii.gz --preview p.png",
        ("leave it out",),
        "--preview p.png",
        mentions=("--preview",),
        code=2,
    ),
    "a cycle of which no part is less certain": Row(
        ring,
        "inspect line.npy --as skeleton --prune-cycles least-certain",
        ("--prune-cycles shortest",),
        without="--prune-cycles least-certain",
        mentions=("--map",),
        code=2,
    ),
    "slices of which one is inspected": Row(
        lambda: save("map.nii.gz", soft()),
        "inspect map.nii.gz --per-slice",
        ("leave out --per-slice", "--region 3:4,:,:"),
        "--per-slice",
    ),
    "fewer bits than its type has": Row(
        lambda: tifffile.imwrite("map.tif", (4000 * soft()).astype(np.uint16), metadata={"axes": "ZYX"}),
        "stats map.tif",
        ("--divide-by 4095", "--divide-by 65535"),
    ),
    "how small specks are": Row(
        lambda: save("map.nii.gz", soft()),
        "chain map.nii.gz out.nii.gz despeckle",
        ("despeckle:min-size=30vox",),
        without=" despeckle",
        code=2,
    ),
    "iterations and a radius": Row(
        lambda: save("map.nii.gz", soft()),
        "erode map.nii.gz out.nii.gz -n 1 --radius 2vox",
        ("give either --iterations or --radius",),
        "--radius 2vox",
        mentions=("--iterations", "--radius"),
        code=2,
    ),
    "tiles that cannot know when to stop": Row(
        lambda: np.save("map.npy", soft()),
        "skeletonize map.npy out.zarr -m product --memory 1GB",
        ("--iterations N", "--method nested"),
        without="-m product",
    ),
}


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


@pytest.mark.parametrize("name", TABLE)
def test_what_a_message_advises_works(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    follow(name, TABLE[name], monkeypatch)


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


def everything() -> list[tuple[str, Callable[[], object], str]]:
    """Files of every kind that `softmorph info` knows a next command for."""
    rows = [(name, row.make, row.command) for name, row in TABLE.items()]
    return [(name, make, command) for name, make, command in rows if command.startswith(("erode", "stats"))]


@pytest.mark.parametrize("name", [name for name, _, command in everything() if command.split()[1] != "maps"])
def test_what_info_tries_next_works(name: str) -> None:
    make, command = next((make, command) for one, make, command in everything() if one == name)
    make()
    for other in ("image", "mask"):
        if not Path(f"{other}.nii.gz").exists():
            save(f"{other}.nii.gz", np.ones(SHAPE, np.uint8))
    found = softmorph_cli.io.probe(command.split()[1])
    assert found.suggestion.startswith("softmorph skeletonize ")
    words: list[Any] = words_of(typed(found.suggestion, found.suggestion))
    run(*words[1:])


def test_labels_behind_a_slope_are_labels_for_every_command() -> None:
    sloped()
    for one, other in (("plain.nii.gz", "sloped.nii"), ("sloped.nii", "plain.nii.gz")):
        for chosen, expected in (((), [1, 2, 3]), (("--label", 2), [2])):
            told = ("evaluate", one, other, "--metrics", "dice", "--same-grid", "--json", *chosen)
            found = {row["label"]: row["metrics"]["dice"] for row in run(*told).json["classes"]}
            assert found == dict.fromkeys(expected, 1.0)
    assert softmorph_cli.io.probe("sloped.nii").kind == "labels"
    run("threshold", "sloped.nii", "two.nii", "--label", 2, "-q")
    assert np.array_equal(softmorph_cli.io.read("two.nii").array, labels() == 2)
