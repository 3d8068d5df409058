# A simulated vLLM engine, to try the gateway in a cluster without GPUs and models. From the root of a checkout,
# after the gateway's image, with any builder:
#
#   docker build -f charts/images/sim.Dockerfile --build-arg GATEWAY=alise-gateway:0.1.0 -t alise-sim:0.1.0 .
#
# Needs nothing that the gateway's image does not have. Arguments are those of `alise sim-engine`.
ARG GATEWAY=alise-gateway:0.1.0

FROM ${GATEWAY}
LABEL org.opencontainers.image.title="ALISE simulated engine"
COPY bench/alise_bench /opt/alise/lib/python3.11/site-packages/alise_bench
EXPOSE 8000
ENTRYPOINT ["alise", "sim-engine"]
CMD ["--host=0.0.0.0"]
