# Three commands from nothing, on a machine with git, make and a Python 3.11 to 3.13. Each makes .venv where no
# environment is active, installs what is missing (.ci/environment) and runs.
#   make quick   from pool to page in under three minutes, behind the installation; the page says that its figures
#                mean nothing
#   make repro   the default grid; ends with where its report is
#   make test    lint, types and tests; ends with the passed tests
# The pages as a site:
#   make docs    README.md, docs/ and what they lead to, in site/
#   make links   asks for every address elsewhere that they name; needs the internet
# And one by attack, of some forty minutes: kills, damage, full disks, giants, wrong params, fuzz.
#   make torture ends with what held, in docs/promises.csv
# Options, as in `make test PYTHON=python3.12 PYTEST="-q tests/core"`:
#   PYTHON       instead of the first fit one of python3.13, python3.12, python3.11 and python3
#   VENV         a folder instead of .venv
#   CONSTRAINTS  instead of constraints.txt; with nothing behind = the newest versions that pyproject.toml allows
#   PYTEST       arguments of pytest instead of -q -n auto --dist loadfile (on all cores, a file on one)
#   TORTURE      parts of make torture instead of all (docs/promises.md); also `--out FILE` for their rows
PYTEST ?= -q -n auto --dist loadfile

.PHONY: help quick repro test docs links torture
help:
	@sed -n '/^[^#]/q; s/^# \{0,1\}//p' Makefile

# A study is kept as an experiment of DVC, which is a commit.
quick:
	@git rev-parse -q --verify HEAD >/dev/null 2>&1 || { \
	  echo "error: make quick needs a git history: git init && git add -A && git commit -m start, or a clone" >&2; exit 2; }
	@bin=$$(sh .ci/environment) && export PATH="$$bin:$$PATH" && \
	./study quick

# ./repro begins with a check, so that a wrong params.yaml is told by us before DVC meets it.
repro:
	@bin=$$(sh .ci/environment) && export PATH="$$bin:$$PATH" && \
	if ! [ -e .git ] && ! git rev-parse --git-dir >/dev/null 2>&1; then \
	  dvc config --local core.no_scm true && echo "no git history here: dvc runs without it"; \
	fi && \
	./repro && \
	echo "report: $(CURDIR)/reports/index.html"

test:
	@bin=$$(sh .ci/environment dev) && export PATH="$$bin:$$PATH" && \
	ruff check && ruff format --check && mypy && pytest $(PYTEST)

docs:
	@bin=$$(sh .ci/environment dev) && export PATH="$$bin:$$PATH" && \
	sphinx-build -E -W -q -c docs . site && \
	echo "site: $(CURDIR)/site/index.html"

links:
	@bin=$$(sh .ci/environment dev) && export PATH="$$bin:$$PATH" && \
	sphinx-build -E -W --keep-going -q -b linkcheck -c docs . .scratch/links && \
	echo "every address answers: $(CURDIR)/.scratch/links/output.txt"

torture:
	@bin=$$(sh .ci/environment dev,fuzz) && export PATH="$$bin:$$PATH" && \
	python -m torture --out docs/promises.csv $(TORTURE)
