"""Mutants that change nothing that anybody could notice, and why: by module, old text and new text."""

EQUIVALENT: dict[tuple[str, str, str], str] = {}
