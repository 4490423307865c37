"""The numbers in packet headers that the first pass knows.

Sources: RFC 791, RFC 8200, RFC 9293, RFC 768, IEEE 802.1Q, the registries of IANA, the link types of
tcpdump.org.
"""

from __future__ import annotations

TCP, UDP, ESP = 6, 17, 50
HOP_BY_HOP, ICMPV6 = 0, 58
FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10
PADDED = (46, 42)
"""Bytes of an IP packet that fills the shortest Ethernet frame, without and with a VLAN tag (IEEE 802.3,
clause 3.2.8)."""

ETHERNET, NULL, LOOP, COOKED, COOKED_2 = 1, 0, 108, 113, 276
RAW = (12, 14, 101, 228, 229)
IPV4, IPV6 = 0x0800, 0x86DD
V4, V6 = 4, 6
V4_HEADER, V6_HEADER, TCP_HEADER, UDP_HEADER = 20, 40, 20, 8
FLAT_KINDS = (0x0806, 0x8035, 0x8809, 0x88CC, 0x888E, 0x88F7, 0x8902, 0x9000)
FLAT_PROTOCOLS = (1, 2, TCP, UDP, ESP, 58, 88, 89, 103, 112)
"""Protocols that do not encapsulate packets: ARP, RARP, LACP, LLDP, 802.1X, PTP, CFM, loopback tests; ICMP,
IGMP, routing, VRRP."""
LARGEST_LENGTH = 1500
"""An EtherType up to this value is a length (IEEE 802.3), and no IP follows."""
LISP = 4341
TUNNEL_PORTS = (
    1701, 2152, 2268, 3544, LISP, 4754, 4789, 4790, 5072, 5247, 6081, 6343, 6635, 8472, 30030, 37008,
)  # fmt: skip
"""Ports of tunnels that tshark dissects: L2TP, GTP, AMT, Teredo, LISP, GRE, VXLAN, AYIYA, CAPWAP, Geneve,
sFlow, MPLS, VXLAN again, Juniper's mirror, TZSP."""
VLAN = (0x8100, 0x88A8, 0x9100)
MOST_TAGS = 4
