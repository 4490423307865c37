"""Provide samples of show output with generated certificates for several tests.

Formats: ``show crypto pki trustpoints status`` and ``... certificates verbose`` as in the fixtures of Cisco's
genieparser, ``show voice vpn`` as in Cisco's CME VPN guide, ``show ssl`` as in the ASA command reference,
``show webvpn gateway`` as in the IOS security command reference.
"""

from __future__ import annotations

TRUSTPOINTS_STATUS = """\
R1#show crypto pki trustpoints status
Trustpoint SLA-TrustPoint:
  Issuing CA certificate configured:
    Subject Name:
     cn=SLA-TrustPoint CA
    Fingerprint MD5: 59570F0F FF433CFE 9D67FB99 F65D6FF4
    Fingerprint SHA1: 00112233 44556677 8899AABB CCDDEEFF 00112233
  State:
    Keys generated ............. No
    Issuing CA authenticated ....... Yes
    Certificate request(s) ..... None

Trustpoint cme_cert:
  Issuing CA certificate configured:
    Subject Name:
     cn=cme_cert CA
    Fingerprint MD5: 59570F0F FF433CFE 9D67FB99 F65D6FF4
    Fingerprint SHA1: 10112233 44556677 8899AABB CCDDEEFF 00112233
  Router General Purpose certificate configured:
    Subject Name:
     cn=cme_cert
    Fingerprint MD5: 69570F0F FF433CFE 9D67FB99 F65D6FF4
    Fingerprint SHA1: 7D9DB140 73017168 FF7D2A0D B392243D B0363EDF
  State:
    Keys generated ............. Yes (General Purpose, non-exportable)
    Issuing CA authenticated ....... Yes
    Certificate request(s) ..... Yes

Trustpoint TP-self-signed-100:
  Issuing CA certificate configured:
    Subject Name:
     cn=IOS-Self-Signed-Certificate-100
    Fingerprint SHA1: 20112233 44556677 8899AABB CCDDEEFF 00112233
  Router General Purpose certificate configured:
    Subject Name:
     cn=IOS-Self-Signed-Certificate-100
    Fingerprint SHA1: 20112233 44556677 8899AABB CCDDEEFF 00112233
  State:
    Keys generated ............. Yes (General Purpose, non-exportable)
R1#
"""

CME_AND_STATUS = (
    """\
R1#show running-config | section voice|ephone
voice service voip
 vpn-group 1
  vpn-gateway 1 https://203.0.113.20/SSLVPNphone
  vpn-trustpoint 1 trustpoint cme_cert leaf
  vpn-trustpoint 2 trustpoint cme_cert root
  vpn-hash-algorithm sha-1
 vpn-profile 1
  host-id-check disable
!
ephone  1
 mac-address 0000.5E00.5312
 vpn-group 1
 vpn-profile 1
 type 7965
"""
    + TRUSTPOINTS_STATUS
)

VERBOSE = """\
R1#show crypto pki certificates verbose
Certificate
  Status: Available
  Version: 3
  Certificate Serial Number (hex): 02
  Certificate Usage: General Purpose
  Issuer:
    cn=Example CA
  Subject:
    Name: cme.example.com
  Validity Date:
    start date: 00:08:38 UTC Feb 22 2026
    end   date: 00:08:38 UTC Feb 17 2046
  Fingerprint MD5: 796D8F17 F3E22A2E DADC2587 211ABA9A
  Fingerprint SHA1: 7D9DB140 73017168 FF7D2A0D B392243D B0363EDF
  X509v3 extensions:
  Associated Trustpoints: cme_cert
  Storage: nvram:ExampleCA#2.cer

CA Certificate
  Status: Available
  Certificate Usage: Signature
  Fingerprint MD5: 796D8F17 F3E22A2E DADC2587 211ABA9B
  Fingerprint SHA1: 10112233 44556677 8899AABB CCDDEEFF 00112233
  Associated Trustpoints: cme_cert ExampleCA
  Storage: nvram:ExampleCA#1CA.cer
"""

WITHOUT_VERBOSE = "\n".join(
    line for line in VERBOSE.replace(" verbose", "").splitlines() if "Fingerprint" not in line
)

VOICE_VPN = """\
Router #show voice vpn
The Voice Service VPN Group 1 setting:
VPN Gateway 1 URL https://203.0.113.20/SSLVPNphone
VPN Trustpoint hash in sha-1
VPN Trustpoint 1 trustpoint cme_cert root fbUqFIbtWtaYSGSlTP/Umshcgyk= The Voice Service
VPN Profile 1 setting:
The host_id_check setting: 0
"""

SHOW_SSL = """\
asa# show ssl
Accept connections using SSLv3 or greater and negotiate to TLSv1 or greater
Start connections using TLSv1 and negotiate to TLSv1 or greater
SSL DH Group: group2 (1024-bit modulus, FIPS)
SSL ECDH Group: group19 (256-bit EC)

SSL trust-points:
  Self-signed (RSA 2048 bits RSA-SHA256) certificate available
  Self-signed (EC 256 bits ecdsa-with-SHA256) certificate available
  Interface outside: VPN_TP (RSA 2048 bits RSA-SHA256)
Certificate authentication is not enabled
"""

SHOW_SSL_OLD = """\
asa# show ssl
Accept connections using SSLv2, SSLv3 or TLSv1 and negotiate to SSLv3 or TLSv1
Start connections using SSLv3 and negotiate to SSLv3 or TLSv1
Enabled cipher order: rc4-sha1 aes128-sha1 aes256-sha1 3des-sha1
SSL trust-points:
  outside interface: VPN_TP
Certificate authentication is not enabled
"""

SHOW_GATEWAY = """\
R1#show webvpn gateway sslvpn_gw
Admin Status: up
Operation Status: up
Error and Event Logging: Disabled
IP: 203.0.113.20, port: 443
SSL Trustpoint: cme_cert
"""

ASA_PART = """\
asa# show running-config ssl
ssl server-version tlsv1.2
ssl trust-point VPN_TP outside
asa# show running-config webvpn
webvpn
 enable outside
asa# show running-config interface
interface GigabitEthernet0/0
 nameif outside
 ip address 203.0.113.1 255.255.255.0
"""

SAMPLES = {
    "show crypto pki trustpoints status": TRUSTPOINTS_STATUS,
    "a configuration and its trustpoints' status": CME_AND_STATUS,
    "show crypto pki certificates verbose": VERBOSE,
    "show voice vpn": VOICE_VPN,
    "show running-config ssl": ASA_PART,
}
