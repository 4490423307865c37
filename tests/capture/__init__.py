"""Tests of what reads captures, one part at a time."""
