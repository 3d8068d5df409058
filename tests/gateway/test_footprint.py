"""What a gateway loads, opens and reports: seen from outside, in a process of its own."""

import json
import subprocess
import sys
from typing import Any

import pytest

_PROGRAM = """
import asyncio, json, os, sys
from alise_gateway.app import Gateway
from alise_gateway.settings import GatewaySettings

async def look():
    settings = GatewaySettings(
        port=0, identity={"allow_anonymous": True}, predictor={"enabled": %(enabled)s}
    )
    gateway = Gateway(settings, None)
    await gateway.start()
    files = []
    for name in os.listdir("/proc/self/fd"):
        try:
            files.append(os.readlink(f"/proc/self/fd/{name}"))
        except OSError:
            pass  # the listing's own
    await gateway.stop()
    return {"modules": sorted({name.partition(".")[0] for name in sys.modules}), "files": files}

print(json.dumps(asyncio.run(look())))
"""


def seen(*, enabled: bool) -> dict[str, Any]:
    done = subprocess.run(  # noqa: S603  our own interpreter and program
        [sys.executable, "-c", _PROGRAM % {"enabled": enabled}],
        check=True,
        capture_output=True,
        text=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
def test_a_gateway_that_does_not_predict_loads_nothing_of_it() -> None:
    heavy = {"numpy", "onnxruntime", "tokenizers", "alise_predictor"}
    assert heavy & set(seen(enabled=False)["modules"]) == set()


@pytest.mark.slow
def test_a_gateway_without_a_cluster_loads_nothing_of_it() -> None:
    heavy = {"kubernetes", "aiohttp", "alise_cluster"}
    assert heavy & set(seen(enabled=False)["modules"]) == set()


@pytest.mark.slow
def test_onnx_runtime_keeps_no_database_to_report_from() -> None:
    found = seen(enabled=True)
    assert "onnxruntime" in found["modules"]
    assert [path for path in found["files"] if "onnxruntime" in path] == []
