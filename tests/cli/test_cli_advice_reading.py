"""Messages about options of reading and writing: what they advise is typed, see `helpers_advice`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import h5py
import mrcfile
import numpy as np
import pytest
import tifffile
from helpers_advice import (
    SHAPE,
    Row,
    after,
    folder_of,
    follow,
    labels,
    network,
    placed_in_no_unit,
    ring,
    several_images,
    sheared,
    soft,
    stack,
)
from helpers_cli import run, save
from helpers_dicom import segmentation

import softmorph_cli

# What is done with the file that failed, alone.
APART = "batch in out erode --glob 'logits[[]1].npy'"


def pyramid() -> None:
    np.save("map.npy", soft(shape=(8, 300, 300)))
    run("erode", "map.npy", "map.zarr", "--pyramid")


def named_labels() -> None:
    save("map.nii.gz", labels())
    names = {"background": 0, "left lung": 1, "right lung": 2, "airway": 3}
    Path("dataset.json").write_text(json.dumps({"labels": names, "file_ending": ".nii.gz"}))


def datasets() -> None:
    with h5py.File("maps.h5", "w") as file:
        file["a map"], file["b"] = soft(), soft()


def stack_of_images() -> None:
    with mrcfile.new("map.mrc") as file:
        file.set_data(soft())
        file.set_image_stack()


def probabilities_and_logits() -> None:
    Path("in").mkdir()
    np.save("in/probabilities.npy", soft())
    np.save("in/logits[1].npy", 20 * soft() - 8)


TABLE = {
    "a segmentation without its library": Row(
        lambda: Path("seg.dcm").write_bytes(segmentation(soft())),
        "stats seg.dcm",
        ("pip install 'softmorph-cli[dicom]'",),
        then={"pip install 'softmorph-cli[dicom]'": "stats seg.dcm"},
        where=lambda patch: patch.setitem(sys.modules, "highdicom", None),
        mended=True,
    ),
    "a stack of images as MRC": Row(stack_of_images, "stats map.mrc", ("--axes ZYX",), code=0),
    "more channels than maps usually have": Row(
        lambda: tifffile.imwrite("map.tif", soft(shape=(9, 12, 14)), imagej=True, metadata={"axes": "CYX"}),
        "stats map.tif",
        ("--channel 0", "--axes ZYX", "--axes CYX"),
    ),
    "several datasets of a file": Row(
        datasets,
        "stats maps.h5",
        ("softmorph info",),
        then="stats 'maps.h5:/a map'",
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
    "a channel that is not there": Row(network, "stats case.npz --channel 9", ("--channel 1",)),
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
        pyramid,
        "stats map.zarr/0 --resolution 1",
        ("leave --resolution out",),
        "--resolution 1",
        code=2,
    ),
    "coarser resolutions are there": Row(
        pyramid,
        "info map.zarr",
        ("--resolution 1", "--voxel-size 0.5umx0.25x0.25"),
        code=0,
        then="stats map.zarr",
    ),
    "a label that is not there": Row(
        lambda: save("map.nii.gz", labels()), "stats map.nii.gz --label 9", ("--label 1",)
    ),
    "a name of labels without names": Row(
        lambda: save("map.nii.gz", labels()),
        "stats map.nii.gz --label airway",
        ("--label 1",),
        "--label airway",
        mentions=("--label",),
    ),
    "a name that no label has": Row(
        named_labels, "stats map.nii.gz --label airways", ("--label 'left lung'",), "--label airways"
    ),
    "a label of classes in channels": Row(
        network, "stats case.npz --label vein", ("--channel vein",), "--label vein"
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
    "a voxel size beside another": Row(
        lambda: save("map.nii.gz", soft()),
        "stats map.nii.gz --voxel-size 9umx1x1",
        ("leave --voxel-size out",),
        "--voxel-size 9umx1x1",
    ),
    "a unit beside another": Row(
        lambda: save("map.nii.gz", soft()), "stats map.nii.gz --unit um", ("leave --unit out",), "--unit um"
    ),
    "a unit of no voxel size": Row(
        lambda: np.save("map.npy", soft()),
        "stats map.npy --unit um",
        ("--voxel-size 1um",),
        without="--unit um",
        mentions=("--unit",),
    ),
    "a voxel size for more axes": Row(
        lambda: np.save("map.npy", soft()),
        "stats map.npy --voxel-size 1umx1",
        ("give one for each",),
        "--voxel-size 1umx1",
        mentions=("--voxel-size",),
        then={"give one for each": "stats map.npy --voxel-size 1umx1x1"},
    ),
    "a voxel size in two units": Row(
        lambda: np.save("map.npy", soft()),
        "stats map.npy --voxel-size 1um --unit um",
        ("leave --unit out",),
        "--unit um",
        mentions=("--voxel-size",),
        code=2,
    ),
    "a voxel size in no unit": Row(
        lambda: np.save("map.npy", soft()),
        "stats map.npy --voxel-size 1x1x1",
        ("--unit mm",),
        mentions=("--voxel-size",),
        code=2,
    ),
    "a voxel size that is none": Row(
        lambda: np.save("map.npy", soft()),
        "stats map.npy --voxel-size 1pxx1x1",
        ("such as 1umx0.25x0.25",),
        "--voxel-size 1pxx1x1",
        mentions=("--voxel-size",),
        code=2,
        then={"such as 1umx0.25x0.25": "stats map.npy --voxel-size 1umx0.25x0.25"},
    ),
    "a voxel size in the place of numbers without a unit": Row(
        placed_in_no_unit,
        "stats map.nii.gz --voxel-size 1umx0.25x0.25",
        ("as --voxel-size says",),
        mentions=("--voxel-size",),
        code=0,
        then={"as --voxel-size says": "stats map.nii.gz --unit um"},
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
        after(folder_of, lambda: run("batch", "in", "out", "erode")),
        "batch in out erode",
        ("--resume", "--force"),
    ),
    "files that no batch made": Row(
        after(folder_of, lambda: folder_of(folder="out")),
        "batch in out erode",
        ("--force",),
        mentions=("--suffix",),
    ),
    "parts without a number": Row(
        folder_of,
        "batch in out erode --num-parts 4",
        ("--num-parts 10 --part-id 0",),
        without="--num-parts 4",
        mentions=("--part-id",),
        code=2,
    ),
    "logits that are probabilities": Row(
        network, "stats case.npz --from-logits softmax", ("leave --from-logits out",), "--from-logits softmax"
    ),
    "probabilities read as logits": Row(
        lambda: save("map.nii.gz", soft()),
        "stats map.nii.gz --from-logits sigmoid",
        ("leave --from-logits out",),
        "--from-logits sigmoid",
        code=0,
    ),
    "a batch of probabilities and logits": Row(
        probabilities_and_logits,
        "batch in out erode",
        ("--from-logits sigmoid", "--clip", "--glob 'logits[[]1].npy'"),
        then={
            "--from-logits sigmoid": f"{APART} --from-logits sigmoid",
            "--clip": f"{APART} --clip",
            "--glob 'logits[[]1].npy'": f"{APART} --from-logits sigmoid && batch in others erode --glob p*",
        },
    ),
    "an image beside what needs none": Row(
        lambda: save("map.nii.gz", soft()),
        "stats map.nii.gz --reference image.nii.gz",
        ("leave --reference out",),
        "--reference image.nii.gz",
    ),
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
        after(folder_of, lambda: run("batch", "in", "out", "erode")),
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


@pytest.mark.parametrize("name", TABLE)
def test_what_a_message_advises_works(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    follow(name, TABLE[name], monkeypatch)


@pytest.mark.parametrize(
    "command",
    ["erode IN out.npy -n 1", "erode IN out.zarr -n 1 --memory 1GB", "stats IN", "inspect IN --levels 0",
     "evaluate IN mask.npy --metrics dice", "topology numbers IN --no-bars"],
)  # fmt: skip
def test_probabilities_that_are_read_as_logits_are_warned_of_once(command: str) -> None:
    p = soft()
    for name, values in (("p", p), ("logits", np.log(p / (1 - p))), ("mask", p > 0.5)):
        np.save(f"{name}.npy", values)
    for name, warned in (("p", 1), ("logits", 0)):
        words = command.replace("IN", f"{name}.npy").split()
        ended = run(*words, "--from-logits", "sigmoid", "--force" if "out" in command else "-v")
        assert ended.err.count("warning: p.npy holds values from ") == warned
        assert "warning: logits.npy" not in ended.err
    if "out.npy" in command:
        np.testing.assert_allclose(np.load("out.npy"), softmorph_cli.erosion(p, iterations=1), atol=1e-6)


def test_python_names_the_keyword() -> None:
    p = soft()
    np.save("p.npy", p)
    with pytest.warns(
        softmorph_cli.SoftmorphWarning, match="and from_logits turns them into others: leave from_logits out"
    ):
        found = softmorph_cli.read("p.npy", from_logits="sigmoid")
    np.testing.assert_allclose(found.array, 1 / (1 + np.exp(-p)), rtol=1e-6)
