"""Writes a run with shinka's own database, as its runner would, and what its API says of that run."""

import argparse
import contextlib
import difflib
import logging
import math
import os
import random
import shutil
import uuid
from pathlib import Path
from typing import Any

import numpy
from shinka.database import DatabaseConfig, Program, ProgramDatabase

from expected import Row, document, write

START = "# Größe\ndef solve(n):\n    return n * 0.5\n"


def config(path: Path) -> DatabaseConfig:
    """Islands that exchange programs, and new islands where nothing gets better."""
    return DatabaseConfig(
        db_path=str(path),
        num_islands=4,
        num_archive_inspirations=2,
        num_top_k_inspirations=2,
        migration_interval=10,
        migration_rate=0.1,
        enable_dynamic_islands=True,
        stagnation_threshold=25,
        island_spawn_strategy="best",
        island_spawn_subtree_size=3,
    )


def open_database(settings: DatabaseConfig, read_only: bool = False) -> ProgramDatabase:
    """Without a model's name their database makes no client for embeddings."""
    return ProgramDatabase(settings, embedding_model="", read_only=read_only)


def evaluate(fitness: float, rng: random.Random) -> dict[str, Any]:
    """What their runner takes from an evaluator's files, the odd ones among them."""
    public = {"runtime_seconds": rng.expovariate(0.1), "cases": rng.randint(1, 40)}
    private = {"hidden_score": rng.random()}
    match rng.choices(["plain", "nan", "mixed", "wrong", "crashed", "nan score"], [66, 8, 8, 8, 8, 2])[0]:
        case "plain":
            odd = {}
        case "nan":
            # Their writer does not clean metrics: the columns hold NaN and Infinity, which is no JSON.
            odd = {"public_metrics": public | {"speedup": math.nan, "loss": math.inf, "gain": -math.inf}}
        case "mixed":
            detail = {"stages": [1, 2.5, None, "three"], "worst": {"case": 17, "ratio": math.nan}}
            odd = {"public_metrics": public | {"valid": True, "note": 'NaN, "quoted" ü', "detail": detail}}
        case "wrong":
            # Scores may be the best of all and yet be of a program that is not correct.
            odd = {"correct": False, "combined_score": min(1.0, fitness * 1.5), "text_feedback": ["wrong", "case 17"]}
        case "crashed":
            odd = {"correct": False, "combined_score": 0.0, "public_metrics": {}, "private_metrics": {}}
        case "nan score":
            # SQLite has no NaN; the column is null then.
            odd = {"correct": False, "combined_score": math.nan}
    plain = {"correct": True, "combined_score": fitness, "public_metrics": public, "private_metrics": private}
    return plain | {"text_feedback": "ran"} | odd


def child_of(
    parent: Program, archive: list[Program], top_k: list[Program], generation: int, rng: random.Random
) -> Program:
    """What their runner makes of a finished job."""
    odds = min(max(parent.combined_score or 0.0, 0.02), 0.999)
    fitness = 1 / (1 + math.exp(-(math.log(odds / (1 - odds)) + rng.gauss(0.0, 0.3))))
    lines = parent.code.splitlines()
    lines.insert(len(lines) - 1, f"    n {rng.choice('+-*')}= {rng.random():.4f}  # {generation}")
    code = "\n".join(lines) + "\n"
    difference = difflib.unified_diff(parent.code.splitlines(True), code.splitlines(True), "original", "modified")
    kind = rng.choice(["diff", "full", "cross"])
    return Program(
        id=str(uuid.uuid4()),
        code=code,
        parent_id=parent.id,
        archive_inspiration_ids=[program.id for program in archive],
        top_k_inspiration_ids=[program.id for program in top_k],
        generation=generation,
        # A full rewrite has no difference: the code alone tells it.
        code_diff=None if kind == "full" else "".join(difference),
        embedding=[rng.gauss(0, 1) for _ in range(8)],
        metadata={
            "patch_type": kind,
            "patch_name": f"step_{generation}",
            "api_costs": 0.0123,
            "llm_result": {"thought": "NaN is a word here", "cost": rng.choice([0.01] * 19 + [math.nan])},
            "source_generation": generation,
        },
        **evaluate(fitness, rng),
    )


def evolve(database: ProgramDatabase, programs: int, generations: int, rng: random.Random) -> None:
    """Runs their loop: a generation's proposals, then the next, until there are programs enough."""
    start = Program(id=str(uuid.uuid4()), code=START, correct=True, combined_score=0.1, metadata={"patch_type": "init"})
    database.add(start)
    for generation in range(1, generations + 1):
        # Jobs run side by side: all are inserted, then come archive, best and migration, as their runner does it.
        children = []
        for _ in range(math.ceil(programs / generations)):
            children.append(child_of(*database.sample(target_generation=generation), generation, rng))
            database.add(children[-1], defer_maintenance=True)
        database.run_post_add_maintenance_batch(children)
    database.save()


def expectation(settings: DatabaseConfig) -> dict[str, Any]:
    """Opens the file anew and asks their API, generation by generation."""
    database = open_database(settings, read_only=True)
    rows = [
        Row(
            id=program.id,
            parent_id=program.parent_id,
            generation=program.generation,
            # As their own comparisons read a missing score.
            score=program.combined_score or 0.0,
            failed=not program.correct,
            metrics={
                "combined_score": program.combined_score,
                "public_metrics": program.public_metrics,
                "private_metrics": program.private_metrics,
            },
            patch=program.code_diff or program.code,
        )
        for generation in range(database.last_iteration + 1)
        for program in database.get_programs_by_generation(generation)
    ]
    count = database.get_program_count_and_timestamp()["count"]
    assert len(rows) == count, f"their count is {count}, their generations hold {len(rows)}"
    best = database.get_best_program()
    ancestors = database.get_ancestry(best.id, max_ancestors=count)
    database.close()
    return document(rows, best.id, [best.id, *(program.id for program in reversed(ancestors))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write; emptied before")
    parser.add_argument(
        "--programs", type=int, default=1200, metavar="N", help="without copies for islands (default %(default)s)"
    )
    parser.add_argument(
        "--generations", type=int, default=120, metavar="N", help="they tell time, not depth (default %(default)s)"
    )
    parser.add_argument(
        "--name", default="evolution_db.sqlite", help="file; their runner's is programs.sqlite (default %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=7, help="of all choices but SQLite's own, who migrates (default %(default)s)"
    )
    arguments = parser.parse_args()

    logging.disable(logging.CRITICAL)
    rng = random.Random(arguments.seed)
    random.seed(arguments.seed)
    numpy.random.seed(arguments.seed)
    uuid.uuid4 = lambda: uuid.UUID(int=rng.getrandbits(128), version=4)
    shutil.rmtree(arguments.out, ignore_errors=True)
    settings = config(arguments.out / arguments.name)
    # Their sampling and migration print tables.
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        database = open_database(settings)
        evolve(database, arguments.programs, arguments.generations, rng)
        islands = database.island_manager.get_island_populations()
        database.close()
        outcome = expectation(settings)
    write(arguments.out, outcome)
    print(f"{settings.db_path}: islands of {', '.join(str(size) for _, size in sorted(islands.items()))}")


if __name__ == "__main__":
    main()
