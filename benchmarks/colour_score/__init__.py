"""The weights by which places on a colour picture are ranked, fitted to simulated grasps."""
