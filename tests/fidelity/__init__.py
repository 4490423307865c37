"""Certificates that certhash finds, against those that independent readers find."""
