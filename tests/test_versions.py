"""Test the recognition of Wireshark 4.0 to 4.6 and their Lua: without Lua, the plugin is not used."""

from __future__ import annotations

import pytest

from certhash.capture.tshark import versions

# The output of Debian 12, 13 and unstable, shortened, and that of builds without Lua.
ANSWERS = {
    ("4.0.17", "5.2"): """TShark (Wireshark) 4.0.17 (Git v4.0.17 packaged as 4.0.17-0+deb12u1).

Compiled (64-bit) using GCC 12.2.0, with GLib 2.74.6, with zlib 1.2.13, with
Lua 5.2.4, with GnuTLS 3.7.9 and PKCS #11 support, without AirPcap.
""",
    ("4.0.17", None): """TShark (Wireshark) 4.0.17.

Compiled (64-bit) using GCC 12.2.0, with zlib 1.2.13, without Lua, with GnuTLS 3.7.9.
""",
    ("4.4.19", "5.4"): """TShark (Wireshark) 4.4.19.

Compile-time info:
 Compiled (64-bit) using GCC 14.2.0, with libpcap, with Lua 5.4.7, with MaxMind.
""",
    ("4.6.9", "5.4"): """TShark (Wireshark) 4.6.9.

Compile-time info:
 With:
  +libxml2 2.15.4              +zlib 1.3.2
  +Lua 5.4.9                   +Zstandard 1.5.7
 Without:
  -zlib-ng
""",
    ("4.6.9", None): """TShark (Wireshark) 4.6.9.

Compile-time info:
 With:
  +zlib 1.3.2
 Without:
  -Lua
""",
    (None, None): "bash: no such thing as TShark",
}


@pytest.mark.parametrize("expected", ANSWERS, ids=str)
def test_versions_are_read_in_every_form(expected: tuple[str | None, str | None]) -> None:
    assert versions(ANSWERS[expected]) == expected
