"""A carrier at CARRIER_URL, to try the desk with: `python -m examples.support.carrier_server`."""

from urllib.parse import urlsplit

from aiohttp import web

from examples.support.carrier import carrier_url

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
    address = urlsplit(carrier_url())
    web.run_app(carrier(), host=address.hostname, port=address.port, print=None)
