"""A carrier to try the support desk with: `python -m examples.support.carrier_server [PORT]`."""

import sys

from aiohttp import web

PLACES = {"P-1002": "in the parcel shop at the station", "P-1003": "on its way to Ghent"}


async def find(request: web.Request) -> web.Response:
    """Answer GET /parcels?number=P-1002 with the place of the parcel, as text."""
    place = PLACES.get(request.query.get("number", ""))
    return web.Response(text=place) if place else web.Response(status=404)


def carrier() -> web.Application:
    """Return the service."""
    app = web.Application()
    app.add_routes([web.get("/parcels", find)])
    return app


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8099
    web.run_app(carrier(), host="127.0.0.1", port=port, print=None)
