"""Writes a run with openevolve's own database, as its runner would, and what its API says of that run."""

import argparse
import json
import logging
import math
import random
import shutil
import sys
import uuid
from pathlib import Path
from typing import Any

from openevolve.config import DatabaseConfig
from openevolve.database import Program, ProgramDatabase
from openevolve.utils.metrics_utils import get_fitness_score

from expected import Row, document, write

FEATURES = ["complexity", "diversity"]
START = '"""Größe → \\u0000, NaN and Infinity in a text."""\n\n\ndef solve(n: int) -> float:\n    return n * 0.5\n'


def config(programs: int, seed: int) -> DatabaseConfig:
    """Small enough a limit that parents are evicted; wide enough a grid that this is not the fate of most."""
    return DatabaseConfig(
        population_size=programs,
        archive_size=programs // 10,
        num_islands=4,
        feature_dimensions=FEATURES,
        feature_bins=200,
        migration_interval=40,
        migration_rate=0.05,
        random_seed=seed,
    )


def evaluate(fitness: float, code: str, rng: random.Random) -> dict[str, Any]:
    """Metrics like those of real evaluators, the odd ones among them."""
    metrics: dict[str, Any] = {"correctness": round(rng.random(), 6), "runtime_seconds": rng.expovariate(0.1)}
    match rng.choices(["plain", "nan", "mixed", "text", "mean", "timeout"], [70, 8, 8, 2, 6, 6])[0]:
        case "plain":
            metrics["combined_score"] = fitness
        case "nan":
            metrics |= {"combined_score": fitness, "speedup": math.nan, "loss": math.inf, "gain": -math.inf}
        case "mixed":
            detail = {"stages": [1, 2.5, None, "three"], "worst": {"case": 17, "ratio": math.nan}}
            metrics |= {"combined_score": fitness, "valid": True, "note": 'NaN, "quoted" ü', "detail": detail}
        case "text":
            # Their get_fitness_score reads a number in a text. Low, since their logging of a new best does not.
            metrics["combined_score"] = f"{fitness / 100:.6f}"
        case "mean":
            # No combined_score: the mean of the numbers that are no flags, no NaN and no feature dimension.
            metrics = {"accuracy": fitness, "recall": rng.random(), "complexity": float(len(code)), "ok": True}
            metrics |= {"speedup": math.nan, "note": "no combined score"}
        case "timeout":
            metrics = {"error": 0.0, "timeout": True}
    return metrics


def child_of(parent: Program, island: int, iteration: int, rng: random.Random) -> Program:
    """What their worker makes of a model's answer."""
    odds = min(max(get_fitness_score(parent.metrics, FEATURES), 0.02), 0.999)
    fitness = 1 / (1 + math.exp(-(math.log(odds / (1 - odds)) + rng.gauss(0.03, 0.3))))
    lines = [line for line in parent.code.splitlines() if rng.random() > 0.1 or not line.startswith("    n ")]
    lines.insert(len(lines) - 1, f"    n {rng.choice('+-*')}= {rng.random():.{rng.randint(1, 17)}f}  # {iteration}")
    code = "\n".join(lines) + "\n"
    return Program(
        id=str(uuid.uuid4()),
        code=code,
        changes_description=f"Change {iteration}: one more step",
        parent_id=parent.id,
        generation=parent.generation + 1,
        metrics=evaluate(fitness, code, rng),
        iteration_found=iteration,
        metadata={
            "changes": f"Change 1: step {iteration}",
            "parent_metrics": parent.metrics,
            "island": island,
            "token_usage": {"prompt_tokens": 900 + iteration, "completion_tokens": 120},
        },
    )


def evolve(database: ProgramDatabase, programs: int, generations: int, rng: random.Random) -> int:
    """Runs their loop until the population has been over its limit for a while; answers the last iteration."""
    database.add(Program(id=str(uuid.uuid4()), code=START, metrics={"combined_score": 0.1, "runtime_seconds": 9.5}))
    iteration, deepest, full_since = 0, 0, None
    while full_since is None or iteration < full_since + programs // 10 or deepest < generations:
        iteration += 1
        if iteration > 20 * programs:
            sys.exit(f"no {programs} programs of {generations} generations after {iteration} iterations")
        island = iteration % len(database.islands)
        parent, inspirations = database.sample_from_island(island, num_inspirations=3)
        child = child_of(parent, island, iteration, rng)
        database.add(child, iteration=iteration, target_island=island)
        if iteration % 3 == 0:
            database.store_artifacts(child.id, {"stderr": f"warning: NaN at {iteration}", "trace": b"\x00\xff"})
        prompt = {"system": "Improve.", "user": " ".join(program.id for program in inspirations)}
        database.log_prompt(child.id, "diff_user", prompt, responses=["<<<<<<< SEARCH"])
        database.increment_island_generation(island_idx=island)
        if database.should_migrate():
            database.migrate_programs()
        deepest = max(deepest, child.generation)
        if full_since is None and len(database.programs) >= programs:
            full_since = iteration
    return iteration


def expectation(checkpoint: Path, settings: DatabaseConfig) -> dict[str, Any]:
    """Reloads the checkpoint and asks their API."""
    database = ProgramDatabase(settings)
    database.load(str(checkpoint))
    rows = [
        Row(
            id=program.id,
            parent_id=program.parent_id,
            generation=program.generation,
            score=get_fitness_score(program.metrics, settings.feature_dimensions),
            failed=None,
            metrics=program.metrics,
            patch=program.code,
        )
        for program in database.programs.values()
    ]
    best = database.get_best_program()
    lineage, program = [], best
    while program is not None:
        lineage.append(program.id)
        program = database.get(program.parent_id) if program.parent_id else None
    return document(rows, best.id, lineage)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write; emptied before")
    parser.add_argument(
        "--programs", type=int, default=1200, metavar="N", help="population limit (default %(default)s)"
    )
    parser.add_argument(
        "--generations", type=int, default=12, metavar="N", help="go on until one is this deep (default %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=7, help="of all choices (default %(default)s)")
    arguments = parser.parse_args()

    logging.disable(logging.CRITICAL)
    rng = random.Random(arguments.seed)
    # Their migrants take ids from here; the order of ids decides what is sampled.
    uuid.uuid4 = lambda: uuid.UUID(int=rng.getrandbits(128), version=4)
    shutil.rmtree(arguments.out, ignore_errors=True)
    settings = config(arguments.programs, arguments.seed)
    database = ProgramDatabase(settings)
    last = evolve(database, arguments.programs, arguments.generations, rng)
    checkpoint = arguments.out / "checkpoints" / f"checkpoint_{last}"
    database.save(str(checkpoint), last)
    write(arguments.out, expectation(checkpoint, settings))
    tree = json.loads((checkpoint / "metadata.json").read_text())
    print(f"{checkpoint}: {last} iterations, islands of {', '.join(str(len(ids)) for ids in tree['islands'])}")


if __name__ == "__main__":
    main()
