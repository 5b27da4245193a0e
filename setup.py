"""Build of the optional C++ extension; everything else is declared in pyproject.toml.

A machine without a C++ compiler that knows GNU's vector extensions still installs: the extension is skipped, and
``ecgloss info`` says so. Without OpenMP the kernels use threads of the standard library. ECGLOSS_SANITIZE, the argument
of -fsanitize, builds for ``make sanitize``.
"""

import os
import sys
import tempfile
from pathlib import Path

from setuptools import find_packages, setup

OPENMP_PROGRAM = "#include <omp.h>\nint main() { return omp_get_max_threads() > 0 ? 0 : 1; }\n"

try:
    from pybind11.setup_helpers import ParallelCompile, Pybind11Extension, build_ext, has_flag
    from setuptools.errors import CompileError, LinkError
except ImportError:  # an installation without build isolation and without pybind11
    print("ecgloss: pybind11 is missing, the C++ extension is not built", file=sys.stderr)
    extensions, commands = [], {}
else:

    class BuildExtension(build_ext):
        """Chooses flags the compiler at hand knows."""

        def build_extensions(self):
            if self.compiler.compiler_type == "msvc":
                print("ecgloss: the kernels need GCC or Clang, the C++ extension is not built", file=sys.stderr)
                self.extensions = []
                return
            # Multiply and add in one instruction where a kernel's instruction set has it; ISO modes switch that off.
            flags, link = ["-O3", "-ffp-contract=fast", "-Wno-psabi"], ["-pthread"]
            sanitizer = os.environ.get("ECGLOSS_SANITIZE")
            if sanitizer:  # not with OpenMP: the thread sanitizer does not see its barriers
                flags = ["-O2", *flags[1:], "-g", "-fno-omit-frame-pointer", "-D_GLIBCXX_ASSERTIONS"]
                flags += [f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all"]
                link.append(f"-fsanitize={sanitizer}")
            elif has_openmp(self.compiler):
                flags.append("-fopenmp")
                link.append("-fopenmp")
            for extension in self.extensions:
                extension.extra_compile_args += [flag for flag in ["-pthread", *flags] if has_flag(self.compiler, flag)]
                extension.extra_link_args += link
            super().build_extensions()

    def has_openmp(compiler):
        """Whether a program with OpenMP compiles and links: Clang takes the flag without having header or library."""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "openmp.cpp"
            source.write_text(OPENMP_PROGRAM)
            try:
                objects = compiler.compile([str(source)], output_dir=folder, extra_postargs=["-fopenmp"])
                compiler.link_executable(
                    objects, str(Path(folder) / "openmp"), extra_postargs=["-fopenmp"], target_lang="c++"
                )
            except (CompileError, LinkError):
                return False
        return True

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
