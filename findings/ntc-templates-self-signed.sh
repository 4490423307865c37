#!/bin/bash
# Version: ntc-templates 9.3.0 with textfsm 2.1.0 (PyPI).
# Expected: `show crypto pki certificates` of a router with the self-signed certificate that IOS makes by itself
#   (`Router Self-Signed Certificate`, the usual one behind a head-end's first set-up) gives one row for it.
# Behaviour: the template knows `Certificate` and `CA Certificate` only and raises an error at the heading; a certificate
#   that belongs to two trustpoints (`Associated Trustpoints: cme_cert cme_root`) raises one too.
# Output seen: "a CA's certificate: 1 row", "self-signed: TextFSMError ... Line: Router Self-Signed Certificate",
#   "two trustpoints: TextFSMError ... Line:   Associated Trustpoints: cme_cert cme_root".
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check ntc-templates==9.3.0 textfsm==2.1.0
cat > parse.py <<'PYTHON'
from ntc_templates.parse import parse_output

OUTPUT = """{heading}
  Status: Available
  Certificate Serial Number (hex): 01
  Certificate Usage: General Purpose
  Issuer:
    cn=cme.example.com
  Subject:
    Name: cme.example.com
    cn=cme.example.com
  Validity Date:
    start date: 21:37:27 UTC Apr 23 2018
    end   date: 00:00:00 UTC Jan 1 2020
  Associated Trustpoints: {trustpoints}
"""


def rows(heading, trustpoints):
    text = OUTPUT.format(heading=heading, trustpoints=trustpoints)
    try:
        return f"{len(parse_output('cisco_ios', 'show crypto pki certificates', text))} row"
    except Exception as error:
        return f"{type(error).__name__} {error}"


plain = rows("CA Certificate", "cme_cert")
own = rows("Router Self-Signed Certificate", "TP-self-signed-1000000001")
two = rows("CA Certificate", "cme_cert cme_root")
print(f"a CA's certificate: {plain}\nself-signed: {own}\ntwo trustpoints: {two}")
raise SystemExit(not (plain == "1 row" and "Error" in own and "Error" in two))
PYTHON
venv/bin/python parse.py
