"""A Celery application whose task records its argument; folders are its broker."""

import os
from pathlib import Path

from celery import Celery

from labs_analytics import AnalyticsClient

folder = Path(os.environ["FOLDER"])
for name in ("queue", "control"):
    (folder / name).mkdir(parents=True, exist_ok=True)
app = Celery(
    "tasks",
    broker="filesystem://",
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
)
app.conf.broker_transport_options = {
    "data_folder_in": str(folder / "queue"),
    "data_folder_out": str(folder / "queue"),
    "control_folder": str(folder / "control"),
}
client = AnalyticsClient(
    os.environ["URL"], key="la_test", product=10, batch_age=float(os.environ["BATCH_AGE"])
)
client.record("loaded", os.getpid())


@app.task
def work(number):
    client.record("task", number)
    (folder / f"done-{number}").write_text(str(os.getpid()))
