"""Running an augmentation on synthetic scenes with known truth, and measuring what it did to labels and geometry."""
