"""Compare the certificates that certhash finds with those that independent readers find."""
