# `make demo` and `make test` do everything on a machine that has Python 3.11 or newer, and make.
PYTHON ?= python3
# torch with CUDA's libraries (cuda), without them (cpu), or as nvidia-smi says (auto)
TORCH ?= auto
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help install demo head check test test-long soak bench lint types docs lock clean

help:
	@echo "make install  into .venv, 3 GB, or 8 GB with CUDA; TORCH=cpu or TORCH=cuda says which, auto looks for a GPU"
	@echo "make demo   install, make the demo data, extract, train, compare: a table and a plot"
	@echo "make head   train again the small model that ships, on the features of make demo"
	@echo "make test   install, run the tests; make test-long runs the rest: wheels, notebooks, commands of the documents"
	@echo "make soak   tries what docs/reliability.md promises thousands of times, in half an hour"
	@echo "make bench  measures the speeds of the README's table, in an hour and a half, with 30 GB of disk"
	@echo "make check  lint, types, tests, docs: what continuous integration checks"
	@echo "make docs   build the documentation into site/"
	@echo "make lock   pin the newest versions that setup.cfg allows (needs uv)"
	@echo "make clean  remove what these commands made, the environment included"

install: $(VENV)/installed

# another build of torch than the one that is there is installed from the beginning
ifneq ($(filter cpu cuda,$(TORCH)),)
ifneq ($(TORCH),$(shell cat $(VENV)/torch 2> /dev/null))
$(VENV)/installed: anew
endif
endif
.PHONY: anew
anew:
	rm -rf $(VENV)

$(VENV)/installed: requirements.lock requirements-cpu.lock install.sh setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed, and $(PYTHON) is older; say which: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	sh install.sh $(VENV) $(TORCH)
	@touch $@

demo: install
	$(BIN)/vqa-data make demo --root demo
	$(BIN)/vqa-extract --dataset demo --root demo --preset offline
	$(BIN)/vqa-fuse train --dataset demo --preset offline --fusion concat --run runs/demo-concat
	$(BIN)/vqa-fuse train --dataset demo --preset offline --fusion dynamic --run runs/demo-dynamic
	$(BIN)/vqa-fuse compare runs/demo-concat runs/demo-dynamic

head: demo
	$(BIN)/vqa-fuse train --dataset demo --preset offline --fusion concat --temporal-encoder attention --members 2 --run runs/head
	cp runs/head/model.safetensors fuse/delivery/heads/demo.safetensors

check: lint types test test-long docs

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

# processes share the cores, so each computes in one thread
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist worksteal

test: install
	$(PYTEST) -m "not long"

test-long: install
	$(PYTEST) -m long

# prints at its end what was tried, how often, and what came of it
# one process more than cores: tests that kill others mostly wait
soak: install
	$(PYTEST) --numprocesses $$(($$(nproc) + 1)) --maxprocesses 5 --soak -m soak \
	  $$(grep -rl --include='test_*.py' 'mark\.soak' tests)

# keeps what it measured in benchmarks/goals.json, which the README shows
bench: install
	$(BIN)/python -m benchmarks.goals

# a warning fails it; the variable silences news that the theme prints about its successor (decision 0012)
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build
	@echo "open site/index.html"

lock:
	uv pip compile --universal --python-version 3.11 --all-extras --no-emit-index-url --no-annotate \
	  --custom-compile-command "make lock" --upgrade setup.cfg --output-file requirements.lock
	grep -vE '^(nvidia-|cuda-|triton==)' requirements.lock > requirements-cpu.lock

clean:
	rm -rf $(VENV) demo cache runs site
