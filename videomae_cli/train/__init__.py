"""Training: the loop, its two tasks, checkpoints and evaluation."""
