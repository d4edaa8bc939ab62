"""A person steers: keyboard, gamepad, tracker or body to a simulated hand or real arms, and what is shown is recorded."""
