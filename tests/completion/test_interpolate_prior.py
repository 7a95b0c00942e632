"""`interpolate` with a shape prior: what is observed stays, what is invented is the prior's, poor fits are told."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from helpers_subjects import SIDE, volume_of
from PIL import Image
from typer.testing import CliRunner

import softmorph_cli as sm
from softmorph_cli.cli.app import app
from softmorph_cli.completion import fitting, hearts, prior_file
from softmorph_cli.completion.box import Box, Grid
from softmorph_cli.completion.network import Architecture, ImplicitFunction
from softmorph_cli.completion.prior import FitSettings, Prior
from softmorph_cli.completion.validation import LeftOut
from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.filters.fitted import FittedPrior, figures
from softmorph_cli.filters.operations.interpolate import Interpolate
from softmorph_cli.filters.settings import Settings
from softmorph_cli.pipeline.batch.recipe import Recipe

# This prior is poorer than interpolation, which is said.
pytestmark = pytest.mark.filterwarnings("ignore::softmorph_cli.SoftmorphWarning")
GAP = [3, 4, 5]


@cache
def prior() -> Prior:
    """Return an untrained prior with fits of a few steps: what it predicts is of no interest here."""
    generator = torch.Generator().manual_seed(0)
    architecture = Architecture(3, 4, 16, 2, "sine", False)
    network = ImplicitFunction(architecture, generator)
    return Prior(
        architecture=architecture,
        weights={name: one.detach() for name, one in network.state_dict().items()},
        latents=torch.randn(9, 16, generator=generator),
        classes=hearts.CLASSES,
        axes="ZYX",
        directions=((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)),
        box=Box((SIDE,) * 3, "mm"),
        intensity=None,
        completion=FitSettings(steps=20, points=256, rate=3e-2),
        subjects=tuple(f"case {k}" for k in range(9)),
    )


def heart(seed: int = 100, shape: tuple[int, int, int] = (8, 16, 16)) -> sm.Volume:
    _, labels = hearts.sample(hearts.draw_heart(np.random.default_rng(seed)), shape)
    return volume_of(labels)


def blank(volume: sm.Volume, missing: list[int]) -> sm.Volume:
    array = volume.array.copy()
    array[:, missing] = 0
    return volume.with_array(array)


def scores(maps: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return the logits of classes, the rest to 1 among them."""
    maps = np.concatenate([maps, np.clip(1 - maps.sum(axis=0, keepdims=True), 0, 1)]).astype(np.float64)
    kept = 0.02 + 0.96 * maps
    return np.log(kept / (1 - kept))


def test_missing_slices_are_the_fitted_prior_and_the_others_stay() -> None:
    whole = heart()
    observed = ~np.isin(np.arange(8), GAP)
    found = sm.interpolate(blank(whole, GAP), missing=GAP, prior=prior(), min_fit=0)
    np.testing.assert_array_equal(found.image.array[:, observed], whole.array[:, observed])
    np.testing.assert_array_equal(np.unique(np.nonzero(found.filled.array)[0]), GAP)
    _, place = prior().place(Grid.of(whole))
    given, _ = prior().exclusive(whole.array, whole.channels)
    wanted, fit = fitting.complete(prior(), given, observed[:, None, None], place)
    np.testing.assert_allclose(found.image.array, wanted[1:], atol=1e-6)
    assert found.document["fits"][0]["agreement"] == fit.agreement
    assert found.document["fits"][0]["network"] == prior().network_hash()
    # One observed slice is enough for a prior.
    assert sm.interpolate(whole, missing=[1, 2, 3], prior=prior(), min_fit=0).missing == (
        1,
        2,
        3,
    )


def test_channels_in_any_order_with_and_without_background() -> None:
    whole = heart()
    usual = sm.interpolate(whole, missing=GAP, prior=prior(), min_fit=0).image.array
    rest = 1 - whole.array.sum(axis=0, keepdims=True)
    names = whole.channels or ()
    order = [2, 3, 0, 1]
    more = np.concatenate([rest, whole.array])[order]
    named = replace(whole, array=more, channels=tuple(("background", *names)[k] for k in order))
    found = sm.interpolate(blank(named, GAP), missing=GAP, prior=prior(), min_fit=0).image.array
    np.testing.assert_allclose(found[[3, 0, 1]], usual, atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-5)
    nameless = replace(whole, array=np.concatenate([rest, whole.array]), channels=None)
    found = sm.interpolate(blank(nameless, GAP), missing=GAP, prior=prior(), min_fit=0).image.array
    np.testing.assert_allclose(found[1:], usual, atol=1e-6)


def test_a_finer_grid_agrees_at_shared_centres_and_has_no_steps() -> None:
    whole = heart()
    usual = sm.interpolate(whole, missing=GAP, prior=prior(), min_fit=0)
    grid = sm.interpolate(whole, missing=GAP, prior=prior(), min_fit=0, like=whole)
    np.testing.assert_allclose(grid.image.array, usual.image.array, atol=1e-5)
    assert whole.spacing is not None
    sizes = ",".join(f"{size / part:.9g}mm" for size, part in zip(whole.spacing, (3, 1, 1), strict=True))
    finer = sm.interpolate(whole, missing=GAP, prior=prior(), min_fit=0, spacing=sizes)
    assert finer.image.array.shape == (3, 24, 16, 16)
    np.testing.assert_array_equal(finer.image.array[:, 1::3], usual.image.array)
    assert finer.image.array.sum(axis=0).max() <= 1 + 1e-5
    # Placed by their positions in the world: the prior, corrected by what it lacks at the slices beside.
    fitted = FittedPrior.of(prior(), whole, ~np.isin(np.arange(8), GAP), 0)
    frame, _ = prior().place(Grid.of(whole))
    place = prior().box.coordinates(Grid.of(finer.image), frame)
    predicted = fitting.predict(prior(), fitted.fit.latent, place)[1:].astype(np.float64)
    away = scores(fitted.filled) - scores(fitted.predicted)
    assert np.abs(away[:, ~np.isin(np.arange(8), GAP)]).max() > 1
    end = np.log(0.98 / 0.02)
    for at in (5, 6, 9, 14, 17, 18, 20):
        below, share = divmod((at + 0.5) / 3 - 0.5, 1)
        mixed = (1 - share) * away[:, int(below)] + share * away[:, int(below) + 1]
        score = np.clip(scores(predicted[:, at]) + mixed, -end, end)
        wanted = np.clip((1 / (1 + np.exp(-score)) - 0.02) / 0.96, 0, 1)
        np.testing.assert_allclose(finer.image.array[:, at], (wanted / wanted.sum(axis=0))[:-1], atol=2e-5)
    observed = [3 * slice_ + 1 for slice_ in range(8) if slice_ not in GAP]
    np.testing.assert_array_equal(np.flatnonzero(finer.filled.array[:, 0, 0] == 0), observed)
    plane = replace(whole, array=whole.array[0, 4], axes="YX", channels=None, spacing=whole.spacing[1:])
    assert plane.affine is not None
    affine = plane.affine.copy()
    affine[:3, 3] = (plane.affine @ [4, 0, 0, 1])[:3]
    oblique = sm.interpolate(whole, missing=GAP, prior=prior(), min_fit=0, like=replace(plane, affine=affine))
    np.testing.assert_allclose(oblique.image.array, usual.image.array[:, 4], atol=1e-5)


def test_a_poor_fit_is_told_in_python() -> None:
    shares = np.random.default_rng(0).dirichlet(np.ones(4), heart().array.shape[1:])
    noise = np.moveaxis(shares[..., 1:], -1, 0).astype(np.float32)
    with pytest.warns(sm.SoftmorphWarning) as caught:
        found = sm.interpolate(heart().with_array(noise), missing=GAP, prior=prior())
    assert not found.reached
    messages = [str(one.message) for one in caught]
    assert messages[-1] == found.shortfall
    assert "only, less than min_fit 0.8" in messages[-1]


def test_what_does_not_go_with_a_prior() -> None:
    for message, options in (
        ("either prior or method", {"prior": prior(), "method": "logit"}),
        ("min_fit is of the fit of a prior: add prior", {"min_fit": 0.5}),
        ("an agreement is from 0 to 1", {"prior": prior(), "min_fit": 80}),
        ("device is of the fit of a prior: add prior", {"device": "cpu"}),
        ("threads is of the fit of a prior: add prior", {"threads": 2}),
        ("threads 0: at least 1 is needed", {"prior": prior(), "threads": 0}),
        ("unknown device 'gpu'", {"prior": prior(), "device": "gpu"}),
    ):
        with pytest.raises(UsageError, match=message):
            sm.interpolate(heart(), missing=GAP, **options)
    asked: dict[str, Any] = {"missing": GAP, "prior": prior()}
    with pytest.raises(InputError, match="larger than the prior's box"):
        sm.interpolate(
            replace(heart(), affine=2 * np.asarray(heart().affine) - np.diag([0, 0, 0, 1])), **asked
        )
    with pytest.raises(InputError, match="device 'cuda:99' is not there"):
        sm.interpolate(heart(), **asked, device="cuda:99")
    with pytest.raises(InputError, match="counts in lengths: pass a Volume with spacing="):
        sm.interpolate(sm.Volume(heart().array, "CZYX"), **asked)
    with pytest.raises(InputError, match="every observed slice is empty"):
        sm.interpolate(blank(heart(), [0, 1, 2, 6, 7]), missing=GAP, prior=prior())


def test_the_fit_has_the_threads_of_its_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    fit, usual = fitting.fit_probabilities, torch.get_num_threads()

    def watched(*given: Any, **more: Any) -> fitting.Fit:
        seen.append(torch.get_num_threads())
        return fit(*given, **more)

    monkeypatch.setattr(fitting, "fit_probabilities", watched)
    chosen = Interpolate(missing="3:6", learned=prior(), min_fit=0)
    recipe = Recipe((chosen,), Settings()).on_threads(usual + 1)
    recipe.filters[0].run(heart())
    assert set(seen) == {usual + 1}
    assert torch.get_num_threads() == usual
    # A chain's own settings hold for the step too.
    made = Interpolate.make(
        {"missing": "3", "prior": Path("p.safetensors")}, Settings(device="cuda", threads=2)
    )
    assert (made.device, made.threads) == ("cuda", 2)
    assert recipe.parameters == Recipe((chosen,), Settings()).parameters


def test_the_mean_of_the_prior_on_any_grid() -> None:
    whole = heart()
    for grid in ({}, {"like": whole}):
        made = Interpolate.make(
            {"missing": "3:6", "learned": prior(), "min_fit": 0.0, "grid": grid.get("like")}
        )
        found = made.run(whole).completed
        assert found is not None
        mean = found.mean(whole)
        assert mean is not None
        _, place = prior().place(Grid.of(whole))
        wanted = fitting.predict(prior(), prior().mean, place)[1:]
        np.testing.assert_allclose(mean.array, wanted, atol=1e-6)
        assert found.classes == dict(enumerate(hearts.CLASSES))


def told(*words: object, code: int = 0) -> tuple[str, str]:
    ended = CliRunner().invoke(app, [str(one) for one in words])
    assert ended.exit_code == code, ended.stderr
    return ended.stdout, ended.stderr


def test_command_chain_and_batch_write_and_end_with_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    prior_file.save(prior(), Path("hearts.safetensors"))
    Path("in").mkdir()
    for name, seed in (("a", 100), ("b", 101)):
        sm.write(blank(heart(seed), GAP), f"in/{name}.nrrd")
    wanted = sm.interpolate("in/a.nrrd", missing=GAP, prior="hearts.safetensors", min_fit=0)
    words = ("in/a.nrrd", "out.nrrd", "--missing", "3:6", "--prior", "hearts.safetensors", "--min-fit")
    beside = ("--filled", "new.nrrd", "--preview", "seen.png", "--device", "cpu", "--threads", 1)
    out, err = told("interpolate", *words, "1", "--json", *beside, code=3)
    assert json.loads(out)["device"] == "cpu"
    np.testing.assert_array_equal(sm.read("out.nrrd").array, wanted.image.array)
    np.testing.assert_array_equal(sm.read("new.nrrd").array, wanted.filled.array)
    assert "error: the agreement of the prior with the observed slices is " in err
    (step,) = json.loads(out)["steps"]
    assert step["method"] == "prior"
    assert step["parameters"] == {
        "missing": "3:6",
        "axis": "z",
        "prior": "hearts.safetensors",
        "min_fit": 1.0,
    }
    # What the prior knows without the map is drawn too.
    with Image.open("seen.png") as picture:
        assert picture.text["Title"] == "softmorph interpolate a.nrrd"  # type: ignore[attr-defined]
        assert "POOR FIT: agreement with the observed slices" in picture.text["Description"]  # type: ignore[attr-defined]
    fits = step["interpolation"]["fits"]
    assert fits[0]["agreement"] == wanted.document["fits"][0]["agreement"]
    source = sm.read("out.nrrd").source
    assert source is not None
    assert source.provenance["parameters"]["prior"] == "hearts.safetensors"
    _, err = told("interpolate", *words, "0", "--force")
    assert "note: the agreement of the prior with the observed slices is " in err

    text = "interpolate:missing=3:6,prior=hearts.safetensors,min-fit="
    told("chain", "in/a.nrrd", "chained.nrrd", f"{text}1", "threshold", code=3)
    assert Path("chained.nrrd").exists()
    out, err = told("batch", "in", "out", f"{text}1", "--workers", 1, "--json", code=3)
    files = json.loads(out)["files"]
    assert [(one["status"], one["not_reached"]) for one in files] == [("failed", True)] * 2
    assert "b.nrrd: the agreement of the prior" in err
    np.testing.assert_array_equal(sm.read("out/a.nrrd").array, wanted.image.array)


def test_the_summary_of_a_batch_has_the_figures_of_each_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    prior_file.save(prior(), Path("hearts.safetensors"))
    Path("in").mkdir()
    alone: dict[str, dict[str, Any]] = {}
    for name, seed, missing in (("b", 101, [3, 4]), ("c", 100, [*range(4), *range(5, 8)])):
        sm.write(blank(heart(seed), missing), f"in/{name}.nrrd")
        given = ("--missing", ",".join(map(str, missing)), "--prior", "hearts.safetensors", "--min-fit", 0)
        out, _ = told("interpolate", f"in/{name}.nrrd", "out.nrrd", *given, "--json", "--force")
        (step,) = json.loads(out)["steps"]
        alone[f"in/{name}.nrrd"] = step["interpolation"]
    text = "interpolate:prior=hearts.safetensors,min-fit={},missing={}"
    found = {}
    for name, words_of in (("b", "3:5"), ("c", "0:4,5:8")):
        # The fit of b alone is called poor.
        words = (text.format(int(name == "b"), words_of), "--glob", f"{name}.nrrd", "--workers", 1)
        screen, _ = told("batch", "in", f"out_{name}", *words, code=3 if name == "b" else 0)
        (one,) = json.loads(Path(f"out_{name}/summary.json").read_text())["files"]
        (row,) = csv.DictReader(Path(f"out_{name}/summary.csv").read_text().splitlines())
        wanted = alone[f"in/{name}.nrrd"]
        (fit,) = wanted["fits"]
        assert one["invented_slices"] == int(row["invented_slices"]) == len(wanted["missing"])
        assert one["prior_agreement"] == float(row["prior_agreement"]) == fit["agreement"]
        assert row["warning_texts"] == " | ".join(one["warnings"])
        assert ("the prior fits less than requested: in/b.nrrd" in screen) == (name == "b")
        lower = f"the prior is below the interpolation of logits on slices left out: in/{name}.nrrd" in screen
        found[name] = lower
        if fit["left_out"] is None:
            assert "left_out_prior" not in one
            assert row["left_out_prior"] == row["left_out_logit"] == ""
        else:
            for method in ("prior", "logit"):
                assert (
                    one[f"left_out_{method}"] == float(row[f"left_out_{method}"]) == fit["left_out"][method]
                )
            assert ("left out one at a time" in row["warning_texts"]) == lower
    # Of the single slice that c has, none can be left out; the untrained prior is poorer than interpolation.
    assert found == {"b": True, "c": False}


def test_figures_of_several_fits_are_the_poorest_and_the_means() -> None:
    fits: Any = [
        SimpleNamespace(agreement=0.9, left_out=LeftOut((1,), 0.5, 0.75)),
        SimpleNamespace(agreement=0.8, left_out=LeftOut((2,), 1.0, 0.25)),
        SimpleNamespace(agreement=0.95, left_out=None),
    ]
    assert figures(fits) == {"prior_agreement": 0.8, "left_out_prior": 0.75, "left_out_logit": 0.5}
    assert figures(fits[2:]) == {"prior_agreement": 0.95}
    assert figures([]) == {}
