"""What is advised where options do not go with a file, or with each other: typed as in `test_cli_advice`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers_advice import (
    SHAPE,
    Row,
    after,
    blob,
    broken_ring,
    case_beside,
    comb,
    cut_short,
    folder_of,
    folders_of_pairs,
    follow,
    in_no_unit,
    labels,
    network,
    other_size,
    pair,
    regions,
    soft,
    softmax,
    sponge,
    stack,
    strange_axes,
    turned,
    two_of_a_name,
    two_results,
    without_size,
)
from helpers_cli import run, save
from scipy import ndimage


def waves() -> None:
    """Three classes that meet at a low probability, where skeletons break once they are made to sum to 1."""
    noise = np.random.default_rng(10).standard_normal((3, 24, 24))
    raised = np.exp(24 * np.stack([ndimage.gaussian_filter(one, 2) for one in noise]))
    np.save("map.npy", (raised / raised.sum(axis=0)).astype(np.float32))


TABLE = {
    "a root that is a branch, in a folder": Row(
        folder_of,
        "inspect in --levels 0 --root 1",
        ("--root widest",),
        without="--root 1",
        code=2,
    ),
    "a root that is no place": Row(
        folder_of,
        "inspect in/map.nii.gz --levels 0 --root 1,2,3,4",
        ("--root 12.5,-3,40",),
        without="--root 1,2,3,4",
        code=2,
    ),
    "a widest branch without radii": Row(
        comb,
        "inspect line.npy --as skeleton --root widest",
        ("--root 12.5,-3,40",),
        without="--root widest",
        mentions=("--map",),
    ),
    "an order of the branches of a folder": Row(
        folder_of,
        "inspect in --levels 0 --top 3",
        ("leave",),
        without="--top 3",
        mentions=("--top", "--sort"),
        code=2,
    ),
    "an image of another size": Row(
        other_size,
        "stats case.npz",
        ("--reference FILE",),
        then={"--reference FILE": "stats case.npz --reference kept.nii.gz"},
    ),
    "labels that say nothing of orientation": Row(
        lambda: case_beside(".tif", reader="NibabelIOWithReorient"),
        "stats case.npz",
        ("--reference FILE",),
    ),
    "labels in a format that is not read": Row(
        lambda: case_beside(".gipl"), "stats case.npz", ("--reference FILE",)
    ),
    "two images of the case's name": Row(
        two_of_a_name,
        "stats case.npz --reference images",
        ("--reference FILE",),
        then={"--reference FILE": "stats case.npz --reference images/case.nrrd"},
    ),
    "axes that no case has": Row(network, "stats case.npz --axes TZYX", ("--axes CZYX",), "--axes TZYX"),
    "logits that are turned by the other function": Row(
        lambda: network(logits=True),
        "stats case.npz --from-logits sigmoid",
        ("--from-logits softmax",),
        "--from-logits sigmoid",
    ),
    "overlapping classes made to sum to 1": Row(
        regions,
        "erode case.npz out.nii.gz --renormalize",
        ("leave --renormalize out",),
        "--renormalize",
    ),
    "a pyramid in another format": Row(
        without_size,
        "erode map.npy out.tif --pyramid",
        ("end its name with .zarr", "leave out --pyramid"),
        code=2,
        then={
            "end its name with .zarr": "erode map.npy out.zarr --pyramid",
            "leave out --pyramid": "erode map.npy out.tif",
        },
    ),
    "a pool without a pyramid": Row(
        without_size,
        "erode map.npy out.zarr --pyramid-pool max",
        ("add --pyramid", "leave out --pyramid-pool"),
        code=2,
        then={
            "add --pyramid": "erode map.npy out.zarr --pyramid-pool max --pyramid",
            "leave out --pyramid-pool": "erode map.npy out.zarr",
        },
    ),
    "a pool of labels": Row(
        without_size,
        "threshold map.npy out.zarr --labels --pyramid --pyramid-pool max",
        ("leave out --pyramid-pool",),
        "--pyramid-pool max",
        code=2,
    ),
    "a pool of voxels that get no larger": Row(
        lambda: save("map.nii.gz", soft()[0]),
        "resample map.nii.gz out.nii.gz --pool max",
        ("--spacing 1mm", "leave out --pool"),
        mentions=("--spacing iso",),
        code=2,
        then={
            "--spacing 1mm": "resample map.nii.gz out.nii.gz --pool max --spacing 4mm",
            "leave out --pool": "resample map.nii.gz out.nii.gz",
        },
    ),
    "a pool and a length that make no voxel larger": Row(
        lambda: save("map.nii.gz", soft()[0]),
        "resample map.nii.gz out.nii.gz --spacing 1mm --pool max",
        ("leave out --pool",),
        "--pool max",
        mentions=("--spacing",),
    ),
    "a type that the format does not hold": Row(
        lambda: np.save("map.npy", soft()[0]),
        "erode map.npy out.png --output-type float32",
        ("--output-type uint16", "leave it out"),
        "--output-type float32",
        code=2,
    ),
    "axes of another number": Row(without_size, "stats map.npy --axes YX", ("--axes ZYX",), "--axes YX"),
    "a time chosen as a channel": Row(
        lambda: stack("TCZYX", (3, 2, *SHAPE)),
        "stats map.ome.tif --channel-axis T --channel 0",
        ("--time 0",),
        without="--channel-axis T",
        mentions=("--channel-axis",),
    ),
    "none of two axes is that of the channels": Row(
        lambda: np.save("map.npy", soft(shape=(2, 2, 9, 11))),
        "erode map.npy out.npy --axes TAYX --argmax",
        ("--channel-axis",),
        then={"--channel-axis": "erode map.npy out.npy --axes TAYX --argmax --channel-axis A"},
    ),
    "axes of space with other names": Row(
        strange_axes, "stats map.zarr", ("--axes",), code=0, then={"--axes": "stats map.zarr --axes ZYX"}
    ),
    "more axes than NIfTI holds": Row(
        lambda: np.save("map.npy", soft(shape=(2, 2, 2, 9, 11))),
        "erode map.npy out.nii.gz --axes ATCYX",
        ("--channel", "write .npy"),
        then={
            "--channel": "erode map.npy out.nii.gz --axes ATCYX --channel 0",
            "write .npy": "erode map.npy out.npy --axes ATCYX",
        },
    ),
    "more axes than OME-Zarr holds": Row(
        lambda: np.save("map.npy", soft(shape=(2, 2, 2, 9, 11))),
        "erode map.npy out.zarr --axes ATCYX",
        ("--channel", "write .npy"),
        then={
            "--channel": "erode map.npy out.zarr --axes ATCYX --channel 0",
            "write .npy": "erode map.npy out.npy --axes ATCYX",
        },
    ),
    "levels that begin between two numbers of a type": Row(
        lambda: save("map.nii.gz", soft()),
        "skeletonize map.nii.gz out.nii.gz --output-type uint8 --lowest 0.0624",
        ("--lowest 0.0625", "--output-type uint16"),
        code=2,
        then={
            "--lowest 0.0625": "skeletonize map.nii.gz out.nii.gz --output-type uint8 --lowest 0.0625",
            "--output-type uint16": "skeletonize map.nii.gz out.nii.gz --lowest 0.0624 --output-type uint16",
        },
    ),
    "a rule file that is none": Row(
        lambda: (
            save("map.nii.gz", soft()),
            Path("map.nii.gz").rename("map.toml"),
            save("pred.nii.gz", soft()),
        ),
        "apply map.toml pred.nii.gz rectangular.nii.gz",
        ("softmorph apply RULE IN OUT",),
    ),
    "a rule that is not there": Row(
        lambda: save("map.nii.gz", soft()),
        "apply gone.toml map.nii.gz out.nii.gz",
        ("softmorph rules",),
        then={"softmorph rules": "rules"},
    ),
    "the rules there are": Row(
        lambda: None,
        "rules",
        ("softmorph rules NAME",),
        code=0,
        then={"softmorph rules NAME": "rules majority"},
    ),
    "a step without its rule": Row(
        lambda: save("map.nii.gz", soft()),
        "chain map.nii.gz out.nii.gz apply",
        ("softmorph rules", "a name"),
        code=2,
        then={"softmorph rules": "rules", "a name": "chain map.nii.gz out.nii.gz apply:rule=isolated"},
    ),
    "a rule that is no nested one": Row(
        lambda: save("pred.nii.gz", soft()[0]),
        "apply zhang-suen pred.nii.gz rectangular.nii.gz --method nested",
        ("softmorph apply zhang-suen+simple IN OUT", "leave out --method nested"),
        code=2,
        then={
            "softmorph apply zhang-suen+simple IN OUT": "apply zhang-suen+simple pred.nii.gz rectangular.nii.gz "
            "--method nested",
            "leave out --method nested": "apply zhang-suen pred.nii.gz rectangular.nii.gz",
        },
    ),
    "a size of a map in no unit": Row(
        in_no_unit,
        "resample map.zarr out.nii.gz --spacing 1mm",
        ("--unit um", "--spacing iso"),
        without="--spacing 1mm",
    ),
    "cubic voxels of a map without a size": Row(
        without_size, "inspect map.npy --resample iso", ("leave out --resample iso",), "--resample iso"
    ),
    "a soft skeleton in pieces": Row(
        lambda: save("map.nii.gz", np.random.default_rng(0).random((20, 20)).astype(np.float32)),
        "skeletonize map.nii.gz out.nii.gz --method levels",
        ("--method nested", "--hard"),
        code=0,
        then={
            "--method nested": "skeletonize map.nii.gz out.nii.gz --method nested",
            "--hard": "skeletonize map.nii.gz out.nii.gz --hard",
        },
    ),
    "a nested skeleton in pieces": Row(
        waves,
        "skeletonize map.npy out.npy --axes CYX --renormalize",
        ("leave it out",),
        "--renormalize",
        mentions=("--renormalize", "--argmax"),
        code=0,
    ),
    "a soft skeleton in pieces, of a chain": Row(
        lambda: save("map.nii.gz", np.random.default_rng(0).random((20, 20)).astype(np.float32)),
        "chain map.nii.gz out.nii.gz skeletonize --method levels",
        ("--method nested", "skeletonize:hard"),
        mentions=("--hard",),
        code=0,
        then={
            "--method nested": "chain map.nii.gz out.nii.gz skeletonize --method nested",
            "skeletonize:hard": "chain map.nii.gz out.nii.gz skeletonize:hard",
        },
    ),
    "a mask made to sum to 1": Row(
        lambda: save("map.nii.gz", soft()),
        "threshold map.nii.gz out.nii.gz --renormalize",
        ("leave them out",),
        "--renormalize",
        mentions=("--renormalize", "--argmax"),
        code=2,
    ),
    "steps typed and in a file": Row(
        lambda: (
            save("map.nii.gz", soft()),
            Path("steps.toml").write_text('[[step]]\noperation = "close"\n'),
        ),
        "chain map.nii.gz out.nii.gz erode --pipeline steps.toml",
        ("give the steps", "--pipeline FILE.toml"),
        code=2,
        then={
            "give the steps": "chain map.nii.gz out.nii.gz erode",
            "--pipeline FILE.toml": "chain map.nii.gz out.nii.gz --pipeline steps.toml",
        },
    ),
    "a batch of one file": Row(
        folder_of,
        "batch in/map.nii.gz out erode",
        ("name its folder", "softmorph chain"),
        then={
            "name its folder": "batch in out erode",
            "softmorph chain": "chain in/map.nii.gz out.nii.gz erode",
        },
    ),
    "a batch of one store": Row(
        after(without_size, lambda: run("erode", "map.npy", "map.zarr")),
        "batch map.zarr out erode",
        ("softmorph chain",),
        then={"softmorph chain": "chain map.zarr out.zarr erode"},
    ),
    "two inputs and one output": Row(
        two_results,
        "batch in out erode --suffix .tif",
        ("--glob", "--suffix"),
        code=2,
        then={
            "--glob": "batch in out erode --suffix .tif --glob *.npy",
            "--suffix": "batch in out erode --suffix _eroded",
        },
    ),
    "nothing to compare": Row(
        lambda: None,
        "evaluate",
        ("softmorph evaluate --explain",),
        code=2,
        then={"softmorph evaluate --explain": "evaluate --explain"},
    ),
    "statistics on the terminal": Row(
        lambda: pair(labels(), labels()),
        "evaluate pred.nii.gz ref.nii.gz --metrics dice --json-file -",
        ("--json",),
        mentions=("--json-file",),
        code=2,
        then={"--json": "evaluate pred.nii.gz ref.nii.gz --metrics dice --json"},
    ),
    "a table of one pair": Row(
        lambda: pair(labels(), labels()),
        "evaluate pred.nii.gz ref.nii.gz --metrics dice",
        ("--explain",),
        code=0,
        then={"--explain": "evaluate --explain"},
    ),
    "a table of pairs": Row(
        folders_of_pairs,
        "evaluate pred ref --metrics dice",
        ("--csv", "--explain"),
        code=0,
        then={"--csv": "evaluate pred ref --metrics dice --csv pairs.csv", "--explain": "evaluate --explain"},
    ),
    "folders without a name in common": Row(
        after(
            folders_of_pairs, lambda: [Path(f"pred/{k}.nii.gz").rename(f"pred/{k}_line.nii.gz") for k in "01"]
        ),
        "evaluate pred ref --metrics dice",
        ("--suffix _line",),
    ),
    "a file without a partner": Row(
        after(folders_of_pairs, lambda: save("pred/extra.nii.gz", soft())),
        "evaluate pred ref --metrics dice --strict",
        ("leave out --strict",),
        "--strict",
    ),
    "two rules of names": Row(
        folders_of_pairs,
        "evaluate pred ref --metrics dice --pattern . --suffix _line",
        ("leave one",),
        "--suffix _line",
        mentions=("--suffix", "--pattern"),
        code=2,
    ),
    "rules of names without folders": Row(
        lambda: pair(labels(), labels()),
        "evaluate pred.nii.gz ref.nii.gz --metrics dice --strict",
        ("leave them out",),
        "--strict",
        mentions=("--suffix", "--pattern", "--strict"),
        code=2,
    ),
    "exclusive classes": Row(
        after(network, lambda: save("ref.nii.gz", softmax().argmax(axis=0).astype(np.uint8))),
        "evaluate case.npz ref.nii.gz --metrics dice",
        ("--threshold 0.5",),
        code=0,
    ),
    "a mask that may be one label only": Row(
        lambda: pair(soft(), labels()),
        "evaluate pred.nii.gz ref.nii.gz --metrics dice --label 1 --label 2",
        ("give one --label",),
        "--label 2",
        mentions=("--label",),
    ),
    "axes in another order": Row(
        turned,
        "evaluate pred.npy ref.npy --metrics dice",
        ("softmorph threshold ref.npy turned.nii.gz --axes XYZ",),
        then="evaluate pred.npy turned.nii.gz --metrics dice",
    ),
    "two parts of an image": Row(
        cut_short, "evaluate pred.nii.gz ref.nii.gz --metrics dice", ("--region 0:6,0:12,0:12",)
    ),
    "a map that a skeleton is not of": Row(
        after(comb, lambda: np.save("other.npy", np.load("map.npy")[:40])),
        "inspect line.npy --as skeleton --map other.npy",
        ("--map",),
        then={"--map": "inspect line.npy --as skeleton --map map.npy"},
    ),
    "a faint skeleton": Row(
        after(comb, lambda: np.save("line.npy", np.load("line.npy") * np.float32(0.2))),
        "inspect line.npy --as skeleton",
        ("--threshold",),
        code=0,
        then={"--threshold": "inspect line.npy --as skeleton --threshold 0.1"},
    ),
    "spurs of a map without a surface": Row(
        lambda: np.save("map.npy", np.full((9, 9, 9), 0.9, np.float32)),
        "inspect map.npy --prune radius",
        ("--prune 5vox",),
        without="--prune radius",
    ),
    "a skeleton that is filled": Row(
        sponge,
        "inspect skeleton.nii.gz",
        ("--levels", "--hard"),
        code=0,
        then={
            "--levels": "skeletonize map.nii.gz fewer.nii.gz --levels 8 && inspect fewer.nii.gz",
            "--hard": "skeletonize map.nii.gz fewer.nii.gz --hard && inspect fewer.nii.gz",
        },
    ),
    "more bars than are shown": Row(
        lambda: save("map.nii.gz", np.random.default_rng(0).random((9, 9)).astype(np.float32)),
        "topology numbers map.nii.gz --top 1",
        ("--top 0",),
        code=0,
    ),
    "a repair that is stuck": Row(
        blob,
        "topology repair map.nii.gz out.nii.gz --betti 4,0",
        ("ask for other numbers", "--threshold"),
        code=3,
        then={
            "ask for other numbers": "topology repair map.nii.gz other.nii.gz --betti 1,0",
            "--threshold": "topology repair map.nii.gz other.nii.gz --betti 1,0 --threshold 0.3",
        },
    ),
    "a repair that needs more steps": Row(
        broken_ring,
        "topology repair map.nii.gz out.nii.gz --betti 1,1 --max-steps 1",
        ("--max-steps",),
        mentions=("--smooth",),
        code=3,
        then={"--max-steps": "topology repair map.nii.gz other.nii.gz --betti 1,1 --max-steps 100"},
    ),
    "a threshold at the end of all values": Row(
        blob,
        "topology repair map.nii.gz out.nii.gz --betti 1,0 --threshold 0",
        ("--threshold 0.5",),
        without="--threshold 0",
    ),
    "a repair wider than the map": Row(
        blob,
        "topology repair map.nii.gz out.nii.gz --betti 1,0 --smooth 50vox",
        ("--smooth, such as 1vox",),
        then={"--smooth, such as 1vox": "topology repair map.nii.gz out.nii.gz --betti 1,0 --smooth 1vox"},
    ),
    "a width of a map without a size": Row(
        lambda: np.save("map.npy", soft()[0]),
        "topology repair map.npy out.nii.gz --betti 1,0 --smooth 1mm",
        ("--smooth 1vox",),
        without="--smooth 1mm",
    ),
    "what is measured, and of what": Row(
        lambda: None,
        "bench --dimensions 2 --size 64 --operation erosion --method levels --repeats 1 --no-peak-memory",
        ("--method minmax", "leave out --method"),
        "--method levels",
        code=2,
    ),
    "the machine": Row(
        lambda: save("map.nii.gz", soft()),
        "info",
        ("softmorph info FILE",),
        mentions=("--warm",),
        code=0,
        then={"softmorph info FILE": "info map.nii.gz"},
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_what_a_message_advises_works(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    follow(name, TABLE[name], monkeypatch)
