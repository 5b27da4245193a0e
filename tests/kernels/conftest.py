"""What needs Triton to be imported is imported by the tests that have it, and not collected."""

from __future__ import annotations

collect_ignore = ["compile_kernels.py", "fake_gpu.py", "host_time.py", "kernel_resources.py"]
