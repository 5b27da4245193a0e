"""pair_stats through one op per pass, by kernels: C++ or Triton."""

from __future__ import annotations

import torch
from torch import Tensor

from ecgloss.engine import ops
from ecgloss.engine.description import SIMILARITIES, describe, layout_words
from ecgloss.engine.stats import PairStats
from ecgloss.pairs import Rule


def pair_stats(
    engine: str,
    q: Tensor,
    q2: Tensor | None,
    k: Tensor | None,
    temperature: float | Tensor,
    rule: Rule,
    similarity: str | None,
    term_weights: tuple[float, float],
) -> PairStats:
    """Statistics of embeddings that are not normalised, rows of q and then of q2, by the engine "cpp" or "triton"."""
    tau = temperature if isinstance(temperature, Tensor) else _constant(temperature)
    if tau.is_cuda and q.is_cuda:
        tau = tau.to(q.device)  # kernels read it where they run
    words, numbers, *side = describe(rule, torch.float64 if engine == "cpp" else torch.float32)
    problem = (words, numbers, layout_words(rule.layout), SIMILARITIES.index(similarity), term_weights, engine)
    loss, entropy, error, rows, _, _ = ops.run(q, q2, k, tau, *side, *problem)
    asked = None if similarity is None else error
    if rule.layout.positive is None:
        return PairStats(rows, asked)
    return PairStats(rows, asked, entropy, term_weights, loss)


def _constant(x: float) -> Tensor:
    """x as a 0-d tensor on the host, the same one every time: nobody writes to it."""
    if torch.compiler.is_compiling():
        return torch.full((), x, dtype=torch.float64, device="cpu")
    constant = _CONSTANTS.get(x)
    if constant is None:
        if len(_CONSTANTS) > 100:  # a schedule's values are used once each
            _CONSTANTS.clear()
        with torch.inference_mode(False):  # an inference tensor could not be saved for a backward pass later on
            _CONSTANTS[x] = constant = torch.full((), x, dtype=torch.float64, device="cpu")
    return constant


_CONSTANTS: dict[float, Tensor] = {}
