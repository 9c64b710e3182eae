"""Which files of a folder are images, which are labels, and what becomes of the others."""
