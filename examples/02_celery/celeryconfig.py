"""Where messages and results are kept: here in a directory, which several processes of one machine can share."""

import os
from pathlib import Path

QUEUE = Path(os.environ["CELERY_DIRECTORY"])
FOLDERS = {name: QUEUE / name for name in ("messages", "exchanges", "results")}
for folder in FOLDERS.values():
    folder.mkdir(parents=True, exist_ok=True)

broker_url = "filesystem://"
broker_transport_options = {
    "data_folder_in": str(FOLDERS["messages"]),
    "data_folder_out": str(FOLDERS["messages"]),
    "control_folder": str(FOLDERS["exchanges"]),
    "polling_interval": 0.1,
}
broker_connection_retry_on_startup = True
result_backend = FOLDERS["results"].as_uri()
