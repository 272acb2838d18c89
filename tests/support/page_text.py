"""What a reader sees of a page."""

from __future__ import annotations

import re
from pathlib import Path


def text_of(page: Path) -> str:
    """Its words: neither styles nor drawings nor tags, whose pictures are letters at random."""
    text = re.sub(r"<(style|svg).*?</\1>", " ", page.read_text("utf-8"), flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", text).split())
