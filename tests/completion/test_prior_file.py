"""Files of priors: what is written is read, and nothing else is."""

from __future__ import annotations

import json
import os
import pickle
import tracemalloc
import zipfile
from collections.abc import Callable
from dataclasses import fields, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers_prior import untrained
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from softmorph_cli.completion import prior_file
from softmorph_cli.errors import FileError
from softmorph_cli.system import descriptors

nibabel: Any = import_module("nibabel")

Parts = tuple[dict[str, Any], dict[str, np.ndarray]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "prior.safetensors"
    prior_file.save(untrained(), found)
    return found


def refused(path: Path, *says: str) -> str:
    """Return the sentence with which a file is refused: it begins with the file's name, and is one line."""
    with pytest.raises(FileError) as caught:
        prior_file.load(path)
    sentence = str(caught.value)
    assert sentence.startswith(f"{path} ")
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert len(sentence) - len(str(path)) < 250
    for words in says:
        assert words in sentence
    return sentence


def parts(path: Path) -> Parts:
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    text = json.loads(content[8 : 8 + length])["__metadata__"]["softmorph"]
    return json.loads(text), dict(load_arrays(content))


def rewrite(path: Path, change: Callable[[dict[str, Any], dict[str, np.ndarray]], object]) -> None:
    """Change a file as someone who can sign it would: its checksum is right again."""
    document, arrays = parts(path)
    del document["checksum"]
    change(document, arrays)
    floats = {name: np.asarray(one, np.float32) for name, one in arrays.items()}
    document.setdefault("checksum", prior_file._checksum(document, floats))
    path.write_bytes(save_arrays(arrays, {"softmorph": json.dumps(document)}))


def test_what_is_written_is_read(path: Path) -> None:
    prior, found = untrained(), prior_file.load(path)
    for one in fields(prior):
        if one.name not in ("weights", "latents"):
            assert getattr(found, one.name) == getattr(prior, one.name), one.name
    assert found.network_hash() == prior.network_hash()
    assert torch.equal(found.latents, prior.latents)
    positions = torch.rand(5, 3)
    for mine, its in zip(*(one.network()(positions, one.mean) for one in (prior, found)), strict=True):
        assert torch.equal(mine, its)


def test_the_same_prior_gives_the_same_bytes(path: Path, tmp_path: Path) -> None:
    first, other = path.read_bytes(), tmp_path / "other.safetensors"
    # Several times: what writes the header keeps it in a map of no order.
    for prior in [untrained(), prior_file.load(path)] * 4:
        prior_file.save(prior, other, force=True)
        assert other.read_bytes() == first
    prior_file.save(untrained(seed=1), other, force=True)
    assert other.read_bytes() != first


def test_headers_of_all_lengths_are_read(tmp_path: Path) -> None:
    """Among them are those whose length, as a number of 8 bytes, begins like a pickle."""
    lengths = set()
    for more in range(0, 256, 8):
        named = replace(untrained(), version="1" * more)
        prior_file.save(named, tmp_path / "p.safetensors", force=True)
        assert prior_file.load(tmp_path / "p.safetensors").version == named.version
        lengths.add((tmp_path / "p.safetensors").read_bytes()[0])
    assert 0x80 in lengths


def test_a_prior_without_images_is_kept_too(tmp_path: Path) -> None:
    prior_file.save(untrained(intensity=False), tmp_path / "p.safetensors")
    assert prior_file.load(tmp_path / "p.safetensors").intensity is None


def test_files_are_replaced_with_force_only(path: Path, tmp_path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(FileError, match="exists already"):
        prior_file.save(untrained(1), path)
    assert path.read_bytes() == before
    prior_file.save(untrained(1), path, force=True)
    assert path.read_bytes() != before
    with pytest.raises(FileError, match=r"end its name with \.safetensors"):
        prior_file.save(untrained(), tmp_path / "prior.pt")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["prior.safetensors"]


@pytest.mark.parametrize("kind", ["a bit", "cut", "longer", "header"])
def test_200_mutated_files_are_refused_in_a_sentence(kind: str, path: Path) -> None:
    content, rng = path.read_bytes(), np.random.default_rng(len(kind))
    length = int.from_bytes(content[:8], "little")
    for _ in range(50):
        mutated = bytearray(content)
        if kind == "a bit":
            mutated[rng.integers(len(content))] ^= 1 << rng.integers(8)
        elif kind == "cut":
            del mutated[rng.integers(len(content)) :]
        elif kind == "longer":
            mutated += rng.bytes(int(rng.integers(1, 40)))
        else:
            # Another printable character in its place.
            at = 8 + rng.integers(length)
            mutated[at] = rng.choice([one for one in range(33, 127) if one != content[at]])
        path.write_bytes(mutated)
        refused(path)


def test_a_bit_of_each_tensor_is_missed(path: Path) -> None:
    """A weight stays a number when its last bit turns, and only the checksum tells."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    for name, one in header.items():
        if name != "__metadata__":
            mutated = bytearray(content)
            mutated[8 + length + one["data_offsets"][0]] ^= 1
            path.write_bytes(mutated)
            refused(path, "checksum")


def put(name: str, value: Any) -> Callable[[dict[str, Any], dict[str, np.ndarray]], object]:
    """Return a change of one field of the document, or of one within a field."""

    def change(document: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        *outer, last = name.split(".")
        for one in outer:
            document = document[one]
        document[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (put("schema", 2), "has the schema 2, and 1 is read here"),
        (put("schema", "1"), "schema"),
        (put("schema", True), "schema"),
        (put("more", 1), "hold the field 'more'"),
        (lambda document, _: document.pop("classes"), "lack the field 'classes'"),
        (put("checksum", "0" * 64), "checksum"),
        (put("checksum", 3), "checksum"),
        (put("architecture.width", 7), "has the shape (6, 9) and not (7, 10)"),
        (put("architecture.width", 10**9), "architecture"),
        (put("architecture.layers", 10**9), "architecture"),
        (put("architecture.layers", 3), "lacks the tensor network.hidden.1"),
        (put("architecture.layers", 2.0), "wrong kind"),
        (put("architecture.activation", "exec"), "unknown activation 'exec'"),
        (put("architecture.dims", 2), "architecture"),
        (put("architecture.intensity", False), "architecture"),
        (put("classes", ["wall", "wall"]), "classes"),
        (put("classes", ["wall"]), "classes"),
        (put("classes", "wall"), "wrong kind"),
        (put("axes", "XYZ"), "axes"),
        (put("box.size", [1.0, 2.0]), "box"),
        (put("box.size", [1.0, 2.0, -3.0]), "box"),
        (put("box.unit", "furlong"), "box"),
        (put("directions", [[1.0, 0.0, 0.0]]), "directions"),
        (put("directions", [[5.0, 0.0, 0.0]] * 3), "directions"),
        (put("intensity.low", 99.0), "intensity"),
        (put("completion.steps", 0), "completion"),
        (put("completion.rate", 1e9), "completion"),
        (put("completion.steps", 10**4 + 1), "completion"),
        (put("segmentation.points", 2**16 + 1), "segmentation"),
        (lambda document, _: document["validation"][0].update(method="magic"), "its field validation"),
        (lambda document, _: document["validation"].pop(), "its field validation"),
        (put("seed", -1), "seed"),
        (put("subjects", ["a", "b"]), "has the shape (9, 6) and not (2, 6)"),
        (put("validation", [{"gap": "every 2nd"}]), "wrong kind"),
        (lambda _, arrays: arrays.pop("mean"), "lacks the tensor mean"),
        (lambda _, arrays: arrays.update(more=np.zeros(1, np.float32)), "also holds the tensor 'more'"),
        (lambda _, arrays: arrays.update(mean=np.zeros(7, np.float32)), "has the shape (7,) and not (6,)"),
        (lambda _, arrays: arrays.update(mean=arrays["mean"].astype(np.float64)), "no dense float32 tensor"),
        (lambda _, arrays: arrays.update(mean=arrays["mean"].view(np.int32)), "no dense float32 tensor"),
        (lambda _, arrays: arrays.update(mean=arrays["mean"] + 1), "its mean is not that of its latent"),
        (lambda _, arrays: arrays.update(covariance=2 * arrays["covariance"]), "its covariance is not that"),
        (lambda _, arrays: arrays.update(latents=np.full((9, 6), np.nan, np.float32)), "latents holds values"),
        (
            lambda _, arrays: arrays.update({"network.first.bias": np.full(6, np.inf, np.float32)}),
            "network.first.bias holds values that are not finite",
        ),
    ],
)  # fmt: skip
def test_what_is_signed_and_cannot_be_is_refused(change: Any, says: str, path: Path) -> None:
    rewrite(path, change)
    refused(path, says)


def test_a_change_that_could_be_is_read(path: Path) -> None:
    """The file that these tests write is one that is read, so that it is the change that is refused."""
    for name, value in (("seed", 18), ("completion.steps", 10**4), ("segmentation.points", 2**16)):
        rewrite(path, put(name, value))
    found = prior_file.load(path)
    assert (found.seed, found.completion.steps, found.segmentation.points) == (18, 10**4, 2**16)


def header_of(text: bytes) -> bytes:
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"x", "header would be longer"),
        (b"\xff" * 8 + b"{}", "header would be longer"),
        (header_of(b"[" * 100_000), "no JSON"),
        (header_of(b"\xff\xfe"), "no JSON"),
        (header_of(b"{}"), "no prior of softmorph"),
        (header_of(b"[]"), "no prior of softmorph"),
        (header_of(b"5"), "no prior of softmorph"),
        (header_of(b'{"__metadata__": {"softmorph": 1}}'), "no prior of softmorph"),
        (header_of(b'{"__metadata__": {"softmorph": 1}, "a": 1}'), "does not describe"),
        (save_arrays({"a": np.zeros(2)}), "no prior of softmorph"),
        (save_arrays({"a": np.zeros(2)}, {"format": "pt"}), "no prior of softmorph"),
        (save_arrays({"a": np.zeros(2, np.float32)}, {"softmorph": "{}"}), "state a schema"),
        (save_arrays({"a": np.zeros(2, np.float32)}, {"softmorph": "[1e999]"}), "no JSON"),
        (save_arrays({"a": np.zeros(2, np.float32)}, {"softmorph": "[NaN]"}), "no JSON"),
        (save_arrays({"a": np.zeros(2, np.float32)}, {"softmorph": "[" * 90_000}), "no JSON"),
        (header_of(b" " * 4_000_001), "its header has 4.0 MB"),
    ],
)
def test_other_content_is_refused(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "p.safetensors"
    path.write_bytes(content)
    refused(path, says)


@pytest.mark.parametrize("offsets", [(8, 32), (-24, 0), (0, 2**62), (4, 28), (0, 23)])
def test_offsets_that_leave_the_file_or_gaps_are_refused(offsets: tuple[int, int], path: Path) -> None:
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["network.first.bias"]["data_offsets"] = offsets
    path.write_bytes(header_of(json.dumps(header).encode()) + content[8 + length :])
    refused(path, "is damaged: its header states no dense float32 tensor")


def test_files_over_256_mb_are_refused_before_memory_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "p.safetensors"
    with path.open("wb") as file:
        file.truncate(256_000_001)
    tracemalloc.start()
    refused(path, "has 256 MB, and priors have at most 256 MB")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


class Trap:
    """Its pickle makes a folder when it is opened."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.folder),)


def test_pickles_are_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sprung = tmp_path / "sprung"
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        (tmp_path / f"{protocol}.safetensors").write_bytes(pickle.dumps(Trap(sprung), protocol))
        refused(tmp_path / f"{protocol}.safetensors", "is a pickle" if protocol > 1 else "is no prior")
    torch.save({"weights": Trap(sprung)}, tmp_path / "zip.safetensors")
    assert zipfile.is_zipfile(tmp_path / "zip.safetensors")
    refused(tmp_path / "zip.safetensors", "is a zip file, as torch.save writes around a pickle")
    # Files of these names are not even read.
    monkeypatch.setattr(descriptors, "open_plain", lambda path: pytest.fail(f"{path} was opened"))
    for name in ("prior.pt", "prior.PTH", "prior.pkl", "prior.pickle"):
        (tmp_path / name).write_bytes(pickle.dumps(Trap(sprung)))
        refused(tmp_path / name, "is named as a pickle", "never opened")
    assert not sprung.exists()
    # The trap is one.
    pickle.loads((tmp_path / "prior.pt").read_bytes())
    assert sprung.exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"classes": ("wall", "wall")}, "its field classes does not fit"),
        ({"seed": 2**63}, "its field seed does not fit the rest, or is out of range"),
        ({"subjects": ("one",)}, "its field subjects does not fit"),
    ],
)
def test_what_could_not_be_read_again_is_not_written(
    change: dict[str, Any], says: str, tmp_path: Path
) -> None:
    path = tmp_path / "p.safetensors"
    with pytest.raises(FileError, match=rf"p.safetensors is not written, because .* read again: it .*{says}"):
        prior_file.save(replace(untrained(), **change), path)
    assert not path.exists()


@pytest.mark.parametrize("name", ["map.nii", "map.nii.gz", "p.safetensors"])
def test_a_nifti_is_named(name: str, tmp_path: Path) -> None:
    nibabel.Nifti1Image(np.zeros((4, 4, 4), np.float32), np.eye(4)).to_filename(tmp_path / "image.nii")
    (tmp_path / "image.nii").rename(tmp_path / name)
    refused(tmp_path / name, "is a NIfTI image and no prior")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    refused(tmp_path / "missing.safetensors", "does not exist")
    refused(tmp_path, "is a folder")


@pytest.mark.posix
def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p.safetensors")
    refused(tmp_path / "p.safetensors", "is no regular file")
