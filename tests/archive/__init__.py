"""Test audits of archives: the cache, parallel reading, clusters, and progress on a terminal."""
