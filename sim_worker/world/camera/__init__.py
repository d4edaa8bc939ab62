"""The depth and colour camera, its noise, and how scenes look."""
