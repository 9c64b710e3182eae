"""Decoders and encoders of each file format; `decode` chooses the decoder."""
