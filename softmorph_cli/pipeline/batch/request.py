"""What a user requests of a batch, and the paths of the files that it writes beside the results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from softmorph_cli.pipeline.batch import manifest, measured_files, tables
from softmorph_cli.pipeline.batch.plan import FileJob, FileSelection
from softmorph_cli.pipeline.batch.recipe import Recipe


@dataclass(frozen=True)
class BatchRequest:
    """A batch as requested by the user.

    Attributes:
        selection: The input folder, the output folder and the choice of files.
        recipe: The steps and options that are applied to each file.
        resume: Whether files whose result is up to date are skipped.
        force: Whether existing results may be replaced.
        fail_fast: Whether no further file is begun after a file has failed.
        workers: Number of files that are processed at once; None if the user has not chosen it.
        parts: Number of parts that the files are split into, which separate commands process.
        part: Index of the part that this batch processes, from 0.
        previews: Folder for a picture of each file; None for no pictures.
        report: The page of all files; None for no page.
        words: The command line of the batch, of which messages advise a changed one; empty if there is none.
    """

    selection: FileSelection
    recipe: Recipe
    resume: bool = False
    force: bool = False
    fail_fast: bool = False
    workers: int | None = None
    parts: int = 1
    part: int = 0
    previews: Path | None = None
    report: Path | None = None
    words: tuple[str, ...] = ()

    @property
    def tag(self) -> str:
        """Text such as "-0-of-3", which file names contain to identify the part of a batch; "" for a single part."""
        return manifest.tag(self.parts, self.part)

    @property
    def tables(self) -> dict[str, Path]:
        """The tables of what the steps measure of all files: the path by the name."""
        names = measured_files.table_names(self.recipe.filters).values()
        return tables.paths(self.selection.target, names, self.tag)

    def preview_of(self, job: FileJob) -> Path | None:
        """Return the picture of a file; its name is that of the result, with .png after it."""
        if self.previews is None:
            return None
        below = job.target.relative_to(self.selection.target)
        return self.previews / below.with_name(f"{below.name}.png")

    def kept_of(self, job: FileJob) -> Path | None:
        """Return the file that keeps what is measured of a file; None if nothing is."""
        return measured_files.path_of(self.selection.target, job.name) if self.recipe.keeps else None

    def beside(self, job: FileJob) -> list[Path]:
        """Return the files that are written beside the result of a file."""
        return [path for path in (self.preview_of(job), self.kept_of(job)) if path is not None]
