"""Test faults around an audit: each loss is confined and reported, and nothing is left behind."""
