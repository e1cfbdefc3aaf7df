# One image for every process of compose.yaml and deploy/kubernetes: `ranker`, `prefect` and `mlflow` lie in it.
#
#   docker build -t r1-ranker --build-arg TORCH_INDEX=<index with torch's CPU builds> .
#   docker build -t r1-ranker:gpu --build-arg VARIANT=gpu .
#
# Without TORCH_INDEX the CPU image has the torch of the default index, on PyPI a CUDA build: larger, no faster.
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS builder
# Debian's packages change within a release for their safety alone.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build

# The packages first: their layer stays when only the project's own code has changed.
ARG VARIANT=cpu
ARG TORCH=torch==2.13.0
ARG TORCH_INDEX=""
COPY deploy/locks/ locks/
RUN python3 -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-deps --require-hashes -r "locks/${VARIANT}.lock" \
    && if [ "${VARIANT}" = cpu ]; then /opt/venv/bin/pip install ${TORCH_INDEX:+--index-url "${TORCH_INDEX}"} "${TORCH}"; fi

# What nothing here runs: libraries' own tests and, where no compiler is, torch's headers. 0.3 GB.
WORKDIR /opt/venv/lib/python3.11/site-packages
RUN find matplotlib pandas scipy sklearn sympy -type d -name tests -prune -exec rm -r {} + \
    && if [ "${VARIANT}" = cpu ]; then rm -r torch/include torch/test; fi
WORKDIR /build

# The wheel, and beside its packages the file by which `ranker bootstrap` makes deployments.
RUN python3 -m venv /opt/build && /opt/build/bin/pip install --no-deps --require-hashes -r locks/build.lock
COPY pyproject.toml README.md LICENSE ./
COPY ranker/ ranker/
COPY flows/ flows/
COPY contracts/ contracts/
COPY sql/ sql/
RUN /opt/build/bin/python -m hatchling build --target wheel --directory dist \
    && /opt/venv/bin/pip install --no-deps --no-index dist/*.whl \
    && if [ "${VARIANT}" = cpu ]; then /opt/venv/bin/pip check; fi \
    && /opt/venv/bin/pip uninstall --yes pip
COPY prefect.yaml /opt/venv/lib/python3.11/site-packages/
COPY deploy/healthcheck.py /opt/venv/bin/

FROM ${BASE}
ARG VARIANT=cpu
# Triton, which vLLM compiles its kernels with, asks for a C compiler when it runs.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 \
    && if [ "${VARIANT}" = gpu ]; then apt-get install --yes --no-install-recommends gcc libc6-dev python3-dev; fi \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --system --gid 999 ranker \
    && useradd --system --uid 999 --gid 999 --create-home ranker \
    && install --directory --owner ranker --group ranker /data
COPY --from=builder /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    RANKER_HOME=/data \
    PYTHONDONTWRITEBYTECODE=1 \
    DO_NOT_TRACK=1 \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    GX_ANALYTICS_ENABLED=false \
    MLFLOW_DISABLE_TELEMETRY=true \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 999:999
WORKDIR /home/ranker
VOLUME /data
EXPOSE 8080
# `ranker serve`; another process of this image names its own address in RANKER_HEALTH.
HEALTHCHECK --interval=15s --timeout=10s --start-period=120s --retries=4 CMD ["python3", "/opt/venv/bin/healthcheck.py"]
ENTRYPOINT ["ranker"]
CMD ["--help"]
