"""Folders of captures: find them, remember what they showed, and share the reading among processes."""
