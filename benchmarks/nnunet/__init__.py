"""Comparison of nnU-Net's own predictor with ours."""
