"""Embeddings, from a server that is started for them, behind a gateway of its own."""

from pathlib import Path

import openai

from running.gateway import start_gateway
from running.process import ServerProcess
from running.vllm import MODEL, VllmEnvironment, start_vllm

WIDTH = 256


def test_embeddings(
    environment: VllmEnvironment, logs: Path, processes: list[ServerProcess]
) -> None:
    engine = start_vllm(environment, "vllm-embed", logs, 1, ["--runner=pooling", "--convert=embed"])
    processes.append(engine.process)
    engine.wait_until_ready()
    gateway = start_gateway("gateway-embed", [engine.url], logs)
    processes.append(gateway.process)

    with openai.OpenAI(base_url=gateway.api, api_key="unused", max_retries=0) as client:
        answer = client.embeddings.create(model=MODEL, input=["import os", "import sys"])

    gateway.process.stop()
    engine.process.stop()
    assert [len(item.embedding) for item in answer.data] == [WIDTH, WIDTH]
    assert answer.data[0].embedding != answer.data[1].embedding
