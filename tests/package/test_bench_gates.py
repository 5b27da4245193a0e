"""Kernels are measured only where a process of their own found them right, and one they kill costs nothing else."""

from __future__ import annotations

import sys

import pytest

DIES = 'import os; print("{\\"n\\": 64, \\"reason\\": \\"\\"}", flush=True); os.abort()'
SAYS = "import sys; print('a warning\\n[1]'); print(sys.argv[4].count('loss'), file=open(sys.argv[-1], 'a'))"

pytestmark = pytest.mark.exhaustive  # the benchmark's own machinery, which no user's figures pass through


@pytest.fixture
def cases(bench):
    return [bench("cases").Case("ntxent", n, 16, "bfloat16") for n in (64, 128)]


def gates(bench, cases, code=None, seconds=60.0, **more):
    if code is not None:
        more["command"] = (sys.executable, "-c", code)
    return bench("kernel_gates").KernelGates("cpu", bench("gpu_cases").Budget(seconds), cases, **more)


def test_right_kernels_pass_in_a_process_of_their_own(bench, cases):
    case = bench("cases").Case("ntxent", 2048, 4)
    found = gates(bench, [*cases, case], backend="chunked")
    assert [found.reason(c) for c in (*cases, case)] == ["", "", ""]


def test_what_fails_in_the_process_is_the_reason_not_to_measure(bench, cases):
    reason = gates(bench, cases[:1], backend="unheard of").reason(cases[0])
    assert reason.startswith("ValueError: ")
    assert "unheard of" in reason


def test_a_process_that_dies_fails_its_cases_and_no_others(bench, cases):
    other = bench("cases").Case("infonce", 64, 16)
    code = f'import sys\nif \'ntxent\' in sys.argv[4]:\n    {DIES}\nprint(\'{{"n": 64, "reason": ""}}\')'
    found = gates(bench, [*cases, other], code)
    assert found.reason(cases[0]) == found.reason(cases[1]) == "its checking process failed: exit code -6"
    assert found.reason(other) == ""


def test_a_process_that_loses_the_gpu_says_why(bench, cases):
    code = 'print(\'{"lost": "the GPU is unusable"}\', flush=True); raise SystemExit(1)'
    assert gates(bench, cases, code).reason(cases[0]) == "its checking process failed: the GPU is unusable"


def test_a_process_that_hangs_is_stopped(bench, cases):
    found = gates(bench, cases, "import time; time.sleep(60)", seconds=0.0)
    assert found.reason(cases[0]) == "its checking process failed: stopped after 1 s"


def test_dying_at_a_large_size_fails_no_smaller_one_that_passed_the_whole_gate(bench):
    verdicts = bench("kernel_gates").verdicts
    small, large, larger = (bench("cases").Case("ntxent", n, 256, "bfloat16") for n in (128, 2048, 8192))
    found = verdicts([small, large, larger], {128: "", 1024: "", 2048: ""}, "exit code -6")
    assert found == {small: "", large: "", larger: "its checking process failed: exit code -6"}
    found = verdicts([small, large, larger], {128: ""}, "exit code -6")
    assert set(found.values()) == {"its checking process failed: exit code -6"}
    found = verdicts([small, large], {128: "", 1024: "wrong", 2048: ""}, "")
    assert found == {small: "", large: "wrong"}


def test_each_loss_width_and_dtype_is_checked_once_and_ahead_of_need(bench, cases, tmp_path, monkeypatch):
    log = tmp_path / "log"
    monkeypatch.setattr(bench("kernel_gates"), "AT_ONCE", 2)
    others = [bench("cases").Case(loss, 64, 16) for loss in ("ntxent", "infonce")]
    code = SAYS.replace("sys.argv[-1]", repr(str(log)))
    found = gates(bench, [*cases, *others], code)
    assert found.reason(cases[0]) == "its checking process failed: it said nothing"
    assert sorted(log.read_text().split()) == ["1", "2"]  # both cases of one combination, and the next
    found.reason(others[0])
    assert sorted(log.read_text().split()) == ["1", "2"]
    found.reason(others[1])
    assert sorted(log.read_text().split()) == ["1", "1", "2"]


def admission(bench, monkeypatch, loss, case, verdict):
    monkeypatch.setattr(bench("admission"), "variants", lambda case, device: {"triton": loss})
    monkeypatch.setattr(bench("admission"), "absent", lambda case: {})
    kernels = gates(bench, [case])
    kernels.found[case] = verdict
    return bench("admission").Admission("cpu", bench("gpu_cases").Budget(60.0), "", kernels)


def test_kernels_that_failed_elsewhere_are_never_called_here(bench, cases, monkeypatch):
    def lethal(a, b, risk):
        pytest.fail("called")

    admitted = admission(bench, monkeypatch, lethal, cases[0], "its checking process failed").admit(
        cases[0], bench("cases").inputs(cases[0], "cpu")
    )
    assert admitted.losses == {}
    assert admitted.notes == [bench("gpu_cases").Note(cases[0], "triton", "its checking process failed")]


@pytest.mark.parametrize("factor", [1.0, 1.01])
def test_kernels_beyond_the_gate_are_compared_at_the_size_that_is_timed(bench, monkeypatch, factor):
    case, right = bench("cases").Case("ntxent", 1100, 8, "bfloat16"), bench("plain").ntxent

    def loss(a, b, risk):
        return factor * right(a.float(), b.float())

    admitted = admission(bench, monkeypatch, loss, case, "").admit(case, bench("cases").inputs(case, "cpu"))
    if factor == 1.0:
        assert list(admitted.losses) == ["triton"]
    else:
        assert admitted.losses == {}
        assert admitted.notes[0].reason.startswith("ArithmeticError: wrong by 1.0e-02 in value")
