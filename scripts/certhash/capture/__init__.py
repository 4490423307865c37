"""Read a capture file into an :class:`~certhash.model.Observation`."""
