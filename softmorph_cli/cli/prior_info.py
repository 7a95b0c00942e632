"""softmorph prior info."""

from __future__ import annotations

import time

from softmorph_cli.cli import answer, prior_tables, report
from softmorph_cli.cli.prior_options import InfoOutput, PriorFile
from softmorph_cli.io import documents
from softmorph_cli.system.files import check_writable


def info(path: PriorFile, *, output: InfoOutput) -> None:
    """What a prior was learned from, what it can be used for, and how well it found hidden slices."""
    from softmorph_cli.completion import prior_file

    if output.json_file is not None:
        check_writable(output.json_file, force=output.force)
    started = time.perf_counter()
    prior = prior_file.load(path)
    document = prior_tables.described(prior, path)
    seconds = {"read": time.perf_counter() - started}
    answer.give(documents.document("prior info", {"prior": document}, seconds=seconds), output)
    if output.json or output.quiet:
        return
    network, box = prior.architecture, prior.box
    sides = " × ".join(f"{side:g}" for side in box.size)
    runs = f", running to {' '.join(document['orientation'])}" if document["orientation"] else ""
    latent = f"latent vectors of {network.width}"
    lines = [
        ["classes", ", ".join(prior.classes)],
        ["axes of the array", f"{' '.join(prior.axes.lower())}{runs}"],
        ["box", f"{sides} {box.unit or '(unit unknown)'}"],
        [
            "learned from",
            f"{len(prior.subjects)} maps{'' if prior.intensity is None else ' and their images'}",
        ],
        ["network", f"{network.layers} layers of {network.width}, {network.activation}; {latent}"],
        ["fit to slices", f"{prior.completion.steps} steps"],
        ["fit to images", f"{prior.segmentation.steps} steps" if prior.intensity else "not possible"],
        ["seed", str(prior.seed)],
        ["softmorph", prior.version],
        ["SHA-256 of the network", document["network_sha256"][:16]],
    ]
    report.table(str(path), ("", ""), lines, err=False)
    if prior.validation:
        prior_tables.show("maps that were held out", prior.validation, err=False)
