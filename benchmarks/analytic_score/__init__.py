"""The weights of the analytic score, fitted to simulated grasps."""
