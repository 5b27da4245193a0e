"""Which backend is chosen, with and without the C++ extension, and what is said when it is missing."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import warnings

import pytest
import torch
from backends import needs_cpp

import ecgloss
import ecgloss.functional as F
from ecgloss.engine import availability, dispatch, pair_stats
from ecgloss.info import describe
from ecgloss.pairs import Layout, UniformPairs, view_pairs

CPU = torch.device("cpu")


@pytest.fixture
def views(rng):
    return [torch.randn(40, 8, generator=rng) for _ in range(2)]


@pytest.fixture
def not_built(monkeypatch):
    """A machine without a compiler."""
    monkeypatch.setattr(availability, "EXTENSION", None)
    monkeypatch.delenv("ECGLOSS_BACKEND", raising=False)
    dispatch._announce_fallback.cache_clear()
    yield
    dispatch._announce_fallback.cache_clear()


@pytest.fixture
def no_environment(monkeypatch):
    monkeypatch.delenv("ECGLOSS_BACKEND", raising=False)


def test_the_backends_are_those_of_the_documentation():
    status = {s.name: s for s in ecgloss.backends()}
    assert list(status) == ["triton", "cpp", "chunked", "reference"]
    assert status["cpp"].usable == (availability.EXTENSION is not None)
    assert status["chunked"].usable
    assert status["reference"].usable


@needs_cpp
def test_cpu_tensors_get_the_kernels_without_asking(views, no_environment):
    assert dispatch.select_backend("auto", CPU) == "cpp"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(F.ntxent(*views), F.ntxent(*views, backend="cpp"))


@pytest.mark.parametrize(
    ("obstacle", "dtype", "rule", "chosen"),
    [
        (None, torch.bfloat16, None, "triton"),
        ("no Triton", torch.bfloat16, None, "chunked"),
        (None, torch.float64, None, "chunked"),
        (None, torch.float32, UniformPairs(Layout(9, 9, True, (0, 3, 6), None)), "reference"),
        (None, torch.float32, UniformPairs(Layout(2049, 2049, True, (0, 3, 6), None)), "chunked"),
        (None, torch.float32, view_pairs(4), "triton"),
    ],
)
def test_cuda_tensors_get_the_kernels_that_can_compute_them(obstacle, dtype, rule, chosen, monkeypatch, no_environment):
    monkeypatch.setattr(availability, "triton_obstacle", lambda: obstacle)
    monkeypatch.setattr(availability, "interpreted", lambda: False)
    assert dispatch.select_backend("auto", torch.device("cuda"), dtype, rule) == chosen


def test_a_machine_without_a_gpu_says_so(monkeypatch):
    if importlib.util.find_spec("triton") is not None:
        pytest.skip("Triton is installed")
    status = next(s for s in ecgloss.backends() if s.name == "triton")
    assert not status.usable
    assert "Triton is not installed" in status.note


@pytest.mark.parametrize(
    ("packages", "named"),
    [
        ({"triton": "3.2.0"}, "Triton 3.2 is installed"),
        ({"pytorch-triton-rocm": "3.4.0+rocm"}, "Triton 3.4 is installed"),
        ({"triton": "3.5.1"}, "no CUDA device"),
        ({"triton-windows": "3.10.0.post1"}, "no CUDA device"),
        ({}, "no CUDA device"),
    ],
    ids=str,
)
def test_a_triton_that_is_too_old_is_not_asked(packages, named, monkeypatch):
    def version(name):
        if name not in packages:
            raise importlib.metadata.PackageNotFoundError
        return packages[name]

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(availability, "interpreted", lambda: False)
    obstacle = availability._find_triton_obstacle()
    assert obstacle is not None
    assert named in obstacle


@needs_cpp
def test_the_status_says_what_the_kernels_run_on():
    note = next(s.note for s in ecgloss.backends() if s.name == "cpp")
    assert availability.EXTENSION.instruction_set() in note
    assert availability.EXTENSION.threading() in note
    assert note in describe()


@pytest.mark.usefixtures("not_built")
def test_without_the_extension_auto_works_and_says_so_once(views):
    expected = F.ntxent(*views, backend="reference")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for _ in range(3):
            assert torch.equal(F.ntxent(*views), expected)
        F.clef(*views, torch.linspace(0, 1, 40))
    assert [w.category for w in seen] == [RuntimeWarning]
    assert re.search("extension was not built.*slower ones of plain torch.*ecgloss info", str(seen[0].message))


@pytest.mark.usefixtures("not_built")
def test_without_the_extension_asking_for_it_says_why_it_cannot_be(views):
    with pytest.raises(ValueError, match=r"backend 'cpp' is not usable here: the C\+\+ extension was not built"):
        F.ntxent(*views, backend="cpp")
    status = next(s for s in ecgloss.backends() if s.name == "cpp")
    assert not status.usable
    assert "not built" in status.note
    assert "not usable: " + status.note in describe()


@pytest.mark.usefixtures("not_built")
def test_asking_for_a_plain_backend_by_name_announces_nothing(views):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        F.ntxent(*views, backend="chunked")
        F.ntxent(*views, backend="reference")


@pytest.mark.parametrize("name", ["chunked", "reference", pytest.param("cpp", marks=needs_cpp)])
def test_the_environment_overrides_auto_alone(name, views, monkeypatch):
    monkeypatch.setenv("ECGLOSS_BACKEND", name)
    assert dispatch.select_backend("auto", CPU) == name
    assert dispatch.select_backend("reference", CPU) == "reference"
    assert torch.equal(F.ntxent(*views), F.ntxent(*views, backend=name))


def test_the_environment_may_ask_for_the_kernels_of_a_machine_that_has_none(views, not_built, monkeypatch):
    monkeypatch.setenv("ECGLOSS_BACKEND", "cpp")
    with pytest.raises(ValueError, match=r"environment variable ECGLOSS_BACKEND.*'cpp' is not usable here"):
        F.ntxent(*views)


def test_an_empty_environment_variable_is_none(monkeypatch):
    monkeypatch.setenv("ECGLOSS_BACKEND", "")
    assert dispatch.select_backend("auto", torch.device("mps")) == "chunked"


@needs_cpp
@pytest.mark.parametrize("device", ["meta", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_tensors_of_another_device_are_refused_instead_of_read(device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    z = torch.ones(4, 3, device=device)
    with pytest.raises(ValueError, match=f"'cpp' computes on a CPU; got tensors on {device}"):
        pair_stats(z, None, 0.1, view_pairs(2), backend="cpp")
