"""One pure function per loss: the public mathematics.

All compare rows of embeddings by cosine similarity S, s = S / tau, without storing the matrix. Gradients flow to the
embeddings and to a tensor temperature. All work under autocast (similarities are fp32 or wider), and raise on a second
derivative. ``weight`` weighs anchors, ``reduction`` is ``"mean"``, ``"sum"`` or ``"none"``, and ``return_terms=True``
returns what is worth logging: :class:`ClefTerms` or :class:`RowTerms`, whose log-sum-exp is differentiable.
:func:`monitor` has what a training loop watches besides: accuracy, alignment, uniformity.

:func:`risk_weights` and :func:`similarity_matrix` do store N x N: they are for looking at small batches.
"""

from ecgloss.functional.byol import byol
from ecgloss.functional.clef import ClefTerms, clef
from ecgloss.functional.info_nce import info_nce, moco
from ecgloss.functional.inspection import risk_weights, similarity_matrix
from ecgloss.functional.monitoring import Monitor, monitor
from ecgloss.functional.ntxent import ntxent
from ecgloss.functional.physioclr import physioclr
from ecgloss.functional.reconstruction import peak_aware_mse
from ecgloss.functional.rows import RowTerms
from ecgloss.functional.supcon import supcon
from ecgloss.functional.y_aware import y_aware

__all__ = [
    "ClefTerms",
    "Monitor",
    "RowTerms",
    "byol",
    "clef",
    "info_nce",
    "moco",
    "monitor",
    "ntxent",
    "peak_aware_mse",
    "physioclr",
    "risk_weights",
    "similarity_matrix",
    "supcon",
    "y_aware",
]
