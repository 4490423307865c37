"""Tests, a folder for each room of the package; ``harness`` has the programs and helpers that they share."""
