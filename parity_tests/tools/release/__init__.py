"""The release: version, wheel, environments, bill of materials."""
