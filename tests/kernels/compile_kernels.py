"""The Triton kernels over all pairs, compiled for GPUs that need not be there, and what they take of a chip."""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from ecgloss.engine.kernel_package import kernels_module

TARGETS = {
    "sm80": GPUTarget("cuda", 80, 32),
    "sm89": GPUTarget("cuda", 89, 32),
    "sm90": GPUTarget("cuda", 90, 32),
    "sm100": GPUTarget("cuda", 100, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}
SHARED_LIMIT = {"sm80": 166_912, "sm89": 101_376, "sm90": 232_448, "sm100": 232_448, "gfx942": 65_536}  # bytes
TENSOR_COLUMNS = 512  # of tensor memory, which sm100 has
PRODUCTS = {"bf16": "half", "fp16": "half", "fp32": "ieee", "tf32": "tensor"}  # tf32: fp32 below the highest precision
POINTERS = {
    "*fp32": {"row_vectors", "col_vectors", "numbers", "scales", "partials", "out", "row_gains"}
    | {"col_gains", "tau_pointer", "row_values", "col_values"},
    "*i64": {"row_labels", "col_labels"},
}
NUMBERS = {"tau", "alpha", "threshold"}
MATRIX_INSTRUCTIONS = {  # as the assembly has them
    "wgmma": r"\bwgmma\.mma_async",
    "tcgen05": r"\btcgen05\.mma",
    "mma.sync": r"\bmma\.sync",
    "mfma": r"\bv_mfma",
}


@dataclass(frozen=True)
class Kernel:
    """One launch over all pairs.

    Attributes:
        architecture: A name in ``TARGETS``.
        step: "forward", "backward" or "strip".
        dtype: A name in ``PRODUCTS``.
        width: D.
        rule: A name in :func:`rules`.
        temperature: "learned" on the host, "constant", or "device": where the maximum runs, and learned as well.
        gains: Whose statistics are differentiated: those of "both", or in a rectangular problem of "rows" or "columns".
    """

    architecture: str
    step: str
    dtype: str
    width: int
    rule: str
    temperature: str = "learned"
    gains: str = "both"


@dataclass(frozen=True)
class Resources:
    """What a kernel takes: registers per thread, bytes of shared memory per program, spilled bytes or registers."""

    kernel: Kernel
    tile: str
    registers: int
    shared: int
    spills: int
    tensor_columns: int
    matrix_instructions: dict[str, int]

    def faults(self, spills: int = 0) -> list[str]:
        """Why this kernel must not be launched; nothing if all is well. It may have some ``spills``."""
        limit = SHARED_LIMIT[self.kernel.architecture]
        found = []
        if self.shared > limit:
            found.append(f"{self.shared} bytes of shared memory, of which there are {limit}")
        if self.tensor_columns > TENSOR_COLUMNS:
            found.append(f"{self.tensor_columns} columns of tensor memory, of which there are {TENSOR_COLUMNS}")
        if self.spills > spills:
            found.append(f"{self.spills} spilled")
        return found


def rules() -> dict[str, tuple[Any, str]]:
    """The rules that are compiled, each with its alignment."""
    layout = kernels_module("memory_layout")
    weights, relation = layout.Weights, layout.Relation
    return {
        "ntxent": (weights(), ""),
        "clef paper": (weights("none", 1, 2, True, False, "multiply"), "cosine"),
        "clef official": (weights("softmax", 1, 2, False, False, "multiply"), "minmax"),
        "clef mean": (weights("mean", 1, 2, True, False, "revert"), "cosine"),
        "labels": (relation("labels"), ""),
        "features": (relation("features", width=64, labelled=True), ""),
        "gaussian": (relation("gaussian", 2), ""),
    }


def gradient_step(architecture: str, dtype: str, width: int, rule: str) -> str:
    """What the launcher computes a gradient with: a fused "backward", or a "strip" and a product."""
    dense = isinstance(rules()[rule][0], kernels_module("memory_layout").Relation)
    fused = kernels_module("tile_table").is_fused(architecture, PRODUCTS[dtype], width)
    return "backward" if dense or fused else "strip"


def compile_kernel(kernel: Kernel, tile: Any) -> Any:
    """What triton makes of a kernel, given the tile, as if the launcher had asked for it."""
    function, constants = _function(kernel)
    constants |= {"D": kernel.width, "BLOCK_M": tile.rows, "BLOCK_N": tile.columns, "BLOCK_K": tile.depth}
    constants |= {"forward": {"PREFETCH": tile.prefetch}, "backward": {"BLOCK_D": tile.width}}.get(kernel.step, {})
    target = TARGETS[kernel.architecture]
    signature, attributes = {}, {}
    for index, name in enumerate(function.arg_names):
        signature[name] = "constexpr" if name in constants else type_of(name, kernel)
        if signature[name].startswith("*"):
            attributes[(index,)] = [["tt.divisibility", 16]]
            if target.backend == "hip":  # tensors below 2 GiB
                attributes[(index,)].append(["tt.pointer_range", 32])
    source = ASTSource(function, signature, constexprs=constants, attrs=attributes)
    options = {"num_warps": tile.warps, "num_stages": tile.stages, "enable_fp_fusion": True}
    return triton.compile(source, target=target, options=options)


def launched_tile(kernel: Kernel) -> Any:
    """The tile the launcher takes."""
    rule, alignment = rules()[kernel.rule]
    names = kernels_module("launch_plan").pass_names(kernel.step, rule, alignment)
    return kernels_module("tile_table").tile(kernel.architecture, names, PRODUCTS[kernel.dtype], kernel.width)


def resources(kernel: Kernel, tile: Any = None) -> Resources:
    """Compile, and read what the compiler reports; with the launcher's tile unless another is given."""
    tile = tile or launched_tile(kernel)
    compiled = compile_kernel(kernel, tile)
    text = compiled.asm["ptx" if "ptx" in compiled.asm else "amdgcn"]
    registers, spills = cuda_usage(compiled.asm["cubin"]) if "ptx" in compiled.asm else _hip_usage(text)
    width = f"/{tile.width}" if kernel.step == "backward" else ""
    counts = {name: len(re.findall(pattern, text)) for name, pattern in MATRIX_INSTRUCTIONS.items()}
    return Resources(
        kernel,
        f"{tile.rows}x{tile.columns}x{tile.depth}{width} w{tile.warps} s{tile.stages}",
        registers,
        compiled.metadata.shared,
        spills,
        getattr(compiled.metadata, "tmem_size", None) or 0,
        {name: count for name, count in counts.items() if count},
    )


def _function(kernel: Kernel) -> tuple[Any, dict[str, Any]]:
    """A kernel of the package, and the constants that do not depend on its tile; absent arguments are None."""
    rule, alignment = rules()[kernel.rule]
    dense = isinstance(rule, kernels_module("memory_layout").Relation)
    constants: dict[str, Any] = {"RULE": rule, "PRECISION": "ieee"}
    if kernel.dtype == "tf32":
        constants["PRECISION"] = "tf32x3" if alignment else "tf32"
    constants["FIXED_MAXIMUM"] = kernel.temperature != "device" and kernel.rule != "gaussian"
    if kernel.temperature != "device":
        constants["tau_pointer"] = None
    if dense:
        absent = {"labels": ("row_values", "col_values"), "gaussian": ("row_labels", "col_labels")}
        constants |= dict.fromkeys(absent.get(rule.kind, ()))
    else:
        constants["ALIGNMENT"] = alignment
    if kernel.step != "forward":
        absent_gains = {"both": (), "rows": ("col_gains",), "columns": ("row_gains",)}[kernel.gains]
        constants |= dict.fromkeys(absent_gains)
    module = "backward_strip" if kernel.step == "strip" else f"{kernel.step}_dense" if dense else kernel.step
    return getattr(kernels_module(module), f"{module}_kernel"), constants


def type_of(name: str, kernel: Kernel) -> str:
    """The type of an argument in a signature."""
    if name in ("u_rows", "u_cols") or (name == "out" and kernel.step == "strip"):
        return "*fp32" if kernel.dtype == "tf32" else f"*{kernel.dtype}"
    if name in ("row_values", "col_values") and kernel.rule == "features":
        return "*fp16"  # planes
    for kind, names in POINTERS.items():
        if name in names:
            return kind
    return "fp32" if name in NUMBERS else "i32"


def cuda_usage(cubin: bytes) -> tuple[int, int]:
    """Registers, and bytes of stack, of a thread."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        text = subprocess.run([tool, "--dump-resource-usage", file.name], capture_output=True, text=True, check=True)
    return _number(r"REG:(\d+)", text.stdout), _number(r"STACK:(\d+)", text.stdout)


def _hip_usage(assembly: str) -> tuple[int, int]:
    """Vector registers, and how many of them are spilled."""
    return _number(r"\.vgpr_count:\s*(\d+)", assembly), _number(r"\.vgpr_spill_count:\s*(\d+)", assembly)


def _number(pattern: str, text: str) -> int:
    """The number a compiler reports."""
    found = re.search(pattern, text)
    if found is None:
        raise ValueError(f"no {pattern!r} in what the compiler reports: {text[:200]!r}")
    return int(found[1])
