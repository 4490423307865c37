"""The verdict: what captures show, held against what phones expect.

Everything here is pure: no file, no clock, no process.
"""
