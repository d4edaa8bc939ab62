"""The trainer process: outcomes in, scene requests out, a round whenever enough is new."""
