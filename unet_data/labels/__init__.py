"""Label files: the meaning of their numbers, and checks that the files of a data set agree."""
