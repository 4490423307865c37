"""Decide the verdicts: compare what captures show with what phones expect.

Everything here is pure: no files, no clock, no processes.
"""
