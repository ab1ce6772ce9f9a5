"""A bundle on disk: the fields of its configuration, their checks, and its files."""
