"""certhash: does a Cisco IP phone trust its VPN head-end, and if not, why."""

__version__ = "0.1.0"
