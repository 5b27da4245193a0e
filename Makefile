# make demo          pretrain on a synthetic cohort and write a report
# make test          the test suite (test-python); on Linux beside it test-triton, the GPU kernels without a GPU (interpreted, and compiled
#                    ahead of time), in an environment for each version of Triton that is tested
# make test-gpu      the GPU kernels on a CUDA device, with the torch of $(PYTHON), in at most nine minutes
# make lint          ruff and mypy
# make sanitize      the kernel tests on builds with the thread, address and undefined-behaviour sanitizers (needs GCC);
#                    sanitize-thread and sanitize-address are the two halves
# make peers         the environment in which ecgloss and its peers are measured, and the tests that compare with them
# make bench         time and memory of the losses beside their peers;   bench-large: one batch too large for N x N;
#                    bench-gpu: the losses on a CUDA device, with the torch of $(PYTHON), in some nine minutes
# make results       the figures of the README; DATA=folder with ptbxl/, ludb/ and challenge2021/
# make clean         remove everything these have built
# Each but those on a CUDA device makes the environment it needs (.venv, .venv-peers, .venv-triton-*); paths may contain spaces.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PEERS := .venv-peers
PEERS_STAMP := $(PEERS)/.installed
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
NATIVE := pyproject.toml setup.py $(wildcard csrc/*)

TRITONS := 3.6 3.9

.PHONY: demo test test-python test-triton test-gpu $(TRITONS:%=test-triton-%) lint sanitize sanitize-thread sanitize-address bench bench-large bench-gpu peers results clean

$(STAMP): constraints.txt $(NATIVE)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP_INSTALL) --constraint constraints.txt --editable '.[test]'
	$(BIN)/python -m ecgloss info
	touch $@

demo: $(STAMP)
	$(BIN)/python examples/demo.py --out demo-report

ifeq ($(shell uname -s),Linux)
test: $(STAMP)
	+$(MAKE) --no-print-directory --jobs=2 --output-sync=target test-python test-triton
else
test: test-python
endif

test-python: $(STAMP)
	$(BIN)/python -m pytest

test-triton: $(TRITONS:%=test-triton-%)

.venv-triton-%/.installed: tests/kernels/requirements-triton-%.txt
	$(PYTHON) -m venv .venv-triton-$*
	.venv-triton-$*/bin/python $(PIP_INSTALL) --requirement tests/kernels/requirements-triton-$*.txt
	touch $@

# An interpreted kernel cannot be compiled: two processes. The newer version takes the whole of both suites; the older one
# interprets every rule and op, without the hard numbers, and compiles for the GPUs that are most in use.
INTERPRETED-3.6 := triton and (test_triton_ops or test_triton_buffers or every_rule or half_precision or family)
INTERPRETED-3.9 := triton
COMPILED-3.6 := not sm89 and not sm100 and not gfx942
COMPILED-3.9 :=
$(TRITONS:%=test-triton-%): test-triton-%: .venv-triton-%/.installed
	TRITON_INTERPRET=1 OMP_NUM_THREADS=1 PYTHONPATH=. .venv-triton-$*/bin/python -W ignore -m pytest tests/kernels \
		tests/losses/test_family.py -k "$(INTERPRETED-$*)"
	PYTHONPATH=. .venv-triton-$*/bin/python -W ignore -m pytest tests/kernels/test_aot*.py kernels \
		-k "$(COMPILED-$*)"

# Compiling a thousand kernels takes all cores, where pytest-xdist is there to use them; a kernel may hang, which
# pytest-timeout ends. The interrupt comes in time to read the failures found by then within ten minutes.
has = $(if $(shell $(PYTHON) -c 'import $(1)' 2>&1),,$(2))
test-gpu:
	PYTHONPATH=. timeout --signal INT --kill-after 20 540 $(PYTHON) -u -m pytest tests/kernels \
		tests/losses/test_family.py -k triton --verbose --tb=short \
		$(call has,xdist,--numprocesses auto --maxprocesses 12) \
		$(call has,pytest_timeout,--timeout 120 --timeout-method thread)

lint: $(STAMP)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

sanitize: sanitize-thread sanitize-address

sanitize-thread sanitize-address: $(STAMP)
	$(BIN)/python $(PIP_INSTALL) setuptools pybind11
	tests/sanitize.sh $(BIN)/python $(@:sanitize-%=%)

# lightly wants torchvision, whose builds follow the newest torch: an environment of its own, ecgloss included, so that
# all sides share one torch.
$(PEERS_STAMP): bench/requirements-peers.txt $(NATIVE)
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python $(PIP_INSTALL) --requirement bench/requirements-peers.txt --editable .
	$(PEERS)/bin/python $(PIP_INSTALL) --no-deps solo-learn==1.0.2  # asks for torch 1.9; its losses run on any
	$(PEERS)/bin/python -m ecgloss info
	touch $@

peers: $(PEERS_STAMP)
	$(PEERS)/bin/python -m pytest tests/losses/test_peers.py tests/package/test_switching.py

bench: $(PEERS_STAMP)
	$(PEERS)/bin/python bench/bench_losses.py

bench-large: $(PEERS_STAMP)
	$(PEERS)/bin/python bench/bench_losses.py --large

bench-gpu:
	PYTHONPATH=. $(PYTHON) bench/bench_gpu.py

results: $(STAMP) $(PEERS_STAMP)
	$(BIN)/python examples/demo.py --out bench/results/demo
	$(BIN)/python examples/demo.py --out bench/results/demo-default-views --default-views
	$(PEERS)/bin/python bench/bench_losses.py
	$(PEERS)/bin/python bench/bench_losses.py --large
	$(BIN)/python bench/real_data.py --root "$(DATA)"
	$(BIN)/python bench/compare_losses.py --root "$(DATA)/ptbxl"
	$(BIN)/python bench/half_precision.py
	$(BIN)/python bench/readme_tables.py

clean:
	rm -rf $(VENV) $(PEERS) .venv-triton-* build *.egg-info ecgloss/_C*.so
