"""How the parts are run: on one machine (`python -m services.local`), in containers, in a cluster."""
