from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from structlog.testing import capture_logs

from alise_core.errors import ConfigError, Unauthorized
from alise_gateway.identity import jwks
from alise_gateway.identity.authenticator import Authenticator
from alise_gateway.identity.jwks import MIN_REFRESH_SECONDS, REFRESH_SECONDS
from alise_gateway.settings import IdentitySettings
from fakes.clock import FakeClock
from fakes.issuer import AUDIENCE, ISSUER, FakeIssuer
from fakes.pacing import FakePacing

URL = "https://issuer.example/jwks.json"


class FakeSite:
    """Serves a key set; counts how often it is asked."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.failure: Callable[[], httpx.Response] | None = None
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self.failure is not None:
            return self.failure()
        return httpx.Response(200, content=self.content)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def issuer() -> FakeIssuer:
    return FakeIssuer("k1")


@pytest.fixture
def site(issuer: FakeIssuer) -> FakeSite:
    return FakeSite(issuer.jwks())


@pytest.fixture
async def authenticator(site: FakeSite, clock: FakeClock) -> AsyncIterator[Authenticator]:
    settings = IdentitySettings(jwt_issuer=ISSUER, jwt_audience=AUDIENCE, jwks_url=URL)
    subject = Authenticator(
        settings, clock, sleep=FakePacing().sleep, transport=httpx.MockTransport(site)
    )
    yield subject
    await subject.stop()


def passes(subject: Authenticator, token: bytes) -> bool:
    try:
        return subject.authenticate([(b"authorization", b"Bearer " + token)]).id == "team-a"
    except Unauthorized:
        return False


async def test_keys_are_there_once_started(
    authenticator: Authenticator, issuer: FakeIssuer, clock: FakeClock, site: FakeSite
) -> None:
    token = issuer.token(clock.unix() + 9_999)
    assert not passes(authenticator, token)
    await authenticator.start()
    assert passes(authenticator, token)
    assert "authorization" not in site.requests[0].headers


async def test_fetched_again_now_and_then(
    authenticator: Authenticator, clock: FakeClock, site: FakeSite
) -> None:
    await authenticator.start()
    clock.advance(REFRESH_SECONDS - 1)
    await authenticator.reload()
    assert len(site.requests) == 1
    clock.advance(1)
    await authenticator.reload()
    assert len(site.requests) == 2


async def test_an_unknown_key_brings_the_next_fetch_forward_but_not_at_will(
    authenticator: Authenticator, clock: FakeClock, site: FakeSite
) -> None:
    await authenticator.start()
    rotated = FakeIssuer("k2")
    token = rotated.token(clock.unix() + 9_999)
    assert not passes(authenticator, token)
    await authenticator.reload()
    assert len(site.requests) == 1
    clock.advance(MIN_REFRESH_SECONDS)
    site.content = rotated.jwks()
    await authenticator.reload()
    assert len(site.requests) == 2
    assert passes(authenticator, token)


async def test_an_invented_key_costs_one_fetch(
    authenticator: Authenticator, clock: FakeClock, site: FakeSite
) -> None:
    await authenticator.start()
    clock.advance(MIN_REFRESH_SECONDS)
    passes(authenticator, FakeIssuer("made-up").token(clock.unix() + 60))
    await authenticator.reload()
    clock.advance(MIN_REFRESH_SECONDS)
    await authenticator.reload()
    assert len(site.requests) == 2


def refused() -> httpx.Response:
    raise httpx.ConnectError("refused")


@pytest.mark.parametrize(
    "failure",
    [
        refused,
        lambda: httpx.Response(500),
        lambda: httpx.Response(302, headers={"location": "https://evil.example/"}),
        lambda: httpx.Response(200, content=b"<html>"),
        lambda: httpx.Response(200, content=b'{"keys": []}'),
        lambda: httpx.Response(200, content=b" " * 2048),
    ],
)
async def test_a_failed_refresh_keeps_the_keys_and_is_reported_once(
    authenticator: Authenticator,
    issuer: FakeIssuer,
    clock: FakeClock,
    site: FakeSite,
    failure: Callable[[], httpx.Response],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jwks, "_MAX_BYTES", 1024)
    await authenticator.start()
    site.failure = failure
    clock.advance(REFRESH_SECONDS)
    with capture_logs() as logs:
        await authenticator.reload()
        clock.advance(MIN_REFRESH_SECONDS)
        await authenticator.reload()
        assert passes(authenticator, issuer.token(clock.unix() + 60))
        site.failure = None
        clock.advance(MIN_REFRESH_SECONDS)
        await authenticator.reload()
    assert [entry["event"] for entry in logs] == [
        "jwks_refresh_failed",
        "jwks_refresh_recovered",
    ]
    assert len(site.requests) == 4


async def test_an_issuer_that_is_down_does_not_stop_the_start(
    authenticator: Authenticator, issuer: FakeIssuer, clock: FakeClock, site: FakeSite
) -> None:
    site.failure = refused
    await authenticator.start()
    token = issuer.token(clock.unix() + 9_999)
    assert not passes(authenticator, token)
    site.failure = None
    clock.advance(MIN_REFRESH_SECONDS)
    await authenticator.reload()
    assert passes(authenticator, token)


@pytest.mark.parametrize("url", ["ftp://issuer.example/", "issuer.example/jwks", "https://"])
def test_a_wrong_url_is_refused(url: str, clock: FakeClock) -> None:
    settings = IdentitySettings(jwt_issuer=ISSUER, jwt_audience=AUDIENCE, jwks_url=url)
    with pytest.raises(ConfigError, match="jwks_url"):
        Authenticator(settings, clock)
