"""The HTTP side of the server: routes, objects, the page, and who may come in."""
