"""Unit tests of the modules that read captures."""
