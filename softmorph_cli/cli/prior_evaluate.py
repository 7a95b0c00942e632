"""softmorph prior evaluate."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from softmorph_cli.cli import answer, filtering, prior_tables, report
from softmorph_cli.cli.command import note
from softmorph_cli.cli.prior_options import EvaluateOutput, Hidden, Maps, PriorFile, ReadMaps
from softmorph_cli.cli.progress import reporting
from softmorph_cli.io import documents
from softmorph_cli.io.options import number_or_name

if TYPE_CHECKING:
    from softmorph_cli.completion.prior import Prior


def evaluate(
    path: PriorFile, maps: Maps, *, hidden: Hidden, reading: ReadMaps, output: EvaluateOutput
) -> None:
    """Hide slices of complete maps, and measure how well a prior finds them again, beside interpolation.

    The maps should be none that the prior was trained on. The exit status is 3 where the prior is worse than the
    interpolation of logits whatever is hidden.
    """
    from softmorph_cli.api.priors import GAPS, evaluate_prior
    from softmorph_cli.completion import prior_file

    report.check_stdout({"--json": output.json, "--csv": output.csv})
    beside = [one for one in (output.csv, output.json_file) if one is not None and one != report.STDOUT]
    filtering.check_side_outputs(path, [maps], beside, None, force=output.force)
    prior = prior_file.load(path)
    started = time.perf_counter()
    hide = list(dict.fromkeys(hidden.hide or GAPS))
    with reporting(quiet=output.quiet) as bar:
        table = evaluate_prior(
            prior,
            maps,
            hide=hide,
            axis=hidden.axis,
            labels=[number_or_name(label) for label in hidden.label or ()],
            voxels=hidden.voxels,
            seed=hidden.seed,
            device=hidden.device,
            reading=reading,
            progress=None if bar is None else bar.update,
        )
    notes = _known(prior, maps)
    content = {
        "input": {"path": str(maps)},
        "prior": {"path": str(path), "network_sha256": prior.network_hash()},
        "parameters": {"hide": hide, "axis": hidden.axis or prior.axes[0].lower()},
        "validation": prior_tables.rows(table),
    }
    seconds = {"evaluate": time.perf_counter() - started}
    document = documents.document("prior evaluate", content, seconds=seconds, notes=notes)
    if output.csv is not None:
        report.deliver(prior_tables.as_csv(table), output.csv, force=output.force)
    answer.give(document, output)
    if not output.quiet:
        for message in notes:
            note(message)
    if not (output.json or output.quiet):
        prior_tables.show(f"{path} on {maps}", table, err=output.csv == report.STDOUT)
    prior_tables.check_worth(
        table, path, str(maps), "it has learned other shapes; train one on maps like these"
    )


def _known(prior: Prior, maps: Path) -> list[str]:
    """Return a note on maps that have the names of those that the prior was trained on."""
    from softmorph_cli.pipeline.batch.plan import FileSelection, first_few, inputs

    known = sorted(set(prior.subjects) & set(inputs(FileSelection(maps, maps))))
    if not known:
        return []
    return [
        f"the prior was trained on maps of the same names ({first_few(known)}): if they are the same maps, the figures "
        "are too good."
    ]
