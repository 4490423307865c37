"""Tests of the reports: an independent program or library reads each format."""
