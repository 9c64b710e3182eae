"""Mutation tests: small changes to the product's code, one at a time, that the room's own tests must notice.

`python -m parity_tests.mutation --room unet_data --count 30 --seed 1` (see `__main__`). The planted bugs of
`parity_tests.mutants` are written by hand, for the battery; these are generated, for every room.
"""
