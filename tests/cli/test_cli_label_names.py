"""`--label airway`: a label by the name that dataset.json, the file itself or softmorph's provenance gives it."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from helpers_cli import SimpleITK, complaint, load, run, save

import softmorph_cli
from softmorph_cli.api.priors import read_maps
from softmorph_cli.errors import InputError
from softmorph_cli.io.writing import write, write_labels
from softmorph_cli.volume import Volume

NAMES = {"lung": 1, "airway": 2, "great vessel": 5}


def drawn() -> np.ndarray:
    """Draw three boxes of different sizes, with the labels of NAMES."""
    array = np.zeros((8, 9, 10), np.uint8)
    array[1:4, 1:4, 1:9] = 1
    array[5:7, 1:3, 2:6] = 2
    array[5:7, 5:8, 2:8] = 5
    return array


def dataset(labels: dict[str, object] | None = None, **more: object) -> None:
    labels = {"background": 0, **NAMES} if labels is None else labels
    Path("dataset.json").write_text(json.dumps({"labels": labels, "file_ending": ".nii.gz", **more}))


def of_nnunet() -> str:
    save("case.nii.gz", drawn())
    dataset()
    return "case.nii.gz"


def of_slicer() -> str:
    image = SimpleITK.GetImageFromArray(drawn())
    for number, (name, label) in enumerate(NAMES.items()):
        image.SetMetaData(f"Segment{number}_Name", name)
        image.SetMetaData(f"Segment{number}_LabelValue", str(label))
        image.SetMetaData(f"Segment{number}_Layer", "0")
    SimpleITK.WriteImage(image, "case.seg.nrrd")
    return "case.seg.nrrd"


def of_zarr() -> str:
    write_labels(drawn(), Volume(np.ones(drawn().shape, np.float32), "ZYX"), Path("case.zarr"))
    (path,) = [one for one in (Path("case.zarr/zarr.json"), Path("case.zarr/.zattrs")) if one.exists()]
    document = json.loads(path.read_text())
    told = document.get("attributes", document)
    told.get("ome", told)["image-label"]["properties"] = [
        {"label-value": label, "name": name} for name, label in NAMES.items()
    ]
    path.write_text(json.dumps(document))
    return "case.zarr"


@pytest.mark.parametrize("make", [of_nnunet, of_slicer, of_zarr], ids=lambda make: make.__name__)
def test_a_label_by_its_name_is_that_label(make: Callable[[], str]) -> None:
    source = make()
    for name, label in NAMES.items():
        run("threshold", source, "by_name.nii.gz", "--label", name, "--force")
        np.testing.assert_array_equal(load("by_name.nii.gz"), drawn() == label)
        np.testing.assert_array_equal(softmorph_cli.read(source, label=label).array, drawn() == label)
        np.testing.assert_array_equal(softmorph_cli.read(source, label=name).array, drawn() == label)
    assert run("stats", source, "--label", "airway", "--json").json["input"]["channel"] == "airway"
    sentence = complaint(run("stats", source, "--label", "airways", code=1).err)
    assert sentence.endswith(
        f"{source} has no label 'airways' (did you mean 'airway'?); it has lung (1), airway (2), great vessel (5): "
        "choose one of them, such as --label lung."
    )
    with pytest.raises(InputError, match=r"choose one of them, such as label='lung'"):
        softmorph_cli.read(source, label="airways")


@pytest.mark.skipif(find_spec("highdicom") is None, reason="needs highdicom")
def test_a_segment_of_dicom() -> None:
    from helpers_dicom import segmentation

    # Its segments are called vessel 1, vessel 2, ...
    Path("case.dcm").write_bytes(segmentation(drawn(), "LABELMAP"))
    for label in (1, 2, 5):
        np.testing.assert_array_equal(
            softmorph_cli.read("case.dcm", label=f"vessel {label}").array,
            softmorph_cli.read("case.dcm", label=label).array,
        )


def test_a_label_image_of_softmorph_keeps_the_names() -> None:
    of_nnunet()
    run("fill", "case.nii.gz", "made.nii.gz", "--argmax")
    Path("dataset.json").unlink()
    made = load("made.nii.gz")
    assert set(np.unique(made)) == {0, *NAMES.values()}
    for name, label in NAMES.items():
        np.testing.assert_array_equal(softmorph_cli.read("made.nii.gz", label=name).array, made == label)


def test_a_region_is_the_union_of_its_labels() -> None:
    save("case.nii.gz", drawn())
    dataset({"background": 0, "chest": [1, 2], "airway": 2, "great vessel": 5}, regions_class_order=[1, 2, 5])
    run("threshold", "case.nii.gz", "chest.nii.gz", "--label", "chest")
    np.testing.assert_array_equal(load("chest.nii.gz"), np.isin(drawn(), (1, 2)))
    run("threshold", "case.nii.gz", "airway.nii.gz", "--label", "airway")
    np.testing.assert_array_equal(load("airway.nii.gz"), drawn() == 2)


def test_a_number_stays_a_number() -> None:
    """A class that is called 1 and has the label 2 is not what --label 1 is."""
    save("case.nii.gz", drawn())
    dataset({"background": 0, "first": 1, "1": 2, "third": 5})
    run("threshold", "case.nii.gz", "out.nii.gz", "--label", 1)
    np.testing.assert_array_equal(load("out.nii.gz"), drawn() == 1)


def test_a_file_without_names_says_what_to_type() -> None:
    save("case.nii.gz", drawn())
    sentence = complaint(run("inspect", "case.nii.gz", "--label", "airway", code=1).err)
    assert sentence == (
        "case.nii.gz gives its labels no names, and no dataset.json does, so none is called 'airway'; it holds "
        "1, 2, 5: choose one by its number, such as --label 1."
    )


def test_classes_in_channels_are_chosen_by_channel() -> None:
    maps = np.stack([0.5 * (drawn() == label) for label in (1, 2)]).astype(np.float32)
    write(Volume(maps, "CZYX", channels=("lung", "airway")), Path("case.ome.tif"))
    sentence = complaint(run("stats", "case.ome.tif", "--label", "airway", code=1).err)
    assert sentence == (
        "case.ome.tif holds a map for each of lung, airway, and no labels: choose one with --channel airway."
    )
    assert run("stats", "case.ome.tif", "--channel", "airway", "--json").json["input"]["channel"] == "airway"


def test_tiles_and_batches_take_the_name() -> None:
    of_nnunet()
    run("erode", "case.nii.gz", "whole.nii.gz", "--label", "lung")
    run("erode", "case.nii.gz", "tiles.zarr", "--label", "lung", "--memory", "1GB")
    np.testing.assert_array_equal(softmorph_cli.read("tiles.zarr").array, load("whole.nii.gz"))
    Path("in").mkdir()
    for name in ("case.nii.gz", "dataset.json"):
        Path(name).rename(f"in/{name}")
    run("batch", "in", "out", "erode", "--label", "lung", "--workers", 1)
    np.testing.assert_array_equal(load("out/case.nii.gz"), load("whole.nii.gz"))
    sentence = complaint(run("batch", "in", "out", "erode", "--label", "airway", "--resume", code=1).err)
    assert "(--label was lung and is airway)" in sentence


def test_evaluate_takes_names() -> None:
    of_nnunet()
    moved = np.roll(drawn(), 1, axis=0)
    save("pred.nii.gz", moved)
    wanted = {
        label: 2 * ((drawn() == label) & (moved == label)).sum() / (2 * (drawn() == label).sum())
        for label in NAMES.values()
    }
    for name, label in NAMES.items():
        words = ("evaluate", "pred.nii.gz", "case.nii.gz", "--metrics", "dice", "--json", "--label")
        (row,) = run(*words, name).json["classes"]
        assert (row["label"], row["class"]) == (label, name)
        assert row["metrics"]["dice"] == pytest.approx(wanted[label])
        assert run(*words, label).json["classes"] == [row]
        found = softmorph_cli.evaluate("pred.nii.gz", "case.nii.gz", label=name, metrics="dice")
        assert found.metrics(label)["dice"] == pytest.approx(wanted[label])
    sentence = complaint(run(*words, "heart", code=1).err)
    assert sentence.endswith(
        "have no class 'heart'; they have lung, airway, great vessel: choose one, such as --label lung."
    )


def test_priors_take_names(tmp_path: Path) -> None:
    of_nnunet()
    for name in ("case.nii.gz", "dataset.json"):
        Path(name).rename(tmp_path / name)
    (mine,), (its,) = (read_maps(tmp_path, labels, None, False, None, None) for labels in (["airway"], [2]))
    assert mine.classes == its.classes == ("airway",)
    np.testing.assert_array_equal(mine.probabilities, its.probabilities)
    np.testing.assert_array_equal(mine.probabilities[1], drawn() == 2)
    with pytest.raises(
        InputError, match=r"no label is called 'heart'; they are lung, airway, great vessel: choose"
    ):
        read_maps(tmp_path, ["heart"], None, False, None, None)
