"""Programs that measure speed, memory and scores. Their results are in results/."""
