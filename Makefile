# make demo          pretrain on a synthetic cohort and write a report
# make test          the tests, in minutes: test-python, and on Linux beside it test-triton, the GPU kernels without a GPU
#                    (interpreted, and compiled ahead of time), in an environment of their own
# make test-full     what make test leaves out: all other combinations of what it covers, and the older Triton
# make test-gpu      the GPU kernels on a CUDA device, with the torch of $(PYTHON), in at most nine minutes
# make lint          ruff and mypy
# make mutations     faults made on purpose, each of which make test must find: tests/mutations.md
# make sanitize      the kernel tests on builds with the thread, address and undefined-behaviour sanitizers (needs GCC);
#                    sanitize-thread and sanitize-address are the two halves
# make peers         the environment in which ecgloss and its peers are measured, and the tests that compare with them
# make bench         time and memory of the losses beside their peers;   bench-large: one batch too large for N x N;
#                    bench-gpu: the losses on a CUDA device, with the torch of $(PYTHON), in some nine minutes (bench/README.md)
# make kernel-resources   registers and shared memory of the GPU kernels;   host-time: time of a step's launches in Python;
#                    roofline: what bounds the GPU kernels, counted in their machine code
# make results       the figures of the README; DATA=folder with ptbxl/, ludb/ and challenge2021/
# make clean         remove everything these have built
# Each but those on a CUDA device makes the environment it needs (.venv, .venv-peers, .venv-triton-*); paths may contain spaces.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PEERS := .venv-peers
PEERS_STAMP := $(PEERS)/.installed
PIP_INSTALL := -m pip install --no-compile --quiet --disable-pip-version-check
NATIVE := pyproject.toml setup.py $(wildcard csrc/*)
TRITON := 3.9
OLDER_TRITON := 3.6

# Modules are compiled when they are first imported, and that is kept: compiling all of torch takes longer.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test test-full test-python test-python-full test-triton test-interpreted-full \
	test-compiled-full test-older-interpreted test-older-compiled test-gpu lint mutations sanitize \
	sanitize-thread sanitize-address bench bench-large bench-gpu peers \
	kernel-resources roofline host-time results clean

# The package is built once; what the extras bring is added to it.
$(VENV)/.installed: constraints.txt $(NATIVE)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP_INSTALL) --constraint constraints.txt --editable .
	$(BIN)/python -m ecgloss info
	touch $@

EXTRAS-demo := data,train,eval
EXTRAS-test := test
EXTRAS-lint := lint
$(VENV)/.installed-%: $(VENV)/.installed
	$(BIN)/python $(PIP_INSTALL) --constraint constraints.txt 'ecgloss[$(EXTRAS-$*)]'
	touch $@

demo: $(VENV)/.installed-demo
	$(BIN)/python examples/demo.py --out demo-report

# Both halves at a time, on two cores.
IN_TWO := +$(MAKE) --no-print-directory --jobs=2 --output-sync=target
ifeq ($(shell uname -s),Linux)
test: $(VENV)/.installed-test
	$(IN_TWO) test-python test-triton
test-full: $(VENV)/.installed-test
	$(IN_TWO) test-python-full test-compiled-full test-older-interpreted test-interpreted-full test-older-compiled
else
test: test-python
test-full: test-python-full
endif

test-python: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m "not exhaustive"

test-python-full: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m exhaustive

.venv-triton-%/.installed: tests/kernels/requirements-triton-%.txt
	$(PYTHON) -m venv .venv-triton-$*
	.venv-triton-$*/bin/python $(PIP_INSTALL) --requirement tests/kernels/requirements-triton-$*.txt
	touch $@

# An interpreted kernel cannot be compiled: two processes. $(call ...,VERSION,marks,names of tests)
interpreted = TRITON_INTERPRET=1 PYTHONPATH=. .venv-triton-$(1)/bin/python -W ignore -m pytest tests/kernels \
	tests/losses/test_family.py -m "$(2)" -k "$(3)"
compiled = PYTHONPATH=. .venv-triton-$(1)/bin/python -W ignore -m pytest tests/kernels/test_aot*.py kernels -m "$(2)" \
	-k "$(3)"

test-triton: .venv-triton-$(TRITON)/.installed
	$(call interpreted,$(TRITON),not exhaustive,triton)
	$(call compiled,$(TRITON),not exhaustive,)

test-interpreted-full: .venv-triton-$(TRITON)/.installed
	$(call interpreted,$(TRITON),exhaustive,triton)
test-compiled-full: .venv-triton-$(TRITON)/.installed
	$(call compiled,$(TRITON),exhaustive,)

# The older version interprets every rule and op, without the hard numbers, and compiles for sm90.
test-older-interpreted: .venv-triton-$(OLDER_TRITON)/.installed
	$(call interpreted,$(OLDER_TRITON),,triton and (test_triton_ops or test_triton_buffers or every_rule or half_precision\
		or family))
test-older-compiled: .venv-triton-$(OLDER_TRITON)/.installed
	$(call compiled,$(OLDER_TRITON),,not sm80 and not sm89 and not sm100 and not gfx942)

# Compiling a thousand kernels takes all cores, where pytest-xdist is there to use them; a kernel may hang, which
# pytest-timeout ends. The interrupt comes in time to read the failures found by then within ten minutes.
has = $(if $(shell $(PYTHON) -c 'import $(1)' 2>&1),,$(2))
test-gpu:
	PYTHONPATH=. timeout --signal INT --kill-after 20 540 $(PYTHON) -u -m pytest tests/kernels \
		tests/losses/test_family.py -k triton --verbose --tb=short \
		$(call has,xdist,--numprocesses auto --maxprocesses 12) \
		$(call has,pytest_timeout,--timeout 120 --timeout-method thread)

lint: $(VENV)/.installed-test $(VENV)/.installed-lint
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

mutations: $(VENV)/.installed-test .venv-triton-$(TRITON)/.installed
	$(BIN)/python $(PIP_INSTALL) setuptools pybind11
	$(BIN)/python tests/mutations.py --triton .venv-triton-$(TRITON)/bin/python

sanitize: sanitize-thread sanitize-address

sanitize-thread sanitize-address: $(VENV)/.installed-test
	$(BIN)/python $(PIP_INSTALL) setuptools pybind11
	tests/sanitize.sh $(BIN)/python $(@:sanitize-%=%)

# lightly wants torchvision, whose builds follow the newest torch: an environment of its own, ecgloss included, so that
# all sides share one torch.
$(PEERS_STAMP): bench/requirements-peers.txt $(NATIVE)
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python $(PIP_INSTALL) --requirement bench/requirements-peers.txt --editable '.[train]'
	$(PEERS)/bin/python $(PIP_INSTALL) --no-deps solo-learn==1.0.2  # asks for torch 1.9; its losses run on any
	$(PEERS)/bin/python -m ecgloss info
	touch $@

peers: $(PEERS_STAMP)
	$(PEERS)/bin/python -m pytest tests/losses/test_peers.py tests/losses/test_peer_claims.py tests/package/test_switching.py

# Runs lie in .benchmarks, where pytest-benchmark keeps them too.
COLUMNS := --benchmark-columns median,iqr,rounds
bench: $(PEERS_STAMP)
	mkdir -p .benchmarks
	$(PEERS)/bin/python -m pytest bench --device cpu --benchmark-json .benchmarks/cpu.json $(COLUMNS)
	$(PEERS)/bin/python bench/write_tables.py .benchmarks/cpu.json

bench-large: $(PEERS_STAMP)
	PYTHONPATH=bench $(PEERS)/bin/python examples/studies/large_batch.py

# The tables are written whatever happened to the run. What another run has measured on this GPU stays.
bench-gpu:
	mkdir -p .benchmarks
	rm -f .benchmarks/gpu.json
	-PYTHONPATH=. timeout --signal INT --kill-after 20 540 $(PYTHON) -u -m pytest bench/test_throughput.py --verbose \
		--device cuda --budget 480 --journal .benchmarks/gpu.json $(COLUMNS) \
		$(call has,pytest_timeout,--timeout 240)
	PYTHONPATH=. $(PYTHON) bench/write_tables.py .benchmarks/gpu.json --keep

# Triton's compilers and launcher, without a GPU.
kernel-resources: .venv-triton-$(TRITON)/.installed
	PYTHONPATH=. .venv-triton-$(TRITON)/bin/python tests/kernels/kernel_resources.py

roofline: .venv-triton-$(TRITON)/.installed
	PYTHONPATH=.:tests/kernels .venv-triton-$(TRITON)/bin/python -W ignore bench/static_roofline.py

host-time: .venv-triton-$(OLDER_TRITON)/.installed
	PYTHONPATH=.:bench .venv-triton-$(OLDER_TRITON)/bin/python tests/kernels/host_time.py

results: $(VENV)/.installed-test $(PEERS_STAMP)
	$(BIN)/python examples/demo.py --out bench/results/demo
	$(BIN)/python examples/demo.py --out bench/results/demo-default-views --default-views
	$(MAKE) bench bench-large
	$(BIN)/python examples/studies/real_data.py --root "$(DATA)"
	$(BIN)/python examples/studies/compare_losses.py --root "$(DATA)/ptbxl"
	$(BIN)/python examples/studies/half_precision.py
	$(BIN)/python bench/risk_missing.py
	$(BIN)/python bench/readme_tables.py

clean:
	rm -rf $(VENV) $(PEERS) .venv-triton-* .benchmarks build *.egg-info ecgloss/_C*.so
