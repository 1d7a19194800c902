"""A private certificate authority, and certificates that it signed, for tests of TLS."""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_NOW = dt.datetime.now(dt.timezone.utc)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, both PEM."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Authority:
    """An authority of which only tests know."""

    folder: Path
    pair: Pair
    _certificate: x509.Certificate
    _key: ec.EllipticCurvePrivateKey
    _old: bool = False

    @classmethod
    def make(cls, folder: Path, *, old: bool = False) -> Authority:
        """Make one; ``old``: with the extensions that ``openssl req -x509`` wrote for decades, and no others."""
        folder.mkdir(parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("private authority")
        builder = _builder(name, name, key).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=not old
        )
        if not old:
            builder = builder.add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            ).add_extension(_usage(signs=True), critical=True)
        certificate = builder.sign(key, hashes.SHA256())
        return cls(folder, _written(folder, "ca", certificate, key), certificate, key, old)

    def intermediate(self) -> Authority:
        """Sign another authority."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _builder(_name("intermediate authority"), self._certificate.subject, key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .add_extension(_usage(signs=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        return Authority(self.folder, _written(self.folder, "intermediate", certificate, key), certificate, key)

    def server(self, host: str = "localhost", *, days: int = 30) -> Pair:
        """Sign a server's certificate for ``host`` and 127.0.0.1; with ``days`` below zero one that has expired."""
        names = [x509.DNSName(host), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        return self._signed(f"server-{host}", x509.SubjectAlternativeName(names), ExtendedKeyUsageOID.SERVER_AUTH, days)

    def client(self, user: str) -> Pair:
        """Sign a client's certificate."""
        names = x509.SubjectAlternativeName([x509.DNSName(user)])
        return self._signed(f"client-{user}", names, ExtendedKeyUsageOID.CLIENT_AUTH, 30)

    def _signed(self, name: str, names: x509.SubjectAlternativeName, use: x509.ObjectIdentifier, days: int) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(name), self._certificate.subject, key, days).add_extension(names, critical=False)
        if not self._old:
            identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
            builder = (
                builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
                .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
                .add_extension(identifier, critical=False)
                .add_extension(_usage(signs=False), critical=True)
            )
        return _written(self.folder, name, builder.sign(self._key, hashes.SHA256()), key)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int = 30
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_NOW - dt.timedelta(days=60))
        .not_valid_after(_NOW + dt.timedelta(days=days))
    )


def _written(folder: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
    pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pair.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return pair
