"""Readers fed with what no honest sender sends."""
