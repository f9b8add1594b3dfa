"""Where the real clips are, and a mark for tests that need them."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared"
CLIPS = SHARED / "clips"
needs_clips = pytest.mark.skipif(not CLIPS.is_dir(), reason=f"no real clips: {CLIPS} is absent")
