"""Where the benchmarks run, for how long, and what is kept of tests that gave no figure."""

from __future__ import annotations

import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import machine
import pytest
import torch
from figures import NOT_REACHED, case_of
from kernel_gates import KernelGates
from variants import KERNELS

from ecgloss._files import write_json

collect_ignore = [p.name for p in Path(__file__).parent.glob("*.py") if not p.name.startswith("test_")]
NOTES = pytest.StashKey[list[dict[str, Any]]]()
END = pytest.StashKey[float]()
ITEMS = pytest.StashKey[list[pytest.Item]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options beside those of pytest-benchmark."""
    group, devices = parser.getgroup("ecgloss"), ("cpu", "cuda")
    group.addoption("--device", choices=devices, help="default: cuda where there is a GPU")
    group.addoption("--cases", choices=devices, help="those of the other device, to try the code without a GPU")
    group.addoption("--precision", default="highest", choices=["highest", "high"], help="of products of fp32")
    group.addoption("--budget", type=float, default=float("inf"), metavar="SECONDS", help="no test begins after these")
    group.addoption("--journal", type=Path, metavar="PATH", help="as --benchmark-json, but written after every test")


def pytest_configure(config: pytest.Config) -> None:
    """Choose the device, and begin."""
    option, config.stash[NOTES] = config.option, []
    config.stash[END] = time.monotonic() + option.budget
    option.device = option.device or ("cuda" if torch.cuda.is_available() else "cpu")
    option.cases = option.cases or option.device
    if option.device == "cuda" and not torch.cuda.is_available():
        raise pytest.UsageError("there is no CUDA device; --device cpu --cases cuda tries the code without one")
    torch.set_float32_matmul_precision(option.precision)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Keep what is going to be measured."""
    session.config.stash[ITEMS] = session.items


@pytest.fixture(scope="session")
def device(pytestconfig: pytest.Config) -> str:
    """Where tensors lie."""
    return str(pytestconfig.option.device)


@pytest.fixture(scope="session")
def kernel_gates(pytestconfig: pytest.Config, device: str) -> KernelGates:
    """Verdicts on the kernels, ahead of need for all cases that are going to be measured."""
    entries = ({"params": parameters(item)} for item in pytestconfig.stash[ITEMS])
    cases = [case for e in entries if e["params"].get("variant") == KERNELS and (case := case_of(e))]
    return KernelGates(device, lambda: pytestconfig.stash[END] - time.monotonic(), cases)


def parameters(item: pytest.Item) -> dict[str, Any]:
    """What distinguishes a test from others of the same function."""
    return dict(item.callspec.params) if hasattr(item, "callspec") else {}


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin no test when the time is over."""
    if time.monotonic() > item.config.stash[END]:
        pytest.skip(NOT_REACHED)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Keep why a test gave no figure."""
    report = yield
    if report.outcome != "passed" and call.excinfo is not None:
        reason = getattr(call.excinfo.value, "msg", None) or call.excinfo.exconly()
        note = {"fullname": item.nodeid, "params": parameters(item), "reason": str(reason).splitlines()[0]}
        item.config.stash[NOTES].append(note)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Keep the journal, and end a run whose GPU is unusable since a test failed: others would fail as well."""
    failed = item.session.testsfailed
    result = yield
    if item.config.option.journal is not None:
        write_journal(item.config)
    if item.session.testsfailed > failed and item.config.option.device == "cuda":
        try:
            torch.cuda.synchronize()
        except Exception as error:  # of a class that differs between versions of torch
            pytest.exit(f"the GPU is unusable after {item.nodeid}: {error}", returncode=1)
    return result


def write_journal(config: pytest.Config) -> None:
    """What pytest-benchmark would write if the run ended now: a run may be killed."""
    done = config._benchmarksession.benchmarks  # type: ignore[attr-defined]  # the plugin offers no other way to them
    content: dict[str, Any] = {"machine_info": {}}
    content["benchmarks"] = [b.as_dict(include_data=False) for b in done if b and not b.has_error]
    pytest_benchmark_update_machine_info(config, content["machine_info"])
    pytest_benchmark_update_json(config, content)
    write_json(config.option.journal, content)


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """The header of the result files."""
    machine_info["header"] = machine.describe(config.option.device)


def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    """Why there is no figure of some tests, or not yet."""
    known = {entry["fullname"] for entry in [*output_json["benchmarks"], *config.stash[NOTES]]}
    left = [item for item in config.stash[ITEMS] if item.nodeid not in known]
    notes = [{"fullname": item.nodeid, "params": parameters(item), "reason": NOT_REACHED} for item in left]
    output_json["notes"] = config.stash[NOTES] + notes
