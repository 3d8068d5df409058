"""What `helm test` runs, against a server of the test's own."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from charts.helm import CHART, Helm

SCRIPT = CHART / "files/smoke.py"
GOOD = {
    "/healthz": (200, "{}"),
    "/v1/models": (401, "{}"),
    "/metrics": (200, "alise_gateway_build_info 1"),
    "/readyz": (200, "{}"),
}


@contextmanager
def serving(replies: dict[str, tuple[int, str]]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = replies[self.path]
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def run(*urls: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603  our own script
        [sys.executable, "-c", SCRIPT.read_text(encoding="utf-8"), *urls],
        capture_output=True,
        text=True,
        check=False,
    )


def test_passes_where_the_gateway_serves() -> None:
    with serving(GOOD) as url:
        done = run(url, url)

    assert (done.returncode, done.stderr) == (0, "")


def test_says_why_the_gateway_is_not_ready() -> None:
    reply = json.dumps({"status": "not_ready", "reasons": ["no backend is usable"]})
    with serving(GOOD | {"/readyz": (503, reply)}) as url:
        done = run(url, url)

    assert done.returncode == 1
    assert "answered 503: no backend is usable" in done.stdout


def test_says_what_does_not_answer() -> None:
    done = run("http://127.0.0.1:9", "http://127.0.0.1:9")

    assert done.returncode == 1
    assert done.stdout.count("does not answer") == 4


def test_the_pod_runs_this_script(helm: Helm) -> None:
    pod = helm.render({}, name="blue").one("Pod", "blue-alise-test")
    script, inference, admin = pod["spec"]["containers"][0]["args"]

    assert script.strip() == SCRIPT.read_text(encoding="utf-8").strip()
    assert inference == "http://blue-alise-gateway.llm:8080"
    assert admin == "http://blue-alise-gateway-admin.llm:8081"
