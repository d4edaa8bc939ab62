"""The server under load, beside a plain handler (and LitServe where it is installed) with the same network, in one run."""
