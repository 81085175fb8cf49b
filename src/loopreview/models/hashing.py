"""Content hashes: the version of anything is the hash of its content."""

import hashlib
import json
from typing import Any


def content_hash(*parts: Any) -> str:
    """16 hex digits of SHA-256 over the canonical JSON of `parts` (sorted keys, UTF-8)."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
