"""Decide the verdicts: compare what captures show with what phones expect.

Everything in this package is pure: no files, no clock, no processes.
"""
