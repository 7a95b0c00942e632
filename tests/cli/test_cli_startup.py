"""Start-up stays light, and every command explains itself."""

from __future__ import annotations

import pkgutil
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from helpers_cli import ESCAPE, IMPORTED, SPACING, process, random_map, run, save, script

import softmorph_cli
from softmorph_cli.cli.app import app
from softmorph_cli.filters.method import METHODS
from softmorph_cli.filters.operations import OPERATIONS
from softmorph_cli.filters.skeleton import PRESETS

HEAVY = (
    "torch",
    "numba",
    "nibabel",
    "SimpleITK",
    "tifffile",
    "matplotlib",
    "scipy",
    "numpy",
    "dd",
    "dask",
    "distributed",
)
FILE_LIBRARIES = {"nibabel", "SimpleITK", "tifffile"}
COMPILER = {"dd", "softmorph_cli.compiler.diagram", "softmorph_cli.compiler.lowering"}
# All that draws; the options of pictures are declared beside it, and are those of every filter.
DRAWING = {
    f"softmorph_cli.plots.{one.name}"
    for one in pkgutil.iter_modules([str(Path(softmorph_cli.__file__).parent / "plots")])
} - {"softmorph_cli.plots.options"}
# What no run over a small file needs once its kernel is cached.
UNUSED = COMPILER | DRAWING | {
    "torch", "triton", "matplotlib", "PIL", "rich", "scipy.sparse",
    "softmorph_cli.kernels.torch_eager", "softmorph_cli.filters.modules",
}  # fmt: skip
COMMANDS = {
    *OPERATIONS, "chain", "batch", "inspect", "stats", "evaluate", "rules", "info", "bench", "topology", "prior",
}  # fmt: skip
GROUP = typer.main.get_command(app)


def imported(*arguments: object) -> set[str]:
    ended = script(IMPORTED, *arguments)
    assert ended.code == 0, ended.err
    return set(ended.out.split("imported: ")[1].split())


def brought_by(library: str) -> set[str]:
    """Return what a library imports by itself: nibabel takes pydicom along where it is installed, and that PIL."""
    ended = script(
        "import importlib, sys; importlib.import_module(sys.argv[1]); print(*sys.modules)", library
    )
    assert ended.code == 0, ended.err
    return set(ended.out.split())


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["skeletonize", "--help"], ["bench", "-h"], ["batch", "-h"]]
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    assert imported(*arguments) & set(HEAVY) == set()


def test_options_of_filters_are_made_for_their_own_command_alone() -> None:
    """To list all commands with their options is a fifth of the time of --help."""
    code = (
        "import sys; from softmorph_cli.cli import filters; made = filters.command_of;"
        "filters.command_of = lambda operation: (print('made:', operation.operation), made(operation))[1];"
        "from softmorph_cli.cli.app import app; app(sys.argv[1:])"
    )
    for words, wanted in ((("--help",), []), (("erode", "--help"), ["made: erode"])):
        ended = script(code, *words)
        assert ended.code == 0, ended.err
        assert [line for line in ended.out.splitlines() if line.startswith("made:")] == wanted


def test_the_check_above_can_fail() -> None:
    assert {"numpy", "nibabel"} <= imported("stats", save("in.nii.gz", random_map()))


@pytest.mark.parametrize(("suffix", "library"), [
    ("nii.gz", "nibabel"), ("nii", "nibabel"), ("tif", "tifffile"), ("png", "SimpleITK"), ("nrrd", None), ("mha", None),
    ("npy", None),
])  # fmt: skip
def test_a_warm_run_imports_the_library_of_its_format_and_no_other(suffix: str, library: str | None) -> None:
    source, flat = f"in.{suffix}", suffix == "png"
    save(
        source,
        (65535 * random_map((9, 11))).astype("uint16") if flat else random_map(),
        None if flat else SPACING,
    )
    run("skeletonize", source, f"warm.{suffix}")
    found = imported("skeletonize", source, f"out.{suffix}")
    assert found & FILE_LIBRARIES == ({library} if library else set())
    assert found & UNUSED == (brought_by(library) & UNUSED if library else set())
    assert {"numba", "scipy.ndimage"} <= found


def test_only_the_first_run_compiles(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOFTMORPH_CACHE_DIR", str(here / "cache"))
    save("in.nii.gz", random_map())
    seen, kept = [], []
    for number in range(2):
        seen.append(imported("skeletonize", "in.nii.gz", f"out{number}.nii.gz"))
        kept.append(
            {path: path.stat().st_mtime_ns for path in (here / "cache").rglob("*.*") if path.is_file()}
        )
    assert seen[0] & COMPILER == COMPILER
    assert seen[1] & COMPILER == set()
    assert kept[0] == kept[1]
    assert any(path.suffix == ".nbc" for path in kept[0])


def test_a_preview_alone_draws() -> None:
    save("in.nii.gz", random_map())
    assert "matplotlib" in imported("stats", "in.nii.gz", "--preview", "map.png")


def test_a_batch_imports_dask_only_with_a_cluster() -> None:
    Path("in").mkdir()
    save("in/a.npy", random_map())
    found = imported("batch", "in", "out", "erode", "--workers", "1")
    assert found & {"dask", "distributed", "softmorph_cli.workers.cluster"} == set()
    asked = imported("batch", "in", "out", "erode", "--workers", "1", "--local-cluster", "--force")
    assert {"dask", "distributed", "softmorph_cli.workers.cluster"} <= asked


def test_tiles_import_dask_only_with_a_cluster() -> None:
    save("in.npy", random_map())
    assert imported("erode", "in.npy", "out.zarr", "--memory", "1GB") & {"dask", "distributed"} == set()


def test_an_unknown_rule_or_a_refused_output_imports_no_kernels() -> None:
    save("in.nii.gz", random_map())
    assert imported("rules") & set(HEAVY) <= {"numpy"}


@pytest.mark.parametrize("command", [[sys.executable, "-m", "softmorph_cli"], ["softmorph"]])
def test_both_ways_to_start_it(command: list[str]) -> None:
    beside = shutil.which("softmorph", path=str(Path(sys.executable).parent))
    if command == ["softmorph"]:
        assert beside is not None, "the package is not installed"
        command = [beside]
    ended = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    assert ended.stdout == f"softmorph {softmorph_cli.__version__}\n"
    assert ended.stderr == ""
    assert (
        "Usage: softmorph "
        in subprocess.run([*command, "--help"], capture_output=True, text=True, check=True).stdout
    )


def test_the_commands_are_those_of_the_contract() -> None:
    assert isinstance(GROUP, typer.core.TyperGroup)
    assert set(GROUP.commands) == COMMANDS
    shown = run("--help").out
    for name in COMMANDS:
        assert f" {name} " in shown


def test_the_list_of_commands_makes_no_options() -> None:
    fresh = typer.main.get_command(app)
    assert isinstance(fresh, typer.core.TyperGroup)
    with pytest.raises(SystemExit):
        fresh.main(["--help"], prog_name="softmorph")
    assert [name for name, one in fresh.commands.items() if "_made" in vars(one)] == []
    assert len(fresh.commands["erode"].params) > 10
    assert "_made" in vars(fresh.commands["erode"])


def test_no_arguments_are_a_call_for_help() -> None:
    ended = process()
    assert "Usage: softmorph " in ended.out + ended.err
    assert ESCAPE not in ended.out + ended.err


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_each_help_has_a_sentence_and_two_examples(name: str) -> None:
    command = GROUP.commands[name]  # type: ignore[attr-defined]
    assert command.help
    shown = run(name, "--help").out
    assert shown.count(f"softmorph {name} ") + shown.count(f"softmorph {name}\n") >= 2, shown
    examples = shown.split("Examples:")[1]
    lines = [line for line in examples.split("\n\n") if "--help-all" not in line]
    assert "\n\n".join(lines).count(f"softmorph {name}") == 2


def everything_of(name: str) -> tuple[str, str]:
    """Return what shows all options of a command; groups of commands have a single screen."""
    return (name, "--help" if hasattr(GROUP.commands[name], "commands") else "--help-all")  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_each_option_says_what_it_does(name: str) -> None:
    shown = run(*everything_of(name)).out
    for parameter in GROUP.commands[name].params:  # type: ignore[attr-defined]
        assert parameter.help, f"{name} {parameter.name}"
        assert parameter.help.endswith((".", ")")) or parameter.help.startswith("Show"), parameter.help
        long = next((o for o in parameter.opts if o.startswith("--")), str(parameter.metavar))
        assert long.strip("[]{}") in shown


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_no_flag_looks_as_if_it_took_a_value(name: str) -> None:
    assert "<bool>" not in run(*everything_of(name)).out


def test_help_names_every_method_and_preset() -> None:
    for name in ("skeletonize", "erode", "apply"):
        words = " ".join(run(name, "--help-all").out.replace("│", " ").split())
        for method in METHODS:
            assert f"{method}" in words, method
    words = run("skeletonize", "--help-all").out
    for preset in PRESETS:
        assert preset in words


def test_the_examples_of_help_work() -> None:
    """Examples work with the files of a user in place of theirs."""
    import shlex

    from softmorph_cli.cli.app import _COMMANDS

    sources = {
        "nii.gz": lambda path: save(path, random_map((6, 7, 8)), (0.5, 0.5, 0.5)),
        "tif": lambda path: save(path, random_map((6, 7, 8)), (0.5, 0.5, 0.5)),
        "png": lambda path: save(path, (65535 * random_map((9, 11))).astype("uint16"), None),
    }
    rule = next((Path(softmorph_cli.__file__).parent / "rules").rglob("*majority*3d*.toml"))
    Path("my_rule.toml").write_text(rule.read_text(encoding="utf-8"), encoding="utf-8")
    Path("steps.toml").write_text('[[step]]\noperation = "close"\n', encoding="utf-8")
    for name, _, *examples in _COMMANDS:
        for example in examples:
            words = shlex.split(example.split(" > ")[0])
            assert words[:2] == ["softmorph", name]
            if words[2:] == ["--warm"] or name == "bench":  # minutes
                continue
            files = [word for word in words[2:] if word.endswith((".nii.gz", ".tif", ".png"))]
            if name == "batch":
                Path(words[2]).mkdir(exist_ok=True)
                save(f"{words[2]}/case.nii.gz", random_map((6, 7, 8)), (0.5, 0.5, 0.5))
            read = 2 if name == "evaluate" else 1
            for path in files[:read]:
                sources[path.split(".", 1)[1]](path)
            for folder in words[2:4] if name == "evaluate" and not files else ():
                Path(folder).mkdir(exist_ok=True)
                save(f"{folder}/case.nii.gz", random_map((6, 7, 8)), (0.5, 0.5, 0.5))
            run(*words[1:])
            for path in files[read:]:
                assert Path(path).is_file(), example
                Path(path).unlink()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_of_the_shell(shell: str) -> None:
    changes = {"_SOFTMORPH_COMPLETE": f"source_{shell}"}
    beside = shutil.which("softmorph", path=str(Path(sys.executable).parent))
    assert beside is not None
    ended = subprocess.run([beside], env=changes, capture_output=True, text=True, check=False)
    assert "softmorph" in ended.stdout
    assert "Traceback" not in ended.stderr
