"""What goes wrong around an audit: each loss is confined and named, and nothing is left behind."""
