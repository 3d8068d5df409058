"""An issuer of JSON Web Tokens with keys of its own."""

import json
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

ISSUER = "https://issuer.example"
AUDIENCE = "alise"


class FakeIssuer:
    """Signs tokens and publishes its public keys.

    Args:
        kid: Name of its key.
        algorithm: How it signs.
        rsa_bits: Size of its key when that is RSA.
    """

    def __init__(self, kid: str = "k1", algorithm: str = "ES256", rsa_bits: int = 2048) -> None:
        self.kid = kid
        self.algorithm = algorithm
        self.private: Any
        if algorithm.startswith(("RS", "PS")):
            self.private = rsa.generate_private_key(public_exponent=65537, key_size=rsa_bits)
        elif algorithm == "EdDSA":
            self.private = ed25519.Ed25519PrivateKey.generate()
        else:
            curve = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
            self.private = ec.generate_private_key(curve[algorithm])

    def jwk(self, *, private: bool = False, **members: Any) -> dict[str, Any]:
        key = self.private if private else self.private.public_key()
        if self.algorithm.startswith(("RS", "PS")):
            jwk = RSAAlgorithm.to_jwk(key, as_dict=True)
        elif self.algorithm == "EdDSA":
            jwk = OKPAlgorithm.to_jwk(key, as_dict=True)
        else:
            jwk = ECAlgorithm.to_jwk(key, as_dict=True)
        jwk.pop("key_ops", None)
        return {**jwk, "kid": self.kid, **members}

    def jwks(self, *others: "FakeIssuer") -> bytes:
        return json.dumps({"keys": [issuer.jwk() for issuer in (self, *others)]}).encode()

    def token(self, expires: float, headers: dict[str, Any] | None = None, **claims: Any) -> bytes:
        payload = {"iss": ISSUER, "aud": AUDIENCE, "sub": "team-a", "exp": expires, **claims}
        payload = {name: value for name, value in payload.items() if value is not None}
        fields = {"kid": self.kid, **(headers or {})}
        fields = {name: value for name, value in fields.items() if value is not None}
        return jwt.encode(payload, self.private, self.algorithm, fields).encode()
