"""The writers of a result: one module a form, each a function of the document alone."""
