"""Return phones' configuration files as CME and CUCM write them, with the defects of real files."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.harness.recorder.certificates import Identity

_VERSION, _HEADER_LENGTH, _SIGNER, _SIGNER_NAME, _SERIAL, _ISSUER_NAME = 1, 2, 3, 4, 5, 6
_SIGNATURE_INFO, _HASH_ALGORITHM, _ALGORITHM_INFO, _ALGORITHM, _MODULUS, _SIGNATURE = 7, 8, 9, 10, 11, 12
_PADDING, _FILE_NAME, _TIMESTAMP = 13, 14, 15
_ENCRYPTION, _INITIAL_VECTOR, _KEY_INFO, _WRAPPED_KEY, _PLAIN_HASH = 16, 19, 21, 25, 27
_CREATED = 1767225600  # 2026-01-01 00:00:00 UTC

_CME = """<device>
<deviceProtocol>SCCP</deviceProtocol>
<devicePool>
<dateTimeSetting>
<dateTemplate>M/D/YA</dateTemplate>
<timeZone>Central Europe Standard/Daylight Time</timeZone>
</dateTimeSetting>
<callManagerGroup>
<members>
<member priority="0">
<callManager>
<ports>
<ethernetPhonePort>2000</ethernetPhonePort>
</ports>
<processNodeName>192.0.2.5</processNodeName>
</callManager>
</member>
</members>
</callManagerGroup>
</devicePool>
<versionStamp>{Jan 01 2026 00:00:00}</versionStamp>
<loadInformation>SCCP45.9-3-1SR4-1S</loadInformation>
<networkLocale>United_States</networkLocale>
<directoryURL>http://192.0.2.5:80/localdirectory</directoryURL>
<deviceSecurityMode>1</deviceSecurityMode>
<transportLayerProtocol>2</transportLayerProtocol>
VPN</device>
"""
_CUCM = """<?xml version="1.0" encoding="UTF-8"?>
<device  xsi:type="axl:XIPPhone" ctiid="101" uuid="{cfbff0d1-9375-5685-968c-48ce8b15ae17}">
<fullConfig>true</fullConfig>
<deviceProtocol>SIP</deviceProtocol>
<TVS>
<members>
<member  priority="0">
<port>2445</port>
<address>192.0.2.6</address>
</member>
</members>
</TVS>
VPN<versionStamp>1767225600-5b4f6d0e-0c0f-4a55-8d5e-6c1d7c2f9a10</versionStamp>
<loadInformation>sip88xx.14-0-1-0201-4</loadInformation>
<deviceSecurityMode>1</deviceSecurityMode>
<transportLayerProtocol>4</transportLayerProtocol>
<capfAuthMode>0</capfAuthMode>
<capfList>
<capf>
<phonePort>3804</phonePort>
<processNodeName>192.0.2.6</processNodeName>
</capf>
</capfList>
<certHash>OWN</certHash>
<encrConfig>false</encrConfig>
<url>http://192.0.2.6:8080/emapp/EMAppServlet?device=#DEVICENAME#&amp;EMCC=#EMCC#</url>
</device>
"""
_STUB = """<?xml version="1.0" encoding="UTF-8"?>
<device>
<fullConfig>false</fullConfig>
<ipAddressMode>0</ipAddressMode>
<loadInformation>sip88xx.14-0-1-0201-4</loadInformation>
<capfAuthMode>0</capfAuthMode>
<capfList>
<capf>
<phonePort>3804</phonePort>
<processNodeName>192.0.2.6</processNodeName>
</capf>
</capfList>
<certHash>OWN</certHash>
<encrConfig>true</encrConfig>
</device>
"""


def vpn_group(urls: Sequence[str], cert_hashes: Sequence[str], *, check_host: bool = False) -> str:
    """Return a ``vpnGroup`` with its URLs and Base64 hashes, numbered from 1 in two lists of their own."""
    addresses = "".join(f"<url{number}>{escape(url)}</url{number}>\n" for number, url in enumerate(urls, 1))
    credentials = "".join(
        f"<certHash{number}>{value}</certHash{number}>\n" for number, value in enumerate(cert_hashes, 1)
    )
    return (
        "<vpnGroup>\n<mtu>1290</mtu>\n<failConnectTime>30</failConnectTime>\n<authMethod>2</authMethod>\n"
        "<pswdPersistent>0</pswdPersistent>\n<autoNetDetect>1</autoNetDetect>\n"
        f"<enableHostIDCheck>{int(check_host)}</enableHostIDCheck>\n"
        f"<addresses>\n{addresses}</addresses>\n"
        f"<credentials>\n<hashAlg>0</hashAlg>\n{credentials}</credentials>\n</vpnGroup>\n"
    )


def cme(vpn: str = "") -> bytes:
    """Return a 7965's file in the manner of CME: SCCP, no XML declaration, a version stamp in braces."""
    return _CME.replace("VPN", vpn).encode()


def cucm(vpn: str = "", own_certificate: str = "") -> bytes:
    """Return a file in the manner of CUCM, which never declares the ``xsi`` prefix that it uses.

    ``own_certificate`` fills the top-level ``certHash``: the hash of the phone's own certificate in hex,
    which is irrelevant for head-ends.
    """
    return _CUCM.replace("VPN", vpn).replace("OWN", own_certificate).encode()


def encrypted_stub(own_certificate: str) -> bytes:
    """Return the readable companion that CUCM writes beside an encrypted file: it has no ``vpnGroup``."""
    return _STUB.replace("OWN", own_certificate).encode()


def signed(content: bytes, name: str, signer: Identity, *, encryption: bytes = b"", major: int = 1) -> bytes:
    """Prepend the header of a ``.cnf.xml.sgn`` file to ``content`` and sign both (RSA PKCS#1 v1.5, SHA-1).

    The signature covers header and content without the signature's own tag; the header's length counts that
    tag, and is padded to four bytes by tag 13, which has neither length nor value.
    """
    subject = signer.certificate.subject.rfc4514_string().encode() + b"\0"
    serial = signer.certificate.serial_number.to_bytes(20).lstrip(b"\0")
    assert isinstance(signer.key, rsa.RSAPrivateKey)
    length = signer.key.key_size // 8
    signer_info = _tlv(
        _SIGNER, _tlv(_SIGNER_NAME, subject) + _tlv(_ISSUER_NAME, subject) + _tlv(_SERIAL, serial)
    )
    algorithm = _tlv(
        _ALGORITHM_INFO, _tlv(_ALGORITHM, b"\0") + _tlv(_MODULUS, bytes([length.bit_length() - 7]))
    )
    signature_info = _tlv(_SIGNATURE_INFO, _tlv(_HASH_ALGORITHM, b"\1") + algorithm)
    before = signer_info + signature_info
    after = _tlv(_FILE_NAME, name.encode() + b"\0") + _tlv(_TIMESTAMP, _CREATED.to_bytes(4)) + encryption
    fixed = len(_tlv(_VERSION, b"\0\0") + _tlv(_HEADER_LENGTH, b"\0\0"))
    unpadded = fixed + len(before) + 3 + length + len(after)
    after += bytes([_PADDING]) * (-unpadded % 4)
    start = _tlv(_VERSION, bytes([major, 0])) + _tlv(_HEADER_LENGTH, (unpadded + -unpadded % 4).to_bytes(2))
    signature = signer.key.sign(start + before + after + content, padding.PKCS1v15(), hashes.SHA1())  # noqa: S303 - CUCM's default
    return start + before + _tlv(_SIGNATURE, signature) + after + content


def encrypted(name: str, signer: Identity, ciphertext: bytes) -> bytes:
    """Return a ``.cnf.xml.enc.sgn`` file; only the phone, whose key wraps the content's key, can read it."""
    encryption = _tlv(_ENCRYPTION, _tlv(_INITIAL_VECTOR, bytes(16)))
    encryption += _tlv(_KEY_INFO, _tlv(_WRAPPED_KEY, bytes(256))) + _tlv(_PLAIN_HASH, bytes(20))
    return signed(ciphertext, name, signer, encryption=encryption, major=2)


def _tlv(tag: int, value: bytes) -> bytes:
    return bytes([tag]) + len(value).to_bytes(2) + value
