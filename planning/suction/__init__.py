"""Suction grasps on the height map: sampled, sealed, checked for collision, ranked."""
