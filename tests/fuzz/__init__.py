"""Datasets at random, broken at random: what no one thought of when writing a test.

    python -m tests.fuzz --format coco --cases 1000     try a thousand; print each that fails, with its seed
    python -m tests.fuzz --format coco --seed 123       try one again, and print it as small as it still fails

A case is a format and a seed, and nothing else: `datasets` draws a small valid dataset, `mutations` damages it in one to four places, `laws`
says what must hold of anything whatever, and `cases` puts the three together.
"""
