"""Every kernel a step launches compiles, with the very arguments the launcher passes: no GPU is there to find out."""

from __future__ import annotations

import inspect
import os

import pytest
import torch
from covering import exhaustive_except
from rule_cases import evaluate, problem
from torch import Tensor

from ecgloss.engine import availability
from ecgloss.engine.kernel_package import kernels_module

pytest.importorskip("triton", minversion="3.5")
if os.environ.get("TRITON_INTERPRET", "0") not in ("", "0"):
    pytest.skip("interpreted kernels (TRITON_INTERPRET) cannot be compiled", allow_module_level=True)

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

TARGETS = {
    "sm80": GPUTarget("cuda", 80, 32),
    "sm90": GPUTarget("cuda", 90, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}
POINTERS = {
    torch.float16: "*fp16",
    torch.bfloat16: "*bf16",
    torch.float32: "*fp32",
    torch.float64: "*fp64",
    torch.int64: "*i64",
}
OPTIONS = ("num_warps", "num_stages", "enable_fp_fusion")


def compile_launch(kernel: JITFunction, target: GPUTarget, *args: object, **kwargs: object) -> None:
    """A kernel for a target, from the arguments of its launch."""
    options = {name: kwargs.pop(name) for name in OPTIONS if name in kwargs}
    given = inspect.signature(kernel.fn).bind(*args, **kwargs).arguments
    signature, constants = {}, {}
    for name, value in given.items():
        if inspect.signature(kernel.fn).parameters[name].annotation in ("tl.constexpr", tl.constexpr) or value is None:
            signature[name], constants[name] = "constexpr", value
        elif isinstance(value, Tensor):
            signature[name] = POINTERS[value.dtype]
        else:
            signature[name] = "fp32" if isinstance(value, float) else "i32"
            assert isinstance(value, (int, float)), f"{kernel.__name__}: {name} is {value!r}"
    triton.compile(ASTSource(kernel, signature, constexprs=constants), target=target, options=options)


@pytest.fixture
def launched(monkeypatch, request):
    """Names of the kernels launched, each compiled for ``request.param`` in place of being run."""
    names: set[str] = set()
    seen: set[object] = set()

    def run(self, *args, grid, warmup, **kwargs):
        names.add(self.__name__.removesuffix("_kernel"))
        kinds = (x if p.is_constexpr else getattr(x, "dtype", type(x)) for p, x in zip(self.params, args))
        key = (self.__name__, repr(kwargs), tuple(kinds))
        if key not in seen:
            compile_launch(self, TARGETS[request.param], *args, **kwargs)
        seen.add(key)

    monkeypatch.setattr(JITFunction, "run", run)
    for module in ("launch_plan", "launch_backward"):
        monkeypatch.setattr(kernels_module(module), "architecture", lambda device: request.param)
    monkeypatch.setattr(availability, "_OBSTACLE", [None])
    monkeypatch.setattr(availability, "interpreted", lambda: True)  # which lets CPU tensors through
    return names


AROUND = {"prepare", "project"}
EXPECTED = {
    "uniform": {"forward", "merge_rows", "finish", "gains", "backward"},
    "clef official": {
        "prepare_risk",
        "forward",
        "merge_rows",
        "finish",
        "gains",
        "backward",
        "find_minimum",
        "count_ties",
        "add_minimum_gradient",
    },
    "clef mean": {"prepare_risk", "forward", "merge_rows", "finish", "gains", "backward"},
    "risk queue, none": {"prepare_risk", "forward", "merge_rows", "finish", "gains", "backward"},
    "features or labels": {"prepare_features", "forward_dense", "merge_dense", "gains_dense", "backward_dense"},
    "gaussian, columns": {"forward_dense", "merge_dense", "gains_dense", "backward_dense"},
}


STEPS = [
    *((rule, torch.bfloat16, "sm90") for rule in EXPECTED),
    ("clef official", torch.float32, "sm90"),
    ("clef official", torch.bfloat16, "sm80"),
    ("clef official", torch.bfloat16, "gfx942"),
    ("features or labels", torch.float32, "gfx942"),
]


SOME_STEPS = [("clef official", torch.bfloat16, "sm90"), ("features or labels", torch.bfloat16, "sm90")]


@pytest.mark.parametrize(("rule", "dtype", "launched"), exhaustive_except(SOME_STEPS, STEPS), indirect=["launched"])
def test_a_training_step_launches_nothing_that_does_not_compile(rule, dtype, launched):
    evaluate(problem(rule, "random", 10, 20, 0.07).rounded(dtype), "triton")
    assert launched == EXPECTED[rule] | AROUND


WIDE = [("clef official", "sm90"), ("uniform, matched", "gfx942")]


@pytest.mark.parametrize(("rule", "launched"), exhaustive_except(WIDE[:1], WIDE), indirect=["launched"])
def test_wide_embeddings_launch_gradient_strips_that_compile(rule, launched):
    evaluate(problem(rule, "random", 10, 600, 0.07).rounded(torch.bfloat16), "triton")
    assert "backward_strip" in launched
    assert "backward" not in launched


@pytest.mark.exhaustive
@pytest.mark.parametrize("launched", ["sm90"], indirect=True)
def test_a_temperature_on_the_device_compiles(launched, monkeypatch):
    monkeypatch.setattr(kernels_module("problem"), "on_host", lambda x: False)
    for rule in ("uniform", "clef official", "labels"):
        evaluate(problem(rule, "random", 10, 20, 0.07).rounded(torch.float16), "triton")
    assert {"forward", "forward_dense", "count_ties"} <= launched


@pytest.mark.parametrize("launched", ["sm90"], indirect=True)
def test_a_launch_with_an_unknown_option_is_found_out(launched, monkeypatch):
    launch = kernels_module("launch")
    monkeypatch.setattr(launch, "SMALL", {**launch.SMALL, "unheard_of": 1})
    with pytest.raises(TypeError, match="unheard_of"):
        evaluate(problem("uniform", "random", 10, 20, 0.07).rounded(torch.float32), "triton")
