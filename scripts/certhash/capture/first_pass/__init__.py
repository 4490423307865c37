"""The first pass over a capture: drop the packets that cannot change a verdict before tshark."""
