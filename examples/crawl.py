"""Fetch the pages of a site, hundreds at once, and keep what each of them says, in order.

It shows an async handler, a session that each slave sets up once, an answer that asks for another attempt later, and
results as JSON lines.

Needs:   pip install aiohttp
Run:     python examples/crawl.py --serve                  (a made-up shop to crawl; leave it running)
         tm-run examples/crawl.py 2 --results pages.jsonl  (or with pages=100, site=http://127.0.0.1:8080)
Kill:    Ctrl-C, or kill -9 any of its processes at any moment
Resume:  the same command again
Verify:  python examples/crawl.py --verify pages.jsonl

The shop answers after 200 ms and turns one request in ten away. Its 2,000 pages would take 7 minutes one by one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

import taskmaster

TITLE = re.compile(r"<title>(.*?)</title>")
LINK = re.compile(r'<a href="(.*?)">')


def get_jobs(last: int = 0, site: str = "http://127.0.0.1:8080", pages: int = 2000) -> Iterator[str]:
    for number in range(last, pages):
        yield f"{site}/item/{number}"


@taskmaster.lifespan
async def open_session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield session


@taskmaster.handler(concurrency=200, timeout=30, attempts=10)
async def handle_job(url: str, session: aiohttp.ClientSession) -> dict[str, Any]:
    async with session.get(url) as response:
        if response.status == 503:
            raise taskmaster.Retry("turned away", after=float(response.headers["Retry-After"]))
        response.raise_for_status()
        page = await response.text()
    title = TITLE.search(page)
    return {"url": url, "title": title and title[1], "links": LINK.findall(page)}


# -- the shop


def page_of(number: int) -> str:
    links = "".join(f'<a href="/item/{number * 7 % 1000 + n}">see also</a>' for n in range(number % 4))
    return f"<html><title>Item {number}</title><body>Only {number % 90 + 10} left! {links}</body></html>"


async def serve(port: int) -> None:
    requests = count(1)

    async def answer(request: web.Request) -> web.Response:
        await asyncio.sleep(0.2)
        if next(requests) % 10 == 0:
            return web.Response(status=503, headers={"Retry-After": "0.5"})
        return web.Response(text=page_of(int(request.match_info["number"])), content_type="text/html")

    shop = web.Application()
    shop.router.add_get(r"/item/{number:\d+}", answer)
    runner = web.AppRunner(shop)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    host, port = runner.addresses[0]  # with 0, any free port
    print(f"serving on http://{host}:{port}", flush=True)
    await asyncio.Event().wait()


def verify(path: Path) -> bool:
    """Check that each page is there once, in order, with its title and its links."""
    found = [json.loads(line)["result"] for line in path.open(encoding="utf-8")]
    right = [int(one["url"].rpartition("/")[2]) == number and one["title"] == f"Item {number}"
             and one["links"] == LINK.findall(page_of(number)) for number, one in enumerate(found)]
    print(f"{path}: {len(found)} pages, {sum(right)} of them correct")
    return bool(found) and all(right)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Serve the shop, or check what tm-run has fetched from it.")
    parser.add_argument("--serve", nargs="?", type=int, const=8080, metavar="PORT")
    parser.add_argument("--verify", type=Path, metavar="FILE")
    options = parser.parse_args()
    if options.verify is not None:
        sys.exit(0 if verify(options.verify) else 1)
    if options.serve is None:
        parser.error("give --serve or --verify")
    try:
        asyncio.run(serve(options.serve))
    except KeyboardInterrupt:
        pass
