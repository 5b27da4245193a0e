#!/usr/bin/env bash
# Builds the extension with a sanitizer, in build/sanitize-*, and runs the kernel tests on it; an ordinary build stays as
# it is.   tests/sanitize.sh PYTHON thread|address
set -euo pipefail
python=$1 kind=$2
cd "$(dirname "$0")/.."
root=$PWD folder=$PWD/build/sanitize-$kind
[[ $python != */* || $python == /* ]] || python=$root/$python

# The tests of threads for the one, the tests of every rule, dtype and instruction set for the other. Not those that
# measure memory, of which a sanitizer needs its own, nor those that compile, which takes minutes and runs no other kernels.
case $kind in
  thread)
    flags=thread
    tests=(same_bits processes)
    skip="opcheck or data_loader or fork" # this sanitizer loses track of threads started in a forked child
    ;;
  address)
    flags=address,undefined
    skip=opcheck
    tests=(accuracy buffers instruction_sets ops processes)
    ;;
  *)
    echo "thread or address, not '$kind'" >&2
    exit 2
    ;;
esac
tests=("${tests[@]/#/$root/tests/engine/test_cpp_}")
[[ $kind != address ]] || tests+=("$root/tests/engine/test_op_safety") # of wrong arguments, too
runtime=$("${CXX:-g++}" -print-file-name="lib${kind:0:1}san.so")
[[ -e $runtime ]] || { echo "no sanitizer library $runtime: make sanitize needs GCC" >&2; exit 2; }

rm -rf "$folder/ecgloss"
ECGLOSS_SANITIZE=$flags "$python" setup.py --quiet build --build-base "$folder/objects" --build-lib "$folder"

cd "$folder" # so that this ecgloss is the one imported, by child processes too
export OMP_NUM_THREADS=4
# Python and torch are not instrumented: what they do between themselves is not looked at, what the kernels do with
# their memory is. What Python keeps until it ends is no leak. A forked child may start threads.
export TSAN_OPTIONS=ignore_noninstrumented_modules=1:halt_on_error=1:die_after_fork=0
export ASAN_OPTIONS=detect_leaks=0
export UBSAN_OPTIONS=print_stacktrace=1
# Beside it the C++ library, without which the sanitizer, started before the extension, cannot let an exception pass.
export LD_PRELOAD="$runtime $("${CXX:-g++}" -print-file-name=libstdc++.so.6)"
"$python" -c 'import sys, ecgloss._C as c; assert c.__file__.startswith(sys.argv[1]), c.__file__' "$folder"
# A report ends the process, so it must go to the terminal and not to where pytest keeps output.
"$python" -m pytest --quiet --capture=sys -c "$root/pyproject.toml" --rootdir "$root" -k "not ($skip)" "${tests[@]/%/.py}"
