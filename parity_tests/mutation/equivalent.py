"""Mutants that change nothing that anybody could notice, and why: by module, old text and new text."""

EQUIVALENT: dict[tuple[str, str, str], str] = {
    (
        "unet_jax/training/log.py",
        "json.dumps(values, allow_nan=False)",
        "json.dumps(values)",
    ): "the line before has replaced every number that is not finite, so there is none left to refuse",
}
