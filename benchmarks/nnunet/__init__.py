"""nnU-Net's own predictor beside ours."""
