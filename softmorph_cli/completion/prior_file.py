"""Files of shape priors: safetensors, which hold numbers and text and no code, read strictly.

A file holds the tensors of the network ("network." and the name of the tensor), "latents", "mean" and "covariance", and
one text of metadata, "softmorph": a JSON object with everything else. What is read is checked before it is used: the
size of the file and of its header before memory is taken, then the schema, the tensors that the stated network has, and
a checksum of all that is stored.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.completion import prior_document
from softmorph_cli.completion.prior_document import RefusedError
from softmorph_cli.errors import FileError, InputError
from softmorph_cli.system import descriptors
from softmorph_cli.system.files import check_writable, replacing

if TYPE_CHECKING:
    from softmorph_cli.completion.prior import Prior

SUFFIX: Final = ".safetensors"
LARGEST: Final = 256_000_000
_LONGEST_HEADER: Final = 4_000_000
_METADATA: Final = "softmorph"
_NETWORK: Final = "network."
# Names of files that programs fill with pickles, which are programs themselves: reading one runs it.
_PICKLES: Final = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib")
_ADVICE: Final = "name a file that softmorph prior train wrote"

Arrays = Mapping[str, npt.NDArray[np.float32]]


def save(prior: Prior, path: Path, *, force: bool = False) -> None:
    """Write a prior to a file, in one step; the same prior gives the same bytes.

    Args:
        prior: The prior.
        path: The file; its name ends in .safetensors.
        force: Whether an existing file may be replaced.

    Raises:
        FileError: If the file cannot or may not be written, or has another suffix, or `load` would refuse it.
    """
    check_target(path, force=force)
    from safetensors.numpy import save as serialized

    arrays = _arrays(prior)
    document = prior_document.of(prior)
    document[prior_document.CHECKSUM] = _checksum(document, arrays)
    text = json.dumps(document, allow_nan=False, sort_keys=True)
    content = serialized(dict(arrays), {_METADATA: text})
    try:
        check_size(len(content))
        _parsed(content)
    except InputError as error:
        raise FileError(f"{path}: {error}") from error
    except RefusedError as error:
        raise FileError(f"{path} is not written, because it could not be read again: it {error}") from error
    with replacing(path, force=force) as temporary:
        temporary.write_bytes(content)


def check_size(size: int) -> None:
    """Raise an error if a prior of a number of bytes is larger than files of priors may be.

    Raises:
        InputError: If it is.
    """
    if size > LARGEST:
        raise InputError(
            f"the prior takes {size / 1e6:.0f} MB, and files of priors hold {LARGEST / 1e6:.0f} MB: train one of a "
            "smaller width, or of fewer layers or maps."
        )


def check_target(path: Path, *, force: bool = False) -> None:
    """Raise an error if a prior cannot be written to a path.

    Raises:
        FileError: If the file has another suffix than .safetensors, or cannot or may not be written.
    """
    if path.suffix.lower() != SUFFIX:
        raise FileError(f"{path}: the file of a prior is a safetensors; end its name with {SUFFIX}.")
    check_writable(path, force=force)


def described(prior: Prior) -> dict[str, Any]:
    """Return the JSON object of a prior that its file holds beside the tensors, without the checksum."""
    return prior_document.of(prior)


def load(path: Path) -> Prior:
    """Read a prior from a file.

    Args:
        path: A file that `save` wrote.

    Returns:
        The prior.

    Raises:
        FileError: If the file is missing, is no prior, is damaged, or was written by a later version.
    """
    try:
        return _parsed(_content(path))
    except RefusedError as error:
        raise FileError(f"{path} {error}") from error


def _content(path: Path) -> bytes:
    """Return the bytes of a file; files that cannot be priors, by name, kind, size or first bytes, are not read."""
    if path.suffix.lower() in _PICKLES:
        raise RefusedError(
            "is named as a pickle, which runs whatever it holds when it is opened, and so is never opened: "
            f"{_ADVICE}, a {SUFFIX}."
        )
    try:
        descriptor = descriptors.open_plain(path)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise RefusedError(f"is no regular file: {_ADVICE}.")
            if status.st_size > LARGEST:
                raise RefusedError(
                    f"has {status.st_size / 1e6:,.0f} MB, and priors have at most {LARGEST / 1e6:.0f} MB: {_ADVICE}."
                )
            first = file.read(352)
            _refuse_others(first, path.name)
            # A file that grows meanwhile is not read beyond the limit either.
            return first + file.read(LARGEST + 1 - len(first))
    except FileNotFoundError:
        raise RefusedError(f"does not exist: {_ADVICE}.") from None
    except IsADirectoryError:
        raise RefusedError(f"is a folder: {_ADVICE}.") from None
    except (OSError, ValueError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise RefusedError(f"cannot be read: {reason}.") from error


def _refuse_others(first: bytes, name: str) -> None:
    """Raise `RefusedError` if the first bytes of a file are those of another kind of file."""
    # The header of a safetensors, whose length comes before it and may look like anything.
    if first[8:9] == b"{":
        return
    lower = name.lower()
    nifti = first[344:347] in (b"n+1", b"ni1") or first[4:7] == b"n+2"
    if nifti or lower.endswith((".nii", ".nii.gz")):
        raise RefusedError(f"is a NIfTI image and no prior: {_ADVICE}.")
    if first[:4] == b"PK\x03\x04":
        raise RefusedError(
            f"is a zip file, as torch.save writes around a pickle, and so is never opened: {_ADVICE}."
        )
    if first[:1] == b"\x80" and first[1:2] in b"\x02\x03\x04\x05":
        raise RefusedError(f"is a pickle, which runs what it holds, and so is never opened: {_ADVICE}.")
    if not first:
        raise RefusedError(f"is empty: {_ADVICE}.")


def _parsed(content: bytes) -> Prior:
    text, stated = _header(content)
    document = prior_document.parse(text)
    _check_tensors(stated, document.tensors)
    from safetensors import SafetensorError
    from safetensors.numpy import load as deserialized

    try:
        arrays = deserialized(content)
    except SafetensorError as error:
        raise RefusedError(f"is damaged: {error}.") from error
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise RefusedError(f"is damaged: its tensor {name} holds values that are not finite.")
    if _checksum(document.unsigned, arrays) != document.checksum:
        raise RefusedError("is damaged or was changed: its checksum is not that of its content.")
    prior = document.prior(
        {name.removeprefix(_NETWORK): one for name, one in arrays.items() if name.startswith(_NETWORK)},
        arrays["latents"],
    )
    for name, own in (("mean", prior.mean), ("covariance", prior.covariance)):
        # Another machine adds in another order.
        close = 1e-4 * float(np.abs(own.numpy()).max()) + 1e-30
        if not np.allclose(arrays[name], own.numpy(), rtol=0, atol=close):
            raise RefusedError(f"is damaged: its {name} is not that of its latent vectors.")
    return prior


def _header(content: bytes) -> tuple[str, dict[str, Any]]:
    """Return the metadata of a safetensors file, and of each tensor what the header states, after checking both.

    The tensors must follow each other without gaps and end with the file.
    """
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > len(content) - 8:
        raise RefusedError(f"is no prior, or cut short: its header would be longer than the file; {_ADVICE}.")
    if length > _LONGEST_HEADER:
        raise RefusedError(f"is no prior: its header has {length / 1e6:.1f} MB; {_ADVICE}.")
    try:
        header = prior_document.strict_json(content[8 : 8 + length].decode())
    except ValueError as error:
        raise RefusedError(f"is no prior, or damaged: its header is no JSON; {_ADVICE}.") from error
    metadata = header.pop("__metadata__", None) if isinstance(header, dict) else None
    if not isinstance(metadata, dict) or set(metadata) != {_METADATA} or not header:
        raise RefusedError(f"is a safetensors file and no prior of softmorph: {_ADVICE}.")
    text, end = metadata[_METADATA], 0
    for name, one in sorted(header.items(), key=lambda item: _offsets(item[1])):
        begin, finish = _offsets(one)
        shape = one["shape"]
        right = isinstance(shape, list) and all(type(size) is int and 0 <= size < 2**31 for size in shape)
        if begin != end or not right or one["dtype"] != "F32" or finish - begin != 4 * prod(shape):
            raise RefusedError(f"is damaged: its header states no dense float32 tensor for {name!r:.60}.")
        end = finish
    if not isinstance(text, str) or len(content) != 8 + length + end:
        raise RefusedError("is damaged or cut short: it has not the length that its header states.")
    return text, {name: tuple(one["shape"]) for name, one in header.items()}


def _offsets(stated: Any) -> tuple[int, int]:
    right = isinstance(stated, dict) and set(stated) == {"dtype", "shape", "data_offsets"}
    offsets = stated["data_offsets"] if right else None
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(type(one) is int for one in offsets):
        raise RefusedError("is damaged: its header does not describe its tensors.")
    return offsets[0], offsets[1]


def _check_tensors(stated: Mapping[str, Any], expected: Mapping[str, tuple[int, ...]]) -> None:
    for name, shape in expected.items():
        if name not in stated:
            raise RefusedError(f"is damaged: it lacks the tensor {name}.")
        if stated[name] != shape:
            raise RefusedError(f"is damaged: its tensor {name} has the shape {stated[name]} and not {shape}.")
    more = sorted(set(stated) - set(expected))
    if more:
        raise RefusedError(f"is no prior that this version reads: it also holds the tensor {more[0]!r:.60}.")


def _arrays(prior: Prior) -> Arrays:
    tensors = {
        **{_NETWORK + name: tensor for name, tensor in prior.weights.items()},
        "latents": prior.latents,
        "mean": prior.mean,
        "covariance": prior.covariance,
    }
    return {
        name: np.ascontiguousarray(one.numpy(), np.float32).reshape(one.shape)
        for name, one in sorted(tensors.items())
    }


def _checksum(document: Mapping[str, Any], arrays: Arrays) -> str:
    """Return the SHA-256 of the metadata and of names, shapes and values of the tensors."""
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"\n{name} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array, "<f4").tobytes())
    return digest.hexdigest()
