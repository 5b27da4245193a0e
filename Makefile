# make demo: pretrain on a synthetic cohort and write a report.   make test: the test suite.
# Each makes .venv and installs what it needs; paths may contain spaces.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PEERS := .venv-peers
NATIVE := $(wildcard csrc/*)

.PHONY: demo test lint bench bench-gpu peers results clean

$(STAMP): pyproject.toml setup.py constraints.txt $(NATIVE)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	$(BIN)/python -m ecgloss info
	touch $@

demo: $(STAMP)
	$(BIN)/python examples/demo.py --out demo-report

test: $(STAMP)
	$(BIN)/python -m pytest

lint: $(STAMP)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

bench: $(STAMP)
	$(BIN)/python bench/bench_losses.py

bench-gpu:
	PYTHONPATH=. $(PYTHON) bench/bench_losses.py --device cuda

# Peers (lightly, pytorch-metric-learning) want torchvision, whose builds follow the newest torch: an environment of its own.
$(PEERS)/.installed: bench/requirements-peers.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --requirement bench/requirements-peers.txt
	touch $@

peers: $(PEERS)/.installed
	PYTHONPATH=. $(PEERS)/bin/python -m pytest tests/losses/test_ntxent.py

clean:
	rm -rf $(VENV) $(PEERS) build *.egg-info

# The figures of the README. make results DATA=folder with ptbxl/, ludb/ and challenge2021/
results: $(STAMP)
	$(BIN)/python examples/demo.py --out bench/results/demo
	$(BIN)/python examples/demo.py --out bench/results/demo-default-views --default-views
	$(BIN)/python bench/bench_losses.py
	$(BIN)/python bench/real_data.py --root "$(DATA)"
	$(BIN)/python bench/readme_tables.py
