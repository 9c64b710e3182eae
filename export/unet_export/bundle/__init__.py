"""The bundle: the folder that a deployment team receives, written and read."""
