"""Tests of the reports: each form is read back by a program or library that is not ours."""
