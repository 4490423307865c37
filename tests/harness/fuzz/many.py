"""``python -m tests.harness.fuzz.many COUNT [TARGET]...``: give each target COUNT damaged inputs.

It needs no atheris and knows nothing of coverage: it is for large numbers. The targets are those of
``targets``, and those of ``modules.lua`` with each plain interpreter, as ``lua5.4:cnf``. It prints a line for
each target, with the seconds of processor time, writes each input that broke something into a file
``broke-TARGET-N``, and returns 1 if there is one.
"""

from __future__ import annotations

import base64
import hashlib
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.conftest import TOP
from tests.harness.fuzz.mutate import mutated
from tests.harness.fuzz.targets import TARGETS

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPT = Path(__file__).with_name("modules.lua")
INTERPRETERS = ("lua5.2", "lua5.4")
MODULES = {
    **dict.fromkeys(("cnf", "verdict", "xml"), "cnf"),
    **dict.fromkeys(("digests", "handshakes", "http", "openvpn", "texts", "tftp"), "texts"),
    "x509": "certificates",
}
"""The targets of modules.lua, and the samples from which mutation starts."""
Broke = tuple[bytes, str]
"""An input that broke something, and what was said."""

_SMALL = 3000
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----(.*?)-----END", re.DOTALL)
_TEXTS = (
    b"https://vpn.example.com:8443/phone?a=b",
    b"https://[2001:db8::203.0.113.1]:443/x",
    b"203.0.113.10",
    b"::ffff:10.1.1.1",
    b"2001:db8:0:0:1::1",
    b"flash:/its/vrf1_SEP00005E005311.cnf.xml.enc.sgn",
    b"SEP00005E005311.cnf (1).xml",
    b"XMLDefault7960.cnf.xml",
    b"fZ2xQHMBcWj/fSoNs5IkPbA2Pt8=; 7d:9d:b1:40:73:01:71:68:ff:7d:2a:0d:b3:92:24:3d:b0:36:3e:df=https://a.example",
    b"sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
    b"SHA1 Fingerprint=7D:9D:B1:40:73:01:71:68:FF:7D:2A:0D:B3:92:24:3D:B0:36:3E:DF",
    b"GET /phone HTTP/1.1\r\nHost: vpn.example.com\r\nUpgrade: TLS/1.0, HTTP/1.1\r\n\r\n",
    b"\x03\0\0\x13\x0e\xe0\0\0\0\0\0\x01\0\x08\0\x03\0\0\0",
    b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
    b"\x38" + b"s" * 8 + bytes(5),
    bytes(range(256)) * 3,
)


def readers(name: str, count: int, seed: int) -> list[Broke]:
    """Give a target of :data:`TARGETS` damaged inputs."""
    target, made = TARGETS[name]
    choose, samples = random.Random(seed), made()
    broke = []
    for _ in range(count):
        data = mutated(choose, choose.choice(samples))
        try:
            target(data)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
            broke.append((data, repr(error)))
    return broke


def modules(lua: str, name: str, count: int, seed: int) -> list[Broke]:
    """Give a target of modules.lua damaged inputs, in a plain interpreter."""
    broke = []
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number, sample in enumerate(_samples(name)):
            paths.append(Path(folder) / str(number))
            paths[-1].write_bytes(sample)
        command: list[str | Path] = [
            lua,
            SCRIPT,
            TOP / "plugin" / "certhash",
            name,
            str(seed),
            str(count),
            *paths,
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
            assert running.stdout is not None
            for line in running.stdout:
                what, data, said = line.rstrip("\n").split(" ", 2)
                content = bytes.fromhex(data)
                if what == "BROKE":
                    broke.append((content, said))
                elif said.split(" ") != [
                    hashlib.new(kind, content).hexdigest() for kind in ("sha1", "sha256")
                ]:
                    broke.append((content, f"wrong digests: {said}"))
            assert running.stderr is not None
            said = running.stderr.read()
    if running.returncode:
        broke.append((b"", f"{lua} ended with {running.returncode}: {said[-300:]}"))
    return broke


def _samples(name: str) -> Iterator[bytes]:
    match MODULES[name]:
        case "cnf":
            yield from (data for data in TARGETS["cnf"][1]() if len(data) < _SMALL)
        case "texts":
            yield from _TEXTS
        case _:
            for data in TARGETS["configuration"][1]():
                yield from map(base64.b64decode, _PEM.findall(data))


ALL = {
    **{name: lambda *given, name=name: readers(name, *given) for name in TARGETS},
    **{
        f"{lua}:{name}": lambda *given, lua=lua, name=name: modules(lua, name, *given)
        for lua in INTERPRETERS
        for name in MODULES
    },
}
"""Each target with its function of the count and the seed."""


def _spent() -> float:
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def main() -> int:
    """Give each target its inputs, one target after the other."""
    count, names = int(sys.argv[1]), sys.argv[2:] or list(ALL)
    if unknown := sorted(set(names) - set(ALL)):
        sys.exit(f"{__doc__}\nno target: {', '.join(unknown)}; targets: {', '.join(ALL)}")
    status, seed = 0, time.time_ns() % (1 << 31)
    for name in names:
        before = _spent()
        broke = ALL[name](count, seed)
        print(
            f"{name:18} {count} inputs, seed {seed}, {_spent() - before:.2f} s, {len(broke)} broke",
            flush=True,
        )
        for number, (data, said) in enumerate(broke[:20]):
            path = Path(f"broke-{name.replace(':', '-')}-{seed}-{number}")
            path.write_bytes(data)
            print(f"  {path}: {said}", flush=True)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
