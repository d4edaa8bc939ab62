"""What is fast and what is not, as ratios against something plain in the same run."""
