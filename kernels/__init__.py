"""Triton kernels of ecgloss, installed as ``ecgloss.kernels``: the only place that may import triton."""
