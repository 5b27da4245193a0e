"""Triton kernels of pair_stats, installed as ecgloss.kernels: the only place that imports triton.

Importing this package imports nothing; :mod:`ecgloss.kernels.launch` is what the engine calls.
"""
