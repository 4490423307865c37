"""``python -m certhash``."""

import sys

from certhash.cli import main

sys.exit(main())
