"""What the shells complete: commands, options, values and steps, through each shell's own protocol."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers_cli import IMPORTED, environment, run, script

from softmorph_cli.cli import shell_completion
from softmorph_cli.filters.method import METHODS
from softmorph_cli.metrics.registry import METRICS
from softmorph_cli.pipeline.steps.registry import STEPS
from softmorph_cli.rules import catalog

PROGRAM = shutil.which("softmorph", path=str(Path(sys.executable).parent))


def asked(changes: dict[str, str]) -> str:
    """Return what a shell is given, which asks with variables of the environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in changes.items():
            patch.setenv(name, value)
        shell_completion.join_words()
        return run().out


def by_bash(*words: str) -> list[str]:
    """Return what bash is given for words as bash splits them, the last of which is completed."""
    changes = {
        "_SOFTMORPH_COMPLETE": "complete_bash",
        "COMP_WORDS": "\n".join(("softmorph", *words)),
        "COMP_CWORD": str(len(words)),
    }
    return asked(changes).split()


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["ske"], ["skeletonize"]),
        (["topology", "rep"], ["repair"]),
        (["erode", "a", "b", "--iter"], ["--iterations"]),
        (["erode", "a", "b", "--method", "l"], ["lukasiewicz", "levels"]),
        (["erode", "a", "b", "--method", "=", "l"], ["lukasiewicz", "levels"]),
        (["erode", "a", "b", "--device", "c"], ["cpu", "cuda"]),
        (["erode", "a", "b", "--unit", ""], ["mm", "um", "nm"]),
        (["erode", "a", "b", "--output-type", "u"], ["uint8", "uint16"]),
        (["erode", "a", "b", "--from-logits", "s"], ["sigmoid", "softmax"]),
        (["evaluate", "a", "b", "--metrics", "dice,cld"], ["dice,cldice"]),
        (["apply", "majority-2"], ["majority-2d"]),
        (["rules", "majority-3"], ["majority-3d"]),
        (["chain", "a", "b", "clo"], ["close"]),
        (["batch", "a", "b", "erode", "skel"], ["skeletonize"]),
        # bash splits at : and =, and completes what follows the last of them.
        (["chain", "a", "b", "close", ":", "iter"], ["iterations="]),
        (["chain", "a", "b", "threshold", ":"], ["threshold=", "largest=", "min-size=", "labels"]),
        (["chain", "a", "b", "close", ":", "method", "=", "n"], ["nested"]),
        (["chain", "a", "b", "close", ":", "method", "="], list(METHODS)),
        (["chain", "a", "b", "close", ":", "iterations", "=", "2,met"], ["2,method="]),
        (["chain", "a", "b", "close", ":", "iterations", "=", "2", "er"], ["erode"]),
        # Files are the shell's.
        (["erode", ""], []),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)  # fmt: skip
def test_bash(words: list[str], wanted: list[str]) -> None:
    assert by_bash(*words) == wanted


@pytest.mark.parametrize(("shell", "wanted"), [
    ("zsh", "_arguments '*: :((\"lukasiewicz\"\n\"levels\"))'"), ("fish", "lukasiewicz\nlevels"),
])  # fmt: skip
def test_other_shells(shell: str, wanted: str) -> None:
    changes = {
        "_SOFTMORPH_COMPLETE": f"complete_{shell}",
        "_TYPER_COMPLETE_ARGS": "softmorph chain a b close:iterations=2 --method l",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    assert asked(changes).strip() == wanted
    steps = {**changes, "_TYPER_COMPLETE_ARGS": "softmorph chain a b close:met"}
    assert "close" in asked(steps)
    assert "method=" in asked(steps)


def test_every_name_is_completed() -> None:
    assert by_bash("chain", "a", "b", "") == list(STEPS)
    assert by_bash("erode", "a", "b", "-m", "") == list(METHODS)
    assert by_bash("evaluate", "a", "b", "--metrics", "") == [name for one in METRICS for name in one.names]
    assert set(catalog.names()) < set(by_bash("rules", ""))


def test_a_step_that_is_none_is_not_completed() -> None:
    assert shell_completion.step("polish:") == []
    assert shell_completion.step("close:colour=") == []


def test_a_bash_completes_what_it_installed(tmp_path: Path) -> None:
    """The script that --install-completion writes, run by bash itself."""
    bash = shutil.which("bash")
    if bash is None or PROGRAM is None:
        pytest.skip("needs bash and the installed command")
    home = environment({
        "HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1",
        "PATH": os.pathsep.join((str(Path(PROGRAM).parent), os.environ["PATH"])),
    })  # fmt: skip
    subprocess.run(["softmorph", "--install-completion", "bash"], env=home, check=True, capture_output=True)
    (made,) = tmp_path.rglob("softmorph.sh")
    typed = (
        f"source '{made}'; COMP_WORDS=(softmorph chain a b close : met); COMP_CWORD=6; "
        "_softmorph_completion softmorph; echo ${COMPREPLY[@]}"
    )
    ended = subprocess.run(
        [bash, "--norc", "-c", typed], env=home, capture_output=True, text=True, check=True
    )
    assert ended.stdout.split() == ["method="]


@pytest.mark.parametrize(
    "words", [["chain", "a", "b", "close:method="], ["evaluate", "a", "b", "--metrics", ""]]
)
def test_completion_imports_nothing_slow(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "_SOFTMORPH_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(("softmorph", *words)),
        "COMP_CWORD": str(len(words)),
    }.items():
        monkeypatch.setenv(name, value)
    ended = script(IMPORTED)
    assert ended.code == 0, ended.err
    found = set(ended.out.split("imported: ")[1].split())
    assert (
        found & {"torch", "numba", "scipy", "matplotlib", "nibabel", "SimpleITK", "tifffile", "dask"} == set()
    )
