"""An authority, and certificates by it.

authority = Authority(ca_file) writes that file, which is what a client trusts.
authority.issue(cert_file, key_file) writes a certificate with its chain and its key, each by
renaming, and gives the certificate's serial number.
"""

import datetime
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

NAMES = ("localhost", "127.0.0.1", "::1")


def _name(text):
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def _alternative(name):
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _replace(path, content, mode):
    beside = path.with_name(path.name + ".new")
    beside.touch(mode=mode)
    beside.write_bytes(content)
    beside.rename(path)


def pem_of(key):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class Authority:
    def __init__(self, ca_file, name="an authority for tests"):
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._sign(
            _name(name),
            _name(name),
            self._key.public_key(),
            days=1,
            extension=x509.BasicConstraints(ca=True, path_length=0),
            critical=True,
        )
        self.ca_file = ca_file
        self.ca_file.write_bytes(self.certificate.public_bytes(Encoding.PEM))

    def _sign(self, subject, issuer, public, days, extension, critical=False):
        now = datetime.datetime.now(datetime.UTC)
        end = now + datetime.timedelta(days=days)
        return (
            x509.CertificateBuilder(
                issuer_name=issuer,
                subject_name=subject,
                public_key=public,
                serial_number=x509.random_serial_number(),
                not_valid_before=min(now, end) - datetime.timedelta(hours=1),
                not_valid_after=end,
            )
            .add_extension(extension, critical)
            .sign(self._key, hashes.SHA256())
        )

    def issue(self, cert_file, key_file, names=NAMES, days=90, key=None):
        """A new key unless one is given; the same file may take both."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        leaf = self._sign(
            _name(names[0]),
            self.certificate.subject,
            key.public_key(),
            days,
            x509.SubjectAlternativeName([_alternative(name) for name in names]),
        )
        chain = leaf.public_bytes(Encoding.PEM)
        if cert_file == key_file:
            _replace(cert_file, chain + pem_of(key), 0o600)
        else:
            _replace(key_file, pem_of(key), 0o600)
            _replace(cert_file, chain, 0o644)
        return leaf.serial_number
