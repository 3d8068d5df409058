import base64
import hashlib
import hmac
import json
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from alise_core.errors import ConfigError, Unauthorized
from alise_gateway.identity import jwt as ours
from alise_gateway.identity.jwt import (
    LEEWAY_SECONDS,
    JwtRules,
    JwtVerifier,
    parse_jwks,
)
from fakes.clock import FakeClock
from fakes.issuer import AUDIENCE, ISSUER, FakeIssuer

RULES = JwtRules(ISSUER, AUDIENCE, "sub")


@cache
def issuer(algorithm: str = "ES256", kid: str = "k1") -> FakeIssuer:
    return FakeIssuer(kid, algorithm)


def verifier(clock: FakeClock, jwks: bytes | None = None) -> JwtVerifier:
    return JwtVerifier(RULES, clock, parse_jwks(jwks or issuer().jwks(), "jwks.json"))


def check(subject: JwtVerifier, token: bytes) -> str:
    return subject.verify(token, hashlib.sha256(token).digest())


def refusal(subject: JwtVerifier, token: bytes) -> Unauthorized:
    with pytest.raises(Unauthorized) as refused:
        check(subject, token)
    assert refused.value.status == 401
    assert token.decode(errors="replace") not in refused.value.message
    return refused.value


@pytest.mark.parametrize(
    "algorithm",
    ["ES256", "ES384", "EdDSA", "RS256", "PS256"],
)
def test_every_kind_of_key_is_understood(algorithm: str) -> None:
    clock = FakeClock()
    subject = verifier(clock, issuer(algorithm).jwks())
    assert check(subject, issuer(algorithm).token(clock.unix() + 60)) == "team-a"


def test_expiry_has_a_small_leeway() -> None:
    clock = FakeClock()
    token = issuer().token(clock.unix() + 60)
    clock.advance(60 + LEEWAY_SECONDS - 1)
    assert check(verifier(clock), token) == "team-a"
    clock.advance(1)
    assert refusal(verifier(clock), token).code == "token_expired"


def test_a_remembered_token_expires_too() -> None:
    clock = FakeClock()
    subject, token = verifier(clock), issuer().token(clock.unix() + 60)
    check(subject, token)
    assert len(subject) == 1
    clock.advance(60 + LEEWAY_SECONDS)
    assert refusal(subject, token).code == "token_expired"
    assert len(subject) == 0


def test_not_before_is_obeyed() -> None:
    clock = FakeClock()
    token = issuer().token(clock.unix() + 600, nbf=clock.unix() + 60)
    assert "not valid yet" in refusal(verifier(clock), token).message
    clock.advance(60 - LEEWAY_SECONDS)
    assert check(verifier(clock), token) == "team-a"


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ({"iss": "https://other.example"}, "another issuer"),
        ({"iss": None}, "structure, claims or signature"),
        ({"aud": "other"}, "another audience"),
        ({"aud": None}, "structure, claims or signature"),
        ({"exp": None}, "structure, claims or signature"),
        ({"exp": "soon"}, "times are not numbers"),
        ({"exp": float("nan")}, "times are not numbers"),
        ({"exp": 10**400}, "times are not numbers"),
        ({"nbf": "soon"}, "times are not numbers"),
        ({"sub": None}, "names the tenant"),
        ({"sub": "two words"}, "names the tenant"),
        ({"sub": "anonymous"}, "names the tenant"),
    ],
)
def test_claims_are_demanded(claims: dict[str, Any], message: str) -> None:
    clock = FakeClock()
    token = issuer().token(**{"expires": clock.unix() + 60, **claims})
    assert message in refusal(verifier(clock), token).message


def test_the_tenant_may_be_named_by_another_claim() -> None:
    clock = FakeClock()
    keys = parse_jwks(issuer().jwks(), "jwks.json")
    subject = JwtVerifier(JwtRules(ISSUER, AUDIENCE, "azp"), clock, keys)
    assert check(subject, issuer().token(clock.unix() + 60, azp="app")) == "app"


def encoded(value: object) -> bytes:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")


def claims_now(clock: FakeClock) -> dict[str, Any]:
    return {"iss": ISSUER, "aud": AUDIENCE, "sub": "team-a", "exp": clock.unix() + 60}


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", None, 7, ["ES256"]])
def test_unsigned_tokens_are_refused(algorithm: object) -> None:
    clock = FakeClock()
    header = encoded({"alg": algorithm, "kid": "k1"})
    token = header + b"." + encoded(claims_now(clock)) + b"."
    refusal(verifier(clock), token)


def test_a_public_key_is_no_hmac_secret() -> None:
    clock = FakeClock()
    public = (
        issuer("RS256")
        .private.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    signed = encoded({"alg": "HS256", "kid": "k1"}) + b"." + encoded(claims_now(clock))
    mac = base64.urlsafe_b64encode(hmac.digest(public, signed, "sha256")).rstrip(b"=")
    subject = verifier(clock, issuer("RS256").jwks())
    assert "algorithm is not accepted" in refusal(subject, signed + b"." + mac).message


def test_an_algorithm_needs_a_key_of_its_type() -> None:
    clock = FakeClock()
    subject = verifier(clock, issuer("RS256").jwks())
    token = issuer("ES256").token(clock.unix() + 60)
    assert "does not fit its key" in refusal(subject, token).message


def test_a_key_is_used_with_its_declared_algorithm_only() -> None:
    clock = FakeClock()
    jwks = json.dumps({"keys": [issuer("PS256").jwk(alg="RS256")]}).encode()
    token = issuer("PS256").token(clock.unix() + 60)
    assert "does not fit its key" in refusal(verifier(clock, jwks), token).message


def test_somebody_elses_signature_is_refused() -> None:
    clock = FakeClock()
    impostor = FakeIssuer("k1", "ES256")
    token = impostor.token(clock.unix() + 60)
    assert "signature" in refusal(verifier(clock), token).message


def test_a_changed_payload_is_refused() -> None:
    clock = FakeClock()
    header, _, signature = issuer().token(clock.unix() + 60).split(b".")
    forged = encoded({**claims_now(clock), "sub": "team-b"})
    refusal(verifier(clock), b".".join((header, forged, signature)))


def test_unknown_critical_extensions_are_refused() -> None:
    clock = FakeClock()
    header = {"alg": "ES256", "kid": "k1", "crit": ["b64"], "b64": True}
    token = encoded(header) + b"." + encoded(claims_now(clock)) + b".c2ln"
    assert "header extension" in refusal(verifier(clock), token).message


def test_an_unknown_key_is_refused_and_asked_for() -> None:
    clock = FakeClock()
    subject = verifier(clock)
    token = issuer("ES256", "k2").token(clock.unix() + 60)
    assert "not known" in refusal(subject, token).message
    wanted = subject.wants_refresh
    subject.replace_keys(parse_jwks(issuer("ES256", "k2").jwks(), "jwks.json"))
    assert (wanted, subject.wants_refresh) == (True, False)
    assert check(subject, token) == "team-a"


def test_a_token_without_kid_passes_when_only_one_key_fits() -> None:
    clock = FakeClock()
    token = issuer().token(clock.unix() + 60, headers={"kid": None})
    assert check(verifier(clock, issuer().jwks(issuer("RS256", "k2"))), token) == "team-a"
    assert "kid" in refusal(verifier(clock, issuer().jwks(issuer("ES256", "k2"))), token).message


def test_withdrawing_a_key_withdraws_its_remembered_tokens() -> None:
    clock = FakeClock()
    subject, token = verifier(clock), issuer().token(clock.unix() + 60)
    check(subject, token)
    subject.replace_keys(parse_jwks(issuer("ES256", "k2").jwks(), "jwks.json"))
    refusal(subject, token)


def test_the_memory_of_tokens_is_bounded_and_keeps_the_used_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ours, "MAX_CACHED_TOKENS", 2)
    clock = FakeClock()
    subject = verifier(clock)
    first, second, third = (issuer().token(clock.unix() + 60, jti=str(n)) for n in range(3))
    for token in (first, second, first, third):
        check(subject, token)
    assert len(subject) == 2
    subject._keys = ()  # what is still remembered needs no key
    check(subject, first)
    check(subject, third)
    refusal(subject, second)


@given(st.binary(max_size=200) | st.text(alphabet="aAbeyJ0.-_=", max_size=80).map(str.encode))
def test_any_bytes_are_refused_cleanly(token: bytes) -> None:
    refusal(verifier(FakeClock()), b"." + token)


@given(
    st.dictionaries(
        st.sampled_from(["alg", "kid", "typ", "crit", "b64", "enc", "zip"]),
        st.none() | st.integers() | st.sampled_from(["ES256", "k1", "none"]) | st.lists(st.none()),
    )
)
def test_any_header_is_refused_cleanly(header: dict[str, object]) -> None:
    clock = FakeClock()
    refusal(verifier(clock), encoded(header) + b"." + encoded(claims_now(clock)) + b".c2ln")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b"[]", "no 'keys' list"),
        (b'{"keys": 3}', "no 'keys' list"),
        (b'{"keys": []}', "no usable key"),
        (b'{"keys": [3, {"kty": "oct", "k": "c2VjcmV0"}]}', "no usable key"),
        (b'{"keys": [{"kty": "RSA", "n": 1, "e": []}]}', "no usable key"),
        (b'{"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}]}', "no usable key"),
    ],
)
def test_a_wrong_key_set_says_what_is_wrong(content: bytes, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"JWKS jwks\.json .*{message}"):
        parse_jwks(content, "jwks.json")


def test_private_keys_do_not_belong_into_a_key_set() -> None:
    content = json.dumps({"keys": [issuer().jwk(private=True)]}).encode()
    with pytest.raises(ConfigError, match="private key"):
        parse_jwks(content, "jwks.json")


def test_keys_without_use_here_are_skipped() -> None:
    weak = FakeIssuer("weak", "RS256", rsa_bits=1024)
    entries = [
        issuer().jwk(),
        weak.jwk(),
        issuer("ES512").jwk(),
        issuer("RS256").jwk(use="enc"),
        {"kty": "oct", "k": "c2VjcmV0", "kid": "k3"},
    ]
    keys = parse_jwks(json.dumps({"keys": entries}).encode(), "jwks.json")
    assert [key.algorithms for key in keys] == [("ES256",)]
