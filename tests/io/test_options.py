"""Reading options: declared once, and derived from that everywhere."""

from __future__ import annotations

import inspect
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import tifffile

import softmorph_cli
from softmorph_cli.cli.command import options_of
from softmorph_cli.cli.options import Chaining, Results, Writing
from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.io.format_names import FAMILIES, READ, WRITTEN
from softmorph_cli.io.formats import FORMATS
from softmorph_cli.io.options import Option, ReadOptions, WriteOptions
from softmorph_cli.pipeline.outputs import OutputOptions, ResultOptions
from softmorph_cli.system.parameters import declared, named, named_as_options

MAP = np.random.default_rng(5).random((2, 4, 5)).astype(np.float32)


def test_every_option_is_a_keyword_of_read_and_of_the_shell_unless_it_is_of_python_alone() -> None:
    known = [field.name for field in fields(ReadOptions)]
    assert list(inspect.signature(softmorph_cli.read).parameters) == ["path", *known]
    assert list(declared(ReadOptions)) == known
    shell = [one.name for one in options_of(ReadOptions).parameters]
    assert shell == [name for name in known if name not in ("dtype", "exclusive")]
    for one in declared(ReadOptions).values():
        assert isinstance(one.about, Option)
        assert f"{one.name}: " in (softmorph_cli.read.__doc__ or "")


@pytest.mark.parametrize(
    ("given", "in_python", "in_the_shell"),
    [
        ({"region": "1-3"}, "region '1-3' must read z0:z1", "--region '1-3' must read z0:z1"),
        ({"axes": "CZY"}, "axes 'CZY' must be distinct letters", "--axes 'CZY' must be distinct letters"),
        ({"channel_axis": ""}, "channel_axis '' must be a letter", "--channel-axis '' must be a letter"),
        ({"divide_by": -1.0}, "divide_by -1: it must be positive", "--divide-by -1: it must be positive"),
        ({"series": -1}, "series -1: at least 0", "--series -1: at least 0"),
        ({"resolution": -1}, "resolution -1: at least 0", "--resolution -1: at least 0"),
        ({"from_logits": "tanh"}, "from_logits is sigmoid or softmax", "--from-logits is sigmoid or softmax"),
        (
            {"label": 1, "divide_by": 2.0},
            "divide_by, label and from_logits",
            "--divide-by, --label and --from",
        ),
        ({"dtype": np.float16}, "read as float32 or float64, not float16", "read as float32 or float64"),
    ],
)
def test_options_that_are_wrong_for_any_file_are_refused_without_one(
    given: dict[str, object], in_python: str, in_the_shell: str
) -> None:
    with pytest.raises(UsageError) as refused:
        ReadOptions(**given)  # type: ignore[arg-type]
    assert in_python in str(refused.value)
    with named_as_options(), pytest.raises(UsageError) as refused:
        ReadOptions(**given)  # type: ignore[arg-type]
    assert in_the_shell in str(refused.value)


def test_given_options_and_those_for_a_file_of_the_same_grid() -> None:
    options = ReadOptions(channel="0", axes="CYX", mask="m.npy", time=0, clip=True, exclusive=True)
    assert options.given == {"channel": 0, "axes": "CYX", "mask": Path("m.npy"), "time": 0, "clip": True}
    assert options.as_json["mask"] == "m.npy"
    assert options.files == [Path("m.npy")]
    assert options.absolute().mask == Path("m.npy").absolute()
    assert options.only("axes", "space") == ReadOptions(axes="CYX", mask=Path("m.npy"))
    assert ReadOptions(per_slice=True, like="a.nii").whole_only == ["per_slice", "like"]
    with named_as_options():
        assert ReadOptions(per_slice=True, like="a.nii").whole_only == ["--per-slice", "--reference"]


def test_a_channel_that_is_named_by_a_number(tmp_path: Path) -> None:
    path = tmp_path / "in.ome.tif"
    tifffile.imwrite(path, MAP, metadata={"axes": "CYX", "Channel": {"Name": ["488", "1"]}})
    assert np.array_equal(softmorph_cli.read(path, channel="488").array, MAP[0])
    assert np.array_equal(softmorph_cli.read(path, channel=0).array, MAP[0])
    # A number that counts a channel is not a name.
    assert np.array_equal(softmorph_cli.read(path, channel="1").array, MAP[1])


def test_help_lists_the_formats() -> None:
    assert {family.name: family.suffixes for family in FORMATS} == {
        name: family.suffixes for name, family in FAMILIES.items()
    }
    also = "nnU-Net's .npz, .mgz, .mrc, DICOM segmentations or .h5"
    assert f".nii.gz, .nii, .tif, .zarr, .png, .nrrd, .mha, .mhd, .npy, {also}" == READ
    assert WRITTEN == ".nii.gz, .nii, .tif, .zarr, .png, .nrrd, .mha, .npy, .mgz or .mrc"


def test_every_writing_option_is_a_keyword_of_write_and_of_the_shell_unless_it_is_of_python_alone() -> None:
    known = [field.name for field in fields(WriteOptions)]
    assert list(inspect.signature(softmorph_cli.write).parameters) == ["volume", "path", *known]
    messages = ["json", "quiet", "verbose"]
    for own, bundle in ((ResultOptions, Results), (OutputOptions, Chaining)):
        shell = [one.name for one in options_of(bundle).parameters]
        assert shell == [*(field.name for field in fields(own) if field.name != "provenance"), *messages]


def test_outputs_of_a_command_and_of_a_batch() -> None:
    typed = Writing(output_type="uint8", argmax=True, preview=Path("p.png"), quiet=True)
    of_one = OutputOptions.of(typed)
    assert of_one == OutputOptions(output_type="uint8", argmax=True, preview=Path("p.png"))
    of_many = OutputOptions.of(Results(pyramid=True, force=True, verbose=True))
    assert type(of_many) is OutputOptions
    assert OutputOptions.of(of_many, force=False) == OutputOptions(pyramid=True)


def test_path_and_options_by_name(tmp_path: Path) -> None:
    path = tmp_path / "map.npy"
    softmorph_cli.write(volume=softmorph_cli.Volume(MAP[0], "YX"), path=path)  # type: ignore[call-arg]
    assert np.array_equal(softmorph_cli.read(path=path).array, MAP[0])  # type: ignore[call-arg]


def test_messages_name_keywords_in_python_and_options_in_the_shell(tmp_path: Path) -> None:
    path = tmp_path / "grey.npy"
    np.save(path, np.arange(200, dtype=np.uint8).reshape(10, 20))
    with pytest.raises(InputError, match=r"scale them with divide_by=255\.$"):
        softmorph_cli.read(path)
    with named_as_options(), pytest.raises(InputError, match=r"scale them with --divide-by 255\.$"):
        softmorph_cli.read(path)


@pytest.mark.parametrize(
    ("name", "value", "option", "keyword", "typed"),
    [
        ("channel_axis", None, None, "channel_axis", "--channel-axis"),
        ("channel", 0, None, "channel=0", "--channel 0"),
        ("channel", "CD31", None, "channel='CD31'", "--channel CD31"),
        ("axes", "CZYX", None, "axes='CZYX'", "--axes CZYX"),
        ("like", "FILE", "reference", "like=FILE", "--reference FILE"),
        ("like", Path("my scan.nii"), "reference", "like='my scan.nii'", "--reference 'my scan.nii'"),
        ("from_logits", "sigmoid", None, "from_logits='sigmoid'", "--from-logits sigmoid"),
        ("clip", True, None, "clip=True", "--clip"),
        ("finish", False, None, "finish=False", "--no-finish"),
    ],
)
def test_a_parameter_with_its_value_in_messages(
    name: str, value: object, option: str | None, keyword: str, typed: str
) -> None:
    assert named(name, value, option=option) == keyword
    with named_as_options():
        assert named(name, value, option=option) == typed
    assert named(name, value, option=option) == keyword


def test_options_in_messages_of_other_threads() -> None:
    with named_as_options(), ThreadPoolExecutor(1) as pool:
        assert pool.submit(named, "clip", True).result() == "--clip"
