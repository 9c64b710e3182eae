"""What decodes each kind of file: `decode` chooses."""
