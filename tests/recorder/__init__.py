"""The recorder of the sample captures: real servers, a phone-like client, and what each capture must show.

``python -m tests.recorder`` (as root, from the project's top folder) records everything anew:

* ``captures/`` and ``captures/cnf/``: the samples that the first command of the README audits;
* ``tests/captures/`` and its ``cnf/``: the further cases, one for each verdict and cause and a near miss beside it;
* ``expected.json`` in both: the certificates, handshakes and verdicts, stated by the recorder from what it made
  itself (``hashlib`` over the DER it wrote), so that tests compare certhash with something independent of it.

``python -m tests.recorder match dtls`` records only the captures named, to look at one while working on it, and puts
them into a folder of its own (``-o``); the committed sets are only ever recorded whole, because keys and
certificates are made anew each time and every file of a set depends on them.

Needs the Debian packages ``dumpcap`` comes in (wireshark-common), ``tshark``, ``iproute2``, ``ethtool``, ``openssl``,
``tftpd-hpa``, ``tftp-hpa``, ``curl``, ``ocserv``, ``openconnect``, ``gnutls-bin`` and ``dnsmasq-base``, and the Python
packages ``cryptography`` and ``tlslite-ng``. No private key leaves the temporary folder of a run.
"""
