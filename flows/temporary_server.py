"""A Prefect server for one run, as a process of its own: `python -m flows.temporary_server PORT`.

It ends when the process that `$RANKER_OWNER` names has gone, however that went.
"""

from __future__ import annotations

import sys

import uvicorn
from prefect.server.api.server import create_app

from ranker.train.worker.heartbeat import follow_owner

if __name__ == "__main__":
    follow_owner()
    uvicorn.run(create_app(), host="127.0.0.1", port=int(sys.argv[1]), log_level="error", lifespan="on")
