# The operator. From the root of a checkout, with any builder:
#
#   docker build -f charts/images/operator.Dockerfile -t alise-operator:0.1.0 .
#
# As the gateway's image, with fewer packages (requirements/operator.txt): no model runs here.
ARG BASE=docker.io/library/debian:bookworm-slim

FROM ${BASE} AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates binutils python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ONLY_BINARY=:all:
# Where a network has its own index or certificates: --build-arg PIP_CERT=/mnt/ca.crt with a volume at /mnt.
ARG PIP_INDEX_URL
ARG PIP_CERT
WORKDIR /src
COPY requirements/build.txt requirements/
RUN python3 -m venv /opt/tools && /opt/tools/bin/pip install --no-deps --require-hashes -r requirements/build.txt
COPY requirements/operator.txt requirements/
RUN python3 -m venv --without-pip /opt/alise \
    && /opt/tools/bin/pip --python /opt/alise/bin/python3 install --no-deps --require-hashes -r requirements/operator.txt
COPY pyproject.toml LICENSE README.md CHANGELOG.md ./
COPY core core
COPY predictor predictor
COPY gateway gateway
COPY operator operator
COPY engine engine
COPY bench bench
RUN /opt/tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /tmp/wheel . \
    && /opt/tools/bin/pip --python /opt/alise/bin/python3 install --no-deps /tmp/wheel/alise-*.whl \
    && cd /opt/alise/lib/python3*/site-packages \
    && rm -rf alise_bench alise_gateway alise_predictor alise_vllm \
    && find . -name '*.so' -exec strip --strip-unneeded {} +

FROM ${BASE}
LABEL org.opencontainers.image.title="ALISE operator" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/* /usr/share/doc/* /usr/share/man/*
COPY --from=build /opt/alise /opt/alise
ENV PATH=/opt/alise/bin:/usr/bin:/bin PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
WORKDIR /
EXPOSE 9090
ENTRYPOINT ["alise"]
CMD ["operator"]
