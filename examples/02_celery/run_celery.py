"""A sweep by two Celery workers, all of it on this machine: `python examples/02_celery/run_celery.py`."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from lazymigrate import embedded
from lazymigrate.sweeping import SweepReport

WORKER = ["-m", "celery", "-A", "tasks", "worker", "--pool", "solo", "--loglevel", "ERROR"]
ORDERS = 2000
HERE = Path(__file__).parent


@contextmanager
def workers(count: int) -> Generator[None]:
    """Workers, each of which ends the task that it has in hand when it is no longer needed."""
    started = [
        subprocess.Popen(
            [sys.executable, *WORKER, "--hostname", f"worker{number}@%h"], cwd=HERE, stdout=subprocess.DEVNULL
        )
        for number in range(1, count + 1)
    ]
    try:
        yield
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(30)


def main() -> None:
    with embedded.server() as server, TemporaryDirectory() as directory:
        database = f"lazymigrate_celery_{uuid.uuid4().hex[:12]}"
        os.environ |= {"MONGODB_URI": server.uri, "MONGODB_DATABASE": database, "CELERY_DIRECTORY": directory}
        from tasks import shop, sweep  # they read the environment

        stored = shop().raw
        try:
            stored.insert_many({"total": number, "mail": f"{number}@example.org"} for number in range(ORDERS))
            with workers(2):
                report = SweepReport.from_json(sweep.delay(parts=8).get(timeout=120))
            print(f"Sweep: {report}")
            print(f"After: {shop().coverage()}")
        finally:
            stored.database.client.drop_database(database)


if __name__ == "__main__":
    main()
