"""What a peer's own API says of a run, in the form that check.py compares with an export."""

import hashlib
import json
import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Row:
    """One program as the peer's API answers it after a reload."""

    id: str
    parent_id: str | None
    generation: int
    score: float
    """By the peer's own fitness rule."""
    failed: bool | None
    """None when the peer has no such notion."""
    metrics: dict[str, Any]
    patch: str
    """The difference to the parent where the peer has one, else the code."""


def finite(value: Any) -> Any:
    """The value as JSON can hold it: NaN and the infinities are null."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def digest(text: str) -> str:
    """SHA-256 of a patch: tells a changed character without storing every program twice."""
    return hashlib.sha256(text.encode()).hexdigest()


def document(rows: list[Row], best_id: str, lineage: list[str]) -> dict[str, Any]:
    """The whole expectation; `lineage` leads from the best program to its oldest ancestor still there."""
    scores: dict[int, list[float]] = defaultdict(list)
    for row in rows:
        scores[row.generation].append(row.score)
    known = {row.id: row for row in rows}
    return {
        "count": len(rows),
        "best_id": best_id,
        "best_score": known[best_id].score,
        "lineage_of_best": lineage,
        "generations": {
            str(generation): {"count": len(of), "best": max(of), "mean": math.fsum(of) / len(of)}
            for generation, of in sorted(scores.items())
        },
        "missing_parents": sum(row.parent_id is not None and row.parent_id not in known for row in rows),
        "programs": {
            row.id: {
                "parent_id": row.parent_id,
                "generation": row.generation,
                "score": row.score,
                "failed": row.failed,
                "metrics": finite(row.metrics),
                "patch_sha256": digest(row.patch),
            }
            for row in rows
        },
    }


def write(folder: Path, expectation: dict[str, Any]) -> None:
    """Writes `folder/expected.json` and tells the gist on standard output."""
    (folder / "expected.json").write_text(json.dumps(expectation, allow_nan=False, indent=1) + "\n")
    generations = [int(generation) for generation in expectation["generations"]]
    print(
        f"{folder}: {expectation['count']} programs, generations {min(generations)} to {max(generations)}, "
        f"best {expectation['best_score']:.4f} with {len(expectation['lineage_of_best']) - 1} ancestors, "
        f"{expectation['missing_parents']} missing parents"
    )
