"""A folder of static files that segments images in a browser."""
