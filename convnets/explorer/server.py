"""Serve the page, by default to this machine only."""

import logging
import webbrowser

import panel as pn
from bokeh.events import DocumentReady
from tornado.routing import HostMatches, Rule, RuleRouter

from convnets.explorer import addresses
from convnets.explorer.page import Page

MOST_BYTES = 400 * 2**20  # of a message from the page; larger uploads than 20 MB are refused when they are here

TEMPLATE = """
{% extends base %}
{% block postamble %}
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
  body { font-family: system-ui, sans-serif; }
  main { padding: 0.5rem 1rem; } h1 { font-size: 1.3rem; margin: 0.3rem 0; }
  {% if dark %} html, body { background: #16181b; color: #e6e6e6; } {% endif %}
</style>
<script>
  const address = new URL(location)
  if (!address.searchParams.has("theme") && matchMedia("(prefers-color-scheme: dark)").matches) {
    address.searchParams.set("theme", "dark"); location.replace(address)
  }
</script>
{% endblock %}
{% block contents %}
<main><h1>Convnet Companion</h1>{{ embed(roots.page) }}{{ embed(roots.location) }}</main>
{% endblock %}
"""


def serve(*, host, port, open_browser, **settings):
    """Serve the page until Ctrl-C. settings: of page.Page."""
    pn.extension()
    for name in ("bokeh", "tornado", "asyncio"):  # they report each tab that is closed in the middle of a message
        logging.getLogger(name).setLevel("CRITICAL")

    def page():
        if pn.config.theme == "dark":
            pn.state.curdoc.theme = "dark_minimal"
        shown = Page(**settings)
        template = pn.Template(TEMPLATE)
        template.location = True
        template.add_variable("dark", pn.config.theme == "dark")
        template.add_panel("page", shown.body)
        pn.state.curdoc.on_event(DocumentReady, lambda event: shown.load())  # what comes earlier can get lost
        return template

    names = addresses.names_of(host)
    while True:
        origins = [f"{name}:{port}" for name in names]
        try:
            server = pn.serve(
                page, port=port, address=host, websocket_origin=origins, show=False, start=False,
                title="Convnet Companion", verbose=False, websocket_max_message_size=MOST_BYTES,
            )  # fmt: skip
            break
        except OSError:  # another program took the port in the meantime
            port = addresses.free_port(host, port + 1)
    only_for(server, names, origins)
    server.start()
    address = f"http://{'localhost' if host == '0.0.0.0' else host}:{port}"
    print(f"The page is at {address}; Ctrl-C ends it.", flush=True)
    if open_browser:
        webbrowser.open(address)
    server.io_loop.start()


def only_for(server, names, origins):
    """Refuse requests that name another host, as after DNS rebinding, or that another page makes.

    From another page, only a link to this one is followed. Browsers say where a request comes from.
    """

    class OurPage(HostMatches):
        def match(self, request):
            said = request.headers.get
            framed = said("Sec-Fetch-Dest") in ("iframe", "frame", "embed", "object")
            followed = said("Sec-Fetch-Mode") == "navigate" and request.path == "/"
            from_here = said("Sec-Fetch-Site") in (None, "none", "same-origin") or followed
            ours = from_here and said("Origin") in (None, *(f"http://{each}" for each in origins))
            return super().match(request) if ours and not framed else None

    hosts = "|".join(name.replace(".", r"\.") for name in names)
    server._http.request_callback = RuleRouter([Rule(OurPage(f"^({hosts})$"), server._tornado)])
