"""Coverage-guided fuzzing of the readers with atheris (pip install 'unet-twins[fuzz]'); pytest does not run these.

    python -m parity_tests.fuzz.harnesses images -max_total_time=300

Readers: images, zarr, nifti, json, safetensors, onnx, pth. A reader returns or raises InputError, whose text is one
line of at most 300 characters without control characters; anything else ends the run, and the input is kept as
crash-… in the current folder. Further arguments are libFuzzer's: a folder of inputs to begin with and to add to,
-runs=N, -rss_limit_mb=2048 (the default here), -timeout=60 (the default here). A kept input is tried again by its name.
"""
