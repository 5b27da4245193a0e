"""Passes of one kind launch what Triton itself would launch, though they no longer ask it."""

from __future__ import annotations

import importlib
import os

import pytest
import torch
from covering import each_value, exhaustive_except

from ecgloss import functional as F

pytest.importorskip("triton", minversion="3.5")
if os.environ.get("TRITON_INTERPRET", "0") not in ("", "0"):
    pytest.skip("interpreted kernels (TRITON_INTERPRET) are not compiled", allow_module_level=True)

from triton.runtime.jit import JITFunction

from ecgloss.engine import triton_problem
from ecgloss.engine.kernel_package import kernels_module


@pytest.fixture(scope="module")
def registers_and_spills():
    return importlib.import_module("compile_kernels").cuda_usage


@pytest.fixture
def lookups(monkeypatch):
    """How often Triton was asked which kernel an argument list needs."""
    asked = []
    run = JITFunction.run

    def counted(self, *args, **kwargs):
        asked.append(self.__name__)
        return run(self, *args, **kwargs)

    monkeypatch.setattr(JITFunction, "run", counted)
    return asked


def views(b: int = 40, d: int = 32, dtype=torch.bfloat16, offset: int = 0) -> list[torch.Tensor]:
    """Two views that begin ``offset`` numbers behind an aligned address, of a width for which that matters."""
    return [torch.randn(b * d + offset).to(dtype)[offset:].view(b, d).requires_grad_() for _ in range(2)]


def step(z, preset="paper", **options) -> None:
    risk, missing = torch.rand(len(z[0])), torch.rand(len(z[0]))
    F.clef(*z, risk, missing, preset=preset, backend="triton", **options).backward()


def launched(gpu, *args, **options):
    gpu.launches.clear()
    step(*args, **options)
    return list(gpu.launches)


@pytest.mark.parametrize("preset", exhaustive_except(["official"], ["paper", "official"]))
def test_a_second_pass_launches_the_same_without_asking(gpu, lookups, preset):
    z = views()
    first = launched(gpu, z, preset)
    names = [launch.name.removesuffix("_kernel") for launch in first]
    assert names[:5] == ["prepare", "prepare_risk", "forward", "merge_rows", "finish"]
    asked = len(lookups)
    assert asked == len(first)
    assert launched(gpu, views(), preset) == first
    assert launched(gpu, views(), preset) == first
    assert len(lookups) == asked


def test_a_recorded_pass_finds_its_arguments_by_name(gpu, monkeypatch):
    """Not by the order in which the call lists them."""
    expected = launched(gpu, views(), "official")
    launch_cache = kernels_module("launch_cache")
    launch = launch_cache.Pass.launch

    def backwards(run, kernel, tensors, configure):
        launch(run, kernel, dict(reversed(tensors.items())), configure)

    monkeypatch.setattr(launch_cache.Pass, "launch", backwards)
    assert launched(gpu, views(), "official") == expected


CHANGES = {
    "size": {"b": 42},
    "width": {"d": 16},
    "dtype": {"dtype": torch.float16},
    "alignment": {"offset": 1},
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_pass_of_another_kind_is_launched_as_triton_would(gpu, lookups, monkeypatch, change):
    step(views())
    other = launched(gpu, views(**CHANGES[change]))
    again = launched(gpu, views(**CHANGES[change]))
    monkeypatch.setattr(triton_problem, "_SEQUENCES", {})
    asked = len(lookups)
    assert launched(gpu, views(**CHANGES[change])) == other == again
    assert len(lookups) > asked


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0.01},  # the maximum runs
        {"alpha": 0.3},
        {"similarity": "minmax"},
        {"weight_norm": "mean"},
        {"align_weight": 0.0},
    ],
    ids=str,
)
def test_another_option_is_another_kind(gpu, options):
    step(views())
    assert launched(gpu, views(), **options) != launched(gpu, views())


def test_a_temperature_is_read_anew_by_every_pass(gpu):
    """Its value is no part of the kind: a schedule may change it with every step."""
    first, second = (launched(gpu, views(), temperature=tau) for tau in (0.2, 0.1))
    kinds = len(triton_problem._SEQUENCES)
    third = launched(gpu, views(), temperature=0.3)
    assert len(triton_problem._SEQUENCES) == kinds == 2
    for launches, tau in ((first, 0.2), (second, 0.1), (third, 0.3)):
        assert tau in next(launch for launch in launches if launch.name == "forward_kernel").arguments


def test_a_gradient_of_only_some_statistics_is_another_kind(gpu):
    z = views()
    terms = F.clef(*z, torch.rand(40), backend="triton", return_terms=True)
    terms.contrastive.backward(retain_graph=True)
    kinds = len(triton_problem._SEQUENCES)
    terms.alignment.backward()
    assert len(triton_problem._SEQUENCES) == kinds + 1


def test_kinds_are_forgotten_before_there_are_too_many(gpu, monkeypatch):
    monkeypatch.setattr(triton_problem, "MOST_SEQUENCES", 4)
    for b in (4, 6, 8, 10):
        step(views(b=b))
    assert len(triton_problem._SEQUENCES) <= 4


def test_a_pass_that_fails_is_not_recorded(gpu, monkeypatch):
    step(views())
    triton_problem._SEQUENCES.clear()
    run = JITFunction.run

    def fails(self, *args, **kwargs):
        if self.__name__ == "finish_kernel":
            raise RuntimeError("out of memory")
        return run(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(JITFunction, "run", fails)
        with pytest.raises(RuntimeError, match="out of memory"):
            step(views())
    expected = launched(gpu, views())
    assert launched(gpu, views()) == expected


@pytest.mark.parametrize(
    ("dtype", "kernel"), [(torch.bfloat16, "gluon_forward_kernel"), (torch.float32, "forward_kernel")]
)
def test_gluon_where_it_is_asked_for_and_can_do_it(gpu, monkeypatch, dtype, kernel):
    pytest.importorskip("triton.experimental.gluon.nvidia.hopper", reason="this Triton has no Gluon for Hopper")
    monkeypatch.setenv("ECGLOSS_GLUON", "1")
    for name, value in (("architecture", "sm90"), ("processors", 132)):
        monkeypatch.setattr(kernels_module("launch_gluon"), name, lambda device, value=value: value)
    for _recorded in (False, True):
        gpu.launches.clear()
        F.ntxent(*views(d=64, dtype=dtype), backend="triton")
        assert [launch.name for launch in gpu.launches] == [
            "prepare_kernel",
            kernel,
            "merge_rows_kernel",
            "finish_kernel",
        ]


@each_value(loss=["official", "supcon"], b=exhaustive_except([1024, 8192], [64, 1024, 8192]))
def test_no_kernel_of_a_step_spills_at_any_size(gpu, registers_and_spills, loss, b):
    """The number of parts of a row, which follows from the size, is compiled in."""
    z = views(b, 64)
    tau = torch.tensor(0.07, requires_grad=True)
    if loss == "supcon":
        F.supcon(torch.cat(z), torch.arange(2 * b) % 7, temperature=tau, backend="triton").backward()
    else:
        step(z, loss, temperature=tau)
    kernels = {launch.kernel: launch.name for launch in gpu.launches}
    assert len(kernels) >= 6
    binaries = {handle: binary for binary, handle in gpu.loaded.items()}
    for handle, name in kernels.items():
        assert registers_and_spills(binaries[handle])[1] == 0, name
