"""The public functions of shape priors: train one, keep it in a file, measure it, segment images with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict, Unpack

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.system.parameters import named

if TYPE_CHECKING:
    from softmorph_cli.completion.options import TrainingOptions
    from softmorph_cli.completion.prior import Prior, Row
    from softmorph_cli.completion.training import Checkpoint, Subject
    from softmorph_cli.io.options import ReadOptions
    from softmorph_cli.volume import Volume

GAPS: Final = ("every:2", "every:4", "gap:4", "end:4")

# What is being done, and how much of how much is done.
Progress = Callable[[str, int, int], None]


class TrainingKeywords(TypedDict, total=False):
    """The settings that `train_prior` takes as keywords, for type checkers; `train_prior` documents them."""

    steps: int
    seed: int
    width: int
    layers: int
    activation: str
    box: tuple[float, ...] | str | None
    validate: float
    device: str


def train_prior(
    maps: str | Path,
    *,
    images: str | Path | None = None,
    labels: Sequence[int | str] = (),
    voxels: bool = False,
    reading: ReadOptions | None = None,
    progress: Progress | None = None,
    **settings: Unpack[TrainingKeywords],
) -> Prior:
    """Learn a shape prior from complete maps of one kind of object.

    The method is that of NISF (Stolt-Anso et al., MICCAI 2023). The maps need not have equal grids, but their arrays
    one orientation. Some are held out (`validate`): they choose how long a fit lasts, and make the table
    `Prior.validation`.

    Args:
        maps: A folder with at least 8 maps: of classes that exclude each other, of one class, or of labels.
        images: A folder with the image of each map, by the same names; then `segment` is possible.
        labels: The labels to take of label maps, by number or name; empty for all but 0.
        voxels: Count lengths in voxels, where files do not state the size of voxels.
        reading: The options of reading the maps.
        progress: A function that is called with a text, and how much of how much is done.
        **settings: `steps` (2400), `seed` (0), `width` (64) and `layers` (5) of the network, `activation` ("sine",
            "wire" or "relu"), `box` (the sides in mm or voxels; None for the smallest box that holds all maps),
            `validate` (the share of maps that is held out, 0.15), `device` ("auto", "cpu", "cuda" or "cuda:N").

    Returns:
        The prior, to be given to `write_prior`, `segment` or `evaluate_prior`.

    Raises:
        FileError: If a file cannot be read.
        InputError: If the maps do not fit each other, or an image is missing.
        UsageError: If a setting is wrong for any maps.

    >>> import numpy as np, pathlib
    >>> pathlib.Path("maps").mkdir()
    >>> for k in range(8):
    ...     np.save(f"maps/{k}.npy", np.eye(6) * (1 - k / 20))
    >>> prior = train_prior("maps", voxels=True, steps=2, width=4, layers=1, validate=0)
    >>> prior.classes, prior.box.size, len(prior.subjects)
    (('class 1',), (6.0, 6.0), 8)
    """
    from softmorph_cli.completion.options import TrainingOptions

    # The class parses the sides of a box that are a text.
    options = TrainingOptions(**settings)  # type: ignore[arg-type]
    subjects = read_maps(maps, labels, images, voxels, reading, progress)
    return train_subjects(subjects, str(maps), options, None, progress)


def train_subjects(
    subjects: Sequence[Subject],
    name: str,
    options: TrainingOptions,
    checkpoint: Checkpoint | None,
    progress: Progress | None,
) -> Prior:
    """Train a prior on subjects that have been read, as `train_prior` does; `name` is that of the folder.

    Among the settings that the prior states is the fingerprint of all maps and settings, by which a finished training
    is known again.
    """
    from softmorph_cli.completion.options import HELD_OUT
    from softmorph_cli.completion.training import TrainingProgress, fingerprint
    from softmorph_cli.completion.validation import segmented, train_and_validate

    def trained(one: TrainingProgress) -> None:
        if progress is not None:
            progress(
                f"step {one.step}: loss {one.loss:.3f}, {_minutes(one.seconds_left)} left",
                one.step,
                one.steps,
            )

    def fitted(done: int, total: int) -> None:
        if progress is not None:
            progress(f"fit {done} of {total} to maps that were held out", done, total)

    try:
        prior = train_and_validate(subjects, options, trained, fits=fitted, checkpoint=checkpoint)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    known = {**prior.training, "fingerprint": fingerprint(subjects, options)}
    others = [one for one in subjects if one.name not in set(prior.subjects)]
    if others and prior.intensity is not None:
        known[HELD_OUT] = segmented(prior, others, options.seed, options.device)
    return replace(prior, training=known)


def read_prior(path: str | Path) -> Prior:
    """Read a shape prior from a file of `write_prior` or of softmorph prior train.

    Args:
        path: The file. It holds numbers and text and no code; nothing in it is executed.

    Returns:
        The prior.

    Raises:
        FileError: If the file is missing, no prior, or damaged.

    >>> import numpy as np, pathlib
    >>> pathlib.Path("maps").mkdir()
    >>> for k in range(8):
    ...     np.save(f"maps/{k}.npy", np.eye(6) * (1 - k / 20))
    >>> prior = train_prior("maps", voxels=True, steps=2, width=4, layers=1, validate=0)
    >>> write_prior(prior, "diagonal.safetensors")
    >>> read_prior("diagonal.safetensors").network_hash() == prior.network_hash()
    True
    """
    from softmorph_cli.completion import prior_file

    return prior_file.load(Path(path))


def write_prior(prior: Prior, path: str | Path, *, force: bool = False) -> None:
    """Write a shape prior to a file; the same prior gives the same bytes.

    Args:
        prior: The prior.
        path: The file, whose name ends in .safetensors.
        force: Whether an existing file may be replaced.

    Raises:
        FileError: If the file cannot or may not be written.

    >>> import numpy as np, pathlib
    >>> pathlib.Path("maps").mkdir()
    >>> for k in range(8):
    ...     np.save(f"maps/{k}.npy", np.eye(6) * (1 - k / 20))
    >>> prior = train_prior("maps", voxels=True, steps=2, width=4, layers=1, validate=0)
    >>> write_prior(prior, "diagonal.safetensors")
    >>> pathlib.Path("diagonal.safetensors").stat().st_size < 10_000
    True
    """
    from softmorph_cli.completion import prior_file

    prior_file.save(prior, Path(path), force=force)


def evaluate_prior(
    prior: Prior | str | Path,
    maps: str | Path,
    *,
    hide: str | Sequence[str] = GAPS,
    axis: str | None = None,
    labels: Sequence[int | str] = (),
    voxels: bool = False,
    seed: int = 0,
    device: str = "auto",
    reading: ReadOptions | None = None,
    progress: Progress | None = None,
) -> tuple[Row, ...]:
    """Hide slices of complete maps, and measure how well a prior and interpolation find them again.

    Args:
        prior: The prior, or its file.
        maps: A folder of complete maps, which the prior was not trained on.
        hide: Which slices are hidden: "every:4" keeps one of four, "gap:4" hides four in the middle, "end:4" the last
            four; one text or several. `softmorph_cli.completion.slices.gap` tells more.
        axis: The axis of the slices, "z", "y" or "x"; None for z, in 2D y.
        labels: The labels to take of label maps, by number or name; empty for all but 0. Then a label of the
            prior that no map holds is an empty class.
        voxels: Count lengths in voxels, as the prior has to do.
        seed: The seed of fits and intervals.
        device: "auto", "cpu", "cuda" or "cuda:N".
        reading: The options of reading the maps.
        progress: A function that is called with a text, and how much of how much is done.

    Returns:
        For each gap, class and method ("prior", "logit", "linear") the mean Dice of the hidden slices with its 95 %
        interval; the class "all" is all classes as one.

    Raises:
        FileError: If a file cannot be read.
        InputError: If the maps do not fit the prior, or no map has a slice left.
        UsageError: If an argument is wrong for any maps.

    >>> import numpy as np, pathlib
    >>> pathlib.Path("maps").mkdir()
    >>> for k in range(8):
    ...     np.save(f"maps/{k}.npy", np.eye(6) * (1 - k / 20))
    >>> prior = train_prior("maps", voxels=True, steps=2, width=4, layers=1, validate=0)
    >>> rows = evaluate_prior(prior, "maps", hide="every:2", voxels=True)
    >>> [(row.gap, row.label, row.method) for row in rows][:2]
    [('every:2', 'class 1', 'prior'), ('every:2', 'class 1', 'logit')]
    """
    from softmorph_cli.completion.slices import gap
    from softmorph_cli.completion.validation import table

    hide = (hide,) if isinstance(hide, str) else hide
    gaps = {one: gap(one) for one in hide}
    prior = read_prior(prior) if isinstance(prior, str | Path) else prior
    at = _axis(axis, prior)
    with _in_lengths_of(prior):
        read = read_maps(maps, labels, None, voxels, reading, progress, classes=prior.classes)
    subjects = [_of_prior(one, prior, f"{maps}/{one.name}", every=not labels) for one in read]

    def fitted(done: int, total: int) -> None:
        if progress is not None:
            progress(f"fit {done} of {total}", done, total)

    rows = table(prior, subjects, at, gaps, seed, device, fitted)
    if not any(row.subjects for row in rows):
        raise InputError(
            f"{maps}: no map has an object and two slices left when {' or '.join(hide)} is hidden: hide fewer."
        )
    return rows


@dataclass(frozen=True)
class Segmented:
    """An image segmented by a prior.

    Attributes:
        volume: Probabilities of the prior's classes, the background first, on the grid of the image; of a prior of one
            class those of this class alone.
        explained: The share of the image's variance that the fitted prior explains, at most 1.
        seconds: The time of the fit.
        image: The image as the prior sees it, from 0 to 1.
    """

    volume: Volume
    explained: float
    seconds: float
    image: Volume


def segment(
    image: str | Path,
    prior: Prior | str | Path,
    *,
    voxels: bool = False,
    seed: int = 0,
    device: str = "auto",
    reading: ReadOptions | None = None,
) -> Segmented:
    """Segment an image with a prior that was trained with images, from the intensities of the image alone.

    Args:
        image: The image; its intensities may have any range.
        prior: The prior, or its file.
        voxels: Count lengths in voxels, as the prior has to do.
        seed: The seed of the fit.
        device: "auto", "cpu", "cuda" or "cuda:N".
        reading: The options of reading the image.

    Returns:
        The probabilities, and how well the prior explains the image.

    Raises:
        FileError: If a file cannot be read.
        InputError: If the prior was trained without images, or the image does not fit it.
        UsageError: If an argument is wrong for any image.

    >>> import numpy as np, pathlib
    >>> for folder in ("maps", "images"):
    ...     pathlib.Path(folder).mkdir()
    >>> for k in range(8):
    ...     np.save(f"maps/{k}.npy", np.eye(6) * (1 - k / 20))
    ...     np.save(f"images/{k}.npy", 100 + 9 * np.eye(6))
    >>> prior = train_prior("maps", images="images", voxels=True, steps=2, width=4, layers=1, validate=0)
    >>> found = segment("images/0.npy", prior, voxels=True)
    >>> found.volume, found.explained < 1
    (<Volume YX 6 x 6 float32, from 'images/0.npy'>, True)
    """
    import numpy as np

    from softmorph_cli.completion.box import Grid
    from softmorph_cli.completion.fitting import explained, fit_intensities, predict
    from softmorph_cli.io.options import DEFAULT
    from softmorph_cli.io.reading import read_image

    prior = read_prior(prior) if isinstance(prior, str | Path) else prior
    if prior.intensity is None:
        raise InputError(
            f"the prior was trained without images, and cannot segment {image}: train one with "
            f"{named('images', 'DIR')}."
        )
    values, like = read_image(image, reading or DEFAULT)
    with _in_lengths_of(prior):
        _, place = prior.place(Grid.of(like, voxels), str(image))
    try:
        fit = fit_intensities(prior, values, place, None, seed, device)
    except InputError as error:
        raise InputError(f"{image}: {error}") from error
    found = predict(prior, fit.latent, place, device)
    if len(found) == 2:
        volume = replace(like, array=found[1])
    else:
        volume = replace(
            like, array=found, axes=f"C{like.axes}", channels=("background", *prior.classes), source=None
        )
    seen = like.with_array(np.asarray(prior.intensity.apply(values)))
    return Segmented(volume, explained(prior, fit.latent, values, place, device), fit.seconds, seen)


def _axis(axis: str | None, prior: Prior) -> int:
    letter = prior.axes[0] if axis is None else axis.upper()
    if letter not in ("Z", "Y", "X"):
        raise UsageError(f"{named('axis')} {axis}: use z, y or x.")
    if letter not in prior.axes:
        raise InputError(f"the prior is of maps in 2D, which have no axis {axis}: use y or x.")
    return prior.axes.index(letter)


def read_maps(
    maps: str | Path,
    labels: Sequence[int | str],
    images: str | Path | None,
    voxels: bool,
    reading: ReadOptions | None,
    progress: Progress | None,
    *,
    classes: Sequence[str] = (),
) -> list[Subject]:
    """Read the maps of a folder, and their images, as for `train_prior`; `classes` are those of a prior, if any."""
    from softmorph_cli.io.options import DEFAULT
    from softmorph_cli.pipeline.subjects import read_subjects

    return read_subjects(
        Path(maps),
        labels=labels,
        images=None if images is None else Path(images),
        voxels=voxels,
        reading=reading or DEFAULT,
        report=progress,
        classes=classes,
    )


@contextmanager
def _in_lengths_of(prior: Prior) -> Iterator[None]:
    """Replace the advice to add --voxels, which a prior that counts in lengths refuses."""
    from softmorph_cli.completion.box import VOXELS, SizelessError

    try:
        yield
    except SizelessError as error:
        if prior.box.unit == VOXELS:
            raise
        raise InputError(
            f"{error.args[0]}, and the prior's box is one of lengths: write the size into the file."
        ) from error


def _of_prior(subject: Subject, prior: Prior, name: str, *, every: bool) -> Subject:
    """Return a subject with the classes of a prior in its order; refuse one that does not fit the prior.

    If every label is taken, a label of the prior that no map holds is an empty class.
    """
    import numpy as np

    prior.place(subject.grid, name)
    if subject.classes == prior.classes:
        return replace(subject, name=name)
    masks = bool(np.isin(subject.probabilities, (0, 1)).all())
    if every and subject.named and masks and set(subject.classes) < set(prior.classes):
        held = [0, *(1 + prior.classes.index(one) for one in subject.classes)]
        maps = np.zeros((1 + len(prior.classes), *subject.probabilities.shape[1:]), np.float32)
        maps[held] = subject.probabilities
        return replace(subject, name=name, probabilities=maps, classes=prior.classes)
    # Classes without names are in the order of the prior, as they are for `interpolate`.
    names = ("background", *subject.classes) if subject.named else None
    found, _ = prior.exclusive(subject.probabilities, names, name)
    return replace(subject, name=name, probabilities=found, classes=prior.classes)


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
