"""A bundle on disk: which fields its configuration has, what must fit together,
and how files are read and replaced.
"""
