"""What is grasped: catalogues, shapes made of primitives, folders of the user's own."""
