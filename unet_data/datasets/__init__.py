"""Labelled data sets: finding them in folders, checks, splits, sampling, label conventions and border weights."""
