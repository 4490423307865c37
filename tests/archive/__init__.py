"""The archive: what is kept between audits, several captures at once, clusters, and what a terminal shows."""
