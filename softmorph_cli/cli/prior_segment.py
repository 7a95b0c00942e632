"""softmorph prior segment."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from softmorph_cli import __version__
from softmorph_cli.cli import answer, filtering, prior_tables
from softmorph_cli.cli.command import note, warn
from softmorph_cli.cli.options import Output
from softmorph_cli.cli.prior_options import Fitting, ReadImage, SegmentOutput
from softmorph_cli.completion.options import HELD_OUT
from softmorph_cli.errors import NotReachedError, UsageError
from softmorph_cli.io import documents
from softmorph_cli.io.options import WriteOptions

# The least share that is asked for, whatever images were held out.
_LEAST_FIT: Final = 0.5
# Of fewer held-out images too many others explain less than the least of them: one in n + 1.
_ENOUGH: Final = 8

if TYPE_CHECKING:
    from softmorph_cli.api.priors import Segmented
    from softmorph_cli.completion.prior import Prior


def segment(
    source: Annotated[
        Path, typer.Argument(metavar="IMAGE", help="Image; intensities of any range.", show_default=False)
    ],
    target: Output,
    *,
    fitting: Fitting,
    reading: ReadImage,
    output: SegmentOutput,
) -> None:
    """Segment an image by its intensities alone, with a prior that was trained with images.

    OUT holds the probabilities of the background and of each class; of a prior of one class those of this class alone;
    with --argmax labels. The exit status is 3 where the fitted prior explains less of the image's intensities than
    --min-fit asks for; OUT is written all the same.
    """
    from softmorph_cli.api import priors
    from softmorph_cli.completion import prior_file

    if fitting.prior is None:
        raise UsageError("no prior is given: add --prior FILE.")
    _check(source, target, fitting.prior, reading, output)
    prior = prior_file.load(fitting.prior)
    started = time.perf_counter()
    found = priors.segment(
        source, prior, voxels=fitting.voxels, seed=fitting.seed, device=fitting.device, reading=reading
    )
    seconds = time.perf_counter() - started
    least = _least_fit(prior) if fitting.min_fit is None else fitting.min_fit
    warnings = _write(found, target, fitting, output, reading)
    if output.preview is not None:
        _draw(found, prior, source, output)
    classes = _classes(found, prior)
    content = {
        "input": documents.described(found.image) | {"read_with": reading.as_json},
        "output": {"path": str(target), **_content(found, prior, labels=output.argmax)},
        "prior": {"path": str(fitting.prior), "network_sha256": prior.network_hash()},
        "explained": found.explained,
        "min_fit": least,
        "held_out_images": prior.training.get(HELD_OUT),
        "classes": classes,
    }
    times = {"fit": found.seconds, "other": seconds - found.seconds}
    answer.give(documents.document("prior segment", content, seconds=times, warnings=warnings), output)
    for message in warnings:
        warn(message)
    if not output.quiet:
        beside = prior_tables.explained_words(prior)
        counts = ", ".join(f"{one['class']} {one['voxels']:,} voxels" for one in classes)
        note(f"{target}: {counts}; the prior explains {found.explained:.0%} of the image's variance{beside}.")
    if max(found.explained, 0) < least:
        raise NotReachedError(
            f"{fitting.prior} explains {max(found.explained, 0):.0%} of the variance of {source}, and "
            f"--min-fit asks for {least:.0%}{prior_tables.explained_words(prior)}: {target} is written and not to be "
            "trusted; the image is of another kind than those that the prior was trained with, mirrored, or lies "
            "elsewhere in the box."
        )


def _least_fit(prior: Prior) -> float:
    """Return the share of the variance that is asked for by default, by what held-out images had."""
    held = prior.training.get(HELD_OUT)
    if not held or held["subjects"] < _ENOUGH:
        return _LEAST_FIT
    return max(_LEAST_FIT, float(held["explained"]["low"]))


def _check(source: Path, target: Path, prior: Path, reading: ReadImage, output: SegmentOutput) -> None:
    from softmorph_cli.io.formats import check_target

    check_target(target, WriteOptions(output_type=_kind(output), force=output.force))
    beside = [path for path in (output.json_file, output.preview) if path is not None]
    used = [prior, *reading.files]
    filtering.check_side_outputs(
        source, used, beside, output.preview, force=output.force, target=target, pictures=output
    )
    if source.resolve() == target.resolve():
        raise UsageError(f"{target} is the image: give OUT another name.")


def _kind(output: SegmentOutput) -> str | None:
    if output.argmax and output.output_type is not None:
        raise UsageError("--argmax writes labels, which have a type of their own: leave --output-type out.")
    return "labels" if output.argmax else output.output_type


def _labels(found: Segmented) -> Any:
    """Return the most probable class of each voxel, 0 for the background."""
    import numpy as np

    array = found.volume.array
    single = array.ndim == found.volume.spatial_dims
    return np.asarray(array > 0.5 if single else array.argmax(0), np.uint8)


def _content(found: Segmented, prior: Prior, *, labels: bool) -> dict[str, Any]:
    """Return what OUT holds: the number of each class in a label map, or the class of each channel."""
    classes = ["background", *prior.classes]
    if labels:
        return {"labels": {name: k for k, name in enumerate(classes)}}
    single = found.volume.array.ndim == found.volume.spatial_dims
    return {"channels": classes[1:] if single else classes}


def _classes(found: Segmented, prior: Prior) -> list[dict[str, Any]]:
    """Return the number, the name and the voxels of each class of the result."""
    labels = _labels(found)
    return [
        {"label": k, "class": name, "voxels": int((labels == k).sum())}
        for k, name in enumerate(prior.classes, 1)
    ]


def _write(
    found: Segmented, target: Path, fitting: Fitting, output: SegmentOutput, reading: ReadImage
) -> list[str]:
    from softmorph_cli.io.writing import write_labels, write_map

    made = {
        "command": "softmorph prior segment",
        "version": __version__,
        "parameters": {"prior": str(fitting.prior), "seed": fitting.seed} | reading.as_json,
    }
    if output.argmax:
        options = WriteOptions(force=output.force, provenance=made)
        return write_labels(_labels(found), found.image, target, options)
    options = WriteOptions(output_type=output.output_type, force=output.force, provenance=made)
    return write_map(found.volume, target, options)


def _draw(found: Segmented, prior: Prior, source: Path, output: SegmentOutput) -> None:
    from softmorph_cli.plots.completion_preview import draw_segmentation

    array = found.volume.array
    assert output.preview is not None
    draw_segmentation(
        found.image,
        array[None] if array.ndim == found.image.spatial_dims else array[1:],
        prior.classes,
        output.preview,
        title=f"softmorph prior segment {source.name}",
        facts=(f"{found.explained:.0%} of the image's variance is explained",),
        force=output.force,
        look=output,
    )
