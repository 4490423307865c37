"""From a capture file to an :class:`~certhash.model.Observation`."""
