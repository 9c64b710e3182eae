"""Label files: what their numbers are, and whether the files of one set agree."""
