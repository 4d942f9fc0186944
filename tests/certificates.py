"""A certificate authority of the tests, with a server's certificate and a client's."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Certificates:
    """Files in PEM. `server` names no host, as one that a MySQL server made for itself."""

    directory: Path

    def path(self, name: str) -> str:
        return str(self.directory / f"{name}.pem")

    def paths(self) -> dict[str, str]:
        """The files for a URL."""
        return {"ca": self.path("ca"), "cert": self.path("client"), "key": self.path("client-key")}


def make_certificates(directory: Path) -> Certificates:
    """An authority `ca`, and by it `server`, `host` (which names 127.0.0.1) and `client`."""
    made = Certificates(directory)
    key, name = ec.generate_private_key(ec.SECP256R1()), _name("an authority")
    authority = _signed(name, key, name, key, is_authority=True)
    _write(made.path("ca"), authority)
    for one in ("server", "host", "client"):
        own = ec.generate_private_key(ec.SECP256R1())
        _write(made.path(one), _signed(_name(one), own, name, key, names_host=one == "host"))
        _write_key(made.path(f"{one}-key"), own)
    return made


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _signed(
    subject: x509.Name,
    key: Key,
    issuer: x509.Name,
    issuer_key: Key,
    *,
    is_authority: bool = False,
    names_host: bool = False,
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    )
    if names_host:
        address = x509.IPAddress(ip_address("127.0.0.1"))
        builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _write(path: str, certificate: x509.Certificate) -> None:
    Path(path).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _write_key(path: str, key: Key) -> None:
    kind = serialization.PrivateFormat.TraditionalOpenSSL
    encoded = key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption())
    Path(path).write_bytes(encoded)
