"""Every example of the documents runs."""
