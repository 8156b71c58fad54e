"""A training in a process of its own, for tests that kill it: killed.py OUT DATA [resume]."""

import sys

import torch

import mobilenets as mn
from mobilenets.training import Recipe

if __name__ == "__main__":
    torch.set_num_threads(1)
    out, data, *resume = sys.argv[1:]
    network = mn.scale(mn.network("mobilenet_v3_small"), 0.25, 32)
    recipe = Recipe(epochs=20, batch_size=16, dropout=0.2, mixup=0.2, precision="fp32")
    mn.train(network, data, out=out, recipe=recipe, resume=bool(resume), checkpoint_s=0.2)
