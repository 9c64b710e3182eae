"""From a map of probabilities to numbered objects: exact in windows of any size. The argument is in README.md."""
