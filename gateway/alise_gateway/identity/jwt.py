"""JSON Web Tokens: a token and the issuer's public keys in, the name of its tenant out.

Signature, structure, issuer and audience are checked by PyJWT; expiry here, against the clock that
is passed in. Only asymmetric algorithms are accepted, each only with a key of its own type, so that
neither ``none`` nor a public key used as an HMAC secret gets in (RFC 8725 sections 2.1, 3.1, 3.2).

Checking a signature takes 30 to 100 us, so a verified token is remembered, by its SHA-256, until
it expires or the key set changes.

Verification is synchronous and fetches nothing. A token signed with a key that is not known yet is
refused and ``wants_refresh`` turns true, whereupon the owner of the key set fetches it again.
"""

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

import jwt
from jwt.types import Options

from alise_core.clock import Clock
from alise_core.errors import ConfigError, Unauthorized
from alise_core.units import TenantId
from alise_gateway.identity.keys import check_tenant_id

LEEWAY_SECONDS = 10.0
"""Clocks of issuer and gateway may differ by this much."""
MAX_CACHED_TOKENS = 4_096
_MIN_RSA_BITS = 2_048
_MAX_UNIX_SECONDS = 1e12
_PRIVATE_MEMBER = "d"
"""RFC 7518 sections 6.2.2 and 6.3.2, RFC 8037 section 2: present only in private keys."""

_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_BY_KEY_TYPE: dict[tuple[str, str | None], tuple[str, ...]] = {
    ("RSA", None): _RSA,
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("OKP", "Ed25519"): ("EdDSA",),
}
ALGORITHMS = frozenset(name for names in _BY_KEY_TYPE.values() for name in names)

# Times are compared with the injected clock, not with the one PyJWT reads.
_OPTIONS: Options = {
    "require": ["exp", "iss", "aud"],
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
}


class _PublicKey(Protocol):
    """Whatever ``cryptography`` object PyJWT made of a JWK."""


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """One public key and the algorithms it may be used with."""

    kid: str | None
    key: _PublicKey
    algorithms: tuple[str, ...]


KeySet = tuple[VerificationKey, ...]


def parse_jwks(content: bytes, source: str) -> KeySet:
    """Understand a JSON Web Key Set (RFC 7517).

    Keys that this gateway has no use for (symmetric, for encryption, other curves, RSA below 2048
    bits) are skipped, as RFC 7517 section 5 asks.

    Raises:
        ConfigError: Not a key set, a private key in it, or nothing usable.
    """
    try:
        document = json.loads(content)
    except ValueError:
        raise ConfigError(f"JWKS {source} is not valid JSON") from None
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ConfigError(f"JWKS {source} has no 'keys' list; it must be a JSON Web Key Set")
    found = [_usable(entry, source) for entry in entries if isinstance(entry, dict)]
    keys = tuple(key for key in found if key is not None)
    if not keys:
        raise ConfigError(
            f"JWKS {source} holds no usable key; it needs a public RSA (2048 bits or more), "
            "EC P-256, EC P-384 or Ed25519 key for signatures"
        )
    return keys


def _usable(entry: dict[str, Any], source: str) -> VerificationKey | None:
    kty, crv = entry.get("kty"), entry.get("crv")
    algorithms = _BY_KEY_TYPE.get((str(kty), None if kty == "RSA" else str(crv)))
    if algorithms is None or entry.get("use", "sig") != "sig":
        return None
    if _PRIVATE_MEMBER in entry:
        raise ConfigError(
            f"JWKS {source} holds a private key; publish the public half and replace the key"
        )
    declared = entry.get("alg")
    if declared is not None:
        algorithms = tuple(name for name in algorithms if name == declared)
    if not algorithms:
        return None
    try:
        parsed = jwt.PyJWK(entry, algorithms[0])
    except jwt.PyJWTError:
        return None
    if kty == "RSA" and parsed.key.key_size < _MIN_RSA_BITS:
        return None
    kid = entry.get("kid")
    return VerificationKey(kid if isinstance(kid, str) else None, parsed.key, algorithms)


@dataclass(frozen=True, slots=True)
class JwtRules:
    """What a token must say; see ``IdentitySettings``."""

    issuer: str
    audience: str
    tenant_claim: str


@dataclass(frozen=True, slots=True)
class _Verified:
    tenant: TenantId
    refused_at: float
    """First second, since the epoch, at which the token no longer counts."""


class JwtVerifier:
    """Decides whose token this is; holds the key set and the memory of verified tokens.

    Used on the event loop only.
    """

    __slots__ = ("_cache", "_clock", "_keys", "_rules", "wants_refresh")

    def __init__(self, rules: JwtRules, clock: Clock, keys: KeySet = ()) -> None:
        self._rules = rules
        self._clock = clock
        self._keys = keys
        self._cache: OrderedDict[bytes, _Verified] = OrderedDict()
        self.wants_refresh = False

    def __len__(self) -> int:
        """Tokens remembered."""
        return len(self._cache)

    def replace_keys(self, keys: KeySet) -> None:
        """Use another key set; tokens of a withdrawn key are not remembered."""
        self._keys = keys
        self._cache.clear()
        self.wants_refresh = False

    def verify(self, token: bytes, digest: bytes) -> TenantId:
        """The tenant that a token names.

        Args:
            token: As presented.
            digest: SHA-256 of it.

        Raises:
            Unauthorized: Expired (code ``token_expired``) or not acceptable (``invalid_token``).
        """
        now = self._clock.unix()
        known = self._cache.get(digest)
        if known is None:
            known = self._check(token, now)
            self._remember(digest, known)
        elif now >= known.refused_at:
            del self._cache[digest]
            raise _expired()
        else:
            self._cache.move_to_end(digest)
        return known.tenant

    def _remember(self, digest: bytes, verified: _Verified) -> None:
        self._cache[digest] = verified
        if len(self._cache) > MAX_CACHED_TOKENS:
            self._cache.popitem(last=False)

    def _check(self, token: bytes, now: float) -> _Verified:
        try:
            header = jwt.get_unverified_header(token)
            algorithm = header.get("alg")
            if "crit" in header:
                raise _invalid("it demands a header extension that is not supported")
            key = self._key_for(header, algorithm)
            claims = jwt.decode(
                token,
                # PyJWT accepts what PyJWK made; the union of its key types is not exported.
                key=cast("Any", key.key),
                algorithms=[str(algorithm)],
                audience=self._rules.audience,
                issuer=self._rules.issuer,
                options=_OPTIONS,
            )
        except jwt.InvalidAudienceError:
            raise _invalid("it is meant for another audience") from None
        except jwt.InvalidIssuerError:
            raise _invalid("it comes from another issuer") from None
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            # The cause is cut: its text may quote the token.
            raise _invalid("its structure, claims or signature are wrong") from None
        return _Verified(self._tenant(claims), self._refused_at(claims, now))

    def _key_for(self, header: Mapping[str, Any], algorithm: object) -> VerificationKey:
        if algorithm not in ALGORITHMS:
            raise _invalid("its signature algorithm is not accepted")
        kid = header.get("kid")
        if kid is None:
            fitting = [key for key in self._keys if algorithm in key.algorithms]
            if len(fitting) != 1:
                raise _invalid("it does not name its key (kid)")
            return fitting[0]
        same_kid = [key for key in self._keys if key.kid == kid]
        if not same_kid:
            self.wants_refresh = True
            raise _invalid("its key (kid) is not known, or not yet: try again in some seconds")
        for key in same_kid:
            if algorithm in key.algorithms:
                return key
        raise _invalid("its signature algorithm does not fit its key")

    def _tenant(self, claims: Mapping[str, Any]) -> TenantId:
        name = claims.get(self._rules.tenant_claim)
        try:
            return TenantId(check_tenant_id(name if isinstance(name, str) else ""))
        except ValueError:
            raise _invalid("the claim that names the tenant is missing or unusable") from None

    @staticmethod
    def _refused_at(claims: Mapping[str, Any], now: float) -> float:
        refused_at = _moment(claims["exp"]) + LEEWAY_SECONDS
        if now >= refused_at:
            raise _expired()
        if now < _moment(claims.get("nbf", 0)) - LEEWAY_SECONDS:
            raise _invalid("it is not valid yet")
        return refused_at


def _moment(value: object) -> float:
    # The range also keeps out NaN and integers that no float can hold.
    if isinstance(value, int | float) and 0 <= value <= _MAX_UNIX_SECONDS:
        return float(value)
    raise _invalid("its times are not numbers")


def _invalid(reason: str) -> Unauthorized:
    return Unauthorized(f"the bearer token is not accepted: {reason}", code="invalid_token")


def _expired() -> Unauthorized:
    return Unauthorized(
        "the bearer token has expired; obtain a new one from its issuer", code="token_expired"
    )
