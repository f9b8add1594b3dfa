"""What is said of one input: a prediction or a failure, and the dictionary that every output format is made from.

No torch here: `report/` stands on this file alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..errors import VideoErrorKind
    from ..video.reader import VideoInfo


@dataclass(frozen=True)
class ScoredLabel:
    """One label with its score.

    Attributes:
        label: the class name.
        index: the class index, 0 to num_labels - 1.
        score: probability in [0, 1]; for a regression checkpoint the raw output.
    """

    label: str
    index: int
    score: float

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {"label": self.label, "index": self.index, "score": round(self.score, 6)}


@dataclass(frozen=True)
class SampledFrames:
    """Which frames the model saw.

    Attributes:
        views: temporal x spatial views, such as "1x1" or "5x3".
        stride: distance of neighbouring frames, in frames; None when the video was cut into equal segments.
        frames: for each temporal view the frame numbers, in presentation order from 0.
    """

    views: str
    stride: int | None
    frames: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Prediction:
    """What a model says of one video.

    Attributes:
        path: the input, as it was named.
        predictions: the top labels, best first.
        sampling: the frames that were looked at.
        video: what `probe` says of the file.
        warnings: what a reader of the labels should know, such as "padded" or "truncated: ...".
        thumbnails: number and JPEG of some of the frames, where they were asked for; not part of the record.
    """

    path: str
    predictions: tuple[ScoredLabel, ...]
    sampling: SampledFrames
    video: VideoInfo
    warnings: tuple[str, ...] = ()
    thumbnails: tuple[tuple[int, bytes], ...] = field(default=(), repr=False)

    status = "ok"

    @property
    def label(self) -> str:
        """The best label."""
        return self.predictions[0].label

    @property
    def score(self) -> float:
        """The best label's score."""
        return self.predictions[0].score

    def to_dict(self) -> dict[str, Any]:
        """The record as plain values, in the order in which it is written."""
        video, sampling = self.video, self.sampling
        return {
            "path": self.path,
            "status": self.status,
            "predictions": [p.to_dict() for p in self.predictions],
            "sampling": {
                "views": sampling.views,
                "stride": sampling.stride,
                "frames": [list(view) for view in sampling.frames],
            },
            "video": {
                "num_frames": video.num_frames,
                "fps": video.fps,
                "duration_seconds": video.duration_seconds,
                "width": video.width,
                "height": video.height,
                "codec": video.codec,
                "rotation": video.rotation,
            },
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True)
class Failure:
    """Why one input has no labels.

    Attributes:
        path: the input, as it was named.
        kind: one of `errors.VideoErrorKind`.
        message: what was wrong, for people; it names the file.
        hint: what to do about it, for people; not part of the record.
        cause: the error of a bug of ours (kind "internal"), for its traceback; not part of the record.
    """

    path: str
    kind: VideoErrorKind
    message: str
    hint: str = ""
    cause: Exception | None = field(default=None, compare=False, repr=False)

    status = "error"

    def to_dict(self) -> dict[str, Any]:
        """The record as plain values, in the order in which it is written."""
        return {"path": self.path, "status": self.status, "kind": self.kind, "message": self.message}


Record = Prediction | Failure


def to_json(record: Record, label: str | None = None) -> str:
    """One line of JSON, see `values_to_json`.

    Args:
        record: what is said of one input.
        label: the true class where it is known; it comes last.
    """
    return values_to_json(record.to_dict() | ({} if label is None else {"label": label}))


def values_to_json(values: Mapping[str, Any]) -> str:
    """One line of JSON. Bytes of a name that are not UTF-8 come out as lone-surrogate escapes, so nothing is lost.

    `json.loads(line)["path"]` gives back the very string that `os.fsencode` turns into the file's name.

    Args:
        values: of a record.
    """
    line = json.dumps(values, ensure_ascii=False, allow_nan=False)
    return line.encode("utf-8", "backslashreplace").decode("utf-8")
