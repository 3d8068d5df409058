"""Certificates and kubeconfigs of a cluster that lives for one test run."""

import datetime
import ipaddress
from collections.abc import Iterable
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = datetime.timedelta(days=2)
USAGES = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class Authority:
    """Signs what the parts of one cluster show each other; all files are in one directory."""

    def __init__(self, directory: Path, server: str) -> None:
        self.directory = directory
        self.server = server
        directory.mkdir(parents=True, exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("alise-e2e", ())
        builder = _builder(self._name, self._name, self._key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        certificate = builder.sign(self._key, hashes.SHA256())
        self._write("ca", self._key, certificate)

    @property
    def certificate(self) -> Path:
        """Of the authority itself."""
        return self.directory / "ca.crt"

    def issue(
        self,
        name: str,
        common_name: str,
        organizations: Iterable[str] = (),
        hosts: Iterable[str] = (),
    ) -> None:
        """Write ``name.crt`` and ``name.key``."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(common_name, organizations), self._name, key.public_key())
        builder = builder.add_extension(x509.ExtendedKeyUsage(USAGES), False)
        alternatives = [_general_name(host) for host in hosts]
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), False)
        self._write(name, key, builder.sign(self._key, hashes.SHA256()))

    def issue_kubeconfig(
        self, name: str, common_name: str, organizations: Iterable[str] = ()
    ) -> Path:
        """Certificate, key and a kubeconfig that holds them; returns the kubeconfig's path."""
        self.issue(name, common_name, organizations)
        files = {"client-certificate": f"{name}.crt", "client-key": f"{name}.key"}
        cluster = {"server": self.server, "certificate-authority": str(self.certificate)}
        user = {key: str(self.directory / file) for key, file in files.items()}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "e2e", "cluster": cluster}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": name}}],
            "current-context": "e2e",
        }
        path = self.directory / f"{name}.kubeconfig"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        return path

    def issue_signing_key(self, name: str) -> None:
        """Write ``name.key`` and ``name.pub``: what ServiceAccount tokens are signed with."""
        key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
        (self.directory / f"{name}.key").write_bytes(_private(key))
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        (self.directory / f"{name}.pub").write_bytes(public)

    def _write(self, name: str, key: PrivateKey, certificate: x509.Certificate) -> None:
        (self.directory / f"{name}.key").write_bytes(_private(key))
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        (self.directory / f"{name}.crt").write_bytes(pem)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + LIFETIME)
    )


def _name(common_name: str, organizations: Iterable[str]) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, item) for item in organizations]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _private(key: PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
