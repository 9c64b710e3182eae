"""Other projects' weights: recognises them by tensor names, reads them into our networks, and writes them back.

    name = recognise(tensors, where)
    imported = import_tensors(name, tensors, {}, where)
    Checkpoint(imported.config, imported.tensors).save(folder); imported.origin.save(folder)
    theirs = export_tensors(imported.config, imported.tensors, imported.origin)

Each source is a rename table (`tables/*.toml`, interpreted by `table.py`) and a function that infers the network from
the tensors' shapes. The tensors are arrays by name; files are read elsewhere. All values are preserved bit for bit.
"""

from .origin import Origin
from .transfer import READERS, Imported, export_tensors, has_marks, import_tensors, names, recognise

__all__ = ["READERS", "Imported", "Origin", "export_tensors", "has_marks", "import_tensors", "names", "recognise"]
