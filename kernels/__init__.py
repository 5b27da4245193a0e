"""Triton kernels of pair_stats, installed as ecgloss.kernels: the only code that imports triton.

Each pass runs its files in order, with :mod:`ecgloss.kernels.launch` and :mod:`ecgloss.kernels.launch_backward`:

- forward: ``prepare``, ``prepare_risk``, ``forward`` (``forward_dense`` for many positives), ``forward_merge``,
  ``forward_finish``
- backward: ``backward_prepare``, ``backward`` with ``backward_pair`` (``backward_dense`` for many positives,
  ``backward_strip`` for a large D), ``backward_minimum``, ``backward_project``

Importing the package itself imports none of them.
"""
