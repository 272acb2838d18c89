"""Writing a set, batch by batch, in the layouts that training code reads.

```
form = SetForm(32, 32, 1, class_names, count=100_000, columns={"path": int, "step": int})
with WRITERS["webdataset"](root, form, file="shard-000003.tar", first=30_000) as writer:
    writer.add(Batch(images, labels, {"path": path, "step": step}))
writer.files["shard-000003.tar"]   # {"bytes": ..., "sha256": ...}
```

A layout whose writer is `sharded` may be written as several files, by several processes, and
`WRITERS[name].file_of(shard, shards)` names them; the others are one file (or tree) each.
`Batch.packed` takes images that are PNG files already.
"""

from latentpath.data.writers.archive_layouts import (
    NpzWriter,
    ParquetWriter,
    StyleGANWriter,
    WebDatasetWriter,
)
from latentpath.data.writers.folder import FolderWriter, safe_folder_names
from latentpath.data.writers.writer import Batch, SetForm, Writer, splits_of_walks

WRITERS: dict[str, type[Writer]] = {
    writer.layout: writer
    for writer in (FolderWriter, NpzWriter, WebDatasetWriter, StyleGANWriter, ParquetWriter)
}
"""The layouts, by name."""

__all__ = [
    "WRITERS",
    "Batch",
    "SetForm",
    "Writer",
    "safe_folder_names",
    "splits_of_walks",
]
