# make run              demo dataset, dashboard on http://localhost:8501
# make run DATA=PATH    registers, scans and opens the folder, table or zip at PATH
# make test             everything the tests need, then all of them
PYTHON ?= python3
PORT ?= 8501
VENV := .venv

.PHONY: run test

run: $(VENV)/run.stamp
ifdef DATA
	$(VENV)/bin/python -m recipe_core open "$(DATA)"
else
	$(VENV)/bin/python -m recipe_core demo
endif
	$(VENV)/bin/streamlit run app.py --server.port $(PORT)

test: $(VENV)/test.stamp
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	OMP_NUM_THREADS=1 $(VENV)/bin/pytest -n 3 --dist loadfile --no-loadscope-reorder

$(VENV)/run.stamp: requirements.txt
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/test.stamp: $(VENV)/run.stamp requirements-dev.txt
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@
