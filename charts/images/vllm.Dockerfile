# vLLM with the ALISE plugin (docs/engine.md). From the root of a checkout, with any builder:
#
#   docker build -f charts/images/vllm.Dockerfile -t alise-vllm:0.32.0 .
#
# Adds one wheel of a few MB and no dependency: the plugin needs nothing that vLLM does not bring.
ARG BASE=docker.io/library/debian:bookworm-slim
ARG VLLM=docker.io/vllm/vllm-openai:v0.32.0

FROM ${BASE} AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ONLY_BINARY=:all:
# Where a network has its own index or certificates: --build-arg PIP_CERT=/mnt/ca.crt with a volume at /mnt.
ARG PIP_INDEX_URL
ARG PIP_CERT
WORKDIR /src
COPY requirements/build.txt requirements/
RUN python3 -m venv /opt/tools && /opt/tools/bin/pip install --no-deps --require-hashes -r requirements/build.txt
COPY pyproject.toml LICENSE README.md CHANGELOG.md ./
COPY core core
COPY predictor predictor
COPY gateway gateway
COPY operator operator
COPY engine engine
COPY bench bench
RUN /opt/tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheel .

FROM ${VLLM}
LABEL org.opencontainers.image.title="vLLM with the ALISE plugin" \
      org.opencontainers.image.licenses="Apache-2.0"
USER root
COPY --from=build /wheel /tmp/wheel
# The wheel holds every package of ALISE; only the plugin and what it shares with the gateway stay.
RUN PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install --no-deps --no-cache-dir /tmp/wheel/alise-*.whl && rm -rf /tmp/wheel \
    && cd "$(python3 -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')" \
    && rm -rf alise_bench alise_gateway alise_operator alise_predictor alise_cluster
# vLLM loads the plugin's routes and series where this names it; see docs/engine.md for other plugins.
ENV VLLM_PLUGINS=alise
# torch wants its user to have a name, and a home for what it compiles. Models are downloaded below it: mount a
# volume at /home/alise/.cache.
RUN useradd --uid 65532 --user-group --create-home alise
USER 65532:65532
WORKDIR /home/alise
# The entrypoint stays vLLM's: arguments are those of `vllm serve`.
