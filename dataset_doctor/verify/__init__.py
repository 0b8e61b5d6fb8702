"""verify: train with and without a treatment, and say honestly whether it helped."""
