"""Folders of nnU-Net: label maps with their dataset.json, regions, references, and what messages propose."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from helpers_walks import ISLAND, SHAPE, SimpleITK, describe, spacing_of, typed, write_image, write_study

ONE = "predictions/case_001.npz"
LABELS = "postprocessed/case_001.nii.gz"
QUICK = "--levels 0 --quiet"


def image(path: str | Path) -> Any:
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


def dice(one: Any, other: Any) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def dices(line: str) -> dict[tuple[str, str], float]:
    found = typed(f"softmorph evaluate {line} --metrics dice --json").json
    return {
        (pair["name"], row["class"]): row["metrics"]["dice"]
        for pair in found["pairs"]
        for row in pair["classes"]
    }


def test_a_folder_of_label_maps_is_one_of_its_classes() -> None:
    patients = write_study(count=2)
    # A patient without an artery has a row for it, and an empty channel.
    vein = np.where(image(LABELS) == 1, 1, 0).astype(np.uint8)
    write_image(Path(LABELS), vein, spacing_of(1))
    found = rows(typed(f"softmorph inspect postprocessed --summary - {QUICK}").out)
    assert [(Path(row["file"]).name[:8], row["class"]) for row in found] == [
        (name, label) for name in patients for label in ("vein", "artery")
    ]
    assert [row["components"] for row in found] == ["1", "0", "1", "1"]
    batch = "softmorph batch postprocessed cleaned fill --workers 1"
    typed(batch)
    assert typed(f"{batch} --resume --dry-run").out.count("skip ") == 2
    # Other names are another result.
    describe(Path("postprocessed"))
    assert typed(f"{batch} --resume --dry-run").out.count("redo ") == 2
    typed("softmorph fill postprocessed/case_002.nii.gz artery.nii.gz --label 2 --quiet")
    assert image("cleaned/case_001.nii.gz").shape == (2, *SHAPE)
    assert not image("cleaned/case_001.nii.gz")[1].any()
    np.testing.assert_array_equal(image("cleaned/case_002.nii.gz")[1], image("artery.nii.gz"))
    # Together again they are labels, which know their classes too.
    Path("labels").mkdir()
    for name in patients:
        typed(f"softmorph fill postprocessed/{name}.nii.gz labels/{name}.nii.gz --argmax --quiet")
    np.testing.assert_array_equal(image("labels/case_002.nii.gz"), patients["case_002"].painted * ~ISLAND)
    found = rows(typed(f"softmorph inspect labels --summary - {QUICK}").out)
    assert [row["class"] for row in found] == ["vein", "artery"] * 2
    assert not Path("unpickled").exists()


def test_tables_documents_and_pages_name_the_class() -> None:
    write_study(count=1)
    outputs = "--csv b.csv --summary c.csv --report page.html"
    ended = typed(f"softmorph inspect {LABELS} --channel artery {outputs} --levels 0")
    assert f"{LABELS}, artery" in ended.out
    assert {row["class"] for name in ("b.csv", "c.csv") for row in rows(Path(name).read_text())} == {"artery"}
    assert "artery" in Path("page.html").read_text(encoding="utf-8")
    assert typed(f"softmorph inspect {LABELS} --label 2 --json {QUICK}").json["input"]["channel"] == "artery"
    told = typed(f"softmorph info {LABELS} --json").json
    assert told["input"]["channels"] == ["vein", "artery"]
    typed(f"{told['try_next']} --hard --quiet")
    assert image("skeleton.nii.gz").shape == (2, *SHAPE)


def test_results_keep_the_names_and_labels_of_their_classes() -> None:
    patients = write_study(count=1)
    (patient,) = patients.values()
    for folder in ("predictions", "postprocessed"):
        described = json.loads(Path(folder, "dataset.json").read_text())
        described["labels"] = {"background": 0, "vein": 3, "artery": 7}
        Path(folder, "dataset.json").write_text(json.dumps(described))
    numbers = np.array([0, 3, 7], np.uint8)
    for path, labels in (("predictions/case_001", patient.painted), ("labelsTs/case_001", patient.truth)):
        write_image(Path(f"{path}.nii.gz"), numbers[labels], spacing_of(1))
    for folder, option in (("cleaned", ""), ("labels", "--argmax")):
        Path(folder).mkdir()
        typed(f"softmorph despeckle {ONE} {folder}/case_001.nii.gz --min-size 60vox {option} --quiet")
    assert set(np.unique(image("labels/case_001.nii.gz"))) == {0, 3, 7}
    cleaned = image("cleaned/case_001.nii.gz")
    wanted = {
        ("case_001", name): dice(cleaned[k] > 0.5, patient.truth == 1 + k)
        for k, name in enumerate(("vein", "artery"))
    }
    assert dices("cleaned labelsTs") == pytest.approx(wanted)
    assert {name for _, name in dices("labels labelsTs")} == {"vein", "artery"}
    typed(f"softmorph threshold {ONE} one.nii.gz --channel artery --quiet")
    assert typed(f"softmorph inspect one.nii.gz --json {QUICK}").json["input"]["channel"] == "artery"


def test_a_region_is_the_union_of_its_labels() -> None:
    patients = write_study(count=2, regions=True)
    for folder in ("predictions", "postprocessed"):
        painted = {name: image(f"{folder}/{name}.nii.gz") for name in patients}
        unions = {"vessel": (1, 2), "artery": (2,)}
        wanted = {
            (name, region): dice(np.isin(painted[name], union), np.isin(patient.truth, union))
            for name, patient in patients.items()
            for region, union in unions.items()
        }
        assert dices(f"{folder} labelsTs") == pytest.approx(wanted)
    found = rows(typed(f"softmorph inspect postprocessed --summary - {QUICK}").out)
    # The vessels are a vein and an artery, two pieces.
    assert [(row["class"], row["components"]) for row in found] == [("vessel", "2"), ("artery", "1")] * 2
    typed(f"softmorph skeletonize {ONE} lines.nii.gz --hard --quiet")
    lines = image("lines.nii.gz")
    assert lines.shape == (2, *SHAPE)
    # An argmax over the channels would leave no line of the vessels where the artery is.
    assert lines[0][patients["case_001"].painted == 2].any()
    typed(f"softmorph resample {LABELS} again.nii.gz --spacing 1.25mm,0.9mm,0.9mm --argmax --quiet")
    np.testing.assert_array_equal(image("again.nii.gz"), image(LABELS))
    volumes = [
        one["expected_volume"]
        for one in typed(f"softmorph stats {LABELS} --json").json["statistics"]["per_channel"]
    ]
    voxel = float(np.prod(spacing_of(1)))
    assert volumes == pytest.approx([voxel * (image(LABELS) > 0).sum(), voxel * (image(LABELS) == 2).sum()])


def test_no_message_proposes_the_background() -> None:
    write_study(count=1)
    lines = {
        f"softmorph info {ONE}": 0,
        f"softmorph stats {ONE}": 0,
        f"softmorph inspect {ONE}": 1,
        f"softmorph inspect {ONE} --channel nerve": 1,
        f"softmorph inspect {LABELS}": 1,
        f"softmorph inspect {LABELS} --label 9": 1,
        f"softmorph evaluate {ONE} labelsTs/case_001.nii.gz --metrics dice": 0,
        f"softmorph evaluate {ONE} labelsTs/case_001.nii.gz --metrics dice --label 9": 1,
        "softmorph inspect predictions --levels 0": 0,
    }
    for line, code in lines.items():
        ended = typed(line, code)
        told = ended.out + ended.err
        assert not any(words in told for words in ("--channel 0", "--channel background", "--label 0")), told
    # What is proposed instead is typed.
    ended = typed(f"softmorph inspect {ONE}", 1)
    assert "--channel vein or artery" in ended.err
    typed(f"softmorph inspect {ONE} --channel vein {QUICK}")


def test_probabilities_without_a_description_have_a_background_that_is_no_vessel() -> None:
    patient = write_study(count=1)["case_001"]
    stack = SimpleITK.JoinSeries([SimpleITK.GetImageFromArray(one) for one in patient.probabilities])
    Path("soft").mkdir()
    SimpleITK.WriteImage(stack, "soft/case.nii.gz")
    found = rows(typed(f"softmorph inspect soft --summary - {QUICK}").out)
    assert [row["class"] for row in found] == ["T1", "T2"]


def test_a_description_of_something_else_gives_no_names() -> None:
    write_study(count=1)
    other = image(LABELS)
    other[0, 0, :3] = 9
    write_image(Path(LABELS), other, spacing_of(1))
    ended = typed(f"softmorph inspect {LABELS}", 1)
    assert "choose one label with --label 1" in ended.err
    malformed = '{"labels": {"vein": 1.5}, "file_ending": ".nii.gz"}'
    for text in (malformed, '{"labels": {"vein": 9}, "file_ending": ".nrrd"}'):
        Path("postprocessed/dataset.json").write_text(text)
        assert "choose one label with --label 1" in typed(f"softmorph inspect {LABELS}", 1).err
    # A centreline beside it is a mask of one class, although its numbers are labels there.
    describe(Path("postprocessed"))
    typed(f"softmorph skeletonize {LABELS} postprocessed/line.nii.gz --hard --label 2 --quiet")
    assert (
        typed(f"softmorph inspect postprocessed/line.nii.gz --json {QUICK}").json["input"]["channel"]
        == "artery"
    )


def test_one_reference_for_several_cases_is_refused_with_the_command_to_type() -> None:
    write_study(count=2)
    for path in Path("predictions").glob("*.nii.gz"):
        path.unlink()
    line = "softmorph batch predictions out fill --workers 1 --quiet"
    ended = typed(f"{line} --reference imagesTs/case_001_0000.nii.gz", 2)
    assert ended.err.rstrip().endswith("--reference imagesTs.")
    typed(f"{line} {' '.join(ended.err.split()[-2:])}".rstrip("."))
    for number in (1, 2):
        placed = SimpleITK.ReadImage(f"out/case_00{number}.nii.gz")
        assert placed.GetSpacing()[:3] == pytest.approx(spacing_of(number))
    # Where no folder holds them all, none is named.
    Path("imagesTs/case_002_0000.nii.gz").unlink()
    assert "--reference FOLDER." in typed(f"{line} --force --reference imagesTs/case_001_0000.nii.gz", 2).err
    assert typed(f"{line} --force --reference images", 1).err == "error: images does not exist.\n"


def test_two_references_of_one_of_several_cases_are_told_with_what_to_do() -> None:
    write_study(count=2)
    for path in Path("predictions").glob("*.nii.gz"):
        path.unlink()
    write_image(second := Path("imagesTs/case_002_0000.nrrd"), image(LABELS), spacing_of(1))
    line = "softmorph batch predictions out fill --workers 1 --quiet --reference imagesTs"
    assert "of several cases, leave one of the two in the folder." in typed(line, 1).err
    second.unlink()
    typed(f"{line} --resume")
    assert SimpleITK.ReadImage("out/case_002.nii.gz").GetSpacing()[:3] == pytest.approx(spacing_of(2))


def test_a_prior_of_label_maps_has_the_names_of_their_classes() -> None:
    write_study(count=8)
    train = "softmorph prior train postprocessed prior.safetensors --steps 40 --width 4 --layers 1 --validate 0 --quiet"
    typed(train)
    assert "vein, artery" in typed("softmorph prior info prior.safetensors").out
    # The numbers of the label map are found by the names, of another dataset too.
    described = json.loads(Path("postprocessed/dataset.json").read_text())
    described["labels"] = {"background": 0, "artery": 3, "vein": 5}
    Path("others").mkdir()
    Path("others/dataset.json").write_text(json.dumps(described))
    labels = np.array([0, 5, 3], np.uint8)[image(LABELS)]
    write_image(Path("others/case.nii.gz"), labels, spacing_of(1))
    options = "--missing 4 --prior prior.safetensors --min-fit 0 --argmax --quiet"
    typed(f"softmorph interpolate others/case.nii.gz o.nii.gz {options}")
    observed = np.arange(SHAPE[0]) != 4
    np.testing.assert_array_equal(image("o.nii.gz")[observed], labels[observed])
    write_image(Path("postprocessed/case_001.nrrd"), image(LABELS), spacing_of(1))
    ended = typed(f"{train} --force", 1)
    assert "postprocessed holds case_001.nii.gz and case_001.nrrd, which are one case" in ended.err


def test_times_are_no_classes_whatever_they_sum_to() -> None:
    times = np.full((3, 6, 7, 8), 0.3, np.float32)
    tifffile.imwrite("times.ome.tif", times, metadata={"axes": "TZYX"})
    for option in ("--argmax", "--renormalize"):
        ended = typed(f"softmorph fill times.ome.tif labels.ome.tif {option}", 1)
        assert f"3 times, which are no classes: leave {option} out, or say with --channel-axis T" in ended.err
    typed("softmorph fill times.ome.tif labels.ome.tif --argmax --channel-axis T --quiet")
    # Of classes of 0.3 each, and 0.1 of background, the first counts.
    assert (tifffile.imread("labels.ome.tif") == 1).all()
