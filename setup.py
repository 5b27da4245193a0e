"""Build of the optional C++ extension; everything else is declared in pyproject.toml.

A machine without a C++ compiler still installs: the extension is skipped, and ``ecgloss info`` says so. Without OpenMP
the kernels use threads of the standard library. ECGLOSS_SANITIZE=address or thread builds for ``make sanitize``.
"""

import os
import sys
from pathlib import Path

from setuptools import find_packages, setup

try:
    from pybind11.setup_helpers import ParallelCompile, Pybind11Extension, build_ext, has_flag
except ImportError:  # an installation without build isolation and without pybind11
    print("ecgloss: pybind11 is missing, the C++ extension is not built", file=sys.stderr)
    extensions, commands = [], {}
else:

    class BuildExtension(build_ext):
        """Chooses flags the compiler at hand knows."""

        def build_extensions(self):
            unix = self.compiler.compiler_type != "msvc"
            # Multiply and add in one instruction where a kernel's instruction set has it; ISO modes switch that off.
            flags = ["-O3", "-ffp-contract=fast", "-Wno-psabi"] if unix else ["/O2"]
            link = []
            sanitizer = os.environ.get("ECGLOSS_SANITIZE")
            openmp = "-fopenmp" if unix else "/openmp"
            if sanitizer:  # not with OpenMP: the thread sanitizer does not see its barriers
                flags += [f"-fsanitize={sanitizer}", "-g", "-fno-omit-frame-pointer"]
                link += [f"-fsanitize={sanitizer}"]
            elif has_flag(self.compiler, openmp):
                flags.append(openmp)
                link += [openmp] if unix else []
            if unix and not openmp_only(link):
                flags.append("-pthread")
                link.append("-pthread")
            for extension in self.extensions:
                extension.extra_compile_args += [flag for flag in flags if not unix or has_flag(self.compiler, flag)]
                extension.extra_link_args += link
            super().build_extensions()

    def openmp_only(link):
        """Whether OpenMP brings the threads already."""
        return "-fopenmp" in link

    sources = sorted(str(path) for path in Path("csrc").glob("*.cpp"))
    headers = sorted(str(path) for path in Path("csrc").glob("*.h"))
    extensions = [
        Pybind11Extension("ecgloss._C", sources, cxx_std=17, include_dirs=["csrc"], depends=headers, optional=True)
    ]
    commands = {"build_ext": BuildExtension}
    ParallelCompile("ECGLOSS_BUILD_JOBS", default=os.cpu_count() or 1).install()

packages = find_packages(include=["ecgloss", "ecgloss.*"])
setup(
    packages=[*packages, "ecgloss.kernels"],
    package_dir={"ecgloss": "ecgloss", "ecgloss.kernels": "kernels"},
    ext_modules=extensions,
    cmdclass=commands,
)
