"""Record the sample captures with real servers and a phone-like client, and the expected result of each.

``python -m tests.harness.recorder`` (as root, from the project's top folder) records everything again:

* ``captures/`` and ``captures/cnf/``: the samples that the first command of the README audits;
* ``tests/captures/`` and its ``cnf/``: the further cases, one for each verdict and cause, with near misses;
* ``expected.json`` in both: the certificates, handshakes and verdicts, stated by the recorder from what it
  created (``hashlib`` over the DER that it wrote), so that tests compare certhash with an independent result.

What the keys of ``expected.json`` mean beyond those of ``audit -f json``: ``hidden`` is why a handshake shows
no certificate; ``asked`` and ``answered`` say whether ClientHello and ServerHello are in the capture;
``alerts`` are the unencrypted ones, without close_notify; ``note`` is for people. A verdict of ``null``, a
cause of ``null`` beside a mismatch, and a version of ``null`` are left open. ``forms`` and ``config`` say
what must be read from phones' files and from what CME and ASA print; ``keylog`` says what a capture shows
with the file of keys beside it.

``python -m tests.harness.recorder match dtls -o FOLDER`` records only the captures named, into a folder
of their own, to look at one while working on it; the committed sets are only ever recorded whole, because
keys and certificates are generated each time and every file of a set depends on them.

Needs the Debian packages ``wireshark-common`` (dumpcap, editcap), ``iproute2``, ``ethtool``, ``openssl``,
``tftpd-hpa``, ``tftp-hpa``, ``curl``, ``ocserv``, ``openconnect``, ``gnutls-bin`` and ``dnsmasq-base``, and
the Python packages ``cryptography`` and ``tlslite-ng``. No private key leaves the temporary folder of a run.
"""
