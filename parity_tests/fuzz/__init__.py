"""Damaged and hostile inputs for every command: `python -m parity_tests.fuzz --count 5000 --seed 7 --out table.json`.

A warm process, which has imported the commands, forks a child for each case (`server`). A case is one input of one
command, changed in a way that knows the file's structure (`bytes_`, `json_`, `images`, `arrays`, `models`). `judge`
holds what came of it against what every command promises; `subjects` lists which files which commands read.
"""
