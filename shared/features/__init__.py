"""What networks see of a scene: patches in the frame of a hand or a cup, depth crops, colour images and their windows."""
