# make scan    set up, scan the head with brain/t1-mprage at 5 T, and print where the report is
# make test    set up, and pass the tests
# make check   ruff and mypy
# Both work on a bare clone; set-up happens once, and again when pyproject.toml changes.

PYTHON ?= python3
OUT ?= study

.PHONY: scan test check clean

scan: .venv/.set-up
	.venv/bin/lauterbur scan brain/t1-mprage --scanner 5T --subject head --out $(OUT)

# Two processes with one thread each: the machine is then full, and no more than full.
test: .venv/.set-up
	export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 NUMBA_NUM_THREADS=1; .venv/bin/pytest -n 2

check: .venv/.set-up
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis

.venv/.set-up: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Lauterbur needs Python 3.11 or newer")'
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@echo "compiling kernels, once: about a minute"
	.venv/bin/python -c 'import lauterbur as lb; lb.compile_kernels()'
	touch $@
