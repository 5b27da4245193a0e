"""Build of the optional C++ extension; everything else is declared in pyproject.toml.

A machine without a C++ compiler still installs: the extension is skipped, and ``ecgloss info`` says so.
"""

import sys
from pathlib import Path

from setuptools import find_packages, setup

try:
    from pybind11.setup_helpers import Pybind11Extension, build_ext
except ImportError:  # an installation without build isolation and without pybind11
    print("ecgloss: pybind11 is missing, the C++ extension is not built", file=sys.stderr)
    extensions, commands = [], {}
else:
    sources = sorted(str(path) for path in Path("csrc").glob("*.cpp"))
    extensions = [Pybind11Extension("ecgloss._C", sources, cxx_std=17, include_dirs=["csrc"], optional=True)]
    commands = {"build_ext": build_ext}

packages = find_packages(include=["ecgloss", "ecgloss.*"])
setup(
    packages=[*packages, "ecgloss.kernels"],
    package_dir={"ecgloss": "ecgloss", "ecgloss.kernels": "kernels"},
    ext_modules=extensions,
    cmdclass=commands,
)
