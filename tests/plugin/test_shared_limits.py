"""Test constants that plugin and companion share: alerts that reject a certificate, the largest file."""

from __future__ import annotations

import subprocess

from tests.plugin.machines import PLUGIN

from certhash.cnf.rules import LARGEST
from certhash.judgement.evidence import CERTIFICATE_ALERTS

ASK = """
local story, cnf = dofile(arg[1] .. "/story.lua"), dofile(arg[1] .. "/cnf.lua")
io.write(("%d\\n"):format(cnf.LARGEST))
for code in pairs(story.REFUSALS) do io.write(("%d\\n"):format(code)) end
"""


def test_both_know_the_same_alerts_and_the_same_largest_file(lua: str) -> None:
    command = [lua, "-", str(PLUGIN / "certhash")]
    done = subprocess.run(command, input=ASK, capture_output=True, text=True, check=True)
    largest, *codes = map(int, done.stdout.split())
    assert largest == LARGEST
    assert sorted(codes) == sorted(CERTIFICATE_ALERTS)
