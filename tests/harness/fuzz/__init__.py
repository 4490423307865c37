"""Fuzz tests of the readers."""
