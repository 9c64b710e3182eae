"""Labelled data sets: found in folders, checked, split, sampled; their labels and border weights."""
