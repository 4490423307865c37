"""Tests, the recorder of the captures, and the benchmarks."""
