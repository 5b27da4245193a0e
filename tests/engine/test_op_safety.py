"""Whatever is passed to the ops and to the extension: an answer, or an error in Python. Never a crash, never a number
from foreign memory."""

from __future__ import annotations

import random
import subprocess
import sys
import textwrap

import pytest
import torch

import ecgloss
import ecgloss.functional
from ecgloss.engine import cpp, extension
from ecgloss.engine.ops import sizes_of

pytestmark = pytest.mark.skipif(extension.load() is None, reason="the C++ extension is not built")
OPS = torch.ops.ecgloss
ERRORS = (TypeError, ValueError, RuntimeError, IndexError, NotImplementedError, OverflowError, AttributeError)
NAMES = ["q", "q2", "k", "temperature", "values", "column_values", "missing", "row_labels", "column_labels"]
NAMES += ["code", "numbers", "layout", "alignment", "term_weights"]


def forward_arguments() -> dict[str, object]:
    """A sound problem: CLEF on two views of four samples."""
    g = torch.Generator().manual_seed(0)
    q, q2 = torch.randn(2, 4, 3, generator=g)
    return {
        "q": q,
        "q2": q2,
        "k": None,
        "temperature": torch.tensor(0.1, dtype=torch.float64),
        "values": torch.rand(4, 1, generator=g, dtype=torch.float64),
        "column_values": None,
        "missing": torch.rand(4, generator=g, dtype=torch.float64),
        "row_labels": None,
        "column_labels": None,
        "code": [1, 1, 2, 0, 0, 0, 4, 1],
        "numbers": [0.2, 0.0, 0.0],
        "layout": [1, 4, 0, 4],
        "alignment": 1,
        "term_weights": [1.0, 0.5],
    }


def backward_arguments() -> dict[str, object]:
    problem = forward_arguments()
    loss, *_, packed, saved = OPS.pair_stats(*problem.values())
    given = {"g_loss": torch.ones_like(loss), "g_contrastive": None, "g_alignment": None, "g_rows": None}
    given |= {"packed": packed, "saved": saved} | {name: problem[name] for name in NAMES[3:]}
    sizes = sizes_of(problem["q"], problem["q2"], None)
    more = {"sizes": sizes, "q_dtype": "float32", "k_dtype": "float32", "wanted": [True, True, False, True]}
    return given | more


def kernel_arguments() -> list[object]:
    """Those of the extension's forward."""
    problem = forward_arguments()
    q, q2 = problem["q"], problem["q2"]
    outputs = cpp.forward_shapes(q, q2, None)
    side = [problem[name] for name in NAMES[4:9]]
    return [q, q2, None, *side, *outputs, *(problem[n] for n in ("code", "numbers", "layout")), 0.1, 1, [1.0, 0.5], 1]


def kernel_backward_arguments() -> list[object]:
    problem, given = forward_arguments(), backward_arguments()
    side = [problem[name] for name in NAMES[4:9]]
    packed = given["packed"]
    unit = packed.new_empty(48 * 3)
    gradients = [packed.new_empty(4, 3), packed.new_empty(4, 3), None]
    rule = [problem[n] for n in ("code", "numbers", "layout")]
    limits = [3e38, 3e38]
    first = [None, 1.0, 0.5, packed, given["saved"], *side, unit, None]
    return [*first, *gradients, given["sizes"], *rule, 0.1, 1, 1, True, limits]


def bad_values(sound: object) -> list[object]:
    """What may come in place of an argument."""
    if isinstance(sound, torch.Tensor):
        bad = [None, sound.reshape(-1), sound.unsqueeze(0), sound.to(torch.int32), "x", 7]
        bad += [sound.half(), sound.bfloat16(), sound.to("meta"), torch.empty(0)]
        if sound.dim():
            bad += [sound[:-1], sound[:1], sound[..., :0], torch.cat([sound, sound]), sound.to_sparse()]
            bad += [sound.repeat(*[1] * (sound.dim() - 1), 2)[..., ::2], sound.expand(2, *sound.shape)]
        return bad
    if sound is None:
        return [torch.empty(0), torch.ones(3), torch.ones(4, 3), torch.ones(9, 9, dtype=torch.int64), "x"]
    if isinstance(sound, list):
        huge = [[2**62] * len(sound), [-1] * len(sound), [10**30] * len(sound), [float("nan")] * len(sound)]
        places = [[*sound[:i], x, *sound[i + 1 :]] for i in range(len(sound)) for x in (-1, 2**40, 99, None, "x")]
        return [None, [], sound[:-1], [*sound, *sound], "x", *huge, *places]
    return [None, -1, 2**40, 99, "x", float("nan"), [], torch.ones(2)]


def call_all(function, arguments: list[object]) -> None:
    """Call with each bad value of each argument in turn, and with too few arguments."""
    for k, value in enumerate(arguments):
        for bad in bad_values(value):
            try:
                function(*arguments[:k], bad, *arguments[k + 1 :])
            except ERRORS as error:
                assert str(error)  # noqa: PT017
    for k in range(len(arguments)):
        with pytest.raises(ERRORS):
            function(*arguments[:k])


def call_at_random(function, arguments: list[object], calls: int) -> None:
    """Several bad values at a time."""
    draw = random.Random(0)
    for _ in range(calls):
        changed = list(arguments)
        for k in draw.sample(range(len(arguments)), draw.randint(1, 4)):
            changed[k] = draw.choice([*bad_values(arguments[k]), *(x for x in arguments if draw.random() < 0.3)])
        try:
            function(*changed)
        except ERRORS:
            continue


def run_all(calls: int) -> None:
    from ecgloss import _C

    functions = {
        "pair_stats": (OPS.pair_stats, list(forward_arguments().values())),
        "pair_stats_backward": (OPS.pair_stats_backward, list(backward_arguments().values())),
        "forward_single": (_C.forward_single, kernel_arguments()),
        "backward_single": (_C.backward_single, kernel_backward_arguments()),
    }
    for function, arguments in functions.values():
        function(*arguments)
        if calls:
            call_at_random(function, arguments, calls)
        else:
            call_all(function, arguments)
    for name in ("forward_double", "backward_double"):
        with pytest.raises(TypeError, match="float64"):
            getattr(_C, name)(*functions[name.replace("double", "single")][1])
    for wrong in (-1, 0, 2**40, None, 1.5, "x"):
        with pytest.raises(ERRORS):
            _C.fma_rate(wrong, 0.01)
        for place in range(4):
            sizes = [4, 4, 4, 3]
            sizes[place] = wrong
            with pytest.raises(ERRORS):
                _C.buffer_sizes([-5, *sizes[1:]] if wrong == 0 else sizes, False)
    with pytest.raises(ValueError, match="sizes must be a list of 4 integers; got 2"):
        _C.buffer_sizes([1, 2], True)
    with pytest.raises(ValueError, match="not usable here"):
        _C.use_instruction_set("sse")


@pytest.mark.parametrize("calls", [0, pytest.param(3000, marks=pytest.mark.exhaustive)])
def test_bad_arguments_are_errors_and_never_end_the_process(calls):
    here = __file__
    program = f"""
        import importlib.util, sys
        sys.path[:0] = {sys.path!r}
        spec = importlib.util.spec_from_file_location("safety", {here!r})
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.run_all({calls})
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"q2": torch.ones(4, 2)}, r"q2 must have shape \(N, 3\).*got \(4, 2\)"),
        ({"temperature": torch.ones(2)}, "temperature must be one floating-point number"),
        ({"temperature": torch.tensor(-1.0)}, "temperature must lie in"),
        ({"values": torch.rand(3, 1, dtype=torch.float64)}, r"values must have shape \(4, 1\); got shape \(3, 1\)"),
        ({"values": torch.rand(4, 1)}, "values must be a float64 tensor; got torch.float32"),
        ({"row_labels": torch.zeros(8, dtype=torch.int64)}, "row_labels must be None: this rule has no labels"),
        ({"code": [1, 1]}, "code must be a list of 8 integers; got 2"),
        ({"code": [9, 1, 2, 0, 0, 0, 4, 1]}, r"code: kind must lie in \[0, 4\]; got 9"),
        ({"layout": [1, 4, 0, 400]}, "excluded shift"),
        ({"layout": [1]}, "layout must be square"),
        ({"alignment": 7}, r"alignment must lie in \[0, 2\]; got 7"),
        ({"k": torch.ones(4, 3)}, "k must be None"),
    ],
)
def test_errors_name_the_argument(change, message):
    with pytest.raises((ValueError, TypeError), match=message):
        OPS.pair_stats(*(forward_arguments() | change).values())


def test_buffers_of_another_problem_are_refused():
    sound = backward_arguments()
    for name, x in (("packed", sound["packed"][:-1]), ("saved", sound["saved"].float()), ("sizes", [80, 40, 80, 3])):
        with pytest.raises(ValueError, match=r"(packed|saved) must be"):
            OPS.pair_stats_backward(*(sound | {name: x}).values())
    gradients = OPS.pair_stats_backward(*sound.values())
    assert [tuple(g.shape) for g in gradients] == [(4, 3), (4, 3), (0, 3), ()]


def test_the_gradient_of_columns_that_are_rows_is_refused():
    """Nobody computes it: it would be what its memory held."""
    sound = backward_arguments()
    with pytest.raises(ValueError, match=r"wanted\[2\].*must be False for a square layout"):
        OPS.pair_stats_backward(*(sound | {"wanted": [True, True, True, True]}).values())
    given = kernel_backward_arguments()
    given[11], given[14] = given[3].new_empty(48 * 3), given[3].new_empty(8, 3)
    with pytest.raises(ValueError, match="dk and dk_unit must be None in a square problem"):
        extension.load().backward_single(*given)


def test_weights_of_terms_that_are_missing_are_named():
    with pytest.raises(ValueError, match="term_weights must have 2 entries; got 0"):
        OPS.pair_stats_backward(*(backward_arguments() | {"term_weights": []}).values())


def test_tensors_that_are_negated_when_they_are_read_give_the_loss_of_what_they_hold():
    sound = forward_arguments() | {"values": None, "missing": None, "code": [0] * 8, "alignment": 0}
    problem = sound | {"q2": None, "k": sound["q2"], "layout": [0, 0, 0]}
    expected = OPS.pair_stats(*(problem | {"q": -sound["q"]}).values())[0]
    assert torch.equal(OPS.pair_stats(*(problem | {"q": torch._neg_view(sound["q"])}).values())[0], expected)
    q, k = torch._neg_view(sound["q"]), sound["q2"]
    mine, true = (ecgloss.functional.info_nce(x, k, backend="cpp") for x in (q, q.clone()))
    assert torch.equal(mine, true)


@pytest.mark.parametrize("wrong", [None, "x", [[1j, 2j]], [[None, 1.0]]])
def test_filters_take_real_numbers_only(wrong):
    sections, states = [[1.0, 0, 0, 1, 0, 0]], [[0.0, 0.0]]
    for k in range(3):
        arguments = [[[1.0, 2.0]], sections, states]
        arguments[k] = wrong
        with pytest.raises(TypeError, match="must be an array of real numbers"):
            extension.load().zero_phase(*arguments, 0)
