"""Other projects' networks: what builds them in their own environment, and what was recorded of them."""
