"""Compares `dgm export` of an imported run with what the peer's own API says of it (expected.json).

Prints a line per difference and exits 1, or one line that tells how much is equal.
"""

import argparse
import json
import math
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from expected import digest

# Scores are stored with four decimals; a little more for the comparison of doubles.
TOLERANCE = 5e-5 + 1e-9

Entries = dict[str, dict[str, Any]]


def near(left: float, right: float) -> bool:
    return math.isclose(left, right, rel_tol=0, abs_tol=TOLERANCE)


def source(entry: dict[str, Any]) -> dict[str, Any]:
    """What the import kept of the peer's own ids."""
    return entry["evaluation_results"]["source"]


def differences(expected: dict[str, Any], lines: list[dict[str, Any]], form: str | None) -> Iterator[str]:
    """Everything in which the export is not what the peer says."""
    entries: Entries = {source(line)["id"]: line for line in lines}
    if len(lines) != expected["count"]:
        yield f"count: {len(lines)} entries, expected {expected['count']}"
    if len(entries) != len(lines):
        yield f"source.id: {len(entries)} different ones of {len(lines)} entries"
    for line in lines:
        if form is not None and source(line)["format"] != form:
            yield f"{line['archive_entry_id']}: source.format {source(line)['format']!r}, expected {form!r}"
    programs = expected["programs"]
    for missing in sorted(programs.keys() - entries.keys()):
        yield f"{missing}: not exported"
    for unknown in sorted(entries.keys() - programs.keys()):
        yield f"{unknown}: exported, but the peer does not have it"
    for peer_id in sorted(programs.keys() & entries.keys()):
        for difference in of_program(programs[peer_id], entries[peer_id], entries):
            yield f"{peer_id}: {difference}"
    yield from of_tree(expected, lines, entries)
    yield from of_generations(expected["generations"], lines)


def of_program(program: dict[str, Any], entry: dict[str, Any], entries: Entries) -> Iterator[str]:
    """One program: place in the tree, score, status, metrics and patch."""
    parent = program["parent_id"]
    evicted = parent is not None and parent not in entries
    found = {
        "source.parent_id": source(entry).get("parent_id"),
        "source.parent_evicted": source(entry).get("parent_evicted", False),
        "parent_entry_id": entry.get("parent_entry_id"),
        "generation_number": entry["generation_number"],
        "sha256(solution_patch)": digest(entry.get("solution_patch") or ""),
    }
    wanted = {
        "source.parent_id": parent,
        "source.parent_evicted": evicted,
        "parent_entry_id": entries[parent]["archive_entry_id"] if parent is not None and not evicted else None,
        "generation_number": program["generation"],
        "sha256(solution_patch)": program["patch_sha256"],
    }
    if program["failed"] is not None:
        found["failed"], wanted["failed"] = entry["status"] == "failed", program["failed"]
    for field, want in wanted.items():
        if found[field] != want:
            yield f"{field} {found[field]!r}, expected {want!r}"
    metrics, measured = entry["performance_metrics"], program["metrics"]
    for name in sorted(metrics.keys() | measured.keys()):
        # Not within a tolerance: what was measured is kept as it is.
        if metrics.get(name, "absent") != measured.get(name, "absent"):
            yield f"metric {name} {metrics.get(name, 'absent')!r}, expected {measured.get(name, 'absent')!r}"
    if not near(float(entry["accuracy_score"]), program["score"]):
        yield f"accuracy_score {entry['accuracy_score']}, expected {program['score']:.6f}"


def of_tree(expected: dict[str, Any], lines: list[dict[str, Any]], entries: Entries) -> Iterator[str]:
    """The best program, the way from it to the root, and the parents that are gone."""
    best = entries.get(expected["best_id"])
    if best is not None:
        score = float(best["accuracy_score"])
        if not near(score, expected["best_score"]):
            yield f"best: accuracy_score {score}, expected {expected['best_score']:.6f}"
        better = [line for line in lines if line["status"] != "failed" and float(line["accuracy_score"]) > score]
        if better:
            yield f"best: {len(better)} entries score higher, {source(better[0])['id']} among them"
    by_entry = {line["archive_entry_id"]: line for line in lines}
    lineage, entry = [], best
    # Bounded by the count: a cycle must not keep the check from ending.
    while entry is not None and len(lineage) <= len(lines):
        lineage.append(source(entry)["id"])
        entry = by_entry.get(entry.get("parent_entry_id"))
    if lineage != expected["lineage_of_best"]:
        yield f"lineage of the best: {lineage}, expected {expected['lineage_of_best']}"
    dangling = sum(
        line.get("parent_entry_id") is not None and line["parent_entry_id"] not in by_entry for line in lines
    )
    if dangling:
        yield f"parent_entry_id: {dangling} lead to no exported entry"
    evicted = sum(source(line).get("parent_evicted", False) for line in lines)
    if evicted != expected["missing_parents"]:
        yield f"evicted parents: {evicted}, expected {expected['missing_parents']}"
    position = {line["archive_entry_id"]: number for number, line in enumerate(lines)}
    early = sum(position.get(line.get("parent_entry_id"), -1) >= number for number, line in enumerate(lines))
    if early:
        yield f"order: {early} children stand before their parents"


def of_generations(expected: dict[str, Any], lines: list[dict[str, Any]]) -> Iterator[str]:
    """Count, best and mean of every generation."""
    scores: dict[str, list[float]] = defaultdict(list)
    for line in lines:
        scores[str(line["generation_number"])].append(float(line["accuracy_score"]))
    for generation in sorted(scores.keys() | expected.keys(), key=int):
        of, want = scores.get(generation), expected.get(generation)
        if of is None or want is None:
            yield f"generation {generation}: {'not ' if of is None else ''}exported, the opposite is expected"
            continue
        found = {"count": len(of), "best": max(of), "mean": math.fsum(of) / len(of)}
        for name, value in found.items():
            if not near(value, want[name]):
                yield f"generation {generation}: {name} {value}, expected {want[name]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--expected", type=Path, required=True, metavar="FILE", help="expected.json of a written run")
    parser.add_argument("--export", type=Path, required=True, metavar="FILE", help="output of `dgm export`")
    parser.add_argument("--form", metavar="NAME", help="what source.format must be: openevolve or shinka")
    arguments = parser.parse_args()

    expected = json.loads(arguments.expected.read_text())
    with arguments.export.open() as export:
        lines = [json.loads(line) for line in export]
    found = list(differences(expected, lines, arguments.form))
    for difference in found:
        print(difference)
    if found:
        print(f"{len(found)} differences", file=sys.stderr)
        return 1
    print(
        f"equal: {expected['count']} programs in {len(expected['generations'])} generations, best "
        f"{expected['best_score']:.4f} with {len(expected['lineage_of_best']) - 1} ancestors, "
        f"{expected['missing_parents']} evicted parents"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
