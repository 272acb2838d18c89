"""What operating systems, NAS systems and programs put beside the files of a user.

Thumbnails among it are pictures of the same people once more, so that counting them would count
each of these people several times.
"""

from __future__ import annotations

# Synology, QNAP, NetApp, macOS, Windows, Linux; names without regard to case.
_NAMES = frozenset(
    {
        "@eadir",
        "#recycle",
        "#snapshot",
        "~snapshot",
        "@recycle",
        "@recently-snapshot",
        "@sharebin",
        "@tmp",
        "@synologydrive",
        "@spool",
        "__macosx",
        "__pycache__",
        "$recycle.bin",
        "recycler",
        "recycled",
        "system volume information",
        "found.000",
        "lost+found",
        "network trash folder",
        "temporary items",
        "picasaoriginals",
        "picasa.ini",
        "thumbs.db",
        "thumbs.db:encryptable",
        "ehthumbs.db",
        "ehthumbs_vista.db",
        "desktop.ini",
        "icon\r",
        "zbthumbnail.info",
    }
)
# "." begins every hidden name: .DS_Store, ._x.png, .AppleDouble, .@__thumb, .ipynb_checkpoints.
_BEGINNINGS = (".", "~$", "synophoto_", "synofile_", "synoindex_")


def is_clutter(name: str) -> bool:
    """Say whether a file or folder of this name, without its path, is none of a user's own.

    >>> [is_clutter(name) for name in ("@eaDir", "._1.png", "SYNOPHOTO_THUMB_M.jpg", "1.png")]
    [True, True, True, False]
    """
    lower = name.lower()
    return lower in _NAMES or lower.startswith(_BEGINNINGS)


def lies_in_clutter(path: str) -> bool:
    """Say whether any part of a path with forward slashes is clutter."""
    return any(is_clutter(part) for part in path.split("/") if part)


def clutter_note(count: int) -> tuple[str, ...]:
    """Return the sentence on files that were skipped, none for none."""
    if not count:
        return ()
    return (
        f"{count} files that operating systems, NAS systems and programs keep for themselves "
        "(thumbnails, hidden files, recycle bins) are skipped",
    )
