"""Find seeds for which no choice of a variant is nearly a tie.

python search.py SCRATCH_DIR VARIANT FIRST_SEED [COUNT]
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import torch
from nemo.utils import logging
from parakeets import VARIANTS
from record import record

if __name__ == "__main__":
    torch.set_num_threads(1)
    logging.setLevel("ERROR")
    out, name, first = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    for seed in range(first, first + int((sys.argv[4:] or ["10"])[0])):
        try:
            record(dataclasses.replace(VARIANTS[name], seed=seed), name, out)
        except AssertionError as error:
            print(seed, "no:", error, flush=True)
        else:
            print(seed, "yes", flush=True)
            break
