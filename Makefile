# `make help` lists what can be done. A fresh machine needs Python ≥ 3.11, git and make, no more.

VENV ?= .venv
# Where the environment's commands are.
BIN := $(VENV)/bin
# The first Python that is new enough; another one with `make PYTHON=…`.
PYTHON ?= $(firstword $(foreach python,python3 python3.14 python3.13 python3.12 python3.11,$(shell \
	$(python) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(python))))
# Tests run in this many processes, each with whole modules as long as there are (worksteal), since
# many modules start servers or a browser once for all their tests; further arguments:
# `make test ARGS="-k catalogue -x"`.
WORKERS ?= 2
ARGS ?=

PIP := $(BIN)/python -m pip --disable-pip-version-check
LOCKED := install --quiet --require-hashes --use-pep517
ITSELF := install --quiet --no-deps --no-build-isolation --editable .
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
	--fork-strategy fewest --generate-hashes --no-header --no-emit-index-url --no-annotate
# At runlevel 1 no package starts the server that it brings.
APT := RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get

# Where a release is made, of these folders.
RELEASE ?= dist/release
RELEASED := backup dqm dqm_app dqm_db ingest cloud-init docker systemd

# What builds the image, and its name.
BUILDER ?= $(firstword $(foreach tool,buildah podman docker,$(shell command -v $(tool))))
IMAGE ?= localhost/nectarcam-dqm

# Where tests may mount and start what they like; elsewhere they are skipped, and say so.
APART := $(if $(filter 0,$(shell id -u)),tests/deploy/apart)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test test-grid test-deploy deployers lint format bench soak pictures lock release image release-image browser servers clean distclean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo 'ARGS="…" is handed on to the command: make run ARGS="--runs 300"'

run: $(VENV)/.runs  ## the whole system on this machine with simulated runs; Ctrl-C stops it
	@exec $(BIN)/dqm demo $(ARGS)

test: browser servers lint  ## lint, then the whole suite
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -m "not soak and not grid and not deploy" $(ARGS)

# One DIRAC for all its tests. With CI=true nothing of it is skipped.
test-grid: $(VENV)/.develops  ## the tests on a real DIRAC, which is installed first (a minute, once)
	@PYTHON=$(BIN)/python tests/grid/install_dirac.sh || [ "$$CI" != true ]
	$(BIN)/pytest -m grid $(ARGS)

# As root on Debian; what it starts has namespaces of its own. With CI=true nothing of it is skipped.
test-deploy: browser deployers  ## the tests of deployment: machines booted, containers run
	$(APART) $(BIN)/pytest -m deploy -n $(WORKERS) --dist loadscope tests/deploy $(ARGS)

lint: $(VENV)/.develops  ## ruff (rules and layout) and mypy
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(VENV)/.develops  ## lay the code out and repair what ruff can repair
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: browser servers  ## measure, print the table, write benchmarks/results/*.json; ONLY=pages,ingest
	$(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY)) $(ARGS)

soak: browser  ## the long trials
	$(BIN)/pytest -m soak --timeout 0 $(ARGS)

pictures: browser  ## take the pictures of the documents again, in a browser
	$(BIN)/python docs/make_pictures.py $(ARGS)

lock: $(VENV)/.develops  ## pin the dependencies again; newest releases with ARGS=--upgrade
	$(PIP) install --quiet uv
	$(COMPILE) $(ARGS) --output-file requirements.lock \
		--extra http --extra webdav --extra xrootd pyproject.toml
	$(COMPILE) $(ARGS) --output-file requirements-dev.lock --extra grid --extra postgresql --extra redis --extra dev \
		--constraints requirements.lock pyproject.toml

# Built from a copy, so that nothing of an earlier build gets in; the same commit gives the same wheel.
release: $(VENV)/.runs  ## what a host installs, in dist/release: the wheel, what it needs, digests
	@rm -rf $(RELEASE) && mkdir -p $(RELEASE)/.source
	@cp -r pyproject.toml README.md LICENSE requirements.lock $(RELEASED) $(RELEASE)/.source
	@SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct 2>/dev/null || echo 315532800) \
		$(PIP) wheel --quiet --no-deps --no-build-isolation --wheel-dir $(RELEASE) $(RELEASE)/.source
	@rm -r $(RELEASE)/.source
	@cp -p requirements.lock $(RELEASE)
	cd $(RELEASE) && sha256sum -- * >SHA256SUMS

# With buildah, podman or docker, whichever is there; options for it with ARGS="…".
image: release  ## the image of all roles, localhost/nectarcam-dqm
	@if [ -z "$(BUILDER)" ]; then echo "make: install buildah, podman or docker first" >&2; exit 1; fi
	$(BUILDER) build $(if $(filter docker,$(notdir $(BUILDER))),,--format docker) --file docker/Dockerfile \
		--tag $(IMAGE) --build-arg "VERSION=$$(basename $(RELEASE)/*.whl | cut -d - -f 2)" $(ARGS) $(RELEASE)

release-image: image  ## … and its archive, in dist/release
	@case "$(notdir $(BUILDER))" in \
	buildah) $(BUILDER) push --quiet $(IMAGE) docker-archive:$(RELEASE)/image.tar:$(IMAGE):latest ;; \
	*) $(BUILDER) save --output $(RELEASE)/image.tar $(IMAGE) ;; \
	esac
	@gzip <$(RELEASE)/image.tar >$(RELEASE)/nectarcam-dqm-image.tar.gz && rm $(RELEASE)/image.tar
	cd $(RELEASE) && sha256sum -- nectarcam-dqm-image.tar.gz >>SHA256SUMS

clean:  ## remove what tests, tools and builds left behind
	rm -rf build dist *.egg-info dqm_client/build dqm_client/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean  ## … and the environment
	rm -rf $(VENV)

# Each stamp says that the environment holds what the files on its right ask for.
$(VENV)/.runs: requirements.lock pyproject.toml | $(BIN)/python
	$(PIP) $(LOCKED) --requirement requirements.lock
	$(PIP) $(ITSELF)
	@touch $@

$(VENV)/.develops: requirements-dev.lock pyproject.toml | $(BIN)/python
	$(PIP) $(LOCKED) --requirement requirements-dev.lock
	$(PIP) $(ITSELF)
	@touch $@ $(VENV)/.runs

# Debian's Python comes without the part that makes environments.
$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then \
		echo "make: no Python 3.11 or newer here; install one, or name it: make PYTHON=/path/to/python3" >&2; \
		exit 1; \
	fi
	@if ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
		package=$$($(PYTHON) -c 'import sys; print("python3.%d-venv" % sys.version_info[1])'); \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			$(APT) update -qq && $(APT) install -qq -y $$package >/dev/null; \
		else \
			echo "make: $(PYTHON) cannot make environments; install the package $$package first" >&2; \
			exit 1; \
		fi; \
	fi
	$(PYTHON) -m venv $(VENV)

# Without a browser its tests are skipped, and say so; with CI=true they fail (tests/conftest.py).
browser: $(VENV)/.develops
	@if ! command -v chromium >/dev/null && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "make: installing Chromium for the browser tests"; \
		{ $(APT) update -qq && $(APT) install -qq -y chromium fonts-dejavu-core >/dev/null; } || \
		echo "make: Chromium cannot be installed; the browser tests cannot run" >&2; \
	fi

# The servers of the tests of remote sources, and the compiler that keeps one of them on loopback
# (tests/system/grid_servers.py). Not where an init system runs, which would start them for good.
servers:
	@for program in nginx envsubst xrootd gcc openssl systemd-analyze redis-server; do \
		command -v $$program >/dev/null || missing=yes; done; \
	if [ "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	[ ! -d /run/systemd/system ]; then \
		echo "make: installing nginx, XRootD and Redis for the tests"; \
		{ $(APT) update -qq && $(APT) install -qq -y --no-install-recommends nginx gettext-base \
			xrootd-server gcc libc6-dev openssl systemd redis-server >/dev/null; } || \
		echo "make: they cannot be installed; their tests cannot run" >&2; \
	fi

# What boots machines, joins them and runs containers: as root on Debian, and where no init system
# runs, which would start some of it for good.
DEPLOYERS := buildah debootstrap iproute2 iptables netavark nftables nginx openssh-client podman runc \
	slirp4netns systemd-container uidmap
deployers:
	@for program in buildah debootstrap ip iptables nft nginx ssh podman runc slirp4netns systemd-nspawn newuidmap; do \
		command -v $$program >/dev/null || missing=yes; done; \
	if [ "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	[ ! -d /run/systemd/system ]; then \
		echo "make: installing what the tests of deployment boot and run machines with"; \
		{ $(APT) update -qq && $(APT) install -qq -y --no-install-recommends $(DEPLOYERS) >/dev/null; } || \
		echo "make: it cannot be installed; these tests cannot run" >&2; \
	fi
