#!/bin/bash
# Version: hier_config 3.7.1 (PyPI).
# Expected: a certificate in `crypto pki certificate chain` is one value. Where it was renewed under the same serial
#   number, the remediation either gives the new certificate whole, or leaves it alone.
# Behaviour: its hex lines are compared one by one. The remediation has lines such as `no 308202BB ...`, which IOS takes
#   for hex input inside of a certificate, and the lines that both certificates share are left out: what would be pasted
#   into the router is no certificate.
# Output seen: "lines with `no`: 6; hex lines of the new certificate left out: 11 of 17" and
#   "the rest is a DER certificate: no".
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check hier_config==3.7.1
openssl req -x509 -newkey rsa:1024 -nodes -keyout key.pem -set_serial 1 -days 30 -subj /CN=cme.example.com -out old.pem 2>/dev/null
openssl req -x509 -key key.pem -set_serial 1 -days 3650 -subj /CN=cme.example.com -out new.pem
cat > remediate.py <<'PYTHON'
import ssl
import subprocess

from hier_config import Platform, WorkflowRemediation, get_hconfig


def hex_lines(name):
    text = ssl.PEM_cert_to_DER_cert(open(name).read()).hex().upper()
    groups = [text[i : i + 8] for i in range(0, len(text), 8)]
    return [" ".join(groups[i : i + 8]) for i in range(0, len(groups), 8)]


def configuration(lines):
    body = "".join(f"  {line} \n" for line in lines)
    return f"hostname ROUTER\n!\ncrypto pki certificate chain cme_cert\n certificate self-signed 01\n{body}  \tquit\n!\nend\n"


old, new = hex_lines("old.pem"), hex_lines("new.pem")
running, generated = (get_hconfig(Platform.CISCO_IOS, configuration(lines)) for lines in (old, new))
remediation = WorkflowRemediation(running, generated).remediation_config
written = [child.cisco_style_text().strip() for child in remediation.all_children_sorted()]
negated = [line for line in written if line.removeprefix("no ") in old and line.startswith("no ")]
kept = [line for line in written if line in new]
print(f"lines with `no`: {len(negated)}; hex lines of the new certificate left out: {len(new) - len(kept)} of {len(new)}")
der = bytes.fromhex("".join(kept))
whole = subprocess.run(["openssl", "x509", "-inform", "DER", "-noout"], input=der, capture_output=True).returncode == 0
print("the rest is a DER certificate:", "yes" if whole else "no")
raise SystemExit(not (negated and len(kept) < len(new) and not whole))
PYTHON
venv/bin/python remediate.py
