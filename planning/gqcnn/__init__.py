"""The GQ-CNN family on camera-frame depth crops: cross-entropy method and fully convolutional evaluation."""
