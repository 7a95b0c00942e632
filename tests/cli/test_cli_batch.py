"""`softmorph batch`: a folder done, resumed, split, interrupted; whatever happens, no half file and clear words."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_cli import Ended, complaint, environment, everything, load, process, run, save

SIDE = 12
SHAPE = (SIDE,) * 3
GOOD = [f"case_{number}.nii.gz" for number in range(6)]
OURS = ("softmorph-manifest", "summary", ".softmorph-")


@pytest.fixture
def source(here: Path) -> Path:
    """Six good files."""
    (here / "in").mkdir()
    for number, name in enumerate(GOOD):
        save(here / "in" / name, blob(number))
    return here / "in"


def blob(seed: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    rng = np.random.default_rng(seed)
    middle = [rng.uniform(0.3, 0.7) * (size - 1) for size in shape]
    grid = np.meshgrid(*(np.arange(size) - m for size, m in zip(shape, middle, strict=True)), indexing="ij")
    apart = np.sqrt(sum(axis**2 for axis in grid))
    return (1 / (1 + np.exp(apart - min(shape) / 3))).astype(np.float32)


def break_one(source: Path, name: str = "broken.nii.gz") -> None:
    (source / name).write_bytes((source / GOOD[0]).read_bytes()[:200])


def results(folder: str | Path = "out") -> dict[str, bytes]:
    return {name: content for name, content in everything(Path(folder)).items() if not name.startswith(OURS)}


def written(folder: str | Path = "out") -> list[Path]:
    """Return the results by their names; pathlib's patterns match hidden files too."""
    return [path for path in Path(folder).glob("*.nii.gz") if not path.name.startswith(".")]


def times(folder: str | Path = "out") -> dict[str, int]:
    return {name: (Path(folder) / name).stat().st_mtime_ns for name in results(folder)}


def lines(folder: str | Path = "out") -> list[dict[str, Any]]:
    path = Path(folder) / "softmorph-manifest.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def counts(ended: Ended) -> dict[str, int]:
    return {name: count for name, count in ended.json["counts"].items() if count}


def batch(*arguments: object, code: int = 0) -> Ended:
    return run("batch", "in", "out", *arguments, code=code)


def test_six_good_files_beside_a_broken_one(source: Path) -> None:
    break_one(source)
    ended = batch("close:iterations=1", "dilate", code=1)
    assert set(results()) == set(GOOD)
    assert complaint(ended.err).startswith("in/broken.nii.gz is gzipped but cut short")
    assert ended.out.splitlines()[:4] == ["batch → out", "  done: 6", "  skipped: 0", "  failed: 1"]
    assert "failed: in/broken.nii.gz is gzipped" in ended.out
    assert {path.name for path in Path("out").iterdir()} == {
        *GOOD,
        "summary.csv",
        "summary.json",
        "softmorph-manifest.jsonl",
    }
    # The same numbers as one file by itself.
    run("chain", "in/case_0.nii.gz", "alone.nii.gz", "close:iterations=1", "dilate")
    assert np.array_equal(load("alone.nii.gz"), load("out/case_0.nii.gz"))


def test_the_summary(source: Path) -> None:
    break_one(source)
    save(source / "flat.tif", blob(9)[0], spacing=None)
    ended = batch("erode", "--json", code=1)
    assert json.loads(Path("out/summary.json").read_text()) == ended.json
    assert counts(ended) == {"done": 7, "failed": 1}
    with Path("out/summary.csv").open(newline="") as stream:
        rows = {row["input"]: row for row in csv.DictReader(stream)}
    assert list(rows) == ["in/broken.nii.gz", *(f"in/{name}" for name in GOOD), "in/flat.tif"]
    row = rows["in/case_0.nii.gz"]
    assert row["status"] == "done"
    assert row["output"] == "out/case_0.nii.gz"
    # 3 x 2 x 1.5 mm.
    assert float(row["expected_volume_mm3_before"]) == pytest.approx(9 * float(row["expected_voxels_before"]))
    assert float(row["expected_voxels_after"]) < float(row["expected_voxels_before"])
    assert int(row["voxels_above_half_before"]) == (load("in/case_0.nii.gz") > 0.5).sum()
    assert (row["components_above_half_before"], row["connectivity"]) == ("1", "26")
    assert float(row["seconds"]) > 0
    for when, name in (("before", "in/case_0.nii.gz"), ("after", "out/case_0.nii.gz")):
        found = run("stats", name, "--json").json["statistics"]
        assert float(row[f"std_volume_mm3_{when}"]) == found["volume_std"]
        for kind in ("independent", "comonotone"):
            assert float(row[f"std_{kind}_volume_mm3_{when}"]) == found[f"volume_std_{kind}"]
        for quantile, volume in found["volume_quantiles"].items():
            assert float(row[f"{quantile}_volume_mm3_{when}"]) == volume
            assert int(row[f"{quantile}_voxels_{when}"]) == round(volume / 9)
    flat = rows["in/flat.tif"]
    assert flat["expected_volume_mm3_before"] == flat["q05_volume_mm3_before"] == ""
    assert float(flat["std_comonotone_voxels_before"]) > float(flat["std_independent_voxels_before"]) > 0
    assert rows["in/broken.nii.gz"]["status"] == "failed"
    assert rows["in/broken.nii.gz"]["q05_voxels_before"] == ""
    assert "cut short" in rows["in/broken.nii.gz"]["error"]
    assert (
        batch("erode", "--resume", "--json", code=1).json["files"][1]["before"]
        == ended.json["files"][1]["before"]
    )


def test_mixed_shapes_types_and_formats(source: Path) -> None:
    save(source / "flat.png", (np.linspace(0, 1, 99).reshape(9, 11) * 65535).astype(np.uint16), spacing=None)
    save(source / "large.npy", blob(2, (5, 40, 7)))
    save(source / "four.tif", blob(3, (4, 9, 9)))
    ended = batch("dilate", "--suffix", "_d")
    assert set(results()) == {
        *(n.replace(".", "_d.", 1) for n in GOOD),
        "flat_d.png",
        "large_d.npy",
        "four_d.tif",
    }
    assert load("out/large_d.npy").shape == (5, 40, 7)
    assert "done: 9" in ended.out


def test_resume_redoes_exactly_what_is_missing_or_changed(source: Path) -> None:
    break_one(source)
    batch("erode", code=1)
    first = times()
    Path("out/case_3.nii.gz").unlink()
    assert counts(batch("erode", "--resume", "--json", code=1)) == {"done": 1, "skipped": 5, "failed": 1}
    second = times()
    assert {name for name in GOOD if first[name] != second[name]} == {"case_3.nii.gz"}
    save(source / "case_1.nii.gz", blob(77))
    (source / "broken.nii.gz").unlink()
    assert counts(batch("erode", "--resume", "--json")) == {"done": 1, "skipped": 5}
    assert {name for name in GOOD if second[name] != times()[name]} == {"case_1.nii.gz"}
    # Other parameters: all of them, but not unasked.
    before = everything(Path("out"))
    sentence = complaint(batch("erode", "--method", "product", "--resume", code=1).err)
    assert "6 results were made with other parameters; add --force beside --resume" in sentence
    assert everything(Path("out")) == before
    assert counts(batch("erode", "--method", "product", "--resume", "--force", "--json")) == {"done": 6}
    # The same ones, said otherwise: none.
    assert counts(batch("erode:method=product", "--resume", "--json")) == {"skipped": 6}
    assert counts(batch("erode:method=product", "--resume", "--threads", "2", "--json")) == {"skipped": 6}
    assert counts(batch("erode:method=product", "--force", "--json")) == {"done": 6}


def test_what_was_there_before_is_refused_before_anything_is_computed(source: Path) -> None:
    Path("out").mkdir()
    save("out/case_2.nii.gz", blob(5))
    before = everything()
    for more in ([], ["--resume"], ["--dry-run"]):
        sentence = complaint(batch("erode", *more, code=1).err)
        assert sentence.startswith("out/case_2.nii.gz: 1 file that no batch in out is known to have made")
        assert "--force" in sentence
        assert everything() == before
    assert counts(batch("erode", "--force", "--json")) == {"done": 6}
    sentence = complaint(batch("erode", code=1).err)
    assert sentence.startswith(
        "out/case_0.nii.gz, out/case_1.nii.gz, out/case_2.nii.gz and 3 more: 6 results are"
    )
    assert "--resume" in sentence
    assert "--force" in sentence


def test_a_summary_of_somebody_else(source: Path) -> None:
    Path("out").mkdir()
    Path("out/summary.csv").write_text("mine")
    assert complaint(batch("erode", code=1).err).startswith("out/summary.csv exists already")
    assert Path("out/summary.csv").read_text() == "mine"
    assert [path.name for path in Path("out").iterdir()] == ["summary.csv"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["in", "out", "eroed"], 2, "there is no operation 'eroed'; use skeletonize, erode"),
        (["in", "out", "erode:iteration=2"], 2, "it takes connectivity, iterations"),
        (["in", "out"], 2, "a chain needs a step"),
        (["in", "in", "erode"], 2, "is the folder that is read"),
        (["in", "in/out", "erode"], 2, "would become inputs"),
        (["none", "out", "erode"], 1, "none does not exist"),
        (["in/case_0.nii.gz", "out", "erode"], 1, "softmorph chain"),
        (["in", "out", "erode", "--glob", "*.tif"], 1, "none of 6 files matches"),
        (["in", "out", "erode", "--output-type", "int8"], 2, "--output-type int8"),
        (["in", "out", "erode", "--suffix", ".jpg"], 2, "no such format"),
        (["in", "out", "erode", "--num-parts", "3"], 2, "go together"),
        (["in", "out", "erode", "--num-parts", "3", "--part-id", "3"], 2, "counted from 0"),
        (["in", "out", "erode", "--summarize"], 1, "holds no manifest"),
        (["in", "out", "erode", "--scheduler", "a:1", "--local-cluster"], 2, "choose one of them"),
        (["in", "out", "erode", "--scheduler", "a:1", "--workers", "2"], 2, "with --scheduler leave it out"),
        (["in", "out", "erode", "--scheduler", "node 7"], 2, "--scheduler node 7: that is no address"),
        (["in", "out/deep", "erode"], 1, "mkdir -p out"),
    ],
)
def test_refused_with_clear_words_and_nothing_written(
    source: Path, arguments: list[str], code: int, says: str
) -> None:
    before = everything()
    ended = run("batch", *arguments, code=code)
    assert says in complaint(ended.err)
    assert ended.out == ""
    assert everything() == before


def test_a_call_that_is_wrong_for_every_file_is_said_once(source: Path) -> None:
    assert "--region" in complaint(batch("erode", "--region", "1:x", code=2).err)
    assert results() == {}
    assert counts(batch("erode", "--json")) == {"done": 6}


def test_workers_below_one(source: Path) -> None:
    assert "--workers 0" in complaint(batch("erode", "--workers", "0", code=2).err)


def test_dask_is_missing(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert "pip install 'softmorph-cli[cluster]'" in complaint(batch("erode", "--local-cluster", code=1).err)
    assert results() == {}


def test_two_inputs_one_output(source: Path) -> None:
    save(source / "case_0.npy", blob(1))
    before = everything()
    sentence = complaint(batch("erode", "--suffix", ".tif", code=2).err)
    assert sentence.startswith("in/case_0.nii.gz and in/case_0.npy would both become out/case_0.tif")
    assert everything() == before


def test_dry_run_writes_nothing(source: Path) -> None:
    before = everything()
    ended = batch("erode", "--dry-run")
    assert ended.out.splitlines()[0] == "new  in/case_0.nii.gz → out/case_0.nii.gz"
    assert "6 new, 0 redo, 0 skip; nothing was written." in ended.err
    assert everything() == before
    batch("erode")
    Path("out/case_0.nii.gz").unlink()
    before = everything()
    told = batch("erode", "--dry-run", "--resume", "--json").json["files"]
    assert [(one["action"], one["why"]) for one in told[:2]] == [
        ("redo", "output missing"),
        ("skip", "done already"),
    ]
    assert everything() == before


def test_recursive_with_a_suffix(source: Path) -> None:
    (source / "a" / "b").mkdir(parents=True)
    shutil.copy(source / GOOD[0], source / "a" / "b" / "deep.nii.gz")
    batch("erode", "--recursive", "--suffix", "_e.tif", "--glob", "*e*")
    assert set(results()) == {*(f"case_{n}_e.tif" for n in range(6)), "a/b/deep_e.tif"}
    assert "in/a/b/deep.nii.gz" in Path("out/summary.csv").read_text()


def test_fail_fast(source: Path) -> None:
    break_one(source, "a.nii.gz")
    ended = batch("erode", "--fail-fast", "--workers", "1", "--json", code=1)
    assert counts(ended) == {"failed": 1, "not run": 6}
    assert results() == {}


def test_quiet_and_verbose(source: Path) -> None:
    ended = batch("erode", "--quiet")
    assert (ended.out, ended.err) == ("", "")
    break_one(source)
    ended = batch("erode", "--verbose", "--force", code=1)
    assert "Traceback" in ended.err
    assert "in/case_0.nii.gz → out/case_0.nii.gz in" in ended.err


def test_a_warning_that_all_files_share_is_said_once(source: Path) -> None:
    ended = batch("dilate", "--suffix", ".tif")
    said = [line for line in ended.err.splitlines() if "orientation" in line]
    assert len(said) == 2
    assert "5 more files" in said[1]


def test_parts_and_their_summary(source: Path) -> None:
    break_one(source)
    parts = ["--num-parts", "3"]
    batch("erode", *parts, "--part-id", "0", code=1)
    batch("erode", *parts, "--part-id", "1")
    assert len(results()) == 4
    assert Path("out/softmorph-manifest-1-of-3.jsonl").exists()
    assert "in/case_0.nii.gz" in Path("out/summary-1-of-3.csv").read_text()
    assert not Path("out/summary.csv").exists()
    ended = batch("erode", "--summarize", "--json", code=1)
    assert counts(ended) == {"done": 4, "failed": 1, "not run": 2}
    (source / "broken.nii.gz").unlink()
    save(source / "broken.nii.gz", blob(8))
    # What other parts did counts, however the folder is split.
    assert counts(batch("erode", "--resume", "--json")) == {"done": 3, "skipped": 4}
    assert counts(batch("erode", "--summarize", "--json")) == {"done": 7}
    assert len(Path("out/summary.csv").read_text().splitlines()) == 8


def test_network_outputs(source: Path) -> None:
    for path in source.iterdir():
        path.unlink()
    for name in ("one", "two"):
        front = blob(3)
        chances = np.stack([1 - front, front])
        np.savez(source / f"{name}.npz", probabilities=chances)
        save(source / f"{name}.nii.gz", chances.argmax(0).astype(np.uint8))
    (source / "one.pkl").write_bytes(b"\x80\x04.")
    (source / "dataset.json").write_text(
        '{"labels": {"background": 0, "vessel": 1}, "file_ending": ".nii.gz"}'
    )
    assert counts(batch("dilate", "--channel", "vessel", "--json")) == {"done": 2}
    assert set(results()) == {"one.nii.gz", "two.nii.gz"}


# From here on in real processes, which are watched and killed.


@contextmanager
def watched(folder: str = "out") -> Iterator[list[str]]:
    """Look at every file in the folder, again and again; yields what was found half-written."""
    wrong: list[str] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            for path in written(folder):
                try:
                    if load(path).shape != SHAPE:
                        wrong.append(path.name)
                except FileNotFoundError:
                    pass
                except Exception as error:
                    wrong.append(f"{path.name}: {error!r}")
            time.sleep(0.002)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield wrong
    finally:
        ended.set()
        thread.join()


@contextmanager
def begun(*arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    """A batch in a process of its own; killed at the end, if need be."""
    command = [sys.executable, "-m", "softmorph_cli", "batch", *map(str, arguments)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def until(condition: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def workers(pid: int) -> list[int]:
    """Return the processes of a batch that do its work, whichever of its threads started them."""
    listed = [
        child for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()
    ]
    return [
        int(child)
        for child in listed
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]  # fmt: skip


@pytest.fixture
def many(source: Path) -> list[str]:
    """So many files that they take a second or two."""
    names = [f"more_{number:02d}.nii.gz" for number in range(24)]
    for number, name in enumerate(names):
        save(source / name, blob(100 + number))
    return [*GOOD, *names]


# Long for so small a map.
SLOW = "dilate:iterations=4000"


@pytest.mark.linux
def test_killed_half_way_and_resumed(source: Path, many: list[str]) -> None:
    run("batch", "in", "undisturbed", SLOW)
    with watched() as wrong:
        with begun("in", "out", SLOW) as running:
            until(lambda: len(written()) >= 4)
            children = workers(running.pid)
            running.send_signal(signal.SIGKILL)
            running.wait(10)
        assert children
        until(lambda: not any(map(alive, children)), 10)
        assert 4 <= len(results()) < len(many)
        ended = process("batch", "in", "out", SLOW, "--resume", "--json")
        assert ended.code == 0, ended.err
        assert ended.json["counts"]["skipped"] >= 2
        assert ended.json["counts"]["done"] + ended.json["counts"]["skipped"] == len(many)
    assert wrong == []
    assert results() == results("undisturbed")
    assert not [path.name for path in Path("out").iterdir() if path.name.startswith(".")]


@pytest.mark.linux
@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_interrupted(source: Path, many: list[str], number: int, code: int, word: str) -> None:
    with watched() as wrong:
        with begun("in", "out", SLOW) as running:
            until(lambda: len(written()) >= 2)
            children = workers(running.pid)
            running.send_signal(number)
            out, err = running.communicate(timeout=10)
        assert running.returncode == code
        assert out == b""
        assert word in complaint(err.decode())
        assert not any(map(alive, children))
        assert not [path.name for path in Path("out").iterdir() if path.name.startswith(".")]
        assert all(line["state"] in ("batch", "begun", "done") for line in lines())
        finished = {line["output"] for line in lines() if line["state"] == "done"}
        assert finished <= set(results())
        ended = process("batch", "in", "out", SLOW, "--resume", "--json")
        assert ended.json["counts"]["skipped"] == len(finished)
    assert wrong == []
    assert set(results()) == set(many)


@pytest.mark.linux
@pytest.mark.parametrize("options", [[], ["--local-cluster", "--workers", "2"]])
def test_ctrl_c_reaches_a_whole_terminal(source: Path, many: list[str], options: list[str]) -> None:
    """The terminal sends it to the workers too: one sentence all the same, and the bar is gone."""
    import pty

    terminal, other_end = pty.openpty()
    command = [sys.executable, "-m", "softmorph_cli", "batch", "in", "out", SLOW, *options]
    Path("tmp").mkdir()
    running = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=other_end,
        start_new_session=True,
        env=environment({"TMPDIR": str(Path("tmp").absolute())}),
    )
    os.close(other_end)
    shown = bytearray()

    def read() -> None:
        while True:
            try:
                part = os.read(terminal, 4096)
            except OSError:
                return
            shown.extend(part)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        until(lambda: b" of 30 files" in shown and written())
        children = workers(running.pid)
        os.killpg(running.pid, signal.SIGINT)
        running.wait(10)
    finally:
        running.kill()
        running.wait()
        reader.join(10)
        os.close(terminal)
        assert running.stdout is not None
        running.stdout.close()
    assert running.returncode == 130
    words = shown.decode()
    assert "Traceback" not in words
    assert words.count("error:") == 1
    assert words.rfind("\x1b[?25h") >= words.rfind("\x1b[?25l")
    assert children
    assert not any(map(alive, children))
    assert not list(Path("tmp").iterdir())
    assert not [path.name for path in Path("out").iterdir() if path.name.startswith(".")]


@pytest.mark.linux
def test_a_worker_is_killed(source: Path, many: list[str]) -> None:
    with begun("in", "out", SLOW, "--workers", "2", "--json") as running:
        until(lambda: len(written()) >= 2)
        os.kill(workers(running.pid)[0], signal.SIGKILL)
        out, err = running.communicate(timeout=60)
    assert running.returncode == 1
    found = json.loads(out)
    failed = [one for one in found["files"] if one["status"] == "failed"]
    assert len(failed) == 1
    assert "was killed (SIGKILL)" in failed[0]["error"]
    assert "use fewer --workers, or cut out a part with --region." in failed[0]["error"]
    assert failed[0]["input"] in complaint(err.decode())
    assert found["counts"]["done"] == len(many) - 1
    run("chain", failed[0]["input"], "part.nii.gz", "erode", "--region", "0:4,:,:")
    ended = process("batch", "in", "out", SLOW, "--workers", "1", "--resume", "--json")
    assert counts(ended) == {"done": 1, "skipped": len(many) - 1}


@pytest.mark.linux
def test_a_worker_of_a_cluster_is_killed(source: Path) -> None:
    """Nothing is lost, and nothing is said: that is what a cluster is for."""
    with (
        watched() as wrong,
        begun("in", "out", SLOW, "--local-cluster", "--workers", "2", "--json", "--quiet") as running,
    ):
        until(written)
        os.kill(workers(running.pid)[0], signal.SIGKILL)
        out, err = running.communicate(timeout=60)
    assert running.returncode == 0
    # What was compiled by the way is all there may be.
    assert [line for line in err.decode().splitlines() if not line.startswith("compiling ")] == []
    assert json.loads(out)["counts"]["done"] == len(GOOD)
    assert wrong == []
    assert set(results()) == set(GOOD)
    assert not [path.name for path in Path("out").iterdir() if path.name.startswith(".")]


def test_two_at_once(source: Path, many: list[str]) -> None:
    with begun("in", "out", SLOW) as running:
        until(lambda: written())
        sentence = complaint(batch(SLOW, "--resume", code=1).err)
        assert sentence.startswith(f"another batch (process {running.pid} on ")
        assert "writing to out" in sentence
        running.communicate(timeout=60)
    assert running.returncode == 0
    assert set(results()) == set(many)


@pytest.mark.linux
def test_the_output_folder_is_full(source: Path, many: list[str]) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    Path("out").mkdir()
    small = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", "out"]
    if subprocess.run(small, capture_output=True, check=False).returncode:
        pytest.skip("no file system may be mounted here")
    try:
        for name in many:
            noise = np.random.default_rng(len(name)).random(SHAPE, dtype=np.float32)
            save(source / name, noise)
        ended = process("batch", "in", "out", "dilate")
        assert ended.code == 1
        assert "Traceback" not in ended.err
        last = ended.err.splitlines()[-1]
        assert "No space left" in last or "disk is full" in last
        assert "--resume" in ended.err
        whole = written()
        assert whole
        assert all(load(path).shape == SHAPE for path in whole)
        assert not [path.name for path in Path("out").iterdir() if path.name.startswith(".")]
        subprocess.run(["mount", "-o", "remount,size=8m", "out"], check=True)
        ended = process("batch", "in", "out", "dilate", "--resume", "--json")
        assert ended.code == 0, ended.err
        assert sum(counts(ended).values()) == len(many)
    finally:
        subprocess.run(["umount", "out"], check=False)


def test_bars_of_workers_that_come_later() -> None:
    from softmorph_cli.cli.batch_progress import _Bars
    from softmorph_cli.pipeline.batch.engine import WorkerStatus

    bars = _Bars(files=9, workers=1)
    try:
        for number in (0, 2, 1):
            bars.sign(WorkerStatus(number, f"case_{number}.npy"))
        shown = [task.description for task in bars.bar.tasks if task.visible]
    finally:
        bars.close()
    assert shown == ["0 of 9 files", "case_0.npy", "case_1.npy", "case_2.npy"]
