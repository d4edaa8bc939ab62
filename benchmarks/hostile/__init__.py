"""What a client that means harm, or only asks for too much, costs everybody else."""
