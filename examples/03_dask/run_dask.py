"""A sweep by two Dask workers, all of it on this machine: `python examples/03_dask/run_dask.py`."""

from __future__ import annotations

import os
import uuid

from distributed import Client, LocalCluster
from sweep import shop, sweep

from lazymigrate import embedded

ORDERS = 2000


def main() -> None:
    with embedded.server() as server:
        database = f"lazymigrate_dask_{uuid.uuid4().hex[:12]}"
        os.environ |= {"MONGODB_URI": server.uri, "MONGODB_DATABASE": database}  # workers inherit it
        stored = shop().raw
        try:
            stored.insert_many({"total": number, "mail": f"{number}@example.org"} for number in range(ORDERS))
            with (
                LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
                Client(cluster) as dask,
            ):
                print(f"Sweep: {sweep(dask, parts=8)}")
            print(f"After: {shop().coverage()}")
        finally:
            stored.database.client.drop_database(database)


if __name__ == "__main__":
    main()
