"""One training run: recipes, loop, augmentation; on a CPU, a GPU or several."""
