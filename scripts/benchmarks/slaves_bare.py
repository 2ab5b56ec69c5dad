"""A ROUTER loop with a master's headers and none of its logic: what ZeroMQ and JSON alone cost per request.

Runs as a process, like the master: prints its address, then answers each request with a lease of one job.
"""

from __future__ import annotations

import json
import sys

import zmq

BLOB = b"\x80\x05]\x94K\x01a."  # a pickled list of one int: a lease of one job


def serve() -> None:
    """Answer until the process is ended."""
    router = zmq.Context().socket(zmq.ROUTER)
    router.setsockopt(zmq.BACKLOG, 4096)
    router.bind("tcp://127.0.0.1:0")
    print("Listening at", router.getsockopt_string(zmq.LAST_ENDPOINT), file=sys.stderr, flush=True)
    offset = 0
    while True:
        *route, header, _ = router.recv_multipart()
        poll = json.loads(header)
        reply = {"v": 1, "run": "bare", "epoch": 1, "sid": poll["sid"], "n": poll["n"], "hb": 5000,
                 "kind": "jobs" if poll["run"] else "reset", "leases": [[offset, 1, 1, "pickle", len(BLOB), 0]]}
        offset += 1
        router.send_multipart([*route, json.dumps(reply, separators=(",", ":")).encode(), BLOB])


if __name__ == "__main__":
    serve()
