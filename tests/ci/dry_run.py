"""A dry run of the workflow `tests`: each job of its matrix, step by step.

    python -m tests.ci.dry_run

Prints the commands of every step. Exits with 1 and the reason if a step is not a target of make, or
if the workflow and `.ci/run` have different targets.
"""

import subprocess
import sys

from tests.ci.workflow import ROOT, WORKFLOWS, jobs, read, steps_of_ci, target


def recipe(name: str) -> str:
    """Return the commands of a target. Raises ValueError for an unknown target."""
    # No recipe of these targets contains $(MAKE), so nothing is executed.
    command = ["make", "--no-print-directory", "--dry-run", name]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    # "Nothing to be done": the name of a directory without a target.
    if made.returncode != 0 or "Nothing to be done" in made.stdout:
        raise ValueError(f"make {name}: {(made.stderr or made.stdout).strip()}")
    return made.stdout.strip()


def main() -> int:
    wanted, found = steps_of_ci(), set[str]()
    recipes = {name: recipe(name) for name in wanted}
    for job in jobs(read(WORKFLOWS / "test.yml")):
        print(f"{job.name}{f' (service {job.database})' if job.database else ''}")
        for name in map(target, job.commands):
            if name not in recipes:
                raise ValueError(f"{job.name}: make {name} is not a step of .ci/run")
            found.add(name)
            print(f"  make {name}")
            print("\n".join(f"    {line.strip()}" for line in recipes[name].splitlines()))
    if missing := [name for name in wanted if name not in found]:
        raise ValueError(f"steps of .ci/run that the workflow lacks: {', '.join(missing)}")
    print(f"the workflow has all steps of .ci/run: {', '.join(wanted)}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ValueError as error:
        print(f"dry_run: {error}", file=sys.stderr)
        sys.exit(1)
