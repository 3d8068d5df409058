# The gateway. From the root of a checkout, with any builder:
#
#   docker build -f charts/images/gateway.Dockerfile -t alise-gateway:0.1.0 .
#
# Every Python package is pinned by hash (requirements/gateway.txt). BASE is any Debian 12; pin it by digest in
# what you release.
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
# pip and the build tools stay in an environment of their own: the image has neither.
COPY requirements/build.txt requirements/
RUN python3 -m venv /opt/tools && /opt/tools/bin/pip install --no-deps --require-hashes -r requirements/build.txt
COPY requirements/gateway.txt requirements/
RUN python3 -m venv --without-pip /opt/alise \
    && /opt/tools/bin/pip --python /opt/alise/bin/python3 install --no-deps --require-hashes -r requirements/gateway.txt
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
    && rm -rf alise_bench alise_vllm alise_operator alise_predictor/train
# 75 MB that no server needs: a second copy of ONNX Runtime for C programs, tools that make models, sources and
# symbols. Libraries that were made relocatable (*.libs) do not survive strip.
RUN cd /opt/alise/lib/python3*/site-packages \
    && rm -rf onnxruntime/capi/libonnxruntime.so.* onnxruntime/transformers onnxruntime/tools \
       onnxruntime/quantization numpy/distutils numpy/f2py numpy/_core/include numpy/_core/lib \
    && find . -type d -name tests -prune -exec rm -rf {} + \
    && find . -name '*.so' -not -path '*.libs/*' -exec strip --strip-unneeded {} + \
    && find . \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.[ch]' \) -delete

FROM ${BASE}
LABEL org.opencontainers.image.title="ALISE gateway" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/* /usr/share/doc/* /usr/share/man/* \
    && mkdir -p /var/lib/alise && chown 65532:65532 /var/lib/alise
COPY --from=build /opt/alise /opt/alise
# Snapshots go to /var/lib/alise, where the chart mounts a volume; nothing else is written.
ENV PATH=/opt/alise/bin:/usr/bin:/bin PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
WORKDIR /var/lib/alise
EXPOSE 8080 8081
ENTRYPOINT ["alise"]
CMD ["gateway"]
