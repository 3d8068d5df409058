"""What `helm test` runs: python3 -c "$(cat smoke.py)" INFERENCE_URL ADMIN_URL.

Standard library only. Exit code 0: the gateway answers clients and scrapers and is ready.
"""

import json
import sys
import urllib.error
import urllib.request

TIMEOUT_SECONDS = 10


def main() -> int:
    """Ask everything once; print what came back."""
    inference, admin = sys.argv[1:3]
    problems = [
        problem
        for problem in (
            expect(f"{inference}/healthz", {200}),
            expect(f"{inference}/v1/models", {200, 401}),
            expect(f"{admin}/metrics", {200}, "alise_gateway_build_info"),
            expect(f"{admin}/readyz", {200}),
        )
        if problem
    ]
    for problem in problems:
        print("FAIL", problem)
    if not problems:
        print("The gateway serves.")
    return 1 if problems else 0


def expect(url: str, statuses: set[int], part: str = "") -> str:
    """What is wrong with the answer of ``url``; nothing when it is as expected."""
    try:
        status, body = ask(url)
    except OSError as error:
        return f"{url} does not answer: {error}"
    print(status, url)
    if status not in statuses:
        return f"{url} answered {status}: {said(body)}"
    return "" if part in body else f"{url} does not mention {part}"


def ask(url: str) -> tuple[int, str]:
    """Status and body, whatever the status."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as reply:
            return reply.status, reply.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")


def said(body: str) -> str:
    """The reasons of a readiness reply, or the beginning of any other body."""
    try:
        return "; ".join(json.loads(body)["reasons"])
    except (ValueError, KeyError, TypeError):
        return body[:200]


if __name__ == "__main__":
    sys.exit(main())
