"""Other projects' weights: recognised by their names, read into our networks, and written back tensor for tensor.

    name = recognise(tensors, where)
    imported = import_tensors(name, tensors, {}, where)
    Checkpoint(imported.config, imported.tensors).save(folder); imported.origin.save(folder)
    theirs = export_tensors(imported.config, imported.tensors, imported.origin)

Each source is a rename table (`tables/*.toml`, interpreted by `table.py`) and a function that reads the network off the
tensors' shapes. Files are read elsewhere: here are arrays by name. Everything is bit for bit.
"""

from .origin import Origin
from .transfer import READERS, Imported, export_tensors, has_marks, import_tensors, names, recognise

__all__ = ["READERS", "Imported", "Origin", "export_tensors", "has_marks", "import_tensors", "names", "recognise"]
