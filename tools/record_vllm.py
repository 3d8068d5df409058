"""Record what a real vLLM server answers, byte for byte, for tests to read.

Usage: ``python tools/record_vllm.py --port PORT --to tests/fixtures/vllm_0_32 [NAME ...]`` against
a server that ``make e2e-vllm`` would start (tiny model, served as ``tiny``). Each exchange becomes
``NAME.bin``, the response as it came from the socket with its status line and its chunk framing;
``requests.json`` says what was asked. Those called ``*_full`` are recorded only when named: they
need a server with ``--max-num-queued-reqs 1`` and are sent several at once, because vLLM checks
the limit twice, before the response starts (503) and after it (200, then an error event or
nothing at all), and the second shows only when requests race.
"""

import argparse
import json
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

Body = dict[str, Any] | str | None

TOOL = {
    "type": "function",
    "function": {
        "name": "set_lamp",
        "strict": True,
        "description": "Switch the lamp",
        "parameters": {
            "type": "object",
            "properties": {"on": {"type": "boolean"}},
            "required": ["on"],
            "additionalProperties": False,
        },
    },
}
TURN = [{"role": "user", "content": "Say something."}]
CHAT = {"model": "tiny", "messages": TURN, "max_tokens": 4, "temperature": 0, "seed": 1}
# Sampled, because the likeliest tokens of random weights may be white space for ever.
CALL_TOOL = {
    **CHAT,
    "tools": [TOOL],
    "tool_choice": {"type": "function", "function": {"name": "set_lamp"}},
    "max_tokens": 256,
    "temperature": 1,
}
TEXT = {"model": "tiny", "prompt": "import os", "max_tokens": 4, "temperature": 0, "seed": 1}
USAGE = {"stream": True, "stream_options": {"include_usage": True}}
RESPONSE = {"model": "tiny", "input": "Say something.", "max_output_tokens": 4, "temperature": 0}

EXCHANGES: dict[str, tuple[str, str, Body]] = {
    "models": ("GET", "/v1/models", None),
    "health": ("GET", "/health", None),
    "chat": ("POST", "/v1/chat/completions", CHAT),
    "chat_stream": ("POST", "/v1/chat/completions", {**CHAT, "stream": True}),
    "chat_stream_usage": ("POST", "/v1/chat/completions", {**CHAT, **USAGE}),
    "chat_stream_continuous_usage": (
        "POST",
        "/v1/chat/completions",
        {
            **CHAT,
            "stream": True,
            "stream_options": {"include_usage": True, "continuous_usage_stats": True},
        },
    ),
    "chat_stream_two_choices": (
        "POST",
        "/v1/chat/completions",
        {**CHAT, **USAGE, "n": 2, "temperature": 1},
    ),
    "chat_tool": ("POST", "/v1/chat/completions", CALL_TOOL),
    "chat_tool_stream": (
        "POST",
        "/v1/chat/completions",
        {**CALL_TOOL, **USAGE},
    ),
    "completion": ("POST", "/v1/completions", TEXT),
    "completion_stream": ("POST", "/v1/completions", {**TEXT, "stream": True}),
    "completion_stream_usage": ("POST", "/v1/completions", {**TEXT, **USAGE}),
    "response": ("POST", "/v1/responses", RESPONSE),
    "response_stream": ("POST", "/v1/responses", {**RESPONSE, "stream": True}),
    "message": ("POST", "/v1/messages", {**CHAT, "messages": TURN}),
    "message_stream": ("POST", "/v1/messages", {**CHAT, "stream": True}),
    "error_bad_json": ("POST", "/v1/chat/completions", "{"),
    "error_unknown_model": ("POST", "/v1/chat/completions", {**CHAT, "model": "no-such"}),
    "error_no_messages": ("POST", "/v1/chat/completions", {"model": "tiny"}),
    "error_too_long": ("POST", "/v1/completions", {**TEXT, "max_tokens": 100_000}),
    "error_too_long_stream": (
        "POST",
        "/v1/completions",
        {**TEXT, "max_tokens": 100_000, "stream": True},
    ),
    "error_no_embeddings": ("POST", "/v1/embeddings", {"model": "tiny", "input": "import os"}),
    "error_not_found": ("GET", "/v1/nothing", None),
    "chat_full": ("POST", "/v1/chat/completions", CHAT),
    "chat_stream_full": ("POST", "/v1/chat/completions", {**CHAT, "stream": True}),
    "completion_stream_full": ("POST", "/v1/completions", {**TEXT, "stream": True}),
    "response_stream_full": ("POST", "/v1/responses", {**RESPONSE, "stream": True}),
    "message_full": ("POST", "/v1/messages", CHAT),
    "message_stream_full": ("POST", "/v1/messages", {**CHAT, "stream": True}),
}
READ_BYTES = 65_536
RACERS = 12
ROUNDS = 50

Address = tuple[str, int]


def main() -> int:
    """Record the named exchanges, or all that need no special server; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: the ordinary ones")
    arguments = parser.parse_args()
    names = arguments.names or [name for name in EXCHANGES if not name.endswith("_full")]
    arguments.to.mkdir(parents=True, exist_ok=True)
    for name in names:
        record = _race if name.endswith("_full") else exchange
        raw = record(name, (arguments.host, arguments.port))
        (arguments.to / f"{name}.bin").write_bytes(raw)
        status = raw.partition(b"\r\n")[0].decode()
        print(f"{name}: {len(raw)} bytes, {status}", file=sys.stderr)
    manifest = {
        name: {"method": method, "path": path, "body": body}
        for name, (method, path, body) in EXCHANGES.items()
        if (arguments.to / f"{name}.bin").exists()
    }
    text = json.dumps(manifest, indent=1) + "\n"
    (arguments.to / "requests.json").write_text(text, encoding="utf-8")
    return 0


def _race(name: str, address: Address) -> bytes:
    """Send several at once until one is refused in the way that ``name`` stands for."""
    refused = b"200 OK" if "_stream_" in name else b"503 Service"
    with ThreadPoolExecutor(RACERS) as pool:
        for _ in range(ROUNDS):
            for raw in pool.map(lambda _: exchange(name, address), range(RACERS)):
                if refused in raw.partition(b"\r\n")[0] and not _is_answer(raw):
                    return raw
    raise SystemExit(f"{name}: never refused; does the server have --max-num-queued-reqs 1?")


def exchange(name: str, address: Address) -> bytes:
    """Send one request on a fresh connection and return the whole response as it came."""
    method, path, body = EXCHANGES[name]
    payload = b""
    if body is not None:
        payload = (body if isinstance(body, str) else json.dumps(body)).encode()
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n\r\n"
    )
    with socket.create_connection(address, timeout=120) as connection:
        connection.sendall(head.encode() + payload)
        raw = b""
        while not _is_whole(raw):
            read = connection.recv(READ_BYTES)
            if not read:
                break
            raw += read
        return raw


def _is_answer(raw: bytes) -> bool:
    return b'"error"' not in raw and _is_whole(raw)


def _is_whole(raw: bytes) -> bool:
    head, end, body = raw.partition(b"\r\n\r\n")
    if not end:
        return False
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return len(body) >= int(value)
    return body.endswith(b"0\r\n\r\n")


if __name__ == "__main__":
    sys.exit(main())
