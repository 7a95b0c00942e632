"""softmorph topology: numbers as they are counted, repairs with a certificate read from the file."""

from __future__ import annotations

import shlex
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_cli import complaint, everything, load, nibabel, process, refused, run, save, script
from helpers_priors import softmax
from helpers_topology import broken_ring, vessels

from softmorph_cli.io.reading import read
from softmorph_cli.topology.betti import betti_numbers
from softmorph_cli.volume import Volume

# Repair.


def test_a_ring_is_repaired_and_certified() -> None:
    p = broken_ring()
    save("ring.nii.gz", p)
    ended = run(
        *("topology", "repair", "ring.nii.gz", "one.nii.gz", "--betti", "1,1"),
        *("--json-file", "one.json", "--preview", "one.png", "--json"),
    )
    told = ended.json
    q = load("one.nii.gz").reshape(p.shape)
    assert betti_numbers(q > 0.5).numbers == (1, 1)
    (certificate,) = told["certificate"]["priors"]
    assert certificate["whole_map"] == {"before": [2, 0], "after": [1, 1]}
    assert told["reached"]
    assert told["change"]["voxels_flipped"] == [int(((q > 0.5) != (p > 0.5)).sum())]
    assert 0 < told["change"]["voxels_flipped"][0] < 200
    assert told["change"]["max_abs"] == pytest.approx(float(np.abs(q - p).max()))
    assert 0 <= q.min() <= q.max() <= 1
    before, after = (nibabel.load(name) for name in ("ring.nii.gz", "one.nii.gz"))
    np.testing.assert_array_equal(before.affine, after.affine)
    assert before.header.get_zooms() == after.header.get_zooms()
    assert "whole map (b0 b1): before 2 0, in the file 1 1, prior 1 1" in ended.err
    assert read("one.nii.gz").source.provenance["command"] == "softmorph topology repair"  # type: ignore[union-attr]
    assert Path("one.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("target", "kind"),
    [("o.png", None), ("o.png", "uint8"), ("o.tif", "uint8"), ("o.npy", "uint8"), ("o.nrrd", "float32"),
     ("o.npy", "float16"), ("o.mha", "uint16"), ("o.zarr", None)],
)  # fmt: skip
def test_the_certificate_is_of_what_the_file_holds(target: str, kind: str | None) -> None:
    save("ring.npy", broken_ring(noise=2.0))
    options = ["--output-type", kind] if kind else []
    # A level that rounding to 256 steps moves across.
    ended = run(
        *("topology", "repair", "ring.npy", target, "--betti", "1,1", "--threshold", 0.351, "--json"),
        *options,
    )
    (certificate,) = ended.json["certificate"]["priors"]
    assert certificate["whole_map"]["after"] == [1, 1]
    back = read(target, divide_by=255 if (target, kind) == ("o.npy", "uint8") else None).array
    assert betti_numbers(back.reshape(72, 72) > 0.351).numbers == (1, 1)


def test_a_region_changes_alone_and_the_whole_map_is_counted_too() -> None:
    p = vessels(32)
    save("v.nii.gz", p)
    ended = run(
        *("topology", "repair", "v.nii.gz", "o.nii.gz", "--betti", "1,0,0", "--json"),
        *("--region", "20:30,4:14,7:19"),
    )
    (certificate,) = ended.json["certificate"]["priors"]
    assert certificate["region"] == {"before": [2, 0, 0], "after": [1, 0, 0]}
    assert certificate["whole_map"] == {"before": [3, 0, 0], "after": [2, 0, 0]}
    q = load("o.nii.gz")
    box = np.zeros(p.shape, bool)
    box[20:30, 4:14, 7:19] = True
    np.testing.assert_array_equal(q[~box], p[~box])
    assert "whole map (b0 b1 b2): before 3 0 0, in the file 2 0 0, prior any" in ended.err


def test_a_prior_that_is_not_reached_ends_with_3_and_the_best_map() -> None:
    y, x = np.mgrid[:30, :30] - 14
    save("blob.nii.gz", np.exp(-(y**2 + x**2) / 40).astype(np.float32))
    ended = run("topology", "repair", "blob.nii.gz", "o.nii.gz", "--betti", "4,0", "--json", code=3)
    assert "4,0 was not reached, the best has 1,0 and is in o.nii.gz" in ended.err.replace("\n", " ")
    assert not ended.json["reached"]
    assert ended.json["stop_reason"] == "stuck"
    np.testing.assert_array_equal(load("o.nii.gz"), load("blob.nii.gz"))
    save("ring.nii.gz", broken_ring())
    steps = ("--max-steps", 1, "--smooth", "0.5vox")
    ended = run("topology", "repair", "ring.nii.gz", "r.nii.gz", "--betti", "1,1", *steps, code=3)
    assert "--max-steps" in complaint(
        "\n".join(line for line in ended.err.splitlines() if line.startswith("error"))
    )
    assert Path("r.nii.gz").exists()


def test_one_piece_with_any_number_of_loops() -> None:
    p = broken_ring()
    save("ring.nii.gz", p)
    ended = run("topology", "repair", "ring.nii.gz", "o.nii.gz", "--betti", "1,any", "--json")
    assert ended.json["reached"]
    (certificate,) = ended.json["certificate"]["priors"]
    assert certificate["betti"] == [1, None]
    assert certificate["whole_map"]["after"][0] == 1
    assert betti_numbers(load("o.nii.gz").reshape(p.shape) > 0.5).b0 == 1
    assert "prior 1 any" in ended.err
    assert run("info", "o.nii.gz", "--json").json
    Path("any.toml").write_text('[[prior]]\nchannels = [0]\nbetti = [1, "any"]\n', encoding="utf-8")
    again = run("topology", "repair", "ring.nii.gz", "p.nii.gz", "--priors", "any.toml", "--json")
    assert again.json["certificate"]["priors"] == [certificate]
    np.testing.assert_array_equal(load("p.nii.gz"), load("o.nii.gz"))


def test_classes_with_priors_for_each_and_for_their_union() -> None:
    p = softmax()
    Path("priors.toml").write_text(
        "[[prior]]\nchannels = [1]\nbetti = [1, 0, 0]\n\n[[prior]]\nchannels = [1, 2]\nbetti = [2, 0, 0]\n",
        encoding="utf-8",
    )
    ended = run("topology", "repair", "softmax.nii.gz", "o.nii.gz", "--priors", "priors.toml", "--json")
    assert ended.json["parameters"]["channels_are"] == "complete"
    first, second = ended.json["certificate"]["priors"]
    assert first["whole_map"] == {"before": [2, 0, 0], "after": [1, 0, 0]}
    assert second["whole_map"]["after"] == [2, 0, 0]
    q = read("o.nii.gz").array
    assert q.shape == p.shape
    np.testing.assert_allclose(q.sum(axis=0), 1, atol=1e-5)
    assert betti_numbers(q[1] > 0.5).numbers == (1, 0, 0)


def test_which_of_several_priors_is_not_reached() -> None:
    softmax()
    tables = [
        f"[[prior]]\nchannels = {c}\nbetti = {b}\n" for c, b in (("[1]", "[1, 0, 0]"), ("[2]", "[0, 0, 1]"))
    ]
    Path("priors.toml").write_text("\n".join(tables), encoding="utf-8")
    ended = run("topology", "repair", "softmax.nii.gz", "o.nii.gz", "--priors", "priors.toml", code=3)
    assert "the prior 0,0,1 of channel 2 was not reached" in ended.err.replace("\n", " ")


def test_the_preview_shows_the_class_that_is_repaired(monkeypatch: pytest.MonkeyPatch) -> None:
    p = softmax()
    text = "[[prior]]\nchannels = [2]\nbetti = [1, 0, 0]\n"
    Path("priors.toml").write_text(text, encoding="utf-8")
    shown: list[Any] = []

    def preview(before: Volume, after: Volume, path: Path, **words: Any) -> None:
        shown.extend((before.array, after.array, words["subtitle"]))

    monkeypatch.setattr("softmorph_cli.plots.preview.preview", preview)
    run("topology", "repair", "softmax.nii.gz", "o.nii.gz", "--priors", "priors.toml", "--preview", "o.png")
    before, after, words = shown
    np.testing.assert_array_equal(before, p[2])
    assert betti_numbers(after > 0.5).numbers == (1, 0, 0)
    assert words == "channel 2: prior 1,0,0; shown is channel 2"


def test_one_channel_of_several() -> None:
    softmax()
    run("topology", "repair", "softmax.nii.gz", "o.nii.gz", "--betti", "1,0,0", "--channel", 2)
    assert betti_numbers(read("o.nii.gz").array.reshape(6, 12, 20) > 0.5).numbers == (1, 0, 0)


def test_a_length_in_millimetres() -> None:
    save("v.nii.gz", vessels(32)[::2], (2.0, 1.0, 1.0))
    told = run(
        *("topology", "repair", "v.nii.gz", "o.nii.gz", "--betti", "1,0,0", "--smooth", "1mm", "--json")
    ).json
    assert told["parameters"]["smooth_voxels"] == [0.5, 1.0, 1.0]
    assert told["output"]["spacing"] == [2.0, 1.0, 1.0]
    before, after = (nibabel.load(name) for name in ("v.nii.gz", "o.nii.gz"))
    np.testing.assert_array_equal(before.affine, after.affine)
    q = load("o.nii.gz")
    assert 0 <= q.min() <= q.max() <= 1
    save("bare.npy", broken_ring())
    refused(
        *("topology", "repair", "bare.npy", "o.npy", "--betti", "1,1", "--smooth", "1mm"),
        says="--smooth 1vox",
    )


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        ([], 2, "--betti"),
        (["--betti", "1,0"], 1, "3 (b0,b1,b2)"),
        (["--betti", "1,0,x"], 2, "integers"),
        (["--betti", "1,0,-1"], 2, "negative"),
        (["--betti", "any,any,any"], 1, "asks for nothing"),
        (["--betti", "1"], 2, "1,0,0"),
        (["--betti", "1,0,0,0"], 2, "1,0,0"),
        (["--betti", "1,0,0", "--priors", "p.toml"], 2, "--priors"),
        (["--priors", "none.toml"], 1, "none.toml"),
        (["--betti", "1,0,0", "--lambda", "-1"], 2, "--lambda"),
        (["--betti", "1,0,0", "--max-steps", "-1"], 2, "--max-steps"),
        (["--betti", "1,0,0", "--smooth", "2"], 2, "--smooth"),
        (["--betti", "1,0,0", "--region", "0:4"], 1, "--region"),
        (["--betti", "1,0,0", "--threshold", "1"], 2, "below 1"),
        (["--betti", "1,0,0", "--threshold", "0"], 1, "between 0.0001 and 0.9999"),
        (["--betti", "1,0,0", "--connectivity", "18"], 2, "26 or 6 in 3D"),
        (["--betti", "1,0,0", "--connectivity", "4"], 1, "26 (background 6)"),
        (["--betti", "1,0,0", "--smooth", "1e9vox"], 1, "--smooth"),
        (["--betti", "1,0,0", "--region", "90:95,:,:"], 1, "--region"),
        (["--betti", "1,0,0", "--output-type", "int8"], 2, "int8"),
        (["--betti", "1,0,0", "--json-file", "v.nii.gz"], 1, "v.nii.gz"),
    ],
)
def test_what_cannot_be_repaired(options: list[object], code: int, says: str) -> None:
    save("v.nii.gz", vessels(16))
    refused("topology", "repair", "v.nii.gz", "o.nii.gz", *options, code=code, says=says)


def test_maps_that_cannot_be_repaired() -> None:
    save("zero.nii.gz", np.zeros((4, 5, 6), np.float32))
    refused("topology", "repair", "zero.nii.gz", "o.nii.gz", "--betti", "1,0,0", says="0 everywhere")
    softmax()
    says = ("3 channels", "--channel 1 or 2", "--priors")
    refused("topology", "repair", "softmax.nii.gz", "o.nii.gz", "--betti", "1,0,0", says=says)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[[prior]]\nchannels = ["artery"]\nbetti = [1, 0, 0]', "'artery': use the numbers 0 to 2"),
        ("[[prior]]\nchannels = [1]", "betti = [1, 0, 0]"),
        ("[prior]\nchannels = [1]\nbetti = [1, 0, 0]", "tables [[prior]]"),
        ("[[prior]]\nchannels = [1]\nbetti = '1,0,0'", "no list of integers"),
        ("[[prior]]\nchannels = [0, 1, 2]\nbetti = [1, 0, 0]", "everywhere"),
        ("channels = [1", "no TOML"),
        ("", "tables [[prior]]"),
    ],
)
def test_a_file_of_priors_that_does_not_fit(text: str, says: str) -> None:
    softmax()
    Path("p.toml").write_text(text, encoding="utf-8")
    refused("topology", "repair", "softmax.nii.gz", "o.nii.gz", "--priors", "p.toml", says=says)


def test_memory_that_does_not_suffice_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    save("v.nii.gz", vessels(16))
    monkeypatch.setattr("softmorph_cli.topology.persistence.memory", lambda: 100_000)
    says = ("may be used", "--region", "--no-bars")
    refused("topology", "numbers", "v.nii.gz", says=says)
    run("topology", "numbers", "v.nii.gz", "--no-bars")


@pytest.mark.parametrize("name", ["numbers", "repair", "simplify"])
def test_each_help_has_a_sentence_and_two_examples(name: str) -> None:
    shown = run("topology", name, "--help").out
    assert shown.count(f"softmorph topology {name} ") >= 2


def test_the_examples_of_help_work() -> None:
    from softmorph_cli.cli.topology import _COMMANDS

    save("vessels.nii.gz", vessels(16))  # of smaller ones simplify leaves short loops, with exit status 3
    save("softmax.nii.gz", vessels(12))
    save("roads.png", (255 * broken_ring()).astype(np.uint8))
    Path("priors.toml").write_text("[[prior]]\nchannels = [0]\nbetti = [1, 0, 0]\n")
    for name, _, *examples in _COMMANDS:
        for example in examples:
            words = shlex.split(example.split(" > ")[0])
            assert words[:3] == ["softmorph", "topology", name]
            run(*words[1:])


LONG = """
import os, signal, sys, threading, time
from softmorph_cli.__main__ import main
from softmorph_cli.topology import persistence

def forever(*_, **__):
    threading.Timer(0.2, os.kill, (os.getpid(), signal.{signal})).start()
    time.sleep(60)

persistence._pairs = forever
sys.argv = ["softmorph", "topology", *sys.argv[1:]]
main()
"""


@pytest.mark.posix
@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
@pytest.mark.parametrize(
    "command",
    [("numbers", "v.nii.gz", "--plot", "o.png", "--json-file", "o.json"),
     ("repair", "v.nii.gz", "o.nii.gz", "--betti", "1,0,0", "--preview", "o.png")],
)  # fmt: skip
def test_while_bars_are_computed(command: tuple[str, ...], name: str, status: int) -> None:
    z, y, x = np.indices((16, 16, 16)) - 7.5
    save("v.nii.gz", (1 / (1 + np.exp(np.hypot(np.hypot(y, x) - 5, z) - 1.5))).astype(np.float32))
    before = everything()
    ended = script(LONG.format(signal=name), *command)
    assert ended.code == status, ended.err
    assert complaint(ended.err).startswith("interrupted" if name == "SIGINT" else "terminated")
    assert everything() == before


IGNORED = """
import os, signal, sys, threading
from softmorph_cli.__main__ import main
from softmorph_cli.topology import persistence

real, calls = persistence._pairs, []

def interrupted(*arguments, **more):
    # Before, during and after the one long call.
    calls.append(threading.get_ident())
    os.kill(os.getpid(), signal.SIGINT)
    timers = [threading.Timer(0.001 * k, os.kill, (os.getpid(), signal.SIGINT)) for k in range(20)]
    for timer in timers:
        timer.start()
    found = real(*arguments, **more)
    for timer in timers:
        timer.join()
    os.kill(os.getpid(), signal.SIGINT)
    return found

persistence._pairs = interrupted
sys.argv = ["softmorph", "topology", *sys.argv[1:]]
try:
    main()
finally:
    assert calls
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
"""


@pytest.mark.posix
@pytest.mark.parametrize(
    "command", [("numbers", "v.npy", "--json"), ("repair", "v.npy", "{}.npy", "--betti", "1,1,0")]
)
def test_a_signal_that_is_ignored_changes_nothing(command: tuple[str, ...]) -> None:
    z, y, x = np.indices((16, 16, 16)) - 7.5
    ring = 1 / (1 + np.exp(np.hypot(np.hypot(y, x) - 5, z) - 1.5))
    save("v.npy", (ring * np.random.default_rng(0).random(ring.shape)).astype(np.float32))
    wanted = run("topology", *(word.format("wanted") for word in command))
    ended = script(
        IGNORED,
        *(word.format("got") for word in command),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    assert ended.code == 0, ended.err
    if "repair" in command:
        np.testing.assert_array_equal(load("got.npy"), load("wanted.npy"))
    else:
        assert {**ended.json, "seconds": {}} == {**wanted.json, "seconds": {}}


MEASURED = """
import resource, subprocess, sys
ended = subprocess.run([sys.executable, "-m", "softmorph_cli", "topology", *sys.argv[1:]])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
sys.exit(ended.returncode)
"""


@pytest.mark.posix
@pytest.mark.heavy
@pytest.mark.parametrize("region", [(), ("--region", "60:90,10:40,23:53")])
def test_a_tree_of_96_voxels_takes_less_than_minutes_and_a_gigabyte(region: tuple[str, ...]) -> None:
    p = vessels(96, radius=3.0)
    save("v.nii.gz", p)
    asked = ("repair", "v.nii.gz", "o.nii.gz", "--betti", "1,0,0", "--quiet")
    ended = script(MEASURED, *asked, *region)  # 120 s at most
    assert ended.code == 0, ended.err
    assert int(ended.out) < 1e9
    q = load("o.nii.gz")
    assert ((p > 0.5) != (q > 0.5)).sum() < 100
    cut = q[60:90, 10:40, 23:53] if region else q
    assert betti_numbers(cut > 0.5).numbers == (1, 0, 0)


def test_in_a_process_of_its_own() -> None:
    save("ring.nii.gz", broken_ring())
    ended = process("topology", "repair", "ring.nii.gz", "o.nii.gz", "--betti", "1,1", "--quiet")
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    ended = process("topology")
    assert "numbers" in ended.out + ended.err
