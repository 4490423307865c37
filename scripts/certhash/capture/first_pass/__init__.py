"""The first pass over a capture: drop the packets that cannot change a verdict before tshark."""

import os

# numpy's linear algebra, which nothing here needs, would start a thread for each processor.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
