"""What can be said about the GPU's kernels without a GPU: their text, their machine code, their results.

Results come from Triton's interpreter, which has to be chosen before triton is imported and patches it for
good. So `test_triton_contract` and `test_triton_sweeps` run in a separate process; here triton only compiles.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from softmorph_cli import SoftmorphWarning
from softmorph_cli.compiler.compile import DIAGRAM, NESTED, RANKS, compile_rule
from softmorph_cli.kernels import backend, source_cache
from softmorph_cli.kernels.bitplanes import GOLDEN
from softmorph_cli.kernels.torch_eager import TorchBackend
from softmorph_cli.kernels.triton_gradient import generate_backward
from softmorph_cli.kernels.triton_source import generate, solid
from softmorph_cli.rules import catalog, structuring
from softmorph_cli.rules.rule import Rule

TEXTS = Path(__file__).parents[1] / "golden"
CONTRACT = [str(Path(__file__).with_name(f"test_triton_{part}.py")) for part in ("contract", "sweeps")]


def test_the_contract_under_the_interpreter() -> None:
    pytest.importorskip("triton")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", *CONTRACT],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]
    assert re.search(r"\b\d{2,} passed", run.stdout)


def test_golden_source() -> None:
    # Written by this test's own expression; to be read before it is replaced.
    (step,) = compile_rule(structuring.erosion(4, 2), DIAGRAM)
    program = solid(step.program)
    text = generate(program, "float32", 1) + generate_backward(program, "float64", 1)
    assert text == (TEXTS / "triton_erosion_4.txt").read_text()


def test_arithmetic_has_no_text_for_planes() -> None:
    (step,) = compile_rule(structuring.erosion(4, 2), "einstein")
    with pytest.raises(ValueError, match="cannot run on bit planes"):
        generate(solid(step.program), "int64", 1)


def test_all_directions_of_a_rule_share_one_text() -> None:
    for dimensions in (2, 3):
        steps = compile_rule(catalog.bundled("thinning", dimensions), DIAGRAM)
        assert len({generate(solid(step.program), "float32", 0) for step in steps}) == 1


# ---------------------------------------------------------------------- machine code


def machine_code(
    function: Any, pointers: dict[str, str], options: dict[str, Any], integer: str = "i32"
) -> Any:
    """A kernel compiled for sm_90, which needs no GPU; capitals among the options are its constants."""
    triton = pytest.importorskip("triton")
    if os.environ.get("TRITON_INTERPRET") == "1":
        pytest.skip("the interpreter compiles nothing")
    from triton.backends.compiler import GPUTarget

    constants = {name: value for name, value in options.items() if name.isupper()}
    options = {name: value for name, value in options.items() if not name.isupper()}
    types = {name: pointers.get(name, integer) for name in function.arg_names} | dict.fromkeys(
        constants, "constexpr"
    )
    asked = triton.compiler.ASTSource(function, types, constexprs=constants)
    return triton.compile(asked, target=GPUTarget("cuda", 90, 32), options=options)


def generated(rule: Rule, logic: str, dtype: str, kernel: str, integer: str = "i32") -> Any:
    """One of a rule's kernels, compiled."""
    pytest.importorskip("triton")
    from softmorph_cli.kernels import triton_cuda

    step = compile_rule(rule, logic)[0]
    if kernel == "sweep":
        how = {"ranked": step.ranked, "subfield": step.subfield is not None}
        text = generate(solid(step.program), dtype, step.outside, **how)
    else:
        text = generate_backward(solid(step.program), dtype, step.outside)
    options = {
        "sweep": {"TRACK": True, **triton_cuda._TILE, **triton_cuda._OPTIONS},
        "spread": triton_cuda._GRADIENT,
        "collect": triton_cuda._COLLECT,
    }
    element = {"float32": "*fp32", "float64": "*fp64", "uint8": "*u8"}.get(dtype, f"*i{dtype[3:]}")
    pointers = dict.fromkeys(("src", "dst", "gradient", "partials", "result"), element)
    pointers |= {"stamps": "*i32", "changed": "*i64"}
    function = getattr(source_cache.load(f"{rule.name}_{dtype}_test", text), kernel)
    return machine_code(function, pointers, options[kernel], integer)


def registers_and_stack(compiled: Any, folder: Path) -> tuple[int, int]:
    import triton

    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    if not tool.exists():
        pytest.skip("this triton brings no cuobjdump")
    (folder / "kernel.cubin").write_bytes(compiled.asm["cubin"])
    usage = subprocess.run(
        [tool, "-res-usage", folder / "kernel.cubin"], capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+)", usage)
    assert found is not None
    return int(found[1]), int(found[2])


@pytest.mark.parametrize(
    ("name", "logic", "dtype", "kernel", "limit"),
    [
        # Three workgroups of 256 fit on a multiprocessor up to 80 registers, two up to 128.
        ("thinning-3d", DIAGRAM, "float32", "sweep", 80),
        ("thinning-3d", DIAGRAM, "uint8", "sweep", 80),
        ("thinning-3d", DIAGRAM, "int64", "sweep", 128),
        ("thinning-3d", DIAGRAM, "float32", "spread", 255),
        ("thinning-3d", NESTED, "int16", "sweep", 80),
        ("thinning-subfields-2d", RANKS, "float64", "sweep", 80),
        ("thinning-subfields-3d", RANKS, "float32", "sweep", 255),
        ("thinning-2d", "hamacher", "float64", "sweep", 128),
        ("thinning-2d", "hamacher", "float64", "collect", 80),
    ],
)
def test_kernels_compile_for_a_gpu_and_spill_nothing(
    name: str, logic: str, dtype: str, kernel: str, limit: int, tmp_path: Path
) -> None:
    compiled = generated(catalog.bundled(name), logic, dtype, kernel)
    registers, stack = registers_and_stack(compiled, tmp_path)
    assert registers <= limit
    assert stack == 0


def test_bits_do_not_depend_on_what_the_compiler_contracts() -> None:
    code = generated(catalog.bundled("thinning-3d"), DIAGRAM, "float32", "sweep").asm["ptx"]
    assert len(re.findall(r"\bfma\.rn\.f32", code)) > 100
    # A product or a sum of which no mode of rounding is said may be contracted by the assembler.
    assert not re.findall(r"\b(?:mul|add|sub)\.f32", code)


@pytest.mark.parametrize("kernel", ["sweep", "spread", "collect"])
def test_sizes_of_64_bits_compile_too(kernel: str) -> None:
    assert generated(structuring.erosion(6, 3), "einstein", "float32", kernel, integer="i64").asm["cubin"]


@pytest.mark.parametrize("planes", ["*u8", "*i64"])
@pytest.mark.parametrize("image", ["*fp32", "*fp64"])
def test_voxelwise_operations_compile(image: str, planes: str) -> None:
    # The interpreter is lenient about types; the compiler is not.
    pytest.importorskip("triton")
    from softmorph_cli.kernels import triton_maps as maps

    pointers = {"image": image, "planes": planes, "counts": image, "first": image, "second": image}
    pointers |= {"thresholds": "*fp64", "bounds": image, "refined": image}
    bins = {"BITS": 8 if planes == "*u8" else 64, "BLOCK": 1024}
    for kernel, constants, found in (
        (maps._bins, {"PLANES": True, **bins}, planes),
        (maps._bins, {"PLANES": False, **bins}, image),
        (maps._refine, {"BLOCK": 1024}, image),
    ):
        assert machine_code(kernel, {**pointers, "found": found}, {**constants, **maps._OPTIONS}).asm["cubin"]
    for kernel, constants in (
        (maps._levels, {"EXACT": True, "BLOCK": 1024}),
        (maps._levels, {"EXACT": False, "BLOCK": 1024}),
        (maps._samples, {"WEYL": GOLDEN, "FIRST": 1, "SECOND": 1, "BLOCK": 1024}),
        (maps._count, {"BLOCK": 1024}),
        (maps._row_sums, {"PAIR": True, "BLOCK": 256}),
    ):
        own = pointers if kernel is maps._row_sums else {n: p for n, p in pointers.items() if n != "first"}
        types = own | {"sums": "*fp64"}
        assert machine_code(kernel, types, {**constants, **maps._OPTIONS}).asm["cubin"]


# ---------------------------------------------------------------------- which backend serves a request


@pytest.fixture
def a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    backend._note_missing_triton.cache_clear()


def test_triton_serves_the_gpu(a_gpu: None) -> None:
    pytest.importorskip("triton")
    assert backend.choose("cuda").name == "triton_cuda"


def test_without_triton_torch_does_and_says_so_once(a_gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "softmorph_cli.kernels.triton_backend", None)
    with pytest.warns(SoftmorphWarning, match=r"^triton is not installed: .*pip install triton\)\.$"):
        chosen = backend.choose("cuda:0")
    assert type(chosen) is TorchBackend
    assert type(backend.choose("cuda")) is TorchBackend
