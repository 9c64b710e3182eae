"""Programs that measure: speed, memory, scores. Their results lie in results/."""
