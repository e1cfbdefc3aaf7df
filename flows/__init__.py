"""The Prefect side: flows and tasks around `ranker`. Start at retrain.py.

Prefect and its kin read the environment when they are imported, so what holds for every run stands
here: nothing reports usage to anybody, and what `ranker` logs is shown in the UI like the flow's own lines.
"""

import os
import warnings

from ranker.proxies import bypass_for_loopback
from ranker.resources import settle_home

bypass_for_loopback()
settle_home()
warnings.filterwarnings("ignore", message="Failed to create the Prefect home")  # flows.server says it
for _name, _value in {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "ranker",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": (
        "180"
    ),  # 20 are too few on a busy machine: its temporary server is then given up
    "TQDM_DISABLE": "1",  # progress is told in log lines, which a file and the UI can hold
    **({"PREFECT_LOGGING_COLORS": "false"} if os.environ.get("NO_COLOR") else {}),
}.items():
    os.environ.setdefault(_name, _value)
